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
use crate::wire::pusher::write::event_name;

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

    /// Counts an event that a client of an app sends to others, and tells its backend. All other
    /// publications are passed over.
    pub(crate) fn report_client_event(&mut self, slot: Slot, sent: &Publication) {
        // Clients of other dialects have no app.
        let Some(known) = self.clients.app(slot) else { return };
        let rules = self.rooms.channels.rules();
        let Some(app) = rules.app(&known.id).map(Arc::clone) else { return };
        app.tally.count_client_event();
        let name = app.own_name(&sent.channel).filter(|_| app.news.client_events);
        let (Some(name), Some(event)) = (name, sent.tags().and_then(event_name)) else { return };
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
        if let Err(Crossing::News(news)) = self.port.bridges.send(BridgeId::Events, news) {
            self.clients.tally.events_dropped += 1;
            self.rooms.channels.rules().count_dropped(&news.what);
        }
    }
}
