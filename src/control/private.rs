//! A connection to the admin address: plain, or within TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The longest time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to a request that is not sealed.
const NOT_SEALED: &str = "this address speaks TLS: use https://\r\n";

/// The most that is read of such a request, a kilobyte each time: a socket that is closed with
/// unread bytes resets the connection, and its client would not see the answer.
const LAST_READS_MAX: usize = 64;

/// The connection.
pub(super) enum Private {
    Plain(TcpStream),
    Sealed(Box<TlsStream<TcpStream>>),
}

impl Private {
    /// Does the handshake, if there is one to be done; `None` if it fails.
    pub(super) async fn begin(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<Self> {
        let Some(tls) = tls else { return Some(Self::Plain(socket)) };
        let peer = socket.peer_addr().ok();
        let begin = async {
            let mut first = [0];
            let _ = socket.peek(&mut first).await;
            if first[0].is_ascii_uppercase() {
                refuse(socket).await;
                return Err("it does not speak TLS".to_owned());
            }
            TlsAcceptor::from(tls).accept(socket).await.map_err(|error| error.to_string())
        };
        let begun = tokio::time::timeout(HANDSHAKE_TIMEOUT, begin).await;
        let begun = begun.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        match begun {
            Ok(stream) => Some(Self::Sealed(Box::new(stream))),
            Err(why) => {
                // Nothing else tells an operator whose certificate is not taken.
                tracing::info!(?peer, why, "no handshake at the admin address");
                None
            }
        }
    }
}

/// Tells a client that it should speak TLS.
async fn refuse(mut socket: TcpStream) {
    let head = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Length";
    let answer = format!("{head}: {}\r\n\r\n{NOT_SEALED}", NOT_SEALED.len());
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    let mut rest = [0; 1024];
    for _ in 0..LAST_READS_MAX {
        if !matches!(socket.read(&mut rest).await, Ok(1..)) {
            return;
        }
    }
}

impl AsyncRead for Private {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Sealed(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Private {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Sealed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Sealed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Sealed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
