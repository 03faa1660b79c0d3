//! The facts that only the home of a channel keeps: its order, and the shards that hear of it.

use super::attendance::{Attendance, Crowd};
use super::history::History;
use super::id::ShardId;
use super::message::{Epoch, Position, Version};
use super::past::Numbering;

/// The facts that only the home of a channel keeps.
#[derive(Debug)]
pub(crate) struct Order {
    /// The newest number given out, in the numbering that began when the home met the channel.
    pub(crate) newest: Position,
    /// The shards with subscribers.
    pub(crate) shards: u64,
    /// Those of them with a member that hears of joins and leaves.
    pub(crate) watchers: u64,
    /// The other processes with watchers, in a set of sides.
    pub(crate) peers: u8,
    /// The other processes that were told of watchers here, in such a set.
    pub(crate) told_peers: u8,
    /// The members of the channel by their shards; `None` while nobody watches them.
    pub(crate) crowd: Option<Box<Crowd>>,
    /// The users in the channel; `None` where their return is not waited for.
    pub(crate) attendance: Option<Box<Attendance>>,
    /// The publications that are kept; `None` while there are none.
    pub(crate) history: Option<Box<History>>,
    /// Nothing above this offset was to be kept before the history that there is began, and what
    /// is kept up to this offset may have holes.
    pub(crate) floor: u64,
    /// Earlier numberings that went before this one, in a process before this, each with the last
    /// offset that belongs to it.
    ancestors: Option<Box<[Position]>>,
    /// The newest version that a publication has told, if any did.
    version: Option<Box<Version>>,
}

impl Order {
    /// Before the first publication of a numbering.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            newest: Position::start(epoch),
            shards: 0,
            watchers: 0,
            peers: 0,
            told_peers: 0,
            crowd: None,
            attendance: None,
            history: None,
            floor: 0,
            ancestors: None,
            version: None,
        }
    }

    /// Counts a shard among those with subscribers. `debounces`: users that leave may return. It
    /// counts for the first shard: of a later one's clients the home would know only a part.
    pub(crate) fn count_in(&mut self, shard: ShardId, debounces: bool) {
        if debounces {
            self.begin_attendance();
        }
        self.shards |= shard.bit();
    }

    /// Waits for the return of users from now on, if no client is in the channel yet.
    pub(crate) fn begin_attendance(&mut self) {
        if self.shards == 0 && self.attendance.is_none() {
            self.attendance = Some(Box::default());
        }
    }

    /// Counts a shard no longer among those with subscribers.
    pub(crate) fn count_out(&mut self, shard: ShardId) {
        self.shards &= !shard.bit();
        self.forget_attendance();
    }

    /// Forgets who was in the channel, once nobody is and nobody may return.
    pub(crate) fn forget_attendance(&mut self) {
        if self.shards == 0 {
            self.attendance.take_if(|attendance| attendance.is_empty());
        }
    }

    /// Returns `true` if anybody hears of joins and leaves, in this process or in another one.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers != 0 || self.peers != 0
    }

    /// Returns `true` if shards are to tell the home of joins and leaves.
    pub(crate) fn is_told(&self) -> bool {
        self.is_watched() || self.attendance.is_some()
    }

    /// Returns the offset above which everything that was to be kept is here.
    pub(crate) fn complete_above(&self) -> u64 {
        self.history.as_deref().map_or(self.floor, |history| history.floor().max(self.floor))
    }

    /// Goes on where an earlier process ended: its offsets, in a numbering of this one.
    pub(crate) fn go_on(&mut self, newest: Position, ancestors: &[Position]) {
        let all = ancestors.iter().copied().chain([newest]);
        self.ancestors = Some(all.collect());
        self.newest.offset = newest.offset;
        self.floor = newest.offset;
    }

    /// Goes on where an earlier process ended, and in the same numbering: that process numbers
    /// nothing any more.
    pub(crate) fn take_over(&mut self, newest: Position, ancestors: &[Position]) {
        self.ancestors = (!ancestors.is_empty()).then(|| ancestors.into());
        self.newest = newest;
    }

    /// Goes on in another numbering, behind a later offset.
    pub(crate) fn begin_anew(&mut self, newest: Position) {
        let earlier = self.ancestors().iter().copied().chain([self.newest]);
        self.ancestors = Some(earlier.collect());
        self.newest = newest;
        self.floor = self.newest.offset;
    }

    /// Goes on behind a position of another process, and knows nothing of what was before.
    pub(crate) fn begin_behind(&mut self, newest: Position) {
        self.ancestors = None;
        self.newest = newest;
        self.floor = newest.offset;
    }

    /// Earlier numberings, the oldest first.
    pub(crate) fn ancestors(&self) -> &[Position] {
        self.ancestors.as_deref().unwrap_or_default()
    }

    /// Returns `true` if a publication of this numbering, or of one before it, had that position.
    pub(crate) fn knows(&self, epoch: Numbering, offset: u64) -> bool {
        let had = |known: &Position| epoch.means(known.epoch) && offset <= known.offset;
        had(&self.newest) || self.ancestors().iter().any(had)
    }

    /// Returns the newest version that a publication has told.
    pub(crate) fn version(&self) -> Option<&Version> {
        self.version.as_deref()
    }

    /// Returns `true` if the channel has had a version already, or a newer one.
    pub(crate) fn has_had(&self, version: &Version) -> bool {
        self.version
            .as_deref()
            .is_some_and(|known| known.epoch == version.epoch && known.number >= version.number)
    }

    /// Takes note of a publication's version. Returns `false` if the channel has had it already, or
    /// a newer one.
    pub(crate) fn takes(&mut self, version: &Version) -> bool {
        if self.has_had(version) {
            return false;
        }
        self.version = Some(Box::new(version.clone()));
        true
    }
}
