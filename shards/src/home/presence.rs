//! Presence: the home of a channel knows the shards with watchers, and tells them of joins and
//! leaves, or of the number of members where they are many. Other processes of a take-over are told
//! by `peers.rs`.

use std::sync::Arc;

use super::Home;
use super::engine::FOLLOWER;
use crate::clock::Now;
use crate::mesh::parcel::{Deliver, Presence};
use crate::model::attendance::{Crowd, News};
use crate::model::channel::NoChannel;
use crate::model::id::{ChannelIndex, ClientId, ShardId, shards_of};
use crate::model::presence::Member;
use crate::model::roll::UNCOUNTED;
use crate::rules::ChannelRules;

/// The most leaves that are told at one time because nobody returned.
pub(super) const LEAVES_MAX: usize = 256;

/// The origin of news about members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Shard(ShardId),
    /// Another process, on that side.
    Side(u8),
}

/// A client that came or went.
pub(super) struct Change<'a> {
    pub(super) member: &'a Member,
    pub(super) joined: bool,
    /// The home knows it from before, or has noted it now.
    pub(super) is_known: bool,
}

impl Home<'_> {
    /// Counts a shard among those whose members watch a channel, or no longer.
    pub(super) fn watch(&mut self, name: &Arc<str>, by: ShardId, on: bool) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        let order = &mut self.rooms.channels.at(index).order;
        let before = order.is_watched();
        if on {
            order.watchers |= by.bit();
        } else {
            order.watchers &= !by.bit();
        }
        self.note_watched(index, before);
    }

    /// Has shards tell of joins and leaves as soon as anybody hears of them, and no longer than
    /// that.
    pub(super) fn note_watched(&mut self, index: ChannelIndex, before: bool) {
        if self.engine.is_some() {
            self.tell_interest(index);
        }
        let channel = self.rooms.channels.at(index);
        let (name, order) = (&channel.name, &mut channel.order);
        let (is_watched, is_told, shards) = (order.is_watched(), order.is_told(), order.shards);
        if before == is_watched {
            return;
        }
        // Each shard answers with the number of its members.
        order.crowd = is_watched.then(|| Box::new(Crowd::new(self.port.mesh.shards())));
        if is_watched || !is_told {
            for shard in shards_of(shards) {
                let parcel = Deliver::Watched { channel: Arc::clone(name), on: is_watched };
                self.port.deliver(shard, parcel);
            }
        }
    }

    /// Returns the users of a presence channel, unless it has no room for another one. Joins and
    /// leaves behind this answer are told behind it.
    pub(super) fn present(
        &mut self,
        name: &str,
        (user, client): (&Arc<str>, ClientId),
    ) -> Result<Vec<Member>, NoChannel> {
        let index = self.rooms.channels.find(name).ok_or(NoChannel::NoRoom)?;
        let users_max = self.users_max(index).unwrap_or(0);
        let now_ms = self.now.long_ms();
        let attendance = self.rooms.channels.at(index).order.attendance.as_mut();
        let attendance = attendance.ok_or(NoChannel::NoRoom)?;
        let member =
            Member { client, user: Some(Arc::clone(user)), info: None, channel_info: None };
        let place = (index, &mut **attendance);
        if !self.rooms.returns.expect(place, (user, member), (users_max, now_ms)) {
            return Err(NoChannel::NoRoom);
        }
        Ok(attendance.users().map(|(member, _)| member.clone()).collect())
    }

    /// Returns the most users of a presence channel of an app.
    pub(super) fn users_max(&self, index: ChannelIndex) -> Option<usize> {
        let channel = self.rooms.channels.get(index);
        let app = self.rooms.channels.rules().app_of_channel(&channel.name);
        app.filter(|_| channel.terms.is_presence()).map(|app| app.limits.presence_members)
    }

    /// Takes note of the number of members of a shard or of another process.
    pub(super) fn count(&mut self, name: &str, by: Origin, members: u32) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        let before = self.named_members(index, by);
        let turned = self.note_members(index, by, members);
        // Another process has ended before it could tell the names of those that left with it.
        // Watchers are to ask who is there.
        if !turned && matches!(by, Origin::Side(_)) && self.named_members(index, by) < before {
            self.tell_count(index);
        }
        if self.engine.is_some() {
            self.tell_others_count(index, by);
        }
    }

    /// Returns the number of members of a shard or of another process, if they are told by their
    /// names.
    fn named_members(&self, index: ChannelIndex, by: Origin) -> Option<u32> {
        let crowd = self.rooms.channels.get(index).order.crowd.as_ref();
        crowd.filter(|crowd| !crowd.is_large).map(|crowd| crowd.at(self.place_of(by)))
    }

    /// Returns the place in the crowd of a channel.
    pub(super) fn place_of(&self, origin: Origin) -> usize {
        match origin {
            Origin::Shard(shard) => shard.index(),
            Origin::Side(side) => self.port.mesh.shards() + usize::from(side == FOLLOWER),
        }
    }

    /// Returns `true` if watchers were told that they hear names from here on, or no longer.
    pub(super) fn note_members(&mut self, index: ChannelIndex, by: Origin, members: u32) -> bool {
        let place = self.place_of(by);
        let channel = self.rooms.channels.at(index);
        // All users of a presence channel are told by their names: its app bounds them, and nobody
        // is told of members without a user.
        let is_bounded = channel.terms.is_presence();
        let names = if is_bounded { usize::MAX } else { self.config.presence_names };
        let order = &mut channel.order;
        let Some(crowd) = order.crowd.as_mut().filter(|_| members != UNCOUNTED) else {
            return false;
        };
        let turned = crowd.note(place, members, names);
        let is_counted = channel.terms.is_counted();
        if is_counted || crowd.is_large && !turned {
            self.rooms.returns.note_stale(index, crowd);
        }
        if turned {
            self.tell_count(index);
        }
        turned
    }

    /// Tells the shards with watchers how many members a channel has, and whether they will hear
    /// names from here on.
    fn tell_count(&mut self, index: ChannelIndex) {
        let channel = self.rooms.channels.get(index);
        let Some(crowd) = &channel.order.crowd else { return };
        for shard in shards_of(channel.order.watchers) {
            let (channel, clients) = (Arc::clone(&channel.name), crowd.count());
            self.port.deliver(shard, Deliver::Counted { channel, clients, named: !crowd.is_large });
        }
    }

    /// Tells the clients of an app how many members a channel has.
    fn tell_subscribers(&mut self, index: ChannelIndex) {
        let channel = self.rooms.channels.get(index);
        let Some(crowd) = &channel.order.crowd else { return };
        let (name, clients) = (Arc::clone(&channel.name), crowd.count());
        for shard in shards_of(channel.order.watchers) {
            let channel = Arc::clone(&name);
            self.port.deliver(shard, Deliver::Subscribers { channel, clients });
        }
        self.report_count(&name, clients);
    }

    /// A client joined or left: the shards with watchers are told, unless it is no event.
    pub(super) fn hear_presence(&mut self, presence: &Arc<Presence>, from: Origin) {
        let Some(index) = self.rooms.channels.find(&presence.channel) else { return };
        let (member, joined) = (&presence.member, presence.joined);
        self.hear_change((index, presence), Change { member, joined, is_known: true }, from);
    }

    /// Does that for a client of this process or of another one.
    pub(super) fn hear_change(
        &mut self,
        (index, presence): (ChannelIndex, &Arc<Presence>),
        change: Change<'_>,
        from: Origin,
    ) {
        let turned = self.note_members(index, from, presence.members);
        if self.engine.is_some() {
            self.tell_others(index, &change, from);
        }
        match self.judge_news(index, &change) {
            News::Told if turned => {}
            News::Kept => {}
            News::Told => self.spread_news(index, presence),
            News::Crowded(left) => {
                self.tally.undebounced += 1;
                for member in left {
                    self.spread_leave(index, member);
                }
                self.spread_news(index, presence);
            }
        }
    }

    /// Decides whether a join or leave is an event.
    fn judge_news(&mut self, index: ChannelIndex, change: &Change<'_>) -> News {
        let users_max = self.users_max(index);
        if users_max.is_some() && change.member.user.is_none() {
            return News::Kept;
        }
        let channel = self.rooms.channels.at(index);
        let attendance = channel.order.attendance.as_mut().filter(|_| change.is_known);
        let (Some(attendance), Some(user)) = (attendance, &change.member.user) else {
            return News::Told;
        };
        let returns = &mut self.rooms.returns;
        if change.joined {
            return returns.come((index, attendance), (user, change.member), users_max);
        }
        let due_ms = due_ms(self.now, &channel.terms.rules);
        let user = (user, users_max.is_some());
        returns.go((index, attendance), user, (change.member, due_ms))
    }

    fn spread_news(&mut self, index: ChannelIndex, presence: &Arc<Presence>) {
        self.report_member(index, presence);
        let order = &self.rooms.channels.get(index).order;
        if order.crowd.as_ref().is_some_and(|crowd| crowd.is_large) {
            return;
        }
        for shard in shards_of(order.watchers) {
            self.port.deliver(shard, Deliver::Presence(Arc::clone(presence)));
        }
    }

    fn spread_leave(&mut self, index: ChannelIndex, member: Member) {
        let channel = Arc::clone(&self.rooms.channels.get(index).name);
        let presence = Presence { channel, member, joined: false, members: 0 };
        self.spread_news(index, &Arc::new(presence));
    }

    /// Tells of the users that have not returned in time, and the counts that have changed.
    pub(crate) fn tell_absent(&mut self) {
        let now_ms = self.now.long_ms();
        for _ in 0..LEAVES_MAX {
            if self.port.is_stalled() {
                break;
            }
            let Some((index, user)) = self.rooms.returns.next_due(now_ms) else { break };
            let order = &mut self.rooms.channels.at(index).order;
            let Some(attendance) = &mut order.attendance else { continue };
            let place = (index, &mut **attendance);
            let left = self.rooms.returns.end(place, &user, now_ms);
            order.forget_attendance();
            if let Some(member) = left {
                self.spread_leave(index, member);
            }
        }
        for index in self.rooms.returns.take_stale(now_ms) {
            let channel = self.rooms.channels.try_at(index);
            let Some(channel) = channel else { continue };
            let is_counted = channel.terms.is_counted();
            let Some(crowd) = channel.order.crowd.as_mut() else { continue };
            let (is_stale, is_large) = (crowd.take_stale(), crowd.is_large);
            if is_stale && is_large {
                self.tell_count(index);
            }
            if is_stale && is_counted {
                self.tell_subscribers(index);
            }
        }
    }
}

/// Returns the time until which the return of a user is waited for that leaves now.
pub(super) fn due_ms(now: Now, rules: &ChannelRules) -> u64 {
    let wait_ms = rules.leave_debounce.as_millis();
    now.long_ms() + u64::try_from(wait_ms).unwrap_or(u64::MAX / 2)
}
