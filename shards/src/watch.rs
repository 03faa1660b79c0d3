//! A shard's sockets as the kernel serves them: one epoll descriptor watches all of them.
//!
//! Edge-triggered, so a client is registered once and costs nothing until it speaks. The runtime's
//! ring watches that one descriptor while the shard sleeps. A poll in the ring for every client
//! must be asked for anew after each message and costs 700 bytes more: a ping and its pong took 2.5
//! times a bare loop's CPU with it, an accept 1.8 times.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::model::id::Slot;
use crate::net::{Net, Ready};
use crate::rt;

/// The most events that one look takes; the next look takes the rest.
const EVENTS_MAX: usize = 1024;

/// What an event of the listener carries instead of a slot, and of the bell.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// What a client's socket is watched for at all times.
const SPEECH: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// What says that the peer will say no more.
const END: epoll::EventFlags =
    epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// Wakes the shard from another thread, however it sleeps.
struct BellRope {
    event: OwnedFd,
}

impl Wake for BellRope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It cannot be full: that takes 2^64 rings. Each is an edge, so nobody reads them.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// The kernel's sockets, and which of them are ready.
pub(crate) struct Watch {
    epoll: OwnedFd,
    rope: Waker,
    events: Vec<epoll::Event>,
    ready: Vec<Ready>,
    /// Someone knocked at the listener.
    pub(crate) knocked: bool,
}

impl Watch {
    /// Opens the shard's set of watched sockets, with its listeners in it.
    pub(crate) fn open(listeners: &[OwnedFd]) -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for listener in listeners {
            let data = epoll::EventData::new_u64(LISTENER);
            epoll::add(&set, listener, data, epoll::EventFlags::IN.union(epoll::EventFlags::ET))?;
        }
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(BELL);
        epoll::add(&set, &event, data, epoll::EventFlags::IN.union(epoll::EventFlags::ET))?;
        Ok(Self {
            epoll: set,
            rope: Waker::from(Arc::new(BellRope { event })),
            events: Vec::with_capacity(EVENTS_MAX),
            ready: Vec::new(),
            knocked: false,
        })
    }

    /// Watches a listener no longer.
    pub(crate) fn forget(&mut self, listener: &OwnedFd) {
        let forgotten = epoll::delete(&self.epoll, listener);
        debug_assert!(forgotten.is_ok(), "it was watched since the start");
    }

    /// The waker for the shard's bell.
    pub(crate) fn rope(&self) -> &Waker {
        &self.rope
    }

    /// What is ready when something is.
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Puts the slots whose sockets have become ready on the list. Waits for one, or for the bell,
    /// no longer than `patience`; says whether there was any.
    pub(crate) fn look(&mut self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).unwrap_or_default();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        // Only a signal can interrupt it; the next look finds what this one did not.
        let found = epoll::wait(&self.epoll, room, Some(&patience)).unwrap_or(0);
        for event in self.events.drain(..) {
            match u32::try_from(event.data.u64()) {
                Ok(slot) => {
                    let flags = event.flags;
                    let ended = flags.intersects(END);
                    self.ready.push(Ready { slot: Slot(slot), ended });
                }
                Err(_) => self.knocked |= event.data.u64() == LISTENER,
            }
        }
        found > 0
    }
}

impl Net for Watch {
    type Stream = OwnedFd;

    fn fd(stream: &OwnedFd) -> RawFd {
        stream.as_raw_fd()
    }

    fn peer(stream: &OwnedFd) -> Option<SocketAddr> {
        socket2::SockRef::from(stream).peer_addr().ok()?.as_socket()
    }

    fn read(fd: RawFd, into: &mut [u8]) -> Poll<io::Result<usize>> {
        rt::receive(fd, into)
    }

    fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        rt::send(fd, bytes)
    }

    fn write_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        rt::send_vectored(fd, slices)
    }

    fn shutdown(fd: RawFd) {
        rt::shutdown(fd);
    }

    fn shutdown_write(fd: RawFd) {
        rt::shutdown_write(fd);
    }

    fn watch(&mut self, stream: &OwnedFd, slot: Slot) -> io::Result<()> {
        let data = epoll::EventData::new_u64(slot.0.into());
        Ok(epoll::add(&self.epoll, stream, data, SPEECH)?)
    }

    fn watch_room(&mut self, stream: &OwnedFd, slot: Slot) -> io::Result<()> {
        let data = epoll::EventData::new_u64(slot.0.into());
        Ok(epoll::modify(&self.epoll, stream, data, SPEECH.union(epoll::EventFlags::OUT))?)
    }

    fn hand_over(&mut self, stream: OwnedFd) -> io::Result<std::net::TcpStream> {
        epoll::delete(&self.epoll, &stream)?;
        // A Unix socket does as well: the calls for reading, writing and ending are the same.
        let socket = std::net::TcpStream::from(stream);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn mark_ready(&mut self, slot: Slot) {
        self.ready.push(Ready { slot, ended: false });
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        std::mem::swap(into, &mut self.ready);
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
