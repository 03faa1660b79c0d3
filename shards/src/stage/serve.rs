//! Serve: a slot that has become ready is flushed and read, and its bytes go to the stage that its
//! phase names.

use std::task::Poll;

use crate::client::state::{Flags, Phase, State};
use crate::close::CloseReason;
use crate::model::id::Slot;
use crate::net::{Net, Ready};
use crate::shard::Shard;

/// The clients whose peers have ended that a turn takes leave of: to each go a read, an answer and
/// the news for others, 5 to 10 us. Thousands that are cut at once would make one long turn.
const LEAVERS_PER_TURN: usize = if cfg!(any(test, fuzzing)) { 2 } else { 32 };

/// The time that one of them takes.
const LEAVER_NS: u64 = 8_000;

impl<N: Net> Shard<N> {
    /// Serves a slot that has become ready, in either direction.
    pub(crate) fn serve(&mut self, Ready { slot, ended }: Ready) {
        // A slot may have been emptied, or given away, since it rang.
        if self.clients.roster.phase(slot) == Phase::Vacant {
            return;
        }
        if ended && self.leaves_later(slot) {
            return;
        }
        // A client that floods may ring several times in a turn, and is served once all the same.
        let again = self.clients.roster.state_mut(slot).serve(ended);
        if again && !ended {
            return;
        }
        if self.clients.roster.state(slot).is_any(Flags::BLOCKED) {
            self.clients.flush(slot);
            self.recall_on(slot);
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        self.read(slot, &mut buffer);
        self.read_buffer = buffer;
        self.settle();
    }

    /// Puts a client whose peer has just ended behind others of its kind, if this turn has taken
    /// leave of enough of them.
    fn leaves_later(&mut self, slot: Slot) -> bool {
        if self.clients.roster.state(slot).is_any(Flags::ENDED) {
            return false;
        }
        if self.leavers < self.leavers_max {
            self.leavers += 1;
            return false;
        }
        self.clients.roster.state_mut(slot).end();
        self.leaving.push_back(self.clients.roster.id(slot));
        true
    }

    /// Adds to `waited` those whose peers have ended and that this turn takes leave of.
    pub(crate) fn take_leavers(&mut self, waited: &mut Vec<Ready>) {
        self.leavers_max = LEAVERS_PER_TURN.max(self.part_of_turn(LEAVER_NS));
        self.leavers = self.leaving.len().min(self.leavers_max);
        for client in self.leaving.drain(..self.leavers) {
            // Each is here once: a peer ends once.
            let slot = self.clients.roster.slot_of(client);
            waited.extend(slot.map(|slot| Ready { slot, ended: false }));
        }
    }

    /// Serves the handshakes of TLS that wait, as far as this turn has time for them. They come
    /// behind everybody else, and have nothing to do with the bounds of what others ask for.
    pub(crate) fn serve_handshakes(&mut self) {
        if self.clients.sealing.handshakes.is_empty() {
            return;
        }
        let began = N::clock();
        let mut buffer = std::mem::take(&mut self.read_buffer);
        while let Some(slot) = self.clients.next_handshake() {
            self.read_on(slot, &mut buffer);
            self.settle();
            self.fan_out_if_full();
            let spent_ns = N::clock().ns.saturating_sub(began.ns);
            self.clients.sealing.handshakes.spend(spent_ns);
        }
        self.read_buffer = buffer;
    }

    fn read(&mut self, slot: Slot, buffer: &mut [u8]) {
        if self.clients.queue_handshake(slot) {
            return;
        }
        if self.is_for_the_next_turn(slot) {
            return self.put_off.push(Ready { slot, ended: false });
        }
        self.read_on(slot, buffer);
    }

    fn read_on(&mut self, slot: Slot, buffer: &mut [u8]) {
        if self.clients.roster.state(slot).is_any(Flags::MORE) {
            return self.go_on(slot);
        }
        loop {
            let hot = self.clients.roster.hot(slot);
            if hot.state.is_any(Flags::HELD.union(Flags::MORE)) {
                return;
            }
            if hot.state.is_waiting() || hot.state == State::VACANT {
                return;
            }
            let last_word_is_due = hot.state.is_any(Flags::OVER) && hot.state.is_upgraded();
            // The end of what a client says in TLS comes behind all that it has said, as does that
            // of a plain connection.
            let has_ended = self.clients.has_ended(slot);
            let read = if has_ended { Poll::Ready(Ok(0)) } else { N::read(hot.fd, buffer) };
            let count = match read {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) if last_word_is_due => return,
                Poll::Ready(Ok(0) | Err(_)) => return self.close(slot, CloseReason::Gone),
                Poll::Ready(Ok(count)) => count,
            };
            let now_ms = self.clients.now.ms();
            let hot = self.clients.roster.hot_mut(slot);
            hot.heard_ms = now_ms;
            hot.hear();
            self.take_bytes(slot, &mut buffer[..count]);
            if count == buffer.len() {
                // One full buffer a turn: a client that floods waits for the others.
                return self.clients.net.mark_ready(slot);
            }
            let is_at_end = self.clients.roster.state(slot).is_any(Flags::ENDED);
            if !is_at_end && !self.clients.has_ended(slot) {
                // Bytes that come after a short read ring anew.
                return;
            }
        }
    }

    /// Returns `true` if this turn has done as much as it may for clients that ask for as much as
    /// this one might. Each of them alone asks for little, and there may be thousands.
    fn is_for_the_next_turn(&self, slot: Slot) -> bool {
        match self.clients.roster.phase(slot) {
            Phase::Handshake | Phase::Upgraded => {
                self.trust.is_spent() || self.clients.told >= self.clients.told_max
            }
            Phase::Open if self.clients.told >= self.clients.told_max => {
                self.clients.dialect(slot).has_requests()
            }
            _ => false,
        }
    }

    fn take_bytes(&mut self, slot: Slot, bytes: &mut [u8]) {
        let state = self.clients.roster.state(slot);
        // RFC 6455, 7.1.7: bytes after a broken rule are not processed.
        if !state.is_any(Flags::OVER.union(Flags::TLS)) {
            self.take_plain_bytes(slot, bytes);
        } else if !state.is_any(Flags::OVER) && state.phase() != Phase::Lingering {
            self.take_sealed_bytes(slot, bytes);
        }
    }

    fn take_sealed_bytes(&mut self, slot: Slot, bytes: &mut [u8]) {
        let mut opened = std::mem::take(&mut self.clients.sealing.opened);
        let is_broken = self.unseal(slot, bytes, &mut opened);
        if !opened.is_empty() {
            self.take_plain_bytes(slot, &opened);
        }
        self.clients.sealing.reuse_opened(opened);
        let state = self.clients.roster.state(slot);
        let last_word_is_due = state.is_any(Flags::OVER) && state.is_upgraded();
        if is_broken && !last_word_is_due {
            self.close(slot, CloseReason::Gone);
        }
    }

    fn take_plain_bytes(&mut self, slot: Slot, bytes: &[u8]) {
        let state = self.clients.roster.state(slot);
        if matches!(state.phase(), Phase::Handshake | Phase::Upgraded) {
            // Bodies and first commands are up to 64 KiB long, and a storm brings thousands.
            self.clients.told += bytes.len() >> 10;
        }
        match state.phase() {
            Phase::Handshake => self.shake_hands(slot, bytes),
            Phase::Open | Phase::Upgraded | Phase::Closing if self.clients.is_stream(slot) => {
                self.overhear(slot, bytes);
            }
            Phase::Open | Phase::Upgraded | Phase::Closing => self.ingest(slot, bytes),
            // A refused client may say what it likes while it reads the answer.
            Phase::Lingering | Phase::Waiting | Phase::Connecting | Phase::Vacant => {}
        }
    }

    /// A client that listens to a response has said everything with its request. Line breaks behind
    /// a body, which some clients send, are none of anybody's business.
    fn overhear(&mut self, slot: Slot, bytes: &[u8]) {
        if bytes.iter().any(|byte| !b"\r\n".contains(byte)) {
            self.clients.roster.state_mut(slot).break_rule();
            self.clients.doom(slot, CloseReason::Protocol);
        }
    }
}
