//! Seal: what a client that speaks TLS is sent leaves in records, made in the shard's own memory.
//!
//! A record that has been sealed must leave whole, and before every later one. So the part that a
//! socket does not take waits in front of the client's outbox; all behind it stays shared.

use crate::client::Clients;
use crate::client::state::Flags;
use crate::model::id::Slot;
use crate::model::outbox::Outbox;
use crate::net::{Net, SLICES_MAX, Sent};
use crate::tls::{Fault, RECORD_BYTES};

/// The records of a large message that leave in one call. As many may then lie in the outbox of a
/// client as bytes of its own.
const RECORDS_AT_ONCE: usize = 4;

/// The most clients whose records are made before the first of them is sent. Sealing takes the same
/// code and tables for each, and a send between two of them drives these out of the caches: that
/// doubled the time in which this process itself runs.
const SEALED_AT_ONCE: usize = if cfg!(any(test, fuzzing)) { 3 } else { 16 };

/// The most bytes that are sealed for several clients at once.
const BATCHED_BYTES: usize = if cfg!(any(test, fuzzing)) { 100 } else { 2 << 10 };

/// Room for one of these records.
const BATCHED_ROOM: usize = BATCHED_BYTES + 512;

/// Clients that speak TLS, for which nothing waits, and that are about to be sent the same bytes.
pub(crate) struct Batch {
    slots: [Slot; SEALED_AT_ONCE],
    count: usize,
    most: usize,
}

impl Batch {
    /// A batch for these bytes: of one client if they are many.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let most = if bytes.len() <= BATCHED_BYTES { SEALED_AT_ONCE } else { 1 };
        Self { slots: [Slot(0); SEALED_AT_ONCE], count: 0, most }
    }

    /// Adds a client, for which there must be room.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.slots[self.count] = slot;
        self.count += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == self.most
    }
}

impl<N: Net> Clients<N> {
    /// Sends bytes to a client for which nothing waits, sealed if it speaks TLS.
    pub(crate) fn transmit(&mut self, slot: Slot, bytes: &[u8]) -> Sent {
        let hot = self.roster.hot(slot);
        debug_assert!(!hot.state.is_any(Flags::BLOCKED), "it would overtake what waits");
        if hot.state.is_any(Flags::TLS) {
            self.send_sealed(slot, bytes)
        } else {
            N::send(hot.fd, bytes)
        }
    }

    /// Sends bytes in records to a client for which nothing waits. Those that are in a record count
    /// as sent: what the socket does not take of it waits in the outbox.
    pub(crate) fn send_sealed(&mut self, slot: Slot, bytes: &[u8]) -> Sent {
        let hot = self.roster.hot(slot);
        debug_assert!(!hot.state.is_any(Flags::BLOCKED), "a record would overtake an earlier one");
        let mut done = 0;
        for plain in bytes.chunks(RECORDS_AT_ONCE * RECORD_BYTES) {
            let Some(secured) = self.roster.secured(slot) else { return Sent::Gone };
            let records = match self.sealing.seal(&mut secured.session, plain) {
                Ok(records) => records,
                Err(fault) => return self.give_up(&fault),
            };
            done += plain.len();
            match N::send(hot.fd, records) {
                Sent::All => {}
                Sent::Part(sent) => {
                    let rest = records[sent..].to_vec();
                    self.change_outbox(slot, |outbox| outbox.push_sealed(&rest));
                    return Sent::Part(done);
                }
                Sent::Gone => return Sent::Gone,
            }
        }
        Sent::All
    }

    /// Sends the clients of a batch these bytes, and empties it. Returns the number of sends that
    /// took everything; `less` is told of the others.
    pub(crate) fn send_batch(
        &mut self,
        batch: &mut Batch,
        bytes: &[u8],
        mut less: impl FnMut(&mut Self, Slot, Sent),
    ) -> u64 {
        let slots = &batch.slots[..std::mem::take(&mut batch.count)];
        if let [slot] = *slots {
            let sent = self.send_sealed(slot, bytes);
            if sent != Sent::All {
                less(self, slot, sent);
            }
            return u64::from(sent == Sent::All);
        }
        if slots.is_empty() {
            return 0;
        }
        let mut records = std::mem::take(&mut self.sealing.records);
        records.resize(SEALED_AT_ONCE * BATCHED_ROOM, 0);
        let mut ends = [0; SEALED_AT_ONCE];
        let rooms = records.chunks_exact_mut(BATCHED_ROOM);
        for ((slot, room), end) in slots.iter().zip(rooms).zip(&mut ends) {
            let sealed = self.roster.secured(*slot).map(|one| one.session.seal(bytes, room));
            *end = sealed.and_then(Result::ok).unwrap_or(0);
        }
        let mut sends = 0;
        for ((slot, room), end) in slots.iter().zip(records.chunks_exact(BATCHED_ROOM)).zip(ends) {
            let record = &room[..end];
            let sent = if record.is_empty() {
                self.give_up(&Fault::Unsealed)
            } else {
                N::send(self.roster.hot(*slot).fd, record)
            };
            match sent {
                Sent::All => sends += 1,
                Sent::Part(taken) => {
                    self.change_outbox(*slot, |outbox| outbox.push_sealed(&record[taken..]));
                    less(self, *slot, Sent::Part(bytes.len()));
                }
                Sent::Gone => less(self, *slot, Sent::Gone),
            }
        }
        self.sealing.records = records;
        sends
    }

    /// Sends bytes that lie in several places, as `send_sealed` does those of one.
    pub(crate) fn send_several_sealed<'a>(
        &mut self,
        slot: Slot,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Sent {
        let mut plain = std::mem::take(&mut self.sealing.plain);
        plain.clear();
        slices.take(SLICES_MAX).for_each(|slice| plain.extend_from_slice(slice));
        let sent = self.send_sealed(slot, &plain);
        plain.clear();
        plain.shrink_to(RECORD_BYTES);
        self.sealing.plain = plain;
        sent
    }

    /// Sends the beginning of an outbox, as far as the socket takes it: what is sealed already, or
    /// else one record of frames.
    pub(crate) fn send_waiting_sealed(&mut self, slot: Slot, outbox: &mut Outbox) -> Sent {
        let fd = self.roster.hot(slot).fd;
        if outbox.sealed().is_empty() {
            let mut plain = std::mem::take(&mut self.sealing.plain);
            plain.clear();
            for slice in outbox.slices() {
                let room = RECORD_BYTES - plain.len();
                plain.extend_from_slice(&slice[..slice.len().min(room)]);
                if slice.len() >= room {
                    break;
                }
            }
            let secured = self.roster.secured(slot);
            let sealed = secured.map(|secured| self.sealing.seal(&mut secured.session, &plain));
            let len = plain.len();
            let fault = match sealed {
                Some(Ok(record)) => {
                    // It has not moved: nothing has left yet.
                    outbox.advance(len, outbox.moved_ms());
                    outbox.push_sealed(record);
                    None
                }
                Some(Err(fault)) => Some(fault),
                None => Some(Fault::Unsealed),
            };
            self.sealing.plain = plain;
            if let Some(fault) = fault {
                return self.give_up(&fault);
            }
        }
        let sent = N::send(fd, outbox.sealed());
        match sent {
            Sent::All => outbox.advance_sealed(outbox.sealed().len(), self.now.ms()),
            Sent::Part(sent) => outbox.advance_sealed(sent, self.now.ms()),
            Sent::Gone => {}
        }
        sent
    }

    /// The keys of a client are used up, which happens to nobody but clients of TLS 1.2, or it is
    /// told something behind its farewell.
    fn give_up(&mut self, fault: &Fault) -> Sent {
        self.tally.tls_faults += 1;
        tracing::debug!(%fault, "a client of TLS");
        Sent::Gone
    }

    /// Ends the sending direction of a client that was refused, once it has been sent everything.
    pub(crate) fn end_answer(&mut self, slot: Slot) {
        if !self.roster.state(slot).is_any(Flags::BLOCKED) {
            self.send_farewell(slot);
            N::shutdown_write(self.roster.hot(slot).fd);
            self.net.mark_ready(slot);
        }
    }

    /// Tells a client that speaks TLS that nothing more comes, if nothing waits for it.
    pub(crate) fn send_farewell(&mut self, slot: Slot) {
        let hot = self.roster.hot(slot);
        if !hot.state.is_any(Flags::TLS) || hot.state.is_any(Flags::BLOCKED) {
            return;
        }
        let Some(secured) = self.roster.secured(slot) else { return };
        let record = self.sealing.farewell(&mut secured.session);
        if !record.is_empty() {
            // A socket that does not take it whole is closed all the same.
            let _ = N::send(hot.fd, record);
        }
    }
}
