//! Simulated sockets: bytes in memory, with as much room as the schedule grants.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use crate::net::Net;

/// One connection, seen from between its ends.
#[derive(Default)]
pub(super) struct Socket {
    /// From the client.
    pub(super) inbound: VecDeque<u8>,
    /// To the client, in the order in which it came.
    pub(super) outbound: Vec<u8>,
    /// How much more the kernel would take.
    pub(super) room: usize,
    pub(super) cut: bool,
    pub(super) closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Socket {
    pub(super) fn wake_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    pub(super) fn wake_writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cut || self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.outbound.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// All sockets of a run, and the ready list of each shard.
#[derive(Default)]
pub(super) struct World {
    sockets: HashMap<RawFd, Socket>,
    ready: Vec<Vec<u32>>,
    current: usize,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

impl World {
    pub(super) fn reset(shards: usize) {
        let fresh = Self { ready: vec![Vec::new(); shards], ..Self::default() };
        WORLD.with(|world| *world.borrow_mut() = fresh);
    }

    /// Says which shard runs next.
    pub(super) fn enter(shard: usize) {
        WORLD.with(|world| world.borrow_mut().current = shard);
    }

    pub(super) fn open(room: usize) -> (SimStream, RawFd) {
        WORLD.with(|world| {
            let mut world = world.borrow_mut();
            let fd = RawFd::try_from(world.sockets.len()).unwrap();
            world.sockets.insert(fd, Socket { room, ..Socket::default() });
            (SimStream { fd }, fd)
        })
    }

    pub(super) fn with<T>(fd: RawFd, act: impl FnOnce(&mut Socket) -> T) -> T {
        WORLD.with(|world| act(world.borrow_mut().sockets.get_mut(&fd).unwrap()))
    }
}

/// The shard's end of a connection.
pub(crate) struct SimStream {
    fd: RawFd,
}

impl Drop for SimStream {
    fn drop(&mut self) {
        // The world may have been reset by then.
        let _ = WORLD.try_with(|world| {
            if let Ok(mut world) = world.try_borrow_mut()
                && let Some(socket) = world.sockets.get_mut(&self.fd)
            {
                socket.closed = true;
            }
        });
    }
}

struct SimWaker {
    shard: usize,
    slot: u32,
}

impl Wake for SimWaker {
    fn wake(self: Arc<Self>) {
        WORLD.with(|world| world.borrow_mut().ready[self.shard].push(self.slot));
    }
}

/// The simulation's sockets.
pub(crate) struct SimNet;

impl Net for SimNet {
    type Stream = SimStream;

    fn fd(stream: &SimStream) -> RawFd {
        stream.fd
    }

    fn peer(_: &SimStream) -> Option<SocketAddr> {
        None
    }

    fn read(stream: &mut SimStream, waker: &Waker, into: &mut [u8]) -> Poll<io::Result<usize>> {
        World::with(stream.fd, |socket| {
            if socket.inbound.is_empty() {
                if socket.cut {
                    return Poll::Ready(Ok(0));
                }
                socket.reader = Some(waker.clone());
                return Poll::Pending;
            }
            let count = into.len().min(socket.inbound.len());
            for (place, byte) in into.iter_mut().zip(socket.inbound.drain(..count)) {
                *place = byte;
            }
            Poll::Ready(Ok(count))
        })
    }

    fn read_now(fd: RawFd, into: &mut [u8]) -> usize {
        World::with(fd, |socket| {
            let count = into.len().min(socket.inbound.len());
            for (place, byte) in into.iter_mut().zip(socket.inbound.drain(..count)) {
                *place = byte;
            }
            count
        })
    }

    fn write(stream: &mut SimStream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        World::with(stream.fd, |socket| match socket.take(bytes) {
            Ok(0) => {
                socket.writer = Some(waker.clone());
                Poll::Pending
            }
            taken => Poll::Ready(taken),
        })
    }

    fn hand_over(_: SimStream) -> io::Result<std::net::TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        World::with(fd, |socket| socket.take(bytes))
    }

    fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let flat: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        World::with(fd, |socket| socket.take(&flat))
    }

    fn shutdown(fd: RawFd) {
        World::with(fd, |socket| socket.closed = true);
    }

    fn shutdown_write(_: RawFd) {}

    fn waker(slot: u32) -> Waker {
        let shard = WORLD.with(|world| world.borrow().current);
        Waker::from(Arc::new(SimWaker { shard, slot }))
    }

    fn mark_ready(slot: u32) {
        WORLD.with(|world| {
            let mut world = world.borrow_mut();
            let shard = world.current;
            world.ready[shard].push(slot);
        });
    }

    fn take_ready(into: &mut Vec<u32>) {
        WORLD.with(|world| {
            let mut world = world.borrow_mut();
            let shard = world.current;
            std::mem::swap(into, &mut world.ready[shard]);
        });
    }

    fn has_ready() -> bool {
        WORLD.with(|world| {
            let world = world.borrow();
            !world.ready[world.current].is_empty()
        })
    }

    async fn breathe() {}
}
