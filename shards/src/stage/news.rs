//! News: what happens to clients is told to the application, if it wants to know. Nothing waits for
//! it: news that find no room are dropped and counted.

use std::sync::Arc;

use crate::clock::unix_ms;
use crate::mesh::bridge::{BridgeId, Crossing};
use crate::mesh::news::{ClientEvent, Happening, News, Whose};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::{Payload, Publication};
use crate::net::Net;
use crate::rules::is_presence_channel;
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

    /// Tells that a client of an app has sent an event to others.
    pub(crate) fn report_client_event(&mut self, slot: Slot, event: &str, sent: &Publication) {
        let rules = self.rooms.channels.rules();
        let app = rules.app_of_channel(&sent.channel).filter(|app| app.news.client_events);
        let Some(name) = app.and_then(|app| app.own_name(&sent.channel)) else { return };
        let data = match &sent.payload {
            Payload::Text(text) | Payload::Json(text) => text.as_str(),
            Payload::Binary(_) => return,
        };
        // Only presence channels know whom their members are.
        let user = sent.from.as_ref().and_then(|from| from.user.clone());
        let user = user.filter(|_| is_presence_channel(name));
        let event = ClientEvent {
            channel: Arc::clone(&sent.channel),
            event: event.into(),
            data: data.into(),
            socket_id: self.clients.socket_id(slot).to_string().into(),
            user,
        };
        self.send_news(Happening::ClientEvent(Box::new(event)));
    }

    /// Tells that a cache channel had no event for a new subscriber.
    pub(crate) fn report_cache_miss(&mut self, index: ChannelIndex) {
        let channel = Arc::clone(&self.rooms.channels.get(index).name);
        let app = self.rooms.channels.rules().app_of_channel(&channel);
        if app.is_some_and(|app| app.news.cache_misses) {
            self.send_news(Happening::CacheMissed(channel));
        }
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
