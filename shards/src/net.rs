//! What a shard needs of the world: sockets and the list of ready ones. The runtime is one, the
//! simulation's the other.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::task::{Poll, Waker};

/// The sockets of one thread. All calls are about that thread's shard, and none waits.
pub(crate) trait Net: 'static {
    /// A client's socket; dropping it closes it.
    type Stream;

    fn fd(stream: &Self::Stream) -> RawFd;
    fn peer(stream: &Self::Stream) -> Option<SocketAddr>;
    /// Reads what is there, or has `waker` called when something is.
    fn read(stream: &mut Self::Stream, waker: &Waker, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Reads what is there; zero if nothing is, without asking to be called.
    fn read_now(fd: RawFd, into: &mut [u8]) -> usize;
    /// Sends what the socket takes, or has `waker` called when it takes more.
    fn write(stream: &mut Self::Stream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Makes an ordinary socket of it, for the control plane.
    fn hand_over(stream: Self::Stream) -> io::Result<std::net::TcpStream>;

    /// Sends what the socket takes now; zero if it takes nothing.
    fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize>;
    /// The same from several slices.
    fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;
    /// Ends both directions at once.
    fn shutdown(fd: RawFd);
    /// Ends the sending direction.
    fn shutdown_write(fd: RawFd);

    /// The waker that puts `slot` on the ready list.
    fn waker(slot: u32) -> Waker;
    /// Puts `slot` on the ready list by hand.
    fn mark_ready(slot: u32);
    /// Swaps the ready list with `into`, which is empty.
    fn take_ready(into: &mut Vec<u32>);
    /// Whether the ready list holds anything.
    fn has_ready() -> bool;
    /// Between pieces of long work: lets sockets become ready, if the turn has been long.
    fn breathe() -> impl Future<Output = ()>;
}
