//! Who sits in which channel here, and the subscriptions of this shard that follow from it.

use std::sync::Arc;

use crate::client::roster::{MANY, Seat};
use crate::mesh::parcel::{Ask, Presence};
use crate::model::channel::{Join, NoRoom, Subscription, Waiter};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::http::Refusal;

impl<N: Net> Shard<N> {
    /// Makes sure that this shard is, or will be, a subscriber of a channel; gives the channel's
    /// index.
    pub(crate) fn subscribe(&mut self, name: &Arc<str>) -> Result<u32, NoRoom> {
        let home = self.port.mesh.home_of(&**name);
        let index = self.channels.find_or_add(name, home)?;
        let me = self.port.me;
        let channel = self.channels.at(index);
        if channel.subscription != Subscription::None {
            return Ok(index);
        }
        if home == me {
            channel.order.shards |= me.bit();
            channel.subscription = Subscription::Live;
            channel.fanned = channel.order.offset;
            channel.watched = channel.order.watchers != 0;
        } else {
            channel.subscription = Subscription::Asked;
            self.port.owe(home, Ask::Subscribe { channel: Arc::clone(name), by: me });
        }
        Ok(index)
    }

    /// The home counts this shard in: whoever waited for that goes on.
    pub(crate) fn take_subscribed(&mut self, name: &str, offset: u64, watched: bool) {
        let Some(index) = self.channels.find(name) else { return };
        let channel = self.channels.at(index);
        channel.subscription = Subscription::Live;
        channel.fanned = offset;
        channel.watched = watched;
        for Waiter { client, join } in std::mem::take(&mut channel.waiting) {
            let Some(slot) = self.roster.slot_of(client) else { continue };
            match join {
                None => self.stop_waiting(slot),
                Some(join) => {
                    self.count_joining(slot, -1);
                    self.finish_join(slot, index, join);
                }
            }
        }
        self.emptied.push(index);
    }

    /// The home has no room for the channel.
    pub(crate) fn take_unsubscribable(&mut self, name: &str) {
        let Some(index) = self.channels.find(name) else { return };
        let channel = self.channels.at(index);
        channel.subscription = Subscription::None;
        for Waiter { client, join } in std::mem::take(&mut channel.waiting) {
            let Some(slot) = self.roster.slot_of(client) else { continue };
            match join {
                None => self.refuse(slot, &Refusal::ChannelRoom),
                Some(join) => {
                    self.count_joining(slot, -1);
                    self.tell_no_room_for(client, join.id.as_ref());
                }
            }
        }
        self.emptied.push(index);
    }

    /// Seats a client in a subscribed channel.
    pub(crate) fn sit(&mut self, slot: u32, index: u32, presence: bool) {
        let kind = self.roster.hot(slot).kind();
        let channel = self.channels.at(index);
        debug_assert_eq!(channel.subscription, Subscription::Live);
        let position = channel.add(slot, kind);
        let seat = Seat { channel: index, position, presence };
        let Some(client) = self.roster.get_mut(slot) else { return };
        if client.seat.is_none() {
            client.seat = Some(seat);
        } else {
            client.extra().seats.push(seat);
        }
        if client.seats().nth(1).is_some() {
            self.roster.hot_mut(slot).flags |= MANY;
        }
        self.announce(slot, index, true);
        if presence {
            let channel = self.channels.at(index);
            channel.watching += 1;
            if channel.watching == 1 {
                self.tell_home_of_watchers(index, true);
            }
        }
    }

    /// Takes a client's seat in a channel away; gives whether it had one.
    pub(crate) fn rise(&mut self, slot: u32, index: u32) -> bool {
        let kind = self.roster.hot(slot).kind();
        let Some(seat) = self.roster.get_mut(slot).and_then(|client| client.unseat(index)) else {
            return false;
        };
        let channel = self.channels.at(index);
        // First of all: there are never more watchers than members.
        channel.watching -= u32::from(seat.presence);
        let unwatched = seat.presence && channel.watching == 0;
        let moved = channel.take_out(seat.position, kind);
        let empty = channel.members.is_empty();
        if unwatched {
            self.tell_home_of_watchers(index, false);
        }
        if let Some(moved) = moved.and_then(|moved| self.roster.get_mut(moved))
            && let Some(other) = moved.seat_mut(index)
        {
            other.position = seat.position;
        }
        if self.roster.get(slot).is_some_and(|client| client.seats().nth(1).is_none()) {
            self.roster.hot_mut(slot).flags &= !MANY;
        }
        self.announce(slot, index, false);
        if empty {
            self.emptied.push(index);
        }
        true
    }

    /// Takes all of a client's seats away.
    pub(crate) fn rise_from_all(&mut self, slot: u32) {
        while let Some(index) =
            self.roster.get(slot).and_then(|client| client.seats().next()).map(|seat| seat.channel)
        {
            self.rise(slot, index);
        }
    }

    fn tell_home_of_watchers(&mut self, index: u32, on: bool) {
        let channel = self.channels.get(index);
        let (name, home, by) = (Arc::clone(&channel.name), channel.home, self.port.me);
        self.ask_of(home, Ask::Watch { channel: name, by, on });
    }

    /// Lets the watchers of a channel know who came or went, if there are any.
    fn announce(&mut self, slot: u32, index: u32, joined: bool) {
        let channel = self.channels.get(index);
        if !channel.watched {
            return;
        }
        let (name, home) = (Arc::clone(&channel.name), channel.home);
        let presence = Presence {
            channel: name,
            client: self.roster.id(slot),
            user: self.roster.get(slot).and_then(|client| client.user.clone()),
            joined,
        };
        self.ask_of(home, Ask::Presence(Arc::new(presence)));
    }

    /// A client's `join`: seats it at once or when the home has counted this shard in.
    pub(crate) fn join(&mut self, slot: u32, name: &Arc<str>, join: Join) -> Result<(), NoRoom> {
        let index = self.subscribe(name)?;
        if self.channels.get(index).subscription == Subscription::Live {
            self.finish_join(slot, index, join);
        } else {
            let client = self.roster.id(slot);
            self.channels.at(index).waiting.push(Waiter { client, join: Some(join) });
            self.count_joining(slot, 1);
        }
        Ok(())
    }

    fn count_joining(&mut self, slot: u32, change: isize) {
        let client = self.roster.get_mut(slot);
        if let Some(extra) = client.and_then(|client| client.extra.as_mut()) {
            extra.joining = extra.joining.saturating_add_signed(change);
        }
    }

    fn finish_join(&mut self, slot: u32, index: u32, join: Join) {
        if !self.roster.hot(slot).is(crate::client::roster::OPEN) {
            return;
        }
        let seated = self.roster.get_mut(slot).and_then(|client| client.seat_mut(index).copied());
        match seated {
            None => self.sit(slot, index, join.presence),
            Some(seat) if seat.presence == join.presence => {}
            Some(_) => {
                self.rise(slot, index);
                self.sit(slot, index, join.presence);
            }
        }
        self.tell_joined(slot, index, join.id.as_ref());
    }

    /// Gives a subscription back when nobody here needs it.
    pub(crate) fn forget_if_empty(&mut self, index: u32) {
        let Some(channel) = self.channels.try_at(index) else { return };
        let needed = !channel.members.is_empty()
            || !channel.waiting.is_empty()
            || channel.pinned
            || !channel.tick.is_empty();
        if needed {
            return;
        }
        let (name, home, was) = (Arc::clone(&channel.name), channel.home, channel.subscription);
        match was {
            Subscription::Asked => {}
            Subscription::Live if home == self.port.me => {
                channel.subscription = Subscription::None;
                channel.order.shards &= !self.port.me.bit();
            }
            Subscription::Live => {
                self.port.owe(home, Ask::Unsubscribe { channel: name, by: self.port.me });
                self.channels.remove(index);
            }
            Subscription::None if home == self.port.me => {}
            Subscription::None => self.channels.remove(index),
        }
    }
}
