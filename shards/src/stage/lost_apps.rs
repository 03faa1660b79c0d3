//! Clients of apps that a reload has taken away or moved: they are closed a few at a time, as in a
//! drain, so that the shard goes on serving the clients of others.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::close::CloseReason;
use crate::model::id::Slot;
use crate::net::Net;
use crate::rules::App;
use crate::shard::Shard;

/// The most slots that are looked at in one period of the sweep, and the most clients of them that
/// are closed.
const LOOKS_MAX: usize = 16 << 10;
const CLOSES_MAX: usize = 1024;

/// The closes that are under way.
#[derive(Debug)]
pub(crate) struct LostApps {
    began: Now,
    /// The number of clients to be closed when it began.
    clients: usize,
    closed: usize,
    next_slot: usize,
}

impl<N: Net> Shard<N> {
    /// Returns the app of a client with the rules in force.
    ///
    /// # Errors
    /// It is there no longer, or its channels have moved: the client must go.
    pub(crate) fn app_of(&self, slot: Slot) -> Result<Arc<App>, CloseReason> {
        let known = self.clients.app(slot).ok_or(CloseReason::AppGone)?;
        let app = self.rooms.channels.rules().app(&known.id).filter(|app| app.enabled);
        let app = app.ok_or(CloseReason::AppGone)?;
        if app.namespace != known.namespace {
            // The client comes back, and subscribes anew.
            return Err(CloseReason::Overtaken);
        }
        Ok(Arc::clone(app))
    }

    /// Returns the reason for which a client must go that has lost its app.
    fn lost(&self, slot: Slot) -> Option<CloseReason> {
        self.clients.app(slot)?;
        self.app_of(slot).err()
    }

    /// Begins to close the clients of apps that are there no longer under the rules in force.
    pub(crate) fn leave_lost_apps(&mut self) {
        let all = self.clients.roster.iter();
        let clients = all.filter(|(slot, _)| self.lost(*slot).is_some()).count();
        let began = self.clients.now;
        let lost = LostApps { began, clients, closed: 0, next_slot: 0 };
        self.lost_apps = (clients > 0).then_some(lost);
    }

    /// Closes as many of them as are due by now.
    pub(crate) fn leave_on(&mut self) {
        let Some(mut lost) = self.lost_apps.take() else { return };
        let passed = Duration::from_nanos(self.clients.now.ns.saturating_sub(lost.began.ns));
        let spread = self.clients.config.drain_spread;
        // At the end all slots are looked at.
        let is_over = passed >= spread;
        let due = if is_over { usize::MAX } else { share_of(lost.clients, passed, spread) };
        let due = due.min(lost.closed + CLOSES_MAX);
        let last = (lost.next_slot + LOOKS_MAX).min(self.clients.roster.slots());
        while lost.closed < due && lost.next_slot < last {
            let slot = Slot::at(lost.next_slot);
            lost.next_slot += 1;
            if let Some(reason) = self.lost(slot) {
                self.clients.doom(slot, reason);
                lost.closed += 1;
            }
        }
        if lost.next_slot < self.clients.roster.slots() {
            self.lost_apps = Some(lost);
        }
    }
}

/// Returns the part of some clients that is due when some of the time for all has passed.
pub(super) fn share_of(clients: usize, passed: Duration, spread: Duration) -> usize {
    if passed >= spread {
        return clients;
    }
    let share = passed.as_secs_f64() / spread.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count"
    )]
    let due = (clients as f64 * share) as usize;
    due
}
