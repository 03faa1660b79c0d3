//! Stage 4: a channel's home numbers its publications; an owner knows a user's clients. Both answer
//! asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::unix_ms;
use crate::mesh::parcel::{AckTo, Ask, Claim, Deliver};
use crate::model::channel::{NoRoom, Subscription};
use crate::model::id::{ClientId, ShardId, shards_of};
use crate::model::message::Publication;
use crate::net::Net;
use crate::shard::Shard;

/// A tick is fanned out when a channel's publications reach this: joining costs little up to here,
/// and more beyond.
const TICK_BYTES_MAX: usize = 16 << 10;

/// The most users that one shard names in answer to `who`.
const WHO_USERS_MAX: usize = 1000;

impl<N: Net> Shard<N> {
    /// Answers one ask as home or owner. The caller has seen that this home is not stalled.
    pub(crate) fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Publish { publication, ack } => self.number(publication, ack),
            Ask::Direct { user, publication, ack } => self.direct(&user, &publication, ack),
            Ask::Subscribe { channel, by } => self.admit_shard(&channel, by),
            Ask::Unsubscribe { channel, by } => {
                if let Some(index) = self.channels.find(&channel) {
                    let order = &mut self.channels.at(index).order;
                    order.shards &= !by.bit();
                }
                self.watch(&channel, by, false);
            }
            Ask::Claim { client, claim } => {
                let verdict = self.judge_claim(client, &claim);
                self.deliver_to(client.shard, Deliver::Claimed { client, claim, verdict });
            }
            Ask::Release { client, claim } => self.release(client, &claim),
            Ask::Settle { client, user, channel } => self.replace_older(client, &user, channel),
            Ask::Replace { clients } => self.send_away(&clients),
            Ask::Who { channel, asker, request } => {
                let (clients, users) = self.who_is_here(&channel);
                let parcel = Deliver::Who { to: asker, request, clients, users };
                self.deliver_to(asker.shard, parcel);
            }
            Ask::Watch { channel, by, on } => self.watch(&channel, by, on),
            Ask::Presence(presence) => {
                let watchers = self
                    .channels
                    .find(&presence.channel)
                    .map_or(0, |index| self.channels.get(index).order.watchers);
                for shard in shards_of(watchers) {
                    self.deliver_to(shard, Deliver::Presence(Arc::clone(&presence)));
                }
            }
            Ask::DisconnectUser { user, reply } => {
                let clients = self.directory.clients_of(&user).to_vec();
                for &client in &clients {
                    let reason = crate::close::CloseReason::Disconnected;
                    self.deliver_to(client.shard, Deliver::Close { client, reason });
                }
                reply.give(clients.len() as u64);
            }
        }
    }

    /// Numbers a publication and sends it to every shard with subscribers.
    fn number(&mut self, mut publication: Arc<Publication>, ack: AckTo) {
        let me = self.port.me;
        let Ok(index) = self.channels.find_or_add(&publication.channel, me) else {
            return self.tell_no_room(ack);
        };
        let channel = self.channels.at(index);
        channel.order.offset += 1;
        let offset = channel.order.offset;
        let shards = channel.order.shards;
        // The publisher keeps no other reference, so this copies nothing.
        let numbered = Arc::make_mut(&mut publication);
        numbered.offset = offset;
        numbered.time_ms = unix_ms();
        self.tally.publications += 1;
        let name = Arc::clone(&publication.channel);
        for shard in shards_of(shards & !me.bit()) {
            self.port.deliver(shard, Deliver::Publication(Arc::clone(&publication)));
        }
        if shards & me.bit() != 0 {
            self.add_to_tick(index, publication);
        }
        self.acknowledge(ack, &name, offset);
    }

    /// Puts a numbered publication into the open tick of its channel here.
    pub(crate) fn add_to_tick(&mut self, index: u32, publication: Arc<Publication>) {
        let channel = self.channels.at(index);
        debug_assert!(
            channel.tick.last().is_none_or(|last| last.offset + 1 == publication.offset),
            "the home's order must arrive whole"
        );
        if channel.tick.is_empty() {
            self.dirty.push(index);
        }
        channel.tick_bytes += publication.payload.len();
        channel.tick.push(publication);
        self.tick_is_full |= channel.tick_bytes >= TICK_BYTES_MAX;
    }

    /// Sends a message to every client of a user, on whichever shard.
    fn direct(&mut self, user: &str, publication: &Arc<Publication>, ack: AckTo) {
        let clients = self.directory.clients_of(user);
        let count = clients.len() as u64;
        let mut by_shard: BTreeMap<ShardId, Vec<ClientId>> = BTreeMap::new();
        for &client in clients {
            by_shard.entry(client.shard).or_default().push(client);
        }
        for (shard, to) in by_shard {
            let publication = Arc::clone(publication);
            self.deliver_to(shard, Deliver::Direct { to, publication });
        }
        match ack {
            AckTo::Api(reply) => reply.give(count),
            AckTo::Client(to, id) => {
                let parcel = Deliver::Reached { to, id: Some(id), clients: count };
                self.deliver_to(to.shard, parcel);
            }
            // An unknown user is an error whether or not the client asked for an answer.
            AckTo::Nobody if count == 0 => {
                if let Some(to) = publication.from.as_ref().map(|from| from.client) {
                    self.deliver_to(to.shard, Deliver::Reached { to, id: None, clients: 0 });
                }
            }
            AckTo::Nobody => {}
        }
    }

    fn tell_no_room(&mut self, ack: AckTo) {
        match ack {
            AckTo::Nobody => {}
            AckTo::Api(reply) => reply.give(0),
            AckTo::Client(to, id) => {
                self.deliver_to(to.shard, Deliver::NoRoom { to, id: Some(id) });
            }
        }
    }

    /// Counts a shard among the subscribers of a channel whose home is here.
    fn admit_shard(&mut self, channel: &Arc<str>, by: ShardId) {
        let answer = match self.channels.find_or_add(channel, self.port.me) {
            Err(NoRoom) => Deliver::Unsubscribable { channel: Arc::clone(channel) },
            Ok(index) => {
                let order = &mut self.channels.at(index).order;
                order.shards |= by.bit();
                Deliver::Subscribed {
                    channel: Arc::clone(channel),
                    offset: order.offset,
                    watched: order.watchers != 0,
                }
            }
        };
        self.deliver_to(by, answer);
    }

    /// A shard has its first member that watches a channel, or has lost its last.
    fn watch(&mut self, name: &Arc<str>, by: ShardId, on: bool) {
        let Some(index) = self.channels.find(name) else { return };
        let order = &mut self.channels.at(index).order;
        let before = order.watchers;
        if on {
            order.watchers |= by.bit();
        } else {
            order.watchers &= !by.bit();
        }
        let (after, shards) = (order.watchers, order.shards);
        if (before == 0) != (after == 0) {
            for shard in shards_of(shards) {
                let parcel = Deliver::Watched { channel: Arc::clone(name), on: after != 0 };
                self.deliver_to(shard, parcel);
            }
        }
    }

    /// Delivers to a shard, which may be this one.
    pub(crate) fn deliver_to(&mut self, shard: ShardId, parcel: Deliver) {
        if shard == self.port.me {
            self.take_deliver(parcel);
        } else {
            self.port.deliver(shard, parcel);
        }
    }

    /// Asks a home or an owner about something of this shard's own, which may wait but not get
    /// lost.
    pub(crate) fn ask_of(&mut self, shard: ShardId, ask: Ask) {
        if shard == self.port.me { self.take_ask(ask) } else { self.port.owe(shard, ask) }
    }

    pub(crate) fn release(&mut self, client: ClientId, claim: &Claim) {
        match claim {
            Claim::User(user) => self.directory.release_user(user, client),
            Claim::Address(address) => self.directory.release_address(*address, client),
        }
    }

    /// As owner: sends away whom an open client replaces. The word goes through the home of its
    /// channel, behind all that the home has sent to them; so what was numbered before the newer
    /// one sat there reaches the older ones.
    fn replace_older(&mut self, client: ClientId, user: &str, channel: Option<Arc<str>>) {
        let clients = self.directory.settle_user(user, client);
        match channel {
            _ if clients.is_empty() => {}
            Some(channel) => {
                self.ask_of(self.port.mesh.home_of(&*channel), Ask::Replace { clients });
            }
            None => self.send_away(&clients),
        }
    }

    fn send_away(&mut self, clients: &[ClientId]) {
        for &client in clients {
            let reason = crate::close::CloseReason::Replaced;
            self.deliver_to(client.shard, Deliver::Close { client, reason });
        }
    }

    fn who_is_here(&self, channel: &str) -> (u64, Vec<Arc<str>>) {
        let Some(index) = self.channels.find(channel) else { return (0, Vec::new()) };
        let members = &self.channels.get(index).members;
        let users = members
            .iter()
            .filter_map(|slot| self.roster.get(*slot)?.user.clone())
            .take(WHO_USERS_MAX)
            .collect();
        (members.len() as u64, users)
    }

    /// Takes one parcel of the deliver lane. Nothing here may wait.
    pub(crate) fn take_deliver(&mut self, parcel: Deliver) {
        match parcel {
            Deliver::Publication(publication) => {
                if let Some(index) = self.channels.find(&publication.channel)
                    && self.channels.get(index).subscription == Subscription::Live
                {
                    self.add_to_tick(index, publication);
                }
            }
            Deliver::Direct { to, publication } => self.deliver_direct(&to, &publication),
            Deliver::Published { to, id, channel, offset } => {
                self.tell_published(to, &id, &channel, offset);
            }
            Deliver::Reached { to, id, clients } => self.tell_reached(to, id.as_ref(), clients),
            Deliver::NoRoom { to, id } => self.tell_no_room_for(to, id.as_ref()),
            Deliver::Subscribed { channel, offset, watched } => {
                self.take_subscribed(&channel, offset, watched);
            }
            Deliver::Unsubscribable { channel } => self.take_unsubscribable(&channel),
            Deliver::Claimed { client, claim, verdict } => {
                self.take_claimed(client, &claim, verdict);
            }
            Deliver::Close { client, reason } => {
                // Marked only: what was delivered before it is in a tick that has not left yet.
                if let Some(slot) = self.roster.slot_of(client) {
                    self.doom(slot, reason);
                }
            }
            Deliver::Who { to, request, clients, users } => {
                self.gather(to, request, clients, users);
            }
            Deliver::Watched { channel, on } => {
                if let Some(index) = self.channels.find(&channel) {
                    self.channels.at(index).watched = on;
                }
            }
            Deliver::Presence(presence) => self.tell_presence(&presence),
            Deliver::Order(order) => self.obey(order),
        }
    }
}
