//! The identity that a client has proven, and the end of the time for which it is good. Clients
//! without a token have none, and cost nothing here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Clients;
use crate::model::id::Slot;
use crate::net::Net;
use crate::proof::Proof;

/// A client that can refresh its token is told so many seconds before its end.
pub(crate) const NOTICE_S: u32 = 30;

/// Returns the second at which a client is told, or the backend asked, that its time ends at
/// `over_s`. With `waits` half of that time passes first, however short it is: a client that is
/// told at once of each new time would bring one token after the other.
pub(super) fn notice_at(now_s: u32, over_s: u32, waits: bool) -> u32 {
    let left_s = over_s.saturating_sub(now_s);
    let most_s = if waits { left_s / 2 } else { left_s };
    over_s - NOTICE_S.min(most_s)
}

/// A proven identity.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// The contents of its token. `None` for a client that has none, and whose end the API has set.
    pub(crate) proof: Option<Arc<Proof>>,
    /// The second of the shard's clock from which the connection is over.
    over_s: Option<u32>,
    /// The second at which the sweep looks at it next: that one, or the one of the notice.
    look_s: Option<u32>,
    /// The client was told that its end is near.
    told: bool,
    /// The second of the last refresh.
    pub(crate) refreshed_s: Option<u32>,
}

/// The clients whose time is limited, by the second at which they are looked at next.
#[derive(Debug, Default)]
pub(crate) struct Expiries(BTreeSet<(u32, Slot)>);

impl Expiries {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The next step for a client whose second has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is to be told how many seconds are left.
    Notice(u32),
    /// Its time is over.
    Over,
}

impl<N: Net> Clients<N> {
    /// Returns the proof of a client, for those who decide about its rights.
    pub(crate) fn proof(&self, slot: Slot) -> Option<&Arc<Proof>> {
        self.roster.get(slot)?.extra.as_ref()?.identity.as_ref()?.proof.as_ref()
    }

    /// Keeps what is proven about a client, in the place of what was.
    pub(crate) fn set_proof(&mut self, slot: Slot, proof: Proof) {
        if let Some(client) = self.roster.get_mut(slot) {
            client.extra().identity.get_or_insert_default().proof = Some(Arc::new(proof));
        }
    }

    /// Sets when an open client's time is over, in seconds of the shard's clock; `None`: never.
    pub(crate) fn set_end(&mut self, slot: Slot, over_s: Option<u32>) {
        let now_s = self.now.seconds();
        let is_told = self.backend_refreshes || self.dialect(slot).tells_ahead();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let identity = client.extra().identity.get_or_insert_default();
        if let Some(look_s) = identity.look_s.take() {
            self.expiries.0.remove(&(look_s, slot));
        }
        let is_newer = identity.over_s.is_some();
        identity.over_s = over_s;
        identity.told = !is_told;
        let Some(over_s) = over_s else { return };
        let look_s = if is_told { notice_at(now_s, over_s, is_newer) } else { over_s };
        identity.look_s = Some(look_s);
        self.expiries.0.insert((look_s, slot));
    }

    /// Forgets the end of a client that leaves.
    pub(crate) fn forget_end(&mut self, slot: Slot) {
        let client = self.roster.get(slot).and_then(|client| client.extra.as_ref());
        if let Some(look_s) = client.and_then(|extra| extra.identity.as_ref()?.look_s) {
            self.expiries.0.remove(&(look_s, slot));
        }
    }

    /// Takes the next client whose second has come.
    pub(crate) fn take_due(&mut self) -> Option<(Slot, Due)> {
        let now_s = self.now.seconds();
        let &(look_s, slot) = self.expiries.0.first().filter(|(look_s, _)| *look_s <= now_s)?;
        self.expiries.0.remove(&(look_s, slot));
        let client = self.roster.get_mut(slot)?;
        let identity = client.extra.as_mut()?.identity.as_mut()?;
        identity.look_s = None;
        let over_s = identity.over_s?;
        if over_s <= now_s || identity.told {
            return Some((slot, Due::Over));
        }
        identity.told = true;
        identity.look_s = Some(over_s);
        self.expiries.0.insert((over_s, slot));
        Some((slot, Due::Notice(over_s - now_s)))
    }

    /// Holds the list of ends against the clients.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check_ends(&self) {
        let listed = self.roster.iter().filter_map(|(slot, client)| {
            Some((client.extra.as_ref()?.identity.as_ref()?.look_s?, slot))
        });
        let listed: BTreeSet<_> = listed.collect();
        debug_assert_eq!(listed, self.expiries.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_told_of_at_once_and_a_newer_one_halfway() {
        for (over_s, first, newer) in [
            (1_100, 1_070, 1_070),
            (1_060, 1_030, 1_030),
            (1_020, 1_000, 1_010),
            (1_001, 1_000, 1_001),
        ] {
            assert_eq!(notice_at(1_000, over_s, false), first, "{over_s}");
            assert_eq!(notice_at(1_000, over_s, true), newer, "{over_s}");
        }
        assert_eq!(notice_at(1_000, 990, false), 990, "it is over already");
        assert_eq!(notice_at(1_000, u32::MAX, true), u32::MAX - NOTICE_S);
    }
}
