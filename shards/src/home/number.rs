//! A channel's order: its home numbers publications, and knows the shards that must hear them.

use std::sync::Arc;

use super::Home;
use super::engine::PublishReply;
use super::presence::Origin;
use crate::clock::unix_ms;
use crate::mesh::parcel::{Deliver, Outcome};
use crate::mesh::reply::ReplyTo;
use crate::model::channel::NoChannel;
use crate::model::id::{ChannelIndex, ShardId, shards_of};
use crate::model::message::{Position, Publication};
use crate::model::told::Told;
use crate::rules::Delta;

/// The last that this shard has sent to itself when a publication leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    Publications,
    /// Parcels about the same channel, which come first.
    Parcels,
}

impl Home<'_> {
    /// Numbers a publication and sends it to every shard with subscribers.
    pub(super) fn number(&mut self, mut publication: Arc<Publication>, reply: PublishReply) {
        if let Some(engine) = self.engine.as_deref() {
            if engine.is_on_bus() {
                return self.carry(publication, reply);
            }
            if engine.follows() {
                return self.forward(publication, reply);
            }
        }
        let index = match self.rooms.find_or_add(&publication.channel, self.port.me) {
            Ok(index) if self.rooms.channels.get(index).terms.is_gone() => {
                return self.refuse(reply, NoChannel::UnknownNamespace);
            }
            Ok(index) => index,
            Err(why) => return self.refuse(reply, why),
        };
        let order = &mut self.rooms.channels.at(index).order;
        if publication.version().is_some_and(|version| !order.takes(version)) {
            let newest = order.newest;
            return self.answer_published(&publication.channel, newest, reply);
        }
        order.newest.offset += 1;
        // The publisher keeps no other reference, so this copies nothing.
        let numbered = Arc::make_mut(&mut publication);
        numbered.offset = order.newest.offset;
        numbered.time_ms = unix_ms();
        self.tally.publications += 1;
        self.spread(index, publication, reply, Behind::Publications);
    }

    /// Keeps a numbered publication, sends it to every shard with subscribers, and answers.
    pub(super) fn spread(
        &mut self,
        index: ChannelIndex,
        mut publication: Arc<Publication>,
        reply: PublishReply,
        behind: Behind,
    ) {
        let me = self.port.me;
        let channel = self.rooms.channels.at(index);
        let (position, shards) = (channel.order.newest, channel.order.shards);
        let rules = &channel.terms.rules;
        let (is_on, skips) = (rules.history.is_on(), publication.skips_history());
        let is_kept = is_on && !skips;
        if !is_on && !skips {
            // Should a history begin later, it does not reach back to this.
            channel.order.floor = position.offset;
        }
        // Shards keep the newest one for the difference of the next one from it.
        if is_kept || rules.delta == Delta::Fossil {
            let name = Arc::clone(&channel.name);
            let numbered = Arc::make_mut(&mut publication);
            numbered.payload.detach();
            // The publisher may have made a name of its own, which would be kept as well.
            numbered.channel = name;
        }
        if is_kept {
            self.rooms.keep(index, Arc::clone(&publication), (self.now.long_ms(), 0));
        }
        if self.engine.is_some() {
            self.tell_follower(&publication, position, &reply);
        }
        for shard in shards_of(shards & !me.bit()) {
            self.port.deliver(shard, Deliver::Publication(Arc::clone(&publication)));
        }
        if !matches!(reply, ReplyTo::Follower(_)) {
            self.answer_published(&publication.channel, position, reply);
        }
        if shards & me.bit() == 0 {
            return;
        }
        match behind {
            Behind::Publications => self.rooms.add_to_tick(index, publication),
            Behind::Parcels => self.port.deliver(me, Deliver::Publication(publication)),
        }
    }

    /// Tells the publisher its publication's place.
    pub(super) fn answer_published(
        &mut self,
        channel: &Arc<str>,
        position: Position,
        reply: PublishReply,
    ) {
        match reply {
            ReplyTo::Nobody | ReplyTo::Leader(_) => {}
            ReplyTo::Bridge(reply) => reply.send(Ok(position)),
            ReplyTo::Follower(token) => self.send_to_follower(Told::Repeated { token, position }),
            ReplyTo::Client(to, id) => {
                let outcome = Outcome::Published { channel: Arc::clone(channel), position };
                self.port.deliver(to.shard, Deliver::Answer { to, id: Some(id), outcome });
            }
        }
    }

    pub(super) fn refuse(&mut self, reply: PublishReply, why: NoChannel) {
        match reply {
            ReplyTo::Nobody | ReplyTo::Leader(_) => {}
            ReplyTo::Bridge(reply) => reply.send(Err(why)),
            ReplyTo::Follower(token) => self.send_to_follower(Told::Refused { token, why }),
            ReplyTo::Client(to, id) => {
                let outcome = Outcome::NoChannel(why);
                self.port.deliver(to.shard, Deliver::Answer { to, id: Some(id), outcome });
            }
        }
    }

    /// Counts a shard among the subscribers of a channel.
    pub(super) fn admit_shard(&mut self, channel: &Arc<str>, by: ShardId) {
        let channel = Arc::clone(channel);
        let answer = match self.rooms.find_or_add(&channel, self.port.me) {
            Err(why) => Deliver::Unsubscribable { channel, why },
            Ok(index) => {
                let known = self.rooms.channels.at(index);
                let is_first = known.order.shards == 0;
                known.count_in(by);
                let (newest, watched) = (known.order.newest, known.order.is_told());
                if is_first {
                    self.report_use(&channel, true);
                }
                Deliver::Subscribed { channel, newest, watched }
            }
        };
        self.port.deliver(by, answer);
    }

    /// Counts a shard no longer among the subscribers of a channel.
    pub(super) fn dismiss_shard(&mut self, channel: &Arc<str>, by: ShardId) {
        if let Some(index) = self.rooms.channels.find(channel) {
            let order = &mut self.rooms.channels.at(index).order;
            let was_in_use = order.shards != 0;
            order.count_out(by);
            if was_in_use && order.shards == 0 {
                self.report_use(channel, false);
                if self.engine.is_some() {
                    self.close_if_unused(channel);
                }
            }
            self.count(channel, Origin::Shard(by), 0);
        }
        self.watch(channel, by, false);
    }
}
