//! A client's request on its way to a home or an owner: it goes at once, or its client is held
//! until there is room.

use crate::client::TOLD_PER_TURN;
use crate::close::CloseReason;
use crate::mesh::parcel::Ask;
use crate::model::id::{ShardId, Slot};
use crate::net::Net;
use crate::shard::Shard;

/// The next step in reading a client after a message.
#[derive(Debug)]
pub(crate) enum Flow {
    /// With the next one.
    On,
    /// Not before there is room for what it said.
    Held,
    /// After the others have had their turn.
    Later,
    /// Not at all.
    Over(CloseReason),
}

/// The cost of a request to other clients and shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As much as a publication, for which its home has room.
    Light,
    /// Sends to many single clients, or parcels to all shards.
    Heavy,
    /// Names by the thousand that are gathered, sorted and written: one for each turn.
    Heaviest,
}

impl<N: Net> Shard<N> {
    /// Sends a client's request to its home, or holds the client until there is room.
    pub(crate) fn submit(&mut self, slot: Slot, to: ShardId, ask: Ask) -> Flow {
        let back = if to != self.port.me {
            self.port.try_ask(to, ask).err()
        } else if self.port.must_wait(&ask) {
            Some(ask)
        } else {
            self.take_ask(ask);
            None
        };
        let Some(ask) = back else { return Flow::On };
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.brief().held = Some((to, ask));
        }
        self.hold(slot)
    }

    /// Holds a client: its socket is not read until other shards have room.
    pub(crate) fn hold(&mut self, slot: Slot) -> Flow {
        self.clients.tally.holds += 1;
        self.held.push_back(self.clients.roster.id(slot));
        self.clients.roster.state_mut(slot).hold();
        Flow::Held
    }

    /// Holds or puts off a client whose request costs others much. Call it when the parcels that
    /// the request caused have been settled.
    pub(crate) fn weigh(&mut self, slot: Slot, flow: Flow, weight: Weight) -> Flow {
        match (flow, weight) {
            (Flow::On, Weight::Heavy | Weight::Heaviest) if self.port.is_short() => self.hold(slot),
            (Flow::On, Weight::Heavy) if self.clients.told >= TOLD_PER_TURN => Flow::Later,
            (Flow::On, Weight::Heaviest) => Flow::Later,
            (flow, _) => flow,
        }
    }
}
