//! Sends through `io_uring`, a batch for each message.
//!
//! Every client's send of one message is queued, and one `io_uring_enter` hands all of them to the
//! kernel and brings what came of them, up to [`ENTRIES`] at a time: under `strace -c`, 400
//! messages to 1,000 clients are 400 calls. It is `io_uring` as `compio-driver` issues it, which
//! keeps alive what is under way and so needs no `unsafe` here; for that it allocates and books
//! each send, which is user time that a hand-written ring would save. The server's own runtime
//! cannot do this: a stream of glommio's sends with send(2) and asks the ring only whether there is
//! room. Accepting and reading are the bare loop's.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compio_driver::op::Send;
use compio_driver::{Key, Proactor, PushEntry};
use rustix::net::{SendFlags, Shutdown, shutdown};

use super::way::{Slot, Way, send_rest};

/// How many sends one call can carry.
const ENTRIES: u32 = 4096;

/// How long full sockets are waited for before their clients are given up.
const FULL_MAX: Duration = Duration::from_secs(1);

type Op = Send<Bytes, Rc<OwnedFd>>;

/// A ring, and the sends that are under way in it.
pub(super) struct Ring {
    proactor: Proactor,
    /// Each with the place of its client.
    under_way: Vec<(usize, Key<Op>)>,
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        let proactor = Proactor::builder().capacity(ENTRIES).build()?;
        Ok(Self { proactor, under_way: Vec::new() })
    }

    /// Takes what is done; a send that the socket took in part is finished here.
    fn take(&mut self, slots: &[Option<Slot<Rc<OwnedFd>>>], bytes: &[u8]) {
        for (place, key) in std::mem::take(&mut self.under_way) {
            match self.proactor.pop(key) {
                PushEntry::Pending(key) => self.under_way.push((place, key)),
                PushEntry::Ready(done) => finish(slots, place, done.0, bytes),
            }
        }
    }
}

impl Way for Ring {
    type Socket = Rc<OwnedFd>;

    fn send_to_all(&mut self, slots: &[Option<Slot<Rc<OwnedFd>>>], bytes: &[u8]) -> io::Result<()> {
        let shared = Bytes::copy_from_slice(bytes);
        for (place, slot) in slots.iter().enumerate() {
            let Some(slot) = slot.as_ref().filter(|slot| slot.open) else { continue };
            let send = Send::new(Rc::clone(&slot.socket), shared.clone(), SendFlags::NOSIGNAL);
            match self.proactor.push(send) {
                PushEntry::Pending(key) => self.under_way.push((place, key)),
                PushEntry::Ready(done) => finish(slots, place, done.0, bytes),
            }
        }
        // Two sends to one socket could overtake each other: all are through before the next.
        let mut until = Instant::now() + FULL_MAX;
        while !self.under_way.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match self.proactor.poll(Some(left)) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
            self.take(slots, bytes);
            if left.is_zero() {
                self.give_up(slots);
                until = Instant::now() + FULL_MAX;
            }
        }
        Ok(())
    }
}

impl Ring {
    /// Ends those whose sockets stay full, which ends their sends as well.
    fn give_up(&self, slots: &[Option<Slot<Rc<OwnedFd>>>]) {
        for (place, _) in &self.under_way {
            if let Some(Some(slot)) = slots.get(*place) {
                let _ = shutdown(&slot.socket, Shutdown::Both);
            }
        }
    }
}

fn finish(
    slots: &[Option<Slot<Rc<OwnedFd>>>],
    place: usize,
    sent: io::Result<usize>,
    bytes: &[u8],
) {
    // Of an error reading will tell: the client has gone.
    if let (Ok(sent), Some(Some(slot))) = (sent, slots.get(place))
        && sent < bytes.len()
    {
        send_rest(slot, &bytes[sent..]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    type Slots = Vec<Option<Slot<Rc<OwnedFd>>>>;

    fn clients(count: usize) -> (Slots, Vec<UnixStream>) {
        let pair = |_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            (Some(Slot { socket: Rc::new(OwnedFd::from(ours)), open: true }), theirs)
        };
        (0..count).map(pair).unzip()
    }

    fn heard(client: &mut UnixStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn everyone_who_is_open_gets_every_message_once_and_in_order() {
        let (mut slots, mut theirs) = clients(300);
        slots[7] = None;
        slots[8].as_mut().unwrap().open = false;
        let mut ring = Ring::new().unwrap();
        for message in 0..20_u8 {
            ring.send_to_all(&slots, &[message, b'x']).unwrap();
        }
        let right: Vec<u8> = (0..20).flat_map(|message| [message, b'x']).collect();
        for (place, client) in theirs.iter_mut().enumerate() {
            client.set_nonblocking(true).unwrap();
            if place == 7 {
                assert_eq!(client.read(&mut [0]).unwrap(), 0, "its other end is closed");
            } else if place == 8 {
                assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            } else {
                assert_eq!(heard(client, right.len()), right, "{place}");
                assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }
        }
    }

    /// A message is larger than a socket holds: one reader is there, and another never reads.
    #[test]
    fn full_sockets_are_waited_for_and_then_given_up() {
        let (slots, theirs) = clients(2);
        let [mut reads, _idles] = <[UnixStream; 2]>::try_from(theirs).unwrap();
        let message: Vec<u8> = (0..4_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let count = message.len();
        let reader = std::thread::spawn(move || heard(&mut reads, count));
        let began = Instant::now();
        let mut ring = Ring::new().unwrap();
        ring.send_to_all(&slots, &message).unwrap();
        assert!(reader.join().unwrap() == message);
        assert!((FULL_MAX..20 * FULL_MAX).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(ring.under_way.is_empty());
    }
}
