//! One client's connection: its socket, how far it has come, and what waits to be sent.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::tls::Tls;
use crate::dialect::{Events, Position, Track};
use crate::frame::Reader;

/// How many connects are under way at once: far below any accept queue, so that no SYN is lost.
pub(super) const CONNECTING_MAX: usize = 256;

/// How long nothing may happen before the clients that are still on their way have failed.
pub(super) const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// Events for which an open client is watched: each change once.
pub(super) const READS: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// Events that tell of an end.
pub(super) const ENDS: epoll::EventFlags =
    epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// A connection on its way or open.
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    /// Boxed: it is large, and most runs are without.
    pub(super) tls: Option<Box<Tls>>,
    pub(super) step: Step,
    /// When its connect began.
    pub(super) began: Instant,
    pub(super) inbound: Inbound,
    /// Before it is open: the answer so far. After: what came behind it, until it is looked at.
    pub(super) head: Vec<u8>,
    /// Frames that came before it was open, where its place in the channel is followed.
    pub(super) early: Vec<u8>,
    /// Its place in the channel, if it is to go on there when it comes back.
    pub(super) track: Option<Box<Track>>,
    /// Bytes that the socket has not taken yet.
    pub(super) out: Vec<u8>,
    pub(super) close_code: Option<u16>,
}

impl Client {
    /// The place behind which it wants to hear its channel.
    pub(super) fn since(&self) -> Option<&Position> {
        self.track.as_ref().and_then(|track| track.position.as_ref())
    }
}

/// The reader of a client's connection.
pub(super) enum Inbound {
    Frames(Reader),
    /// Boxed: it is larger, and most runs are without.
    Events(Box<Events>),
}

/// How far a client has come: what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    /// The end of the TLS handshake.
    Tls,
    /// The 101, or the 200 of a stream.
    Answer,
    /// The message by which the server says that it is ready.
    Ready,
    /// Nothing any more.
    Open,
}

impl Step {
    /// Returns the cause that is recorded if the server closes the connection here.
    pub(super) fn cut_off(self) -> &'static str {
        match self {
            Self::Tls => "closed during the TLS handshake",
            Self::Ready => "closed before it was ready",
            _ => "closed before the answer",
        }
    }
}
