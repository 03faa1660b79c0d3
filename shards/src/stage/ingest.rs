//! Ingest: the bytes of an open client are acted on as far as it may say them now; the rest waits
//! with the client until it may go on.

use bytes::{Buf, Bytes};

use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::submit::Flow;

impl<N: Net> Shard<N> {
    /// Takes bytes that a client sent, and keeps those that it may not say yet.
    pub(crate) fn ingest(&mut self, slot: Slot, input: &[u8]) {
        let taken = self.take(slot, input);
        if taken < input.len() {
            self.keep_rest(slot, Bytes::copy_from_slice(&input[taken..]));
        }
    }

    /// Acts on a client's bytes. Returns the number of bytes taken.
    fn take(&mut self, slot: Slot, input: &[u8]) -> usize {
        if self.clients.inflates(slot) { self.pass(slot, input) } else { self.feed(slot, input) }
    }

    /// Goes on with what was kept.
    pub(crate) fn go_on(&mut self, slot: Slot) {
        if self.clients.roster.state(slot).is_waiting() {
            // It is answered first, and goes on then.
            return;
        }
        self.clients.roster.state_mut(slot).set_more(false);
        let machine = self.clients.roster.get_mut(slot).and_then(|client| client.machine.as_mut());
        let mut rest = machine.map(|machine| std::mem::take(&mut machine.rest)).unwrap_or_default();
        // Also without a rest: the machine may hold whole messages that it has read already.
        let taken = self.take(slot, &rest);
        rest.advance(taken);
        self.keep_rest(slot, rest);
        self.clients.net.mark_ready(slot);
    }

    /// Lets held clients go on, in turn, as far as there is room. Returns the number that did.
    pub(crate) fn resume_held(&mut self) -> usize {
        let mut resumed = 0;
        for _ in 0..self.held.len() {
            let Some(id) = self.held.pop_front() else { break };
            let Some(slot) = self.clients.roster.slot_of(id) else { continue };
            self.clients.roster.state_mut(slot).release();
            let Some(client) = self.clients.roster.get_mut(slot) else { continue };
            let held = client.brief_mut().and_then(|brief| brief.held.take());
            let flow = match held {
                Some((to, ask)) => self.submit(slot, to, ask),
                None if self.port.is_short() => self.hold(slot),
                None => Flow::On,
            };
            self.settle();
            if !matches!(flow, Flow::On) {
                continue;
            }
            resumed += 1;
            if let Some(client) = self.clients.roster.get_mut(slot) {
                client.shed();
            }
            self.go_on(slot);
            self.settle();
            self.fan_out_if_full();
        }
        resumed
    }

    fn keep_rest(&mut self, slot: Slot, rest: Bytes) {
        let client = self.clients.roster.get_mut(slot);
        // Without a machine the client is on its way out, and is not listened to.
        if let Some(machine) = client.and_then(|client| client.machine.as_mut()) {
            machine.rest = rest;
        }
    }
}
