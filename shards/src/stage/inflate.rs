//! Inflate: bytes of a client that may send compressed messages pass its shim, and go to the
//! session as if they had never been compressed.

use bytes::{Buf, Bytes};

use crate::client::state::{Flags, State};
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::session::FRAMES_PER_TURN;
use crate::wire::inflate::Inflater;
use crate::wire::machine::Machine;
use crate::wire::shim::Bounds;

/// The session is given what has passed as soon as it is so much. It may refuse the rest, which
/// waits then with memory of its own.
const SLICE_BYTES: usize = if cfg!(any(test, fuzzing)) { 64 } else { 16 << 10 };

/// After so many bytes of one client in a turn, inflated, the others have their turn.
const BYTES_PER_TURN: usize = if cfg!(any(test, fuzzing)) { 256 } else { 256 << 10 };

/// The memory that all shims of a shard share.
#[derive(Debug, Default)]
pub(crate) struct Inflation {
    inflater: Inflater,
    plain: Vec<u8>,
}

impl<N: Net> Shard<N> {
    /// Acts on bytes of a client that may be compressed. Returns the number of bytes taken; what
    /// has passed and could not be said yet waits beside the rest.
    pub(crate) fn pass(&mut self, slot: Slot, input: &[u8]) -> usize {
        if !self.say_what_has_passed(slot) {
            return if self.is_heard(slot) { 0 } else { input.len() };
        }
        let (mut at, mut passed, mut frames) = (0, 0, 0);
        let mut plain = std::mem::take(&mut self.inflation.plain);
        while at < input.len() {
            if passed >= BYTES_PER_TURN || frames >= FRAMES_PER_TURN {
                self.pass_later(slot);
                break;
            }
            plain.clear();
            let (taken, seen) = self.pass_shim(slot, &input[at..], &mut plain);
            at += taken;
            frames += seen;
            passed += plain.len();
            let said = if plain.is_empty() { 0 } else { self.feed(slot, &plain) };
            if !self.is_heard(slot) {
                at = input.len();
            } else if said < plain.len() {
                self.keep_passed(slot, Bytes::copy_from_slice(&plain[said..]));
            }
            if !self.goes_on(slot) {
                break;
            }
        }
        plain.clear();
        plain.shrink_to(2 * SLICE_BYTES);
        self.inflation.plain = plain;
        self.count_inflated();
        at
    }

    /// Says what has passed in an earlier turn. Returns `false` if it could not all be said, or the
    /// client must wait again.
    fn say_what_has_passed(&mut self, slot: Slot) -> bool {
        let machine = self.clients.roster.get_mut(slot).and_then(|client| client.machine.as_mut());
        let Some(machine) = machine else { return true };
        let mut passed = std::mem::take(&mut machine.passed);
        // Also without bytes: the machine may hold whole messages that it has read already.
        let said = self.feed(slot, &passed);
        passed.advance(said);
        self.keep_passed(slot, passed);
        self.goes_on(slot)
    }

    /// Has the next bytes pass the client's shim. Returns the number of bytes taken, and that of
    /// the frames which have begun in them.
    fn pass_shim(&mut self, slot: Slot, input: &[u8], plain: &mut Vec<u8>) -> (usize, u32) {
        let bounds = Bounds {
            message_bytes: self.clients.config.message_bytes,
            plain_bytes: SLICE_BYTES,
            frames: FRAMES_PER_TURN,
        };
        let mut machine = self.take_machine(slot);
        let shim = machine.shim.get_or_insert_default();
        let before = shim.frames();
        let taken = shim.feed(input, plain, &mut self.inflation.inflater, bounds);
        let frames = shim.frames().wrapping_sub(before);
        match self.clients.roster.get_mut(slot) {
            // The session takes it from there.
            Some(client) if !plain.is_empty() || !machine.is_idle() => {
                client.machine = Some(machine);
            }
            _ => self.spare = Some(machine),
        }
        (taken, frames)
    }

    /// Goes on with the client in another turn.
    fn pass_later(&mut self, slot: Slot) {
        let machine = self.take_machine(slot);
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.machine = Some(machine);
            self.clients.roster.state_mut(slot).set_more(true);
            self.clients.net.mark_ready(slot);
        }
    }

    fn take_machine(&mut self, slot: Slot) -> Box<Machine> {
        let client = self.clients.roster.get_mut(slot);
        let own = client.and_then(|client| client.machine.take());
        own.or_else(|| self.spare.take()).unwrap_or_else(|| Box::new(Machine::new(self.websocket)))
    }

    fn keep_passed(&mut self, slot: Slot, passed: Bytes) {
        let client = self.clients.roster.get_mut(slot);
        if let Some(machine) = client.and_then(|client| client.machine.as_mut()) {
            machine.passed = passed;
        }
    }

    /// Returns `true` if anybody still listens to the client.
    fn is_heard(&self, slot: Slot) -> bool {
        let state = self.clients.roster.state(slot);
        state != State::VACANT && !state.is_any(Flags::OVER)
    }

    /// Returns `true` if the client may say more in this turn.
    fn goes_on(&self, slot: Slot) -> bool {
        let waits = Flags::HELD.union(Flags::MORE);
        self.is_heard(slot) && !self.clients.roster.state(slot).is_any(waits)
    }

    fn count_inflated(&mut self) {
        let inflated = self.inflation.inflater.settle();
        let tally = &mut self.clients.tally;
        tally.inflated_messages += inflated.messages;
        tally.inflated_bytes_before += inflated.bytes_before;
        tally.inflated_bytes_after += inflated.bytes_after;
        tally.inflated_too_far += inflated.bombs;
    }
}
