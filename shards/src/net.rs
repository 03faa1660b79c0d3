//! The interface between a shard and its sockets: the kernel implements it, and the simulation.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::task::Poll;

use crate::model::id::Slot;

/// A slot whose socket has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) slot: Slot,
    /// The peer will say no more: reading must go on to the end, as nothing rings again.
    pub(crate) ended: bool,
}

/// The sockets of one shard. No call waits.
pub(crate) trait Net: 'static {
    /// A client's socket; dropping it closes it.
    type Stream;

    fn fd(stream: &Self::Stream) -> RawFd;
    fn peer(stream: &Self::Stream) -> Option<SocketAddr>;
    /// Reads what is there.
    fn read(fd: RawFd, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Sends what the socket takes now; zero if it takes nothing.
    fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize>;
    /// The same from several slices.
    fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;
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
