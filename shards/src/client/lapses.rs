//! The ends of single subscriptions: a client that joined a channel with a token which ends is a
//! member until then. Clients without such a token cost nothing here.

use std::collections::BTreeSet;

use super::Clients;
use super::identity::{Due, NOTICE_S};
use crate::model::id::{ChannelIndex, Slot};
use crate::net::Net;

/// The end of one subscription of a client.
#[derive(Debug)]
pub(crate) struct Lapse {
    channel: ChannelIndex,
    /// The second of the shard's clock from which the client is a member no longer.
    over_s: u32,
    /// The second at which the sweep looks at it next: that one, or the one of the notice.
    look_s: u32,
    /// The client was told that the end is near, or is not to be told.
    told: bool,
}

/// The end of a subscription as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatEnd {
    /// The second of the shard's clock from which the token, or what the API has granted, is over.
    pub(crate) at_s: u32,
    /// The client may go on with a newer token, and is told before or waited for.
    pub(crate) can_refresh: bool,
}

/// The subscriptions whose time is limited, by the second at which they are looked at next.
#[derive(Debug, Default)]
pub(crate) struct Lapses(BTreeSet<(u32, Slot, ChannelIndex)>);

impl Lapses {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<N: Net> Clients<N> {
    /// Sets when an open client's subscription is over; `None`: never.
    pub(crate) fn set_lapse(&mut self, slot: Slot, channel: ChannelIndex, end: Option<SeatEnd>) {
        self.forget_lapse(slot, channel);
        let Some(SeatEnd { at_s, can_refresh }) = end else { return };
        let (now_s, dialect) = (self.now.seconds(), self.dialect(slot));
        let Some(client) = self.roster.get_mut(slot) else { return };
        let over_s = if can_refresh { at_s.saturating_add(dialect.grace_s()) } else { at_s };
        let is_told = can_refresh && dialect.tells_ahead();
        let look_s = if is_told { over_s.saturating_sub(NOTICE_S).max(now_s) } else { over_s };
        let lapse = Lapse { channel, over_s, look_s, told: !is_told };
        client.extra().identity.get_or_insert_default().lapses.push(lapse);
        self.lapses.0.insert((look_s, slot, channel));
    }

    /// Forgets the end of a subscription, because the client leaves or has a later one.
    pub(crate) fn forget_lapse(&mut self, slot: Slot, channel: ChannelIndex) {
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(extra) = client.extra.as_mut() else { return };
        let Some(identity) = extra.identity.as_mut() else { return };
        let Some(at) = identity.lapses.iter().position(|lapse| lapse.channel == channel) else {
            return;
        };
        let lapse = identity.lapses.swap_remove(at);
        if identity.is_over() {
            extra.identity = None;
            client.shed();
        }
        self.lapses.0.remove(&(lapse.look_s, slot, channel));
    }

    /// Takes the next subscription whose second has come.
    pub(crate) fn take_lapse(&mut self) -> Option<(Slot, ChannelIndex, Due)> {
        let now_s = self.now.seconds();
        let &(look_s, slot, channel) = self.lapses.0.first().filter(|(at, ..)| *at <= now_s)?;
        self.lapses.0.remove(&(look_s, slot, channel));
        let identity = self.roster.get_mut(slot)?.extra.as_mut()?.identity.as_mut()?;
        let lapse = identity.lapses.iter_mut().find(|lapse| lapse.channel == channel)?;
        if lapse.told || lapse.over_s <= now_s {
            self.forget_lapse(slot, channel);
            return Some((slot, channel, Due::Over));
        }
        let over_s = lapse.over_s;
        (lapse.told, lapse.look_s) = (true, over_s);
        self.lapses.0.insert((over_s, slot, channel));
        Some((slot, channel, Due::Notice(over_s - now_s)))
    }

    /// Holds the list of ends against the clients and their seats.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check_lapses(&self) {
        let mut listed = BTreeSet::new();
        for (slot, client) in self.roster.iter() {
            let identity = client.extra.as_ref().and_then(|extra| extra.identity.as_ref());
            for lapse in identity.iter().flat_map(|identity| &identity.lapses) {
                let mut seats = client.seats();
                debug_assert!(seats.any(|seat| seat.channel == lapse.channel), "nobody sits there");
                debug_assert!(listed.insert((lapse.look_s, slot, lapse.channel)));
            }
        }
        debug_assert_eq!(listed, self.lapses.0);
    }
}
