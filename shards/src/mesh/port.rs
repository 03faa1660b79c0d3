//! One shard's ends of the mesh.

use std::collections::VecDeque;
use std::task::Waker;

use crossbeam_channel::Receiver;

use super::bridge::Bridges;
use super::parcel::{Ask, Deliver, Parcel};
use super::{End, Mesh};
use crate::model::id::{ProcessId, ShardId, shards_of};

/// A home may wait for room with so many parcels and let connections in all the same, however small
/// the lanes are: publications alone may make it wait all the time.
const STALLED_MIN: usize = 1024;

/// One shard's ends of the mesh. It never blocks: a parcel that finds its lane full waits here, in
/// order.
pub(crate) struct Port {
    pub(crate) me: ShardId,
    /// Clients of other processes have other ids.
    pub(crate) process: ProcessId,
    pub(crate) mesh: Mesh,
    asks: Receiver<Ask>,
    delivers: Receiver<Deliver>,
    /// Asks about this shard's own clients and channels, at most a few for each: they wait here and
    /// are never lost.
    owed: Vec<VecDeque<Ask>>,
    owed_count: usize,
    /// With this number of parcels waiting, clients here may not cause more.
    owed_max: usize,
    /// Parcels that this shard sends as home, in order. While one waits no ask is taken from the
    /// lane, and each client is held after one more request. So the queue holds at most the answers
    /// to one ask, and what one request of each client here and its coming to and leaving of each
    /// channel cause: one parcel for each shard that watches the channel. With `owed_max` or
    /// `STALLED_MIN` waiting, the larger of them, no connection is accepted.
    stalled: VecDeque<(ShardId, Deliver)>,
    /// The shards whose lanes were full since the last retry.
    short_of_asks: u64,
    short_of_delivers: u64,
    /// The shards whose lanes held too many broad parcels when last looked at.
    crowded_asks: u64,
    crowded_delivers: u64,
    /// Homes here wait for another process, which numbers publications or hears of them.
    pub(crate) waits_for_link: bool,
    to_ring: u64,
    rings: u64,
    /// Parcels of this shard to itself, which it takes after each stage that may cause some and
    /// after each message of a client. So there are at most those of one stage: two for each seat
    /// and one for each claim of the clients that it closed, and then the answers to one of these.
    own_asks: VecDeque<Ask>,
    own_delivers: VecDeque<Deliver>,
    /// The ways to threads that are no shard.
    pub(crate) bridges: Bridges,
}

/// The receiving ends of a shard's lanes.
pub(super) struct Receivers {
    pub(super) asks: Receiver<Ask>,
    pub(super) delivers: Receiver<Deliver>,
}

impl Port {
    /// The port of shard `me`, with the receiving ends of its lanes, which hold `lane_parcels`
    /// each.
    pub(super) fn new(
        me: ShardId,
        mesh: Mesh,
        lane_parcels: usize,
        Receivers { asks, delivers }: Receivers,
        bridges: Bridges,
    ) -> Self {
        let owed = (0..mesh.shards()).map(|_| VecDeque::new()).collect();
        Self {
            me,
            process: ProcessId::default(),
            mesh,
            asks,
            delivers,
            owed,
            owed_count: 0,
            owed_max: lane_parcels,
            stalled: VecDeque::new(),
            short_of_asks: 0,
            short_of_delivers: 0,
            crowded_asks: 0,
            crowded_delivers: 0,
            waits_for_link: false,
            to_ring: 0,
            rings: 0,
            own_asks: VecDeque::new(),
            own_delivers: VecDeque::new(),
            bridges,
        }
    }

    /// Sends a client's own ask, or returns it: its publisher is held until there is room.
    pub(crate) fn try_ask(&mut self, to: ShardId, ask: Ask) -> Result<(), Ask> {
        if !self.owed[to.index()].is_empty() {
            return Err(ask);
        }
        self.push_ask(to, ask)
    }

    /// Sends an ask that may wait but must not be lost.
    pub(crate) fn owe(&mut self, to: ShardId, ask: Ask) {
        if to == self.me {
            self.own_asks.push_back(ask);
        } else if let Err(ask) = self.try_ask(to, ask) {
            self.owed[to.index()].push_back(ask);
            self.owed_count += 1;
        }
    }

    fn push_ask(&mut self, to: ShardId, ask: Ask) -> Result<(), Ask> {
        let lane = &self.mesh.ends[to.index()].asks;
        if let Err(ask) = lane.send_or_want(self.me.bit(), ask) {
            self.short_of_asks |= to.bit();
            return Err(ask);
        }
        if lane.is_crowded() {
            self.crowded_asks |= to.bit();
        }
        self.to_ring |= to.bit();
        Ok(())
    }

    /// Sends to a shard of clients as home or owner; where its lane is full the parcel waits and
    /// this home stalls.
    pub(crate) fn deliver(&mut self, to: ShardId, deliver: Deliver) {
        if to == self.me {
            self.own_delivers.push_back(deliver);
        } else if !self.stalled.is_empty() {
            self.stalled.push_back((to, deliver));
        } else if let Err(deliver) = self.push_deliver(to, deliver) {
            self.stalled.push_back((to, deliver));
        }
    }

    fn push_deliver(&mut self, to: ShardId, deliver: Deliver) -> Result<(), Deliver> {
        let lane = &self.mesh.ends[to.index()].delivers;
        if let Err(deliver) = lane.send_or_want(self.me.bit(), deliver) {
            self.short_of_delivers |= to.bit();
            return Err(deliver);
        }
        if lane.is_crowded() {
            self.crowded_delivers |= to.bit();
        }
        self.to_ring |= to.bit();
        Ok(())
    }

    /// Returns `true` if this shard, as home, waits for room or for shards whose lanes are crowded:
    /// it takes no ask meanwhile.
    pub(crate) fn is_stalled(&self) -> bool {
        self.lacks_room() || self.crowded_delivers != 0 || self.waits_for_link
    }

    /// Returns `true` if a parcel of this shard, as home, waits for room in a deliver lane.
    pub(crate) fn lacks_room(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Returns `true` if a client's ask to this shard, as home, must wait. A publication does not
    /// wait for shards whose lanes are crowded: it adds no broad parcel.
    pub(crate) fn must_wait(&self, ask: &Ask) -> bool {
        self.lacks_room()
            || self.waits_for_link && matches!(ask, Ask::Publish { .. })
            || (self.crowded_delivers != 0 && ask.is_broad())
    }

    /// Returns the number of asks that wait for room in their lanes.
    #[cfg(test)]
    pub(crate) fn owed(&self) -> usize {
        self.owed_count
    }

    /// Returns `true` if so many parcels wait that no more accepted connections should add to them.
    pub(crate) fn owes_much(&self) -> bool {
        self.owed_count >= self.owed_max || self.stalled.len() >= self.owed_max.max(STALLED_MIN)
    }

    /// Returns `true` if clients here must wait before they cause more parcels.
    pub(crate) fn is_short(&self) -> bool {
        self.is_stalled() || self.owes_much() || self.crowded_asks != 0
    }

    /// Tries the parcels again that found a lane full. Held publishers, whose asks are not here,
    /// must be tried in the same turn.
    pub(crate) fn retry(&mut self) {
        (self.short_of_asks, self.short_of_delivers) = (0, 0);
        let (me, ends) = (self.me.bit(), &self.mesh.ends);
        let still = |seen, stays: fn(&End, u64) -> bool| {
            let crowded = shards_of(seen).filter(|shard| stays(&ends[shard.index()], me));
            crowded.fold(0, |bits, shard| bits | shard.bit())
        };
        self.crowded_asks = still(self.crowded_asks, |end, me| end.asks.stays_crowded(me));
        self.crowded_delivers =
            still(self.crowded_delivers, |end, me| end.delivers.stays_crowded(me));
        while let Some((to, deliver)) = self.stalled.pop_front() {
            if let Err(deliver) = self.push_deliver(to, deliver) {
                self.stalled.push_front((to, deliver));
                break;
            }
        }
        if self.owed_count == 0 {
            return;
        }
        for index in 0..self.owed.len() {
            while let Some(ask) = self.owed[index].pop_front() {
                let to = ShardId::at(index);
                if let Err(ask) = self.push_ask(to, ask) {
                    self.owed[index].push_front(ask);
                    break;
                }
                self.owed_count -= 1;
            }
        }
    }

    /// The next parcel of this shard to itself.
    pub(crate) fn next_own_ask(&mut self) -> Option<Ask> {
        self.own_asks.pop_front()
    }

    /// The next parcel of this shard, as home, to itself.
    pub(crate) fn next_own_deliver(&mut self) -> Option<Deliver> {
        self.own_delivers.pop_front()
    }

    /// Returns `true` if this shard has taken all parcels to itself.
    pub(crate) fn is_settled(&self) -> bool {
        self.own_asks.is_empty() && self.own_delivers.is_empty()
    }

    /// The next ask of another thread. A home that is stalled takes none.
    pub(crate) fn next_ask(&mut self) -> Option<Ask> {
        debug_assert!(!self.is_stalled(), "its answers would wait behind those that wait already");
        self.mesh.ends[self.me.index()].asks.take(&self.asks)
    }

    /// The next delivery of another thread.
    pub(crate) fn next_deliver(&mut self) -> Option<Deliver> {
        self.mesh.ends[self.me.index()].delivers.take(&self.delivers)
    }

    /// Lets the shards that waited for room know; call it after a batch was taken.
    pub(crate) fn made_room(&mut self) {
        let end = &self.mesh.ends[self.me.index()];
        let wanting = end.asks.take_wanting() | end.delivers.take_wanting();
        self.to_ring |= wanting;
    }

    /// Rings every shard that was sent something since the last time: before any long work, for
    /// their sake.
    pub(crate) fn ring(&mut self) {
        for shard in shards_of(std::mem::take(&mut self.to_ring)) {
            self.rings += u64::from(self.mesh.ends[shard.index()].bell.ring());
        }
    }

    pub(crate) fn rings(&self) -> u64 {
        self.rings
    }

    pub(crate) fn depths(&self) -> (usize, usize) {
        (self.asks.len(), self.delivers.len())
    }

    /// Returns `true` if a lane holds a parcel that this shard could take, or has room that it
    /// waits for. The latter must be looked at before sleeping as well: a shard that made room
    /// while this one was still awake did not ring.
    pub(crate) fn has_work(&self) -> bool {
        let (me, ends) = (self.me.bit(), &self.mesh.ends);
        !self.delivers.is_empty()
            || (!self.is_stalled() && !self.asks.is_empty())
            || shards_of(self.short_of_asks).any(|shard| !ends[shard.index()].asks.is_full())
            || shards_of(self.short_of_delivers)
                .any(|shard| !ends[shard.index()].delivers.is_full())
            || shards_of(self.crowded_asks).any(|shard| !ends[shard.index()].asks.stays_crowded(me))
            || shards_of(self.crowded_delivers)
                .any(|shard| !ends[shard.index()].delivers.stays_crowded(me))
    }

    /// Registers `waker` and says that the shard sleeps. `false`: there is work, and it does not
    /// sleep.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let bell = &self.mesh.ends[self.me.index()].bell;
        bell.park(waker);
        if self.has_work() {
            bell.unpark();
            return false;
        }
        true
    }

    pub(crate) fn unpark(&self) {
        self.mesh.ends[self.me.index()].bell.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::bridge::Bridges;

    #[test]
    fn a_home_that_waits_for_room_with_many_parcels_lets_nobody_in() {
        let (_, ports) = Mesh::new(2, 2, 1, &Bridges::default());
        let mut ports = ports.into_iter();
        let (mut home, mut other) = (ports.next().unwrap(), ports.next().unwrap());
        let watched = || Deliver::Watched { channel: "hall".into(), on: true };
        for _ in 0..2 + STALLED_MIN - 1 {
            home.deliver(other.me, watched());
        }
        assert!(home.is_stalled() && !home.owes_much(), "publications may do as much");
        home.deliver(other.me, watched());
        assert_eq!(home.stalled.len(), STALLED_MIN);
        assert!(home.owes_much() && home.is_settled());
        assert!(other.next_deliver().is_some());
        home.retry();
        assert!(home.is_stalled() && !home.owes_much(), "one of them has left");
        home.deliver(home.me, watched());
        assert!(!home.is_settled());
    }
}
