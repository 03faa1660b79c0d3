//! The ends of single subscriptions: a client that joined a channel with a token which ends is a
//! member until then. They lie beside the clients, so that the others cost nothing here.

use std::collections::{BTreeMap, BTreeSet};

use super::Clients;
use super::identity::{Due, notice_at};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::seating::{Renewal, SeatEnd};
use crate::net::Net;

/// The end of one subscription of a client, in seconds of the shard's clock.
#[derive(Debug, Clone, Copy)]
struct Lapse {
    /// From then on the client is a member no longer.
    over_s: u32,
    /// The sweep looks at it next: at its end, or when the client is told or the backend asked.
    look_s: u32,
}

/// The subscriptions whose time is limited. There are never more of them than seats.
#[derive(Debug, Default)]
pub(crate) struct Lapses {
    by_seat: BTreeMap<(Slot, ChannelIndex), Lapse>,
    /// By the second at which they are looked at next.
    by_time: BTreeSet<(u32, Slot, ChannelIndex)>,
}

impl Lapses {
    pub(crate) fn len(&self) -> usize {
        self.by_seat.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_seat.is_empty()
    }

    fn set(&mut self, slot: Slot, channel: ChannelIndex, lapse: Lapse) {
        self.by_seat.insert((slot, channel), lapse);
        self.by_time.insert((lapse.look_s, slot, channel));
    }

    fn forget(&mut self, slot: Slot, channel: ChannelIndex) -> Option<Lapse> {
        let lapse = self.by_seat.remove(&(slot, channel))?;
        self.by_time.remove(&(lapse.look_s, slot, channel));
        Some(lapse)
    }
}

impl<N: Net> Clients<N> {
    /// Sets when an open client's subscription is over; `None`: never.
    pub(crate) fn set_lapse(&mut self, slot: Slot, channel: ChannelIndex, end: Option<SeatEnd>) {
        let is_newer = self.lapses.forget(slot, channel).is_some();
        let Some(SeatEnd { at_s, renewal }) = end else { return };
        let (now_s, dialect) = (self.now.seconds(), self.dialect(slot));
        let is_clients = renewal == Renewal::Client;
        let over_s = if is_clients { at_s.saturating_add(dialect.grace_s()) } else { at_s };
        let look_s = match renewal {
            Renewal::Client if dialect.tells_ahead() => notice_at(now_s, over_s, is_newer),
            // A backend that grants short times is asked a few times, and not again and again.
            Renewal::Backend => notice_at(now_s, over_s, true),
            Renewal::Client | Renewal::Nobody => over_s,
        };
        self.lapses.set(slot, channel, Lapse { over_s, look_s });
    }

    /// Forgets the end of a subscription, because the client leaves or has a later one.
    pub(crate) fn forget_lapse(&mut self, slot: Slot, channel: ChannelIndex) {
        self.lapses.forget(slot, channel);
    }

    /// Returns the second from which an open client's subscription is over.
    pub(crate) fn lapse_of(&self, slot: Slot, channel: ChannelIndex) -> Option<u32> {
        self.lapses.by_seat.get(&(slot, channel)).map(|lapse| lapse.over_s)
    }

    /// Takes the next subscription whose second has come.
    pub(crate) fn take_lapse(&mut self) -> Option<(Slot, ChannelIndex, Due)> {
        let now_s = self.now.seconds();
        let &(_, slot, channel) = self.lapses.by_time.first().filter(|(at, ..)| *at <= now_s)?;
        let Lapse { over_s, .. } = self.lapses.forget(slot, channel)?;
        if over_s <= now_s {
            return Some((slot, channel, Due::Over));
        }
        self.lapses.set(slot, channel, Lapse { over_s, look_s: over_s });
        Some((slot, channel, Due::Notice(over_s - now_s)))
    }

    /// Holds the ends against the seats of clients.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check_lapses(&self) {
        let Lapses { by_seat, by_time } = &self.lapses;
        debug_assert_eq!(by_seat.len(), by_time.len());
        for ((slot, channel), lapse) in by_seat {
            debug_assert!(by_time.contains(&(lapse.look_s, *slot, *channel)));
            let client = self.roster.get(*slot);
            let sits = client.is_some_and(|one| one.seats().any(|seat| seat.channel == *channel));
            debug_assert!(sits, "nobody sits there");
        }
    }
}
