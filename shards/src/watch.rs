//! A shard's sockets as the kernel serves them: one epoll descriptor watches all of them.
//!
//! It is edge-triggered: a client is registered once and costs nothing until it sends something.
//! The runtime's ring watches that one descriptor while the shard sleeps. A poll in the ring for
//! each client would have to be made anew after each message, and would cost 700 bytes more: with
//! it a ping and its pong took 2.5 times a bare loop's CPU, and an accept 1.8 times.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::clock::Now;
use crate::model::id::Slot;
use crate::net::{Net, Ready};
use crate::rt;

/// The most events that one look takes; the next look takes the rest.
const EVENTS_MAX: usize = 1024;

/// The data of the listeners' events and of the bell's, in the place of a slot.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// The events for which a client's socket is always watched.
const SPEECH: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// The events after which the peer sends nothing more.
const END: epoll::EventFlags =
    epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// Wakes the shard from another thread, however it sleeps.
struct BellWaker {
    event: OwnedFd,
}

impl Wake for BellWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The count overflows only after 2^64 rings. Each ring is an edge, so nobody reads it.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// The kernel's sockets, and the list of those that are ready.
pub(crate) struct Watch {
    epoll: OwnedFd,
    waker: Waker,
    events: Vec<epoll::Event>,
    ready: Vec<Ready>,
    /// A connection came to a listener.
    pub(crate) listener_is_ready: bool,
}

impl Watch {
    /// Opens the shard's set of watched sockets, with its listeners in it.
    pub(crate) fn open<'a>(listeners: impl Iterator<Item = &'a OwnedFd>) -> io::Result<Self> {
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
            waker: Waker::from(Arc::new(BellWaker { event })),
            events: Vec::with_capacity(EVENTS_MAX),
            ready: Vec::new(),
            listener_is_ready: false,
        })
    }

    /// Watches a listener no longer.
    pub(crate) fn forget(&mut self, listener: &OwnedFd) {
        let forgotten = epoll::delete(&self.epoll, listener);
        debug_assert!(forgotten.is_ok(), "it was watched since the start");
    }

    /// The waker for the shard's bell.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The descriptor of the set: it is readable when a socket in it is ready.
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Puts the slots whose sockets have become ready on the list. Waits for one or for the bell,
    /// no longer than `patience`. Returns `true` if there was an event.
    pub(crate) fn look(&mut self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).unwrap_or_default();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        // A signal may interrupt the wait; the next look finds the events then.
        let found = epoll::wait(&self.epoll, room, Some(&patience)).unwrap_or(0);
        for event in self.events.drain(..) {
            match u32::try_from(event.data.u64()) {
                Ok(slot) => {
                    let flags = event.flags;
                    let ended = flags.intersects(END);
                    self.ready.push(Ready { slot: Slot(slot), ended });
                }
                Err(_) => self.listener_is_ready |= event.data.u64() == LISTENER,
            }
        }
        found > 0
    }
}

impl Net for Watch {
    type Stream = OwnedFd;

    fn clock() -> Now {
        Now::read()
    }

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
