//! Simulated sockets: bytes in memory, with as much room as the schedule grants.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Poll;

use rustls::ClientConfig;

use super::sealed::ClientEnd;
use crate::clock::Now;
use crate::model::id::Slot;
use crate::net::{Net, Ready};

/// One connection, seen from between its ends.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Socket {
    /// From the client.
    pub(crate) inbound: VecDeque<u8>,
    /// To the client, in the order in which it came.
    pub(crate) outbound: Vec<u8>,
    /// The number of calls that sent something to the client.
    pub(crate) sends: usize,
    /// The number of bytes that the kernel would still take.
    pub(crate) room: usize,
    /// The client will say no more, but would still read.
    pub(crate) ended: bool,
    /// Nothing passes any more, either way.
    pub(crate) cut: bool,
    pub(crate) closed: bool,
    /// The slot that rings when something comes, and its shard.
    watched: Option<(usize, Slot)>,
    watched_for_room: bool,
    /// A send was cut short since the last time there was room.
    was_full: bool,
    /// The client's end of TLS: `inbound` is sealed then, and `outbound` what the client opened.
    tls: Option<Box<ClientEnd>>,
}

impl Socket {
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cut || self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room);
        self.was_full |= count < bytes.len();
        self.room -= count;
        self.sends += usize::from(count > 0);
        let bytes = &bytes[..count];
        match &mut self.tls {
            None => self.outbound.extend_from_slice(bytes),
            Some(end) => end.hear(bytes, &mut self.outbound, &mut self.inbound),
        }
        Ok(count)
    }

    /// The client says something.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.inbound.extend(bytes),
            Some(end) => end.say(bytes, &mut self.inbound),
        }
    }

    /// The client will say no more, but would still read.
    pub(crate) fn finish(&mut self) {
        self.ended = true;
        if let Some(end) = &mut self.tls {
            end.finish(&mut self.inbound);
        }
    }

    /// The client says in TLS that nothing more comes, and leaves the connection as it is.
    #[cfg(test)]
    pub(crate) fn finish_tls(&mut self) {
        if let Some(end) = &mut self.tls {
            end.finish(&mut self.inbound);
        }
    }

    /// The client has both sides change their keys.
    #[cfg(test)]
    pub(crate) fn change_keys(&mut self) {
        if let Some(end) = &mut self.tls {
            end.change_keys(&mut self.inbound);
        }
    }
}

/// All sockets of a run, and the ready list of each shard.
#[derive(Default)]
pub(crate) struct World {
    sockets: HashMap<RawFd, Socket>,
    ready: Vec<Vec<Ready>>,
    /// The time that bounded work has taken: each look at the clock is a step of it.
    clock: Now,
    /// The settings with which every second client speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

impl World {
    pub(crate) fn reset(shards: usize) {
        let fresh = Self { ready: vec![Vec::new(); shards], ..Self::default() };
        WORLD.with(|world| *world.borrow_mut() = fresh);
    }

    pub(crate) fn open(room: usize, peer: Option<SocketAddr>) -> (SimStream, RawFd) {
        WORLD.with(|world| {
            let mut world = world.borrow_mut();
            let fd = RawFd::try_from(world.sockets.len()).unwrap();
            let mut socket = Socket { room, ..Socket::default() };
            if let Some(config) = world.tls.clone().filter(|_| fd % 2 == 0) {
                socket.tls = Some(Box::new(ClientEnd::new(config, &mut socket.inbound)));
            }
            let is_sealed = socket.tls.is_some();
            world.sockets.insert(fd, socket);
            (SimStream { fd, peer, is_sealed }, fd)
        })
    }

    /// From now on every second client speaks TLS.
    #[cfg(test)]
    pub(crate) fn seal_some(config: Arc<ClientConfig>) {
        WORLD.with(|world| world.borrow_mut().tls = Some(config));
    }

    pub(crate) fn with<T>(fd: RawFd, act: impl FnOnce(&mut Socket) -> T) -> T {
        WORLD.with(|world| act(world.borrow_mut().sockets.get_mut(&fd).unwrap()))
    }

    /// Reports that more has come from the client, or its end. As with the kernel, several reports
    /// that nobody took yet are one.
    pub(crate) fn ring(fd: RawFd) {
        WORLD.with(|world| {
            let world = &mut *world.borrow_mut();
            let socket = &world.sockets[&fd];
            let Some((shard, slot)) = socket.watched else { return };
            let ended = socket.ended || socket.cut;
            let list = &mut world.ready[shard];
            match list.iter_mut().find(|ready| ready.slot == slot) {
                Some(ready) => ready.ended |= ended,
                None => list.push(Ready { slot, ended }),
            }
        });
    }

    /// A client that speaks TLS may answer what it gets at once.
    fn ring_if_answered(fd: RawFd) {
        if Self::with(fd, |socket| socket.tls.is_some() && !socket.inbound.is_empty()) {
            Self::ring(fd);
        }
    }

    /// The client has taken something: an edge only after a send was cut short.
    pub(crate) fn make_room(fd: RawFd, room: usize) {
        let rings = Self::with(fd, |socket| {
            socket.room = room;
            room > 0 && socket.watched_for_room && std::mem::take(&mut socket.was_full)
        });
        if rings {
            Self::ring(fd);
        }
    }
}

/// The shard's end of a connection.
pub(crate) struct SimStream {
    fd: RawFd,
    peer: Option<SocketAddr>,
    /// The client speaks TLS.
    pub(crate) is_sealed: bool,
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

/// One shard's view of the simulated sockets.
pub(crate) struct SimNet {
    pub(crate) shard: usize,
}

impl SimNet {
    fn ready<T>(&self, act: impl FnOnce(&mut Vec<Ready>) -> T) -> T {
        WORLD.with(|world| act(&mut world.borrow_mut().ready[self.shard]))
    }
}

impl Net for SimNet {
    type Stream = SimStream;

    fn clock() -> Now {
        WORLD.with(|world| {
            let clock = &mut world.borrow_mut().clock;
            clock.ns += 100_000;
            *clock
        })
    }

    fn fd(stream: &SimStream) -> RawFd {
        stream.fd
    }

    fn peer(stream: &SimStream) -> Option<SocketAddr> {
        stream.peer
    }

    fn read(fd: RawFd, into: &mut [u8]) -> Poll<io::Result<usize>> {
        World::with(fd, |socket| {
            if socket.inbound.is_empty() {
                let over = socket.ended || socket.cut;
                return if over { Poll::Ready(Ok(0)) } else { Poll::Pending };
            }
            let count = into.len().min(socket.inbound.len());
            for (place, byte) in into.iter_mut().zip(socket.inbound.drain(..count)) {
                *place = byte;
            }
            Poll::Ready(Ok(count))
        })
    }

    fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        let taken = World::with(fd, |socket| socket.take(bytes));
        World::ring_if_answered(fd);
        taken
    }

    fn write_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let flat: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = World::with(fd, |socket| socket.take(&flat));
        World::ring_if_answered(fd);
        taken
    }

    fn shutdown(fd: RawFd) {
        World::with(fd, |socket| socket.closed = true);
    }

    fn shutdown_write(_: RawFd) {}

    fn watch(&mut self, stream: &SimStream, slot: Slot) -> io::Result<()> {
        let waits = World::with(stream.fd, |socket| {
            socket.watched = Some((self.shard, slot));
            socket.ended || socket.cut || !socket.inbound.is_empty()
        });
        if waits {
            World::ring(stream.fd);
        }
        Ok(())
    }

    fn watch_room(&mut self, stream: &SimStream, _: Slot) -> io::Result<()> {
        let has_room = World::with(stream.fd, |socket| {
            socket.watched_for_room = true;
            socket.room > 0
        });
        if has_room {
            World::ring(stream.fd);
        }
        Ok(())
    }

    fn hand_over(&mut self, _: SimStream) -> io::Result<std::net::TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn mark_ready(&mut self, slot: Slot) {
        self.ready(|list| list.push(Ready { slot, ended: false }));
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        self.ready(|list| std::mem::swap(into, list));
    }

    fn has_ready(&self) -> bool {
        self.ready(|list| !list.is_empty())
    }
}
