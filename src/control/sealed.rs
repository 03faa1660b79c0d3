//! A visitor's connection that speaks TLS, with the session that a shard has begun: it reads and
//! writes like a plain one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stentor_shards::Sealed;
use stentor_shards::tls::{Fault, RECORD_BYTES, SEALED_BYTES, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 16 << 10;

/// The connection. It holds at most a record or two in each direction.
pub(super) struct SealedStream {
    socket: TcpStream,
    session: Session,
    /// Plain bytes that were not asked for yet, and the number of those that have been taken.
    opened: Vec<u8>,
    taken: usize,
    /// Sealed bytes that the socket has not taken yet, and the number of those that have left.
    unsent: Vec<u8>,
    sent: usize,
    said_farewell: bool,
}

fn of(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

impl SealedStream {
    /// A connection of which `opened` was read and not acted on.
    pub(super) fn new(socket: TcpStream, sealed: Sealed, opened: Vec<u8>) -> Self {
        let Sealed { session, unsent } = sealed;
        Self { socket, session, opened, taken: 0, unsent, sent: 0, said_farewell: false }
    }

    /// Sends what waits to be sent.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let rest = &self.unsent[self.sent..];
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket once.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut room = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let read = room.filled_mut();
        if read.is_empty() {
            return Poll::Ready(Ok(0));
        }
        (self.opened, self.taken) = (Vec::new(), 0);
        let fed = self.session.feed(read, &mut self.opened, &mut self.unsent);
        let count = read.len();
        // An answer that finds no room leaves before the next bytes that are written.
        if let Poll::Ready(Err(error)) = self.poll_unsent(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(fed.map(|()| count).map_err(of))
    }
}

impl AsyncRead for SealedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let there = &this.opened[this.taken..];
            if !there.is_empty() {
                let count = there.len().min(into.remaining());
                into.put_slice(&there[..count]);
                this.taken += count;
                return Poll::Ready(Ok(()));
            }
            if this.session.has_ended() || ready!(this.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for SealedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let plain = &bytes[..bytes.len().min(RECORD_BYTES)];
        this.unsent.resize(SEALED_BYTES, 0);
        let sealed = this.session.seal(plain, &mut this.unsent);
        this.unsent.truncate(*sealed.as_ref().unwrap_or(&0));
        sealed.map_err(of)?;
        if let Poll::Ready(Err(error)) = this.poll_unsent(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(plain.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        if !std::mem::replace(&mut this.said_farewell, true) {
            this.unsent.resize(SEALED_BYTES, 0);
            let len = this.session.farewell(&mut this.unsent);
            this.unsent.truncate(len);
            ready!(this.poll_unsent(cx))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
