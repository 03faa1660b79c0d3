//! The channels that a shard knows: their members here, the publications of the open tick and, at
//! home, their order.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use slab::Slab;

use super::history::cost;
use super::id::{ChannelIndex, ClientId, RequestId, ShardId};
use super::members::Members;
use super::message::{Epoch, Position, Publication};
use super::order::Order;
use super::past::Since;
use super::seating::SeatEnd;
use crate::proof::Grant;
use crate::rules::{ChannelRules, Delta, Rules, Terms};

/// The state of this shard's subscription at the channel's home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscription {
    None,
    Asked,
    Live,
}

/// A client that waits for the subscription of its shard.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) client: ClientId,
    /// The request to answer; `None` for a client whose admission waits.
    pub(crate) join: Option<JoinRequest>,
}

/// A request to join, under way.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(crate) struct JoinRequest {
    pub(crate) id: Option<RequestId>,
    pub(crate) presence: bool,
    /// It takes publications by their difference from the one before.
    pub(crate) patches: bool,
    /// The statements of the client's token for the channel, of the API or of the application's
    /// backend.
    pub(crate) grant: Grant,
    /// The end of these.
    pub(crate) end: Option<SeatEnd>,
    /// The last publication that the client has heard, if it wants those behind it.
    pub(crate) since: Option<Since>,
    /// The client would rather not join than miss anything of that.
    pub(crate) must_recover: bool,
    /// The server has chosen the channel, by a token, the API or the application's backend, and
    /// the client does not ask for it again by itself.
    pub(crate) by_server: bool,
    /// The client has been told that it is a member.
    pub(crate) is_told: bool,
    /// The user as which others are told of the client in this channel, in the place of the one of
    /// its connection. The client is told all users of the channel first.
    pub(crate) user: Option<Arc<str>>,
    /// The client is told the last publication, or that there is none.
    pub(crate) wants_last: bool,
}

impl JoinRequest {
    /// Returns the number of older publications that the client is told, if its home is to be asked
    /// about the channel although the client has missed nothing.
    pub(crate) fn asks_for(&self) -> Option<u32> {
        (self.user.is_some() || self.wants_last).then_some(u32::from(self.wants_last))
    }
}

/// One channel on one shard.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    pub(crate) home: ShardId,
    /// All that the rules in force say about it.
    pub(crate) terms: Terms,
    pub(crate) order: Order,
    pub(crate) subscription: Subscription,
    /// The default channel stays subscribed: its clients never wait.
    pub(crate) pinned: bool,
    pub(crate) waiting: Vec<Waiter>,
    pub(crate) members: Members,
    /// The number of members here that have a user.
    pub(crate) named: u32,
    /// The number of reasons for which clients that are no members yet keep it here: they are being
    /// told what they missed, or wait for others of their channels.
    pub(crate) recalling: u32,
    /// The number of members here that hear of joins and leaves.
    pub(crate) watching: u32,
    /// `true` if any member on any shard hears of joins and leaves.
    pub(crate) watched: bool,
    /// Publications that are numbered and not yet fanned out.
    pub(crate) tick: Vec<Arc<Publication>>,
    pub(crate) tick_bytes: usize,
    /// The newest publication that was fanned out here.
    pub(crate) fanned: Position,
    /// The same publication, from which the next one may be told by its difference. All members
    /// that are linked have heard it.
    pub(crate) previous: Option<Arc<Publication>>,
}

impl Channel {
    /// Returns `true` if the channel can be forgotten without loss, but for the home's count of its
    /// offsets.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_unused() && self.order.history.is_none()
    }

    /// Returns `true` if nobody has anything to do with the channel, but for what it has kept.
    fn is_unused(&self) -> bool {
        self.members.is_empty()
            && self.waiting.is_empty()
            && self.tick.is_empty()
            && !self.pinned
            // Its home still counts on this shard until the end of the turn.
            && self.subscription == Subscription::None
            && self.order.shards == 0
            && self.order.attendance.is_none()
            && self.order.peers == 0
            && self.recalling == 0
    }

    /// Returns the numbering that clients are told with publications, if they can come back for
    /// what they missed.
    pub(crate) fn told_epoch(&self) -> Option<Epoch> {
        self.terms.rules.history.is_on().then_some(self.fanned.epoch)
    }

    /// Counts a shard in, at home.
    pub(crate) fn count_in(&mut self, shard: ShardId) {
        self.order.count_in(shard, self.terms.attends());
    }

    /// Holds the facts that must agree against each other.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        debug_assert!(self.watching as usize <= self.members.len() + self.recalling as usize);
        debug_assert!(self.named as usize <= self.members.len());
        debug_assert!(!self.tick.is_empty() || self.tick_bytes == 0);
        debug_assert!(self.previous.is_none() || self.members.take_patches());
    }
}

/// A channel cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoChannel {
    /// The shard has no room for another one.
    #[error("no room for another channel")]
    NoRoom,
    /// No rules say anything about channels of its namespace.
    #[error("unknown namespace")]
    UnknownNamespace,
    /// The engine that orders publications cannot be reached.
    #[error("the engine is away: try again later")]
    Unavailable,
}

/// All channels of a shard, by name and by index.
#[derive(Debug)]
pub(crate) struct Channels {
    names: HashMap<Arc<str>, ChannelIndex, RandomState>,
    slab: Slab<Channel>,
    count_max: usize,
    /// The place at which the next search for an idle channel begins.
    look_at: usize,
    forgotten: u64,
    /// Of the channels that the latest search has seen and only their history keeps here, the one
    /// that was not used for the longest time.
    longest_unused: Option<ChannelIndex>,
    /// The numbering of channels that are met from now on.
    epoch: Epoch,
    rules: Arc<Rules>,
    /// The memory of the publications that are kept as the previous ones of their channels.
    previous_bytes: usize,
}

/// The most memory of all publications that are kept for the difference of the next ones.
const PREVIOUS_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) { 4 << 10 } else { 64 << 20 };

/// The most channels that are looked at for one to forget.
const LOOKS_MAX: usize = 64;

impl Channels {
    /// A table for at most `count_max` channels, whose numberings begin with `epoch`.
    pub(crate) fn new(count_max: usize, epoch: Epoch, rules: Arc<Rules>) -> Self {
        Self {
            names: HashMap::default(),
            slab: Slab::new(),
            count_max,
            look_at: 0,
            forgotten: 0,
            longest_unused: None,
            epoch,
            rules,
            previous_bytes: 0,
        }
    }

    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The rules of a channel that this shard may not know.
    pub(crate) fn rules_of(&self, name: &str) -> &Arc<ChannelRules> {
        self.rules.of(name).unwrap_or_else(|| self.rules.default_rules())
    }

    /// The position at which a channel begins that is met now.
    pub(crate) fn start(&self) -> Position {
        Position::start(self.epoch)
    }

    /// The numbering of channels that are met from now on.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Puts other rules in force. A channel whose namespace is there no longer keeps the terms that
    /// it had for the members that it has, and is closed to all else.
    pub(crate) fn set_rules(&mut self, rules: Arc<Rules>) {
        for (_, channel) in &mut self.slab {
            channel.terms = match rules.terms(&channel.name) {
                Some(terms) => terms,
                None => channel.terms.clone().gone(),
            };
        }
        self.rules = rules;
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns the number of idle channels that were forgotten to make room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn find(&self, name: &str) -> Option<ChannelIndex> {
        self.names.get(name).copied()
    }

    pub(crate) fn at(&mut self, index: ChannelIndex) -> &mut Channel {
        &mut self.slab[index.index()]
    }

    /// The channel at `index`, if it has not been forgotten.
    pub(crate) fn try_at(&mut self, index: ChannelIndex) -> Option<&mut Channel> {
        self.slab.get_mut(index.index())
    }

    pub(crate) fn get(&self, index: ChannelIndex) -> &Channel {
        &self.slab[index.index()]
    }

    /// Keeps a publication as the previous one of its channel, in the place of the one before, if
    /// the next one may be told by its difference from it. Returns `false` if there is no room.
    pub(crate) fn keep_previous(
        &mut self,
        index: ChannelIndex,
        newest: Option<&Arc<Publication>>,
    ) -> bool {
        let channel = &mut self.slab[index.index()];
        let before = channel.previous.take();
        self.previous_bytes -= before.map_or(0, |publication| cost(&publication));
        let serves = channel.members.take_patches() && channel.terms.rules.delta == Delta::Fossil;
        let Some(newest) = newest.filter(|_| serves) else { return true };
        let bytes = cost(newest);
        if self.previous_bytes + bytes > PREVIOUS_BYTES_MAX {
            return false;
        }
        self.previous_bytes += bytes;
        channel.previous = Some(Arc::clone(newest));
        true
    }

    /// Returns the memory of the publications that are kept as previous ones.
    pub(crate) fn previous_bytes(&self) -> usize {
        self.previous_bytes
    }

    /// The known channels from a place on, each with the place of the next one.
    pub(crate) fn iter_from(&self, place: usize) -> impl Iterator<Item = (usize, &Channel)> {
        let rest = place..self.slab.capacity();
        rest.filter_map(|place| Some((place + 1, self.slab.get(place)?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slab.iter().map(|(_, channel)| channel)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.slab.iter_mut().map(|(_, channel)| channel)
    }

    /// The channel of that name, known from now on. Under pressure an idle channel is forgotten for
    /// it. The name of an unknown namespace costs nothing.
    pub(crate) fn find_or_add(
        &mut self,
        name: &Arc<str>,
        home: ShardId,
    ) -> Result<ChannelIndex, NoChannel> {
        if let Some(index) = self.find(name) {
            return Ok(index);
        }
        let terms = self.rules.terms(name).ok_or(NoChannel::UnknownNamespace)?;
        if self.slab.len() >= self.count_max {
            self.forget_an_idle_one()?;
        }
        let index = self.slab.insert(Channel {
            name: Arc::clone(name),
            home,
            terms,
            order: Order::new(self.epoch),
            subscription: Subscription::None,
            pinned: false,
            waiting: Vec::new(),
            members: Members::default(),
            named: 0,
            recalling: 0,
            watching: 0,
            watched: false,
            tick: Vec::new(),
            tick_bytes: 0,
            fanned: Position::start(self.epoch),
            previous: None,
        });
        let index = ChannelIndex::at(index);
        self.names.insert(Arc::clone(name), index);
        Ok(index)
    }

    /// Looks at a few channels for one that is idle, and next time at the next few: among many
    /// that are in use, a look at all of them for each new name would be a way to stop the shard.
    fn forget_an_idle_one(&mut self) -> Result<(), NoChannel> {
        self.longest_unused = None;
        let mut used_ms = u64::MAX;
        for _ in 0..LOOKS_MAX.min(self.slab.len()) {
            let index = self.look_at;
            // Room is used again before the slab grows, so no index is beyond the bound.
            self.look_at = (index + 1) % self.count_max;
            let Some(channel) = self.slab.get(index).filter(|channel| channel.is_unused()) else {
                continue;
            };
            let Some(history) = &channel.order.history else {
                self.forget(ChannelIndex::at(index));
                return Ok(());
            };
            if history.used_ms < used_ms {
                used_ms = history.used_ms;
                self.longest_unused = Some(ChannelIndex::at(index));
            }
        }
        Err(NoChannel::NoRoom)
    }

    /// Takes the channel to be forgotten next, right after a search that has found no idle one.
    pub(super) fn take_longest_unused(&mut self) -> Option<ChannelIndex> {
        self.longest_unused.take()
    }

    /// Forgets an idle channel.
    pub(super) fn forget(&mut self, index: ChannelIndex) {
        debug_assert!(self.get(index).is_idle());
        self.remove(index);
        self.forgotten += 1;
        // Its offsets are lost. Should it come back, they must not look like the same ones.
        self.epoch = self.epoch.next();
    }

    /// Holds the facts about all channels against each other.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.iter().for_each(Channel::check);
        let kept = self.iter().filter_map(|channel| channel.previous.as_deref());
        debug_assert_eq!(kept.map(cost).sum::<usize>(), self.previous_bytes);
        debug_assert!(self.previous_bytes <= PREVIOUS_BYTES_MAX);
    }

    pub(crate) fn remove(&mut self, index: ChannelIndex) {
        let channel = self.slab.remove(index.index());
        debug_assert!(channel.members.is_empty() && channel.tick.is_empty());
        self.names.remove(&channel.name);
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
