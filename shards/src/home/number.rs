//! A channel's order: its home numbers publications, and knows the shards that must hear them.

use std::sync::Arc;

use super::Home;
use crate::clock::unix_ms;
use crate::mesh::parcel::{Deliver, Outcome};
use crate::mesh::reply::ReplyTo;
use crate::model::channel::NoChannel;
use crate::model::id::{ShardId, shards_of};
use crate::model::message::{Position, Publication};

impl Home<'_> {
    /// Numbers a publication and sends it to every shard with subscribers.
    pub(super) fn number(
        &mut self,
        mut publication: Arc<Publication>,
        reply: ReplyTo<Result<Position, NoChannel>>,
    ) {
        let me = self.port.me;
        let index = match self.rooms.channels.find_or_add(&publication.channel, me) {
            Ok(index) if self.rooms.channels.get(index).terms.is_gone() => {
                return self.refuse(reply, NoChannel::UnknownNamespace);
            }
            Ok(index) => index,
            Err(why) => return self.refuse(reply, why),
        };
        let channel = self.rooms.channels.at(index);
        let keeps = channel.terms.rules.history.is_on() && !publication.skips_history();
        let order = &mut channel.order;
        if publication.version().is_some_and(|version| !order.takes(version)) {
            let newest = order.newest;
            return self.answer_published(&publication.channel, newest, reply);
        }
        order.newest.offset += 1;
        let (position, shards) = (order.newest, order.shards);
        let name = keeps.then(|| Arc::clone(&channel.name));
        // The publisher keeps no other reference, so this copies nothing.
        let numbered = Arc::make_mut(&mut publication);
        numbered.offset = position.offset;
        numbered.time_ms = unix_ms();
        if let Some(name) = name {
            numbered.payload.detach();
            // The publisher may have made a name of its own, which would be kept as well.
            numbered.channel = name;
            self.rooms.keep(index, Arc::clone(&publication), self.now.long_ms());
        }
        self.tally.publications += 1;
        for shard in shards_of(shards & !me.bit()) {
            self.port.deliver(shard, Deliver::Publication(Arc::clone(&publication)));
        }
        self.answer_published(&publication.channel, position, reply);
        if shards & me.bit() != 0 {
            self.rooms.add_to_tick(index, publication);
        }
    }

    /// Tells the publisher its publication's place.
    fn answer_published(
        &mut self,
        channel: &Arc<str>,
        position: Position,
        reply: ReplyTo<Result<Position, NoChannel>>,
    ) {
        match reply {
            ReplyTo::Nobody => {}
            ReplyTo::Bridge(reply) => reply.send(Ok(position)),
            ReplyTo::Client(to, id) => {
                let outcome = Outcome::Published { channel: Arc::clone(channel), position };
                self.port.deliver(to.shard, Deliver::Answer { to, id: Some(id), outcome });
            }
        }
    }

    fn refuse(&mut self, reply: ReplyTo<Result<Position, NoChannel>>, why: NoChannel) {
        match reply {
            ReplyTo::Nobody => {}
            ReplyTo::Bridge(reply) => reply.send(Err(why)),
            ReplyTo::Client(to, id) => {
                let outcome = Outcome::NoChannel(why);
                self.port.deliver(to.shard, Deliver::Answer { to, id: Some(id), outcome });
            }
        }
    }

    /// Counts a shard among the subscribers of a channel.
    pub(super) fn admit_shard(&mut self, channel: &Arc<str>, by: ShardId) {
        let channel = Arc::clone(channel);
        let answer = match self.rooms.channels.find_or_add(&channel, self.port.me) {
            Err(why) => Deliver::Unsubscribable { channel, why },
            Ok(index) => {
                let order = &mut self.rooms.channels.at(index).order;
                order.shards |= by.bit();
                let (newest, watched) = (order.newest, order.watchers != 0);
                Deliver::Subscribed { channel, newest, watched }
            }
        };
        self.port.deliver(by, answer);
    }

    /// Counts a shard no longer among the subscribers of a channel.
    pub(super) fn dismiss_shard(&mut self, channel: &Arc<str>, by: ShardId) {
        if let Some(index) = self.rooms.channels.find(channel) {
            self.rooms.channels.at(index).order.shards &= !by.bit();
        }
        self.watch(channel, by, false);
    }
}
