//! How frames leave a bare loop: its clients, and what every way of sending has in common.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendFlags, Shutdown};

/// How long a full socket is waited for before its client is given up.
const FULL_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A client as the loops see it.
pub(crate) struct Slot<S> {
    pub(super) socket: S,
    pub(super) open: bool,
}

const _: () =
    assert!(size_of::<Option<Slot<OwnedFd>>>() == 8, "the loops walk an array of small slots");

/// How frames leave.
pub(crate) trait Way {
    /// The owner of a client's socket.
    type Socket: AsFd + From<OwnedFd>;

    /// Sends `bytes` to all clients that are open, and has none of it under way when it returns.
    fn send_to_all(&mut self, slots: &[Option<Slot<Self::Socket>>], bytes: &[u8])
    -> io::Result<()>;
}

/// Waits for room: nothing may be lost, or less would be measured than was asked for.
#[cold]
pub(super) fn send_rest<S: AsFd>(slot: &Slot<S>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let mut poll = [PollFd::new(&slot.socket, PollFlags::OUT)];
        let ready = rustix::event::poll(&mut poll, Some(&FULL_MAX));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&slot.socket, bytes, flags) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(rustix::io::Errno::AGAIN) if ready.is_ok_and(|count| count > 0) => {}
            Err(_) => {
                let _ = rustix::net::shutdown(&slot.socket, Shutdown::Both);
                return;
            }
        }
    }
}
