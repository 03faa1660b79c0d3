//! A connection to the admin address: plain, or within TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The longest time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to a request that is not sealed.
const NOT_SEALED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 39\r\n\r\n\
this address speaks TLS: use https://\r\n";

/// The connection.
pub(super) enum Private {
    Plain(TcpStream),
    Sealed(Box<TlsStream<TcpStream>>),
}

impl Private {
    /// Does the handshake, if there is one to be done; `None` if it fails.
    pub(super) async fn begin(
        mut socket: TcpStream,
        tls: Option<Arc<ServerConfig>>,
    ) -> Option<Self> {
        let Some(tls) = tls else { return Some(Self::Plain(socket)) };
        let begin = async {
            let mut first = [0];
            let _ = socket.peek(&mut first).await;
            if first[0].is_ascii_uppercase() {
                let _ = socket.write_all(NOT_SEALED).await;
                return None;
            }
            TlsAcceptor::from(tls).accept(socket).await.ok()
        };
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, begin).await.ok()??;
        Some(Self::Sealed(Box::new(stream)))
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
