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
        identity.over_s = over_s;
        identity.told = !is_told;
        let Some(over_s) = over_s else { return };
        let look_s = if is_told { over_s.saturating_sub(NOTICE_S).max(now_s) } else { over_s };
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
