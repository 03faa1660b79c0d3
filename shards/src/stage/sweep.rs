//! Sweep: the shard's own heartbeat, one slice of the slots at a time, without a timer per client.

use std::time::Duration;

use crate::client::Deadline;
use crate::client::hot::Hot;
use crate::client::state::{Flags, Phase};
use crate::clock::{Now, since_ms};
use crate::close::CloseReason;
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;
use crate::wire::refusal::Refusal;

/// The bounds of the time from one slice to the next.
const PERIOD_MIN: Duration = Duration::from_millis(10);
const PERIOD_MAX: Duration = Duration::from_millis(50);

/// A shorter absence is normal on a busy host, and no time limit of a client is so fine.
const ABSENCE_MIN: Duration = Duration::from_millis(250);

/// Each client is looked at `LOOKS` times within the shorter of interval and timeout, and at least
/// once in `LOOK_MAX`: some clients give a server up whose ping is a second late.
const LOOKS: u32 = 4;
const LOOK_MAX: Duration = Duration::from_millis(500);

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX / 4)
}

impl<N: Net> Shard<N> {
    /// The time from one slice to the next.
    pub(crate) fn sweep_period(&self) -> Duration {
        let shorter = if self.clients.config.ping_interval.is_zero() {
            PERIOD_MAX
        } else {
            self.clients.config.ping_interval.min(self.clients.config.pong_timeout) / (2 * LOOKS)
        };
        shorter.clamp(PERIOD_MIN, PERIOD_MAX)
    }

    /// Adds the time for which the shard was stopped or had no core since its turn at `before` to
    /// the time limits of all clients: their messages lie unread meanwhile.
    pub(crate) fn excuse_absence(&mut self, before: Now) {
        let passed = Duration::from_nanos(self.clients.now.ns.saturating_sub(before.ns));
        if passed < ABSENCE_MIN {
            return;
        }
        // A shard without any time limit may have slept for hours.
        let Some(nap) = self.nap() else { return };
        let away = passed.saturating_sub(nap);
        if away < ABSENCE_MIN {
            return;
        }
        self.clients.tally.absences += 1;
        let away_ms = milliseconds(away);
        let pinged = |hot: &&mut Hot| hot.is_pinged();
        for hot in self.clients.roster.all_hot_mut().filter(pinged) {
            hot.pinged_ms = hot.pinged_ms.wrapping_add(away_ms);
        }
        for Deadline { due_ms, .. } in &mut self.clients.deadlines {
            *due_ms = due_ms.wrapping_add(away_ms);
        }
        for client in &self.clients.outboxes.listed {
            let slot = self.clients.roster.slot_of(*client);
            if let Some(client) = slot.and_then(|slot| self.clients.roster.get_mut(slot))
                && let Some(outbox) = &mut client.outbox
            {
                outbox.excuse(away_ms);
            }
        }
    }

    /// Acts on the time limits that have passed, once a period.
    pub(crate) fn sweep(&mut self) {
        let period = self.sweep_period();
        let passed = Duration::from_nanos(self.clients.now.ns.saturating_sub(self.swept.ns));
        if passed < period {
            return;
        }
        self.swept = self.clients.now;
        self.sweep_deadlines();
        self.sweep_blocked();
        self.rooms.sweep_histories(self.clients.now.long_ms());
        self.home().tell_absent();
        self.home().tell_watchers_of_users();
        self.leave_on();
        self.forget_page();
        self.sweep_ends();
        if !self.clients.config.ping_interval.is_zero() && self.clients.open > 0 {
            // After a long turn several slices are due; more than all of them never are.
            self.sweep_slice(passed.min(self.clients.config.pong_timeout));
        }
    }

    /// Ends handshakes, closes and refusals that took too long.
    fn sweep_deadlines(&mut self) {
        let now_ms = self.clients.now.ms();
        let mut deadlines = std::mem::take(&mut self.clients.deadlines);
        deadlines.retain_mut(|Deadline { due_ms, client, leaving }| {
            let (client, leaving) = (*client, *leaving);
            let Some(slot) = self.clients.roster.slot_of(client) else { return false };
            let state = self.clients.roster.state(slot);
            // A client that is open has no deadline, and one that leaves has another one.
            if state.is_open() || state.is_leaving() != leaving {
                return false;
            }
            if since_ms(*due_ms, now_ms) > 0 {
                return true;
            }
            if state.phase() == Phase::Handshake {
                // The time in the shard's own line is not the client's.
                let Some(excused_ms) = self.clients.take_excuse(slot) else { return true };
                *due_ms = due_ms.wrapping_add(excused_ms);
                if since_ms(*due_ms, now_ms) > 0 {
                    return true;
                }
            }
            if self.drain.is_some() && state.is_closing() && state.is_any(Flags::BLOCKED) {
                // A drain lets outboxes flush for as long as it lasts itself.
                return true;
            }
            match state.phase() {
                Phase::Handshake if self.has_asked(slot) => self.refuse(slot, &Refusal::Slow),
                Phase::Handshake => {
                    self.clients.count_refusal(&Refusal::NoRequest);
                    self.close(slot, CloseReason::Gone);
                }
                Phase::Waiting => self.close(slot, CloseReason::Gone),
                Phase::Upgraded | Phase::Connecting => self.close(slot, CloseReason::Stale),
                _ => self.remove(slot),
            }
            false
        });
        // A refusal has set a deadline of its own meanwhile.
        deadlines.append(&mut self.clients.deadlines);
        self.clients.deadlines = deadlines;
    }

    /// Closes clients whose outbox has not moved in time, and forgets those that are not blocked
    /// any more.
    fn sweep_blocked(&mut self) {
        let now_ms = self.clients.now.ms();
        let timeout_ms = milliseconds(self.clients.config.write_timeout);
        let mut blocked = std::mem::take(&mut self.clients.outboxes.listed);
        blocked.retain(|&client| {
            let Some(slot) = self.clients.roster.slot_of(client) else { return false };
            let Some(outbox) =
                self.clients.roster.get(slot).and_then(|client| client.outbox.as_ref())
            else {
                self.clients.roster.state_mut(slot).unlist();
                // It may have been a page that it has taken now.
                self.recall_on(slot);
                return false;
            };
            if since_ms(now_ms, outbox.moved_ms()) >= timeout_ms
                && self.clients.roster.state(slot).is_upgraded()
            {
                self.close(slot, CloseReason::Stalled);
            }
            true
        });
        // Watchers were told of the clients closed here, and their sockets may have been full.
        blocked.append(&mut self.clients.outboxes.listed);
        self.clients.outboxes.listed = blocked;
    }

    /// Goes through the next slots: pings the clients whose last ping is an interval ago, and
    /// closes those that have not answered one. Clients that send messages are pinged as well: some
    /// receive nothing else, and end a connection without pings.
    fn sweep_slice(&mut self, passed: Duration) {
        let config = &self.clients.config;
        let pass = (config.ping_interval.min(config.pong_timeout) / LOOKS).min(LOOK_MAX);
        let slots = self.clients.roster.slots();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of the slots, rounded up and capped"
        )]
        let count =
            ((slots as f64 * passed.as_secs_f64() / pass.as_secs_f64()).ceil() as usize).min(slots);
        let interval_ms = milliseconds(self.clients.config.ping_interval);
        let timeout_ms = milliseconds(self.clients.config.pong_timeout);
        let now_ms = self.clients.now.ms();
        for _ in 0..count {
            let slot = Slot::at(self.sweep_at % slots);
            self.sweep_at = slot.index() + 1;
            let hot = self.clients.roster.hot(slot);
            if !hot.state.is_open() {
                continue;
            }
            if hot.is_pinged() {
                // The silence of a client that the shard does not read proves nothing.
                let deaf = hot.state.is_any(Flags::HELD);
                if since_ms(now_ms, hot.pinged_ms) >= timeout_ms && !deaf {
                    self.close(slot, CloseReason::Silent);
                }
            } else if since_ms(now_ms, hot.pinged_ms) >= interval_ms {
                let hot = self.clients.roster.hot_mut(slot);
                // A client that says nothing is closed when its socket does not take the ping.
                if Dialect::answers_pings(hot.shape) {
                    hot.ping();
                }
                hot.pinged_ms = now_ms;
                self.clients.tally.pings += 1;
                self.clients.tell(slot, &Event::Ping);
                self.forget_full_buckets(slot);
            }
        }
    }
}
