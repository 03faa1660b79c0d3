//! Enlist: the API makes clients members of a channel, or ends that. It stands above the rules of
//! channels, but not above their namespaces and the bounds of a client.

use std::sync::Arc;

use crate::client::roster::Client;
use crate::mesh::parcel::{Dismiss, Enlist};
use crate::model::channel::{JoinRequest, NoChannel};
use crate::model::id::{ClientId, Slot};
use crate::model::seating::{Placement, Seating};
use crate::net::Net;
use crate::rules::is_presence_channel;
use crate::shard::Shard;
use crate::wire::event::Event;
use crate::wire::transport::Transport;

impl<N: Net> Shard<N> {
    /// Puts clients into a channel. Those that have to wait for its home are under way then, and
    /// whoever asks again hears how far they are.
    pub(crate) fn enlist(&mut self, order: &Enlist) {
        if self.rooms.channels.rules().terms(&order.channel).is_none() {
            return order.reply.send(Err(NoChannel::UnknownNamespace));
        }
        let one = |client: &ClientId| (*client, self.enlist_one(*client, order));
        let seatings = order.clients.iter().map(one).collect();
        order.reply.send(Ok(seatings));
    }

    fn enlist_one(&mut self, client: ClientId, order: &Enlist) -> Seating {
        let channel = &order.channel;
        let Some(slot) = self.clients.listener(client) else { return Seating::Gone };
        let seating = self.seating(slot, channel);
        if seating != Seating::Outside || order.asks_only {
            return seating;
        }
        if !self.may_enlist(slot, channel) {
            return Seating::NoRoom;
        }
        let taken = self.clients.roster.get(slot).map_or(0, Client::channels_taken);
        let one = Transport::of(self.clients.roster.hot(slot).shape).has_one_channel();
        let channels_max = if one { 1 } else { self.clients.config.channels_per_client };
        if taken >= channels_max {
            return Seating::Full;
        }
        self.keep_own_channel(slot);
        self.clients.told += 1;
        // A client that counts no messages could not tell older ones from the live ones.
        let Placement { since, grant, ends } = &order.placement;
        let since = since.filter(|_| self.clients.dialect(slot).has_requests());
        let end = ends.map(|ends| self.seat_end(channel, self.second_of(ends), false));
        let (grant, by_server) = (grant.clone(), true);
        let join = JoinRequest { grant, end, since, by_server, ..JoinRequest::default() };
        match self.join_channel(slot, channel, join) {
            Ok(()) => self.seating(slot, channel),
            Err(_) => Seating::NoRoom,
        }
    }

    /// Returns `true` if a client can be put into a channel. A client of an app knows its own
    /// channels alone, and those with members only by its backend's word about the member.
    fn may_enlist(&self, slot: Slot, channel: &str) -> bool {
        if self.clients.app(slot).is_none() {
            return true;
        }
        let app = self.app_of(slot).ok();
        let own = app.as_ref().and_then(|app| app.own_name(channel));
        own.is_some_and(|name| !is_presence_channel(name))
    }

    /// Takes clients out of a channel, whether they have joined it or were put there.
    pub(crate) fn dismiss(&mut self, order: &Dismiss) {
        let mut dismissed = 0;
        for &client in &order.clients {
            let Some(slot) = self.clients.listener(client) else { continue };
            let Some(index) = self.rooms.channels.find(&order.channel) else { continue };
            if self.seating(slot, &order.channel) == Seating::Outside {
                continue;
            }
            self.keep_own_channel(slot);
            // The client may be in it and ask for it once more.
            let gave_up = self.give_up_joins(slot, index);
            if self.rise(slot, index) || gave_up {
                dismissed += 1;
                self.clients.told += 1;
                self.clients.tell(slot, &Event::Removed { channel: &order.channel });
            }
        }
        // Members of a channel stay when its namespace goes.
        let is_known = dismissed > 0 || self.rooms.channels.rules().terms(&order.channel).is_some();
        let outcome = if is_known { Ok(dismissed) } else { Err(NoChannel::UnknownNamespace) };
        order.reply.send(outcome);
    }

    /// Returns how far a client is with a channel.
    pub(crate) fn seating(&self, slot: Slot, channel: &str) -> Seating {
        let Some(client) = self.clients.roster.get(slot) else { return Seating::Gone };
        let Some(index) = self.rooms.channels.find(channel) else { return Seating::Outside };
        if client.seats().any(|seat| seat.channel == index) {
            return Seating::Member;
        }
        let id = self.clients.roster.id(slot);
        let waits = || {
            let waiting = &self.rooms.channels.get(index).waiting;
            client.brief_ref().is_some_and(|brief| brief.joining > 0)
                && waiting.iter().any(|waiter| waiter.client == id && waiter.join.is_some())
        };
        if client.recalls().any(|recalling| recalling.channel == index) || waits() {
            Seating::UnderWay
        } else {
            Seating::Outside
        }
    }

    /// A plain client goes on publishing into the channel of its URL, whichever channels it is put
    /// into.
    fn keep_own_channel(&mut self, slot: Slot) {
        if self.clients.dialect(slot).has_requests() {
            return;
        }
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let first = client.seat.map(|seat| seat.channel);
        if let Some(index) = first.filter(|_| client.extra().url_channel.is_none()) {
            let name = Arc::clone(&self.rooms.channels.get(index).name);
            client.extra().url_channel = Some(name);
        }
        client.shed();
    }
}
