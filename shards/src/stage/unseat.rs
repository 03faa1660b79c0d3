//! Unseat: a member that has lost publications, and whose dialect has no word for that, is taken
//! out of their channel before it hears a later one. It comes back for what it has missed.

use crate::close::CloseReason;
use crate::model::id::{ChannelIndex, Slot};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::event::Event;

impl<N: Net> Shard<N> {
    /// Takes the clients out that have lost something of the ticks that have left.
    pub(crate) fn unseat_lost(&mut self) {
        if self.clients.lost.is_empty() {
            return;
        }
        let mut lost = std::mem::take(&mut self.clients.lost);
        for (client, index) in lost.drain(..) {
            if let Some(slot) = self.clients.listener(client) {
                self.unseat(slot, index);
            }
        }
        self.clients.lost = lost;
    }

    /// Takes a member out of a channel, and tells it to come back. If the server or its URL has
    /// chosen the channel, the client cannot join it again: it comes back with a new connection.
    pub(crate) fn unseat(&mut self, slot: Slot, index: ChannelIndex) {
        let client = self.clients.roster.get(slot);
        let seat = client.and_then(|client| client.seats().find(|seat| seat.channel == index));
        let Some(by_server) = seat.map(|seat| seat.by_server) else { return };
        self.rise(slot, index);
        self.send_back(slot, index, by_server);
    }

    /// Tells a client that it is out of a channel, for which it may come back.
    pub(crate) fn send_back(&mut self, slot: Slot, index: ChannelIndex, by_server: bool) {
        self.clients.tally.sent_back += 1;
        if by_server || !self.clients.dialect(slot).has_requests() {
            return self.clients.doom(slot, CloseReason::Overtaken);
        }
        let channel = &*self.rooms.channels.get(index).name;
        self.clients.tell(slot, &Event::Left { channel, id: None });
    }
}
