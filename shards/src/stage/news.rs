//! News: what happens to clients is told to the application, if it wants to know. Nothing waits for
//! it: news that find no room are dropped and counted.

use std::sync::Arc;

use crate::clock::unix_ms;
use crate::mesh::bridge::{BridgeId, Crossing};
use crate::mesh::news::{Happening, News, Whose};
use crate::model::id::{ChannelIndex, Slot};
use crate::net::Net;
use crate::shard::Shard;

impl<N: Net> Shard<N> {
    /// Tells that a client is in.
    pub(crate) fn report_connected(&mut self, slot: Slot) {
        if self.clients.config.news.clients {
            let whose = self.whose(slot);
            self.send_news(Happening::Connected(whose));
        }
    }

    /// Tells that an open client goes.
    pub(crate) fn report_disconnected(&mut self, slot: Slot, reason: &'static str) {
        if self.clients.config.news.clients {
            let whose = self.whose(slot);
            self.send_news(Happening::Disconnected(whose, reason));
        }
    }

    /// Tells that a client has become a member of a channel, or is one no longer.
    pub(crate) fn report_seat(&mut self, slot: Slot, index: ChannelIndex, joined: bool) {
        if !self.clients.config.news.subscriptions {
            return;
        }
        let whose = self.whose(slot);
        let channel = Arc::clone(&self.rooms.channels.get(index).name);
        self.send_news(if joined {
            Happening::Subscribed(whose, channel)
        } else {
            Happening::Unsubscribed(whose, channel)
        });
    }

    fn whose(&self, slot: Slot) -> Whose {
        let user = self.clients.roster.get(slot).and_then(|client| client.user.clone());
        Whose { client: self.clients.roster.id(slot), user }
    }

    fn send_news(&mut self, what: Happening) {
        let news = Crossing::News(Box::new(News { time_ms: unix_ms(), what }));
        let dropped = self.port.bridges.send(BridgeId::Events, news).is_err();
        self.clients.tally.events_dropped += u64::from(dropped);
    }
}
