//! The interface between a shard and its sockets: the kernel implements it, and the simulation.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::task::Poll;

use crate::clock::Now;
use crate::model::id::Slot;

/// A slot whose socket has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) slot: Slot,
    /// The peer will say no more: reading must go on to the end, as nothing rings again.
    pub(crate) ended: bool,
}

/// The most slices that one send takes.
pub(crate) const SLICES_MAX: usize = 64;

/// The outcome of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sent {
    /// The socket took all bytes.
    All,
    /// The socket took this number of bytes, fewer than all: the rest must wait. Of bytes that are
    /// sealed it may be all of them: something waits in the client's outbox then.
    Part(usize),
    /// The connection is broken.
    Gone,
}

impl Sent {
    /// The outcome for `all` bytes of which the kernel took `taken`.
    #[inline]
    fn of(taken: io::Result<usize>, all: usize) -> Self {
        match taken {
            Ok(taken) if taken == all => Self::All,
            Ok(taken) => Self::Part(taken),
            Err(_) => Self::Gone,
        }
    }
}

/// The sockets of one shard. No call waits.
pub(crate) trait Net: 'static {
    /// A client's socket; dropping it closes it.
    type Stream;

    /// The time at this moment, for work that may take only a part of a turn.
    fn clock() -> Now;
    fn fd(stream: &Self::Stream) -> RawFd;
    fn peer(stream: &Self::Stream) -> Option<SocketAddr>;
    /// Reads what is there.
    fn read(fd: RawFd, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes what the socket takes now. Returns the number of bytes; zero if it takes nothing.
    fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize>;
    /// The same from several slices.
    fn write_vectored(fd: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends `bytes` as far as the socket takes them.
    #[inline]
    fn send(fd: RawFd, bytes: &[u8]) -> Sent {
        Sent::of(Self::write(fd, bytes), bytes.len())
    }

    /// Sends the first [`SLICES_MAX`] of `slices` in one call: these are the bytes that the outcome
    /// is about.
    fn send_several<'a>(fd: RawFd, slices: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut several = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut all) = (0, 0);
        for (place, slice) in several.iter_mut().zip(slices) {
            *place = IoSlice::new(slice);
            count += 1;
            all += slice.len();
        }
        Sent::of(Self::write_vectored(fd, &several[..count]), all)
    }

    /// Ends both directions at once.
    fn shutdown(fd: RawFd);
    /// Ends the sending direction.
    fn shutdown_write(fd: RawFd);

    /// From now on `slot` is put on the ready list whenever more comes from its peer: once for each
    /// time, so what is there must be read until a read comes back short.
    fn watch(&mut self, stream: &Self::Stream, slot: Slot) -> io::Result<()>;
    /// From now on `slot` is put there also when its socket takes more after it was full.
    fn watch_room(&mut self, stream: &Self::Stream, slot: Slot) -> io::Result<()>;
    /// Makes an ordinary socket of it, for the control plane.
    fn hand_over(&mut self, stream: Self::Stream) -> io::Result<std::net::TcpStream>;
    /// Puts `slot` on the ready list by hand.
    fn mark_ready(&mut self, slot: Slot);
    /// Swaps the ready list with `into`, which is empty.
    fn take_ready(&mut self, into: &mut Vec<Ready>);
    /// Returns `true` if the ready list is not empty.
    fn has_ready(&self) -> bool;
}
