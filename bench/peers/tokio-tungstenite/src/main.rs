//! The usual broadcast server on tokio: a task a client, and one broadcast channel that all of them
//! read.

use std::error::Error;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};

/// How far a client may lag behind before it is closed.
const LAG_MAX: usize = 4096;

/// Every client owns a read buffer of this size; the default, 128 KiB, is for few clients.
const READ_BUFFER_BYTES: usize = 4 << 10;

const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let port = args.first().ok_or("usage: server PORT [CERT KEY]")?.parse()?;
    let acceptor = match &args[1..] {
        [cert, key] => Some(acceptor(cert, key)?),
        _ => None,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (all, _) = broadcast::channel(LAG_MAX);
    loop {
        let (stream, _) = listener.accept().await?;
        let (all, acceptor) = (all.clone(), acceptor.clone());
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            // However it ends, the client is closed and nobody else is touched.
            match acceptor {
                Some(acceptor) => serve(acceptor.accept(stream).await?, all).await,
                None => serve(stream, all).await,
            }
        });
    }
}

fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    all: broadcast::Sender<Message>,
) -> tungstenite::Result<()> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mut messages = all.subscribe();
    loop {
        tokio::select! {
            said = socket.next() => match said.transpose()? {
                Some(message @ (Message::Text(_) | Message::Binary(_))) => {
                    // It cannot fail: this task holds a receiver.
                    let _ = all.send(message);
                }
                Some(_) => {}
                None => return Ok(()),
            },
            message = messages.recv() => match message {
                Ok(message) => {
                    socket.feed(message).await?;
                    // What else is there leaves in the same write.
                    while let Ok(message) = messages.try_recv() {
                        socket.feed(message).await?;
                    }
                    socket.flush().await?;
                }
                Err(RecvError::Lagged(_) | RecvError::Closed) => return socket.close(None).await,
            },
        }
    }
}
