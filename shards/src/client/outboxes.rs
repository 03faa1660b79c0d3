//! The outboxes of clients, all together: every change of one passes through here, so that their
//! sum and the list of those that have one stay right.

use crate::model::id::Slot;
use crate::model::outbox::Outbox;
use crate::net::Net;

use super::Clients;

impl<N: Net> Clients<N> {
    /// Changes the outbox of a client, which is made if there is none.
    pub(crate) fn change_outbox(&mut self, slot: Slot, change: impl FnOnce(&mut Outbox)) {
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        change(outbox);
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
    }

    /// Keeps the shard's sum of its outboxes, and the list of clients that have one.
    pub(crate) fn note_outbox(&mut self, slot: Slot, before: usize, after: usize) {
        self.outboxes.bytes = self.outboxes.bytes + after - before;
        if after > 0 && self.roster.state_mut(slot).block() {
            self.outboxes.listed.push(self.roster.id(slot));
        }
    }
}
