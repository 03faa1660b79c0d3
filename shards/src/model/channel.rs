//! The channels that a shard knows: their members here, the publications of the open tick and, at
//! home, their order.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use slab::Slab;

use super::id::{ClientId, ShardId};
use super::message::Publication;
use crate::wire::stentor::read::IdBuf;

/// How a member wants its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Joined,
    Json,
}

impl Kind {
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What only the home of a channel knows.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// The newest number given out.
    pub(crate) offset: u64,
    /// The shards with subscribers.
    pub(crate) shards: u64,
    /// Those of them with a member that watches who comes and goes.
    pub(crate) watchers: u64,
}

/// Whether the home counts this shard among the subscribers.
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
    /// The request to answer; `None` for a client that is still shaking hands.
    pub(crate) join: Option<Join>,
}

/// A `join` under way.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) id: Option<IdBuf>,
    pub(crate) presence: bool,
}

/// One channel on one shard.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    pub(crate) home: ShardId,
    pub(crate) order: Order,
    pub(crate) subscription: Subscription,
    /// The default channel stays subscribed: its clients never wait.
    pub(crate) pinned: bool,
    pub(crate) waiting: Vec<Waiter>,
    /// The slots of the members here, in no order.
    pub(crate) members: Vec<u32>,
    /// How many members want each [`Kind`].
    pub(crate) kinds: [u32; Kind::COUNT],
    /// How many members here watch who comes and goes.
    pub(crate) watching: u32,
    /// Whether anybody anywhere does.
    pub(crate) watched: bool,
    /// Numbered and not yet fanned out.
    pub(crate) tick: Vec<Arc<Publication>>,
    pub(crate) tick_bytes: usize,
    /// The offset of the newest publication fanned out here.
    pub(crate) fanned: u64,
}

impl Channel {
    /// Whether nothing would be lost by forgetting it, at home the count of its offsets aside.
    pub(crate) fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.waiting.is_empty()
            && self.tick.is_empty()
            && !self.pinned
            // Its home still counts on this shard until the end of the turn.
            && self.subscription == Subscription::None
            && self.order.shards == 0
    }

    fn check(&self) {
        debug_assert_eq!(self.kinds.iter().sum::<u32>() as usize, self.members.len());
        debug_assert!(self.watching as usize <= self.members.len());
    }

    /// Adds a member; gives its position.
    pub(crate) fn add(&mut self, slot: u32, kind: Kind) -> u32 {
        self.members.push(slot);
        self.kinds[kind.index()] += 1;
        self.check();
        u32::try_from(self.members.len() - 1).expect("slots are 32 bits wide")
    }

    /// Takes out the member at `position`; gives the slot that took its place, which must be told.
    pub(crate) fn take_out(&mut self, position: u32, kind: Kind) -> Option<u32> {
        self.members.swap_remove(position as usize);
        self.kinds[kind.index()] -= 1;
        if self.members.is_empty() {
            self.members.shrink_to_fit();
        }
        self.check();
        self.members.get(position as usize).copied()
    }
}

/// No room for another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// All channels of a shard, by name and by index.
#[derive(Debug)]
pub(crate) struct Channels {
    names: HashMap<Arc<str>, u32, RandomState>,
    slab: Slab<Channel>,
    count_max: usize,
    /// The next one to look at for an idle one.
    look_at: usize,
    forgotten: u64,
}

/// How many channels are looked at for one to forget.
const LOOKS_MAX: usize = 64;

impl Channels {
    pub(crate) fn new(count_max: usize) -> Self {
        Self { names: HashMap::default(), slab: Slab::new(), count_max, look_at: 0, forgotten: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many idle channels were forgotten to make room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(crate) fn at(&mut self, index: u32) -> &mut Channel {
        &mut self.slab[index as usize]
    }

    /// The channel at `index`, if it has not been forgotten.
    pub(crate) fn try_at(&mut self, index: u32) -> Option<&mut Channel> {
        self.slab.get_mut(index as usize)
    }

    pub(crate) fn get(&self, index: u32) -> &Channel {
        &self.slab[index as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slab.iter().map(|(_, channel)| channel)
    }

    /// The channel of that name, known from now on. Under pressure an idle channel is forgotten for
    /// it.
    pub(crate) fn find_or_add(&mut self, name: &Arc<str>, home: ShardId) -> Result<u32, NoRoom> {
        if let Some(index) = self.find(name) {
            return Ok(index);
        }
        if self.slab.len() >= self.count_max {
            self.forget_an_idle_one()?;
        }
        let index = self.slab.insert(Channel {
            name: Arc::clone(name),
            home,
            order: Order::default(),
            subscription: Subscription::None,
            pinned: false,
            waiting: Vec::new(),
            members: Vec::new(),
            kinds: [0; Kind::COUNT],
            watching: 0,
            watched: false,
            tick: Vec::new(),
            tick_bytes: 0,
            fanned: 0,
        });
        let index = u32::try_from(index).map_err(|_| NoRoom)?;
        self.names.insert(Arc::clone(name), index);
        Ok(index)
    }

    /// Looks at a few channels for one that is idle, and next time at the next few: among many
    /// that are in use, a look at all of them for each new name would be a way to stop the shard.
    fn forget_an_idle_one(&mut self) -> Result<(), NoRoom> {
        for _ in 0..LOOKS_MAX.min(self.slab.len()) {
            let index = self.look_at;
            // Room is used again before the slab grows, so no index is beyond the bound.
            self.look_at = (index + 1) % self.count_max;
            if self.slab.get(index).is_some_and(Channel::is_idle) {
                self.remove(u32::try_from(index).map_err(|_| NoRoom)?);
                self.forgotten += 1;
                return Ok(());
            }
        }
        Err(NoRoom)
    }

    pub(crate) fn remove(&mut self, index: u32) {
        let channel = self.slab.remove(index as usize);
        debug_assert!(channel.members.is_empty() && channel.tick.is_empty());
        self.names.remove(&channel.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_pressure_only_idle_channels_are_forgotten() {
        let mut channels = Channels::new(2);
        let home = ShardId(0);
        let busy = channels.find_or_add(&"busy".into(), home).unwrap();
        channels.at(busy).add(3, Kind::Plain);
        channels.find_or_add(&"idle".into(), home).unwrap();
        let third = channels.find_or_add(&"third".into(), home).unwrap();
        assert_eq!(channels.find("idle"), None);
        assert_eq!(channels.find("third"), Some(third));
        channels.at(third).add(4, Kind::Json);
        assert_eq!(channels.find_or_add(&"fourth".into(), home), Err(NoRoom));
        assert_eq!(channels.find_or_add(&"busy".into(), home), Ok(busy));
    }

    /// One idle channel among many is found in time, and no single look is at all of them.
    #[test]
    fn a_full_table_is_looked_through_in_parts() {
        let count = 4 * LOOKS_MAX;
        let mut channels = Channels::new(count);
        for number in 0..count {
            let name: Arc<str> = number.to_string().into();
            let index = channels.find_or_add(&name, ShardId(0)).unwrap();
            if number != count - 1 {
                channels.at(index).add(1, Kind::Plain);
            }
        }
        let tries = (1..10).find(|_| channels.find_or_add(&"new".into(), ShardId(0)).is_ok());
        assert_eq!(tries, Some(4));
        assert_eq!((channels.len(), channels.forgotten()), (count, 1));
    }

    #[test]
    fn a_channel_whose_home_still_counts_on_this_shard_is_not_forgotten() {
        let mut channels = Channels::new(1);
        let index = channels.find_or_add(&"left".into(), ShardId(1)).unwrap();
        channels.at(index).subscription = Subscription::Live;
        assert_eq!(channels.find_or_add(&"next".into(), ShardId(1)), Err(NoRoom));
        channels.at(index).subscription = Subscription::None;
        assert!(channels.find_or_add(&"next".into(), ShardId(1)).is_ok());
    }

    #[test]
    fn the_last_member_takes_the_place_of_one_that_leaves() {
        let mut channels = Channels::new(1);
        let index = channels.find_or_add(&"room".into(), ShardId(0)).unwrap();
        let channel = channels.at(index);
        assert_eq!([channel.add(7, Kind::Plain), channel.add(8, Kind::Json)], [0, 1]);
        assert_eq!(channel.take_out(0, Kind::Plain), Some(8));
        assert_eq!(channel.take_out(0, Kind::Json), None);
        assert_eq!(channel.kinds, [0; Kind::COUNT]);
    }
}
