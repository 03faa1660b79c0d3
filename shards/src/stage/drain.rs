//! Drain: the shard admits no new clients, spreads its closes over time, flushes outboxes and ends.

use std::time::Duration;

use crate::clock::Now;
use crate::close::CloseReason;
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::lost_apps::share_of;

/// A drain under way.
#[derive(Debug)]
pub(crate) struct Drain {
    began: Now,
    /// Another process serves the same address: nobody is refused, as all come through it.
    successor: bool,
    /// The number of clients that were open when it began.
    clients: usize,
    closed: usize,
    next_slot: usize,
    /// This shard is counted among those whose own drain is over.
    counted: bool,
}

impl<N: Net> Shard<N> {
    /// Begins to drain; once. A process that takes over from one that drains already is its
    /// successor all the same.
    pub(crate) fn begin_drain(&mut self, successor: bool) {
        let (began, clients) = (self.clients.now, self.clients.open);
        let (closed, next_slot, counted) = (0, 0, false);
        let fresh = Drain { began, successor, clients, closed, next_slot, counted };
        self.drain.get_or_insert(fresh).successor |= successor;
    }

    /// Returns `true` if another process has taken over the listeners.
    pub(crate) fn has_successor(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.successor)
    }

    /// Closes as many clients as are due by now, so that they do not all come back at once.
    pub(crate) fn drain_on(&mut self) {
        let Some(drain) = &self.drain else { return };
        let passed = Duration::from_nanos(self.clients.now.ns.saturating_sub(drain.began.ns));
        let spread = self.clients.config.drain_spread;
        let due = share_of(drain.clients, passed, spread);
        let (mut closed, mut slot) = (drain.closed, drain.next_slot);
        while closed < due && slot < self.clients.roster.slots() {
            closed += usize::from(self.send_on_its_way(Slot::at(slot)));
            slot += 1;
        }
        if let Some(drain) = &mut self.drain {
            (drain.closed, drain.next_slot) = (closed, slot);
        }
        if passed >= spread {
            self.close_the_rest();
        }
    }

    /// Closes the clients that came in while the drain began, on a slot that was passed already.
    fn close_the_rest(&mut self) {
        if self.clients.roster.len() == 0 {
            return;
        }
        for slot in 0..self.clients.roster.slots() {
            self.send_on_its_way(Slot::at(slot));
        }
    }

    /// Closes a client that has its 101. Returns `true` if it was open.
    fn send_on_its_way(&mut self, slot: Slot) -> bool {
        let open = self.clients.roster.state(slot).is_open();
        if self.clients.roster.state(slot).is_upgraded() {
            self.close(slot, CloseReason::Drain);
        }
        open
    }

    /// Returns `true` if the drain is over on every shard: all clients have gone, or their time is
    /// up. A shard without clients is still the home of channels and users of clients that are on
    /// their way out of other shards, and accepts at its listener.
    pub(crate) fn is_drained(&mut self) -> bool {
        let Some(drain) = &mut self.drain else { return false };
        let config = &self.clients.config;
        let passed = Duration::from_nanos(self.clients.now.ns.saturating_sub(drain.began.ns));
        // Publications of clients may still be on its way to the process that numbers it, and an
        // older process may still have its publications numbered here.
        let said = self.engine.as_ref().is_none_or(|engine| !engine.is_needed());
        let over = drain.counted
            || self.clients.roster.len() == 0 && said
            || passed >= config.drain_spread.saturating_add(config.drain_timeout);
        if over && !drain.counted {
            drain.counted = true;
            if self.clients.count_drained() >= config.cores.len() {
                self.port.mesh.ring_all();
            }
        }
        over && self.clients.all_are_drained()
    }
}
