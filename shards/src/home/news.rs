//! News of channels: the application is told what the home of a channel finds out, if it wants to
//! know. Nothing waits for it: news that find no room are dropped and counted.

use std::sync::Arc;

use super::Home;
use crate::clock::unix_ms;
use crate::mesh::bridge::{BridgeId, Crossing};
use crate::mesh::news::{Happening, News};
use crate::mesh::parcel::Presence;
use crate::model::id::ChannelIndex;
use crate::rules::AppNews;

impl Home<'_> {
    /// Tells that a channel is in use, or no longer.
    pub(crate) fn report_use(&mut self, channel: &Arc<str>, is_used: bool) {
        // The default channel is in use for as long as the server runs.
        let is_told = self.config.news.channels && **channel != *self.config.default_channel;
        if is_told || self.backend_wants(channel, |news| news.channels) {
            let channel = Arc::clone(channel);
            self.send_news(if is_used {
                Happening::Occupied(channel)
            } else {
                Happening::Vacated(channel)
            });
        }
    }

    /// Tells that a user has come to a presence channel, or has left it.
    pub(super) fn report_member(&mut self, index: ChannelIndex, presence: &Presence) {
        let channel = self.rooms.channels.get(index);
        let Some(user) = presence.member.user.as_ref().filter(|_| channel.terms.is_presence())
        else {
            return;
        };
        if self.backend_wants(&channel.name, |news| news.members) {
            let (channel, user) = (Arc::clone(&channel.name), Arc::clone(user));
            self.send_news(if presence.joined {
                Happening::MemberAdded(channel, user)
            } else {
                Happening::MemberRemoved(channel, user)
            });
        }
    }

    /// Tells how many subscribers a channel has.
    pub(super) fn report_count(&mut self, channel: &Arc<str>, clients: u64) {
        if self.backend_wants(channel, |news| news.counts) {
            self.send_news(Happening::Subscribers(Arc::clone(channel), clients));
        }
    }

    /// Returns `true` if the backend of a channel's app wants news of a kind.
    fn backend_wants(&self, channel: &str, wants: fn(AppNews) -> bool) -> bool {
        let app = self.rooms.channels.rules().app_of_channel(channel);
        app.is_some_and(|app| wants(app.news))
    }

    fn send_news(&mut self, what: Happening) {
        let news = Crossing::News(Box::new(News { time_ms: unix_ms(), what }));
        let dropped = self.port.bridges.send(BridgeId::Events, news).is_err();
        self.tally.events_dropped += u64::from(dropped);
    }
}
