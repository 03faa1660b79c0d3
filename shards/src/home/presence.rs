//! Presence: the home of a channel knows the shards with watchers, and tells them of joins and
//! leaves.

use std::sync::Arc;

use super::Home;
use crate::mesh::parcel::{Deliver, Presence};
use crate::model::id::{ShardId, shards_of};

impl Home<'_> {
    /// Counts a shard among those whose members watch a channel, or no longer.
    pub(super) fn watch(&mut self, name: &Arc<str>, by: ShardId, on: bool) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        let order = &mut self.rooms.channels.at(index).order;
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
                self.port.deliver(shard, parcel);
            }
        }
    }

    /// Tells the shards with watchers that a client joined or left.
    pub(super) fn spread_presence(&mut self, presence: &Arc<Presence>) {
        let watchers = self
            .rooms
            .channels
            .find(&presence.channel)
            .map_or(0, |index| self.rooms.channels.get(index).order.watchers);
        for shard in shards_of(watchers) {
            self.port.deliver(shard, Deliver::Presence(Arc::clone(presence)));
        }
    }
}
