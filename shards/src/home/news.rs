//! News of channels: the application is told what the home of a channel finds out, if it wants to
//! know. Nothing waits for it: news that find no room are dropped and counted.
//!
//! Of two processes in a take-over only the leader tells news of channels: it hears from the
//! follower which ones are in use there, so a channel whose clients go from one process to the
//! other is in use all the time.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Home;
use super::engine::{Engine, LEADER};
use super::presence::LEAVES_MAX;
use crate::clock::unix_ms;
use crate::mesh::bridge::{BridgeId, Crossing};
use crate::mesh::news::{Happening, News};
use crate::mesh::parcel::Presence;
use crate::model::facts::put_used;
use crate::model::id::ChannelIndex;
use crate::model::roll::Roll;
use crate::model::told::Told;
use crate::rules::AppNews;

/// The channels of a home that are in use in the process behind this one, as far as their use is
/// told to the application.
#[derive(Debug, Default)]
pub(super) struct UsedElsewhere {
    names: HashSet<Arc<str>, RandomState>,
    /// Those of a process that takes part no more: the application is still to be told.
    gone: Vec<Arc<str>>,
}

impl UsedElsewhere {
    /// The process takes part no more.
    pub(super) fn lose(&mut self) {
        self.gone.extend(std::mem::take(&mut self.names));
    }

    /// Returns `true` if the application is still to be told of channels.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    fn has(&self, channel: &str) -> bool {
        self.names.contains(channel)
    }
}

impl Engine {
    /// Returns `true` if the leader tells what happens in the channels of this home.
    fn hands_news_over(&self) -> bool {
        self.follows() && self.peers.has_begun(LEADER)
    }
}

impl Home<'_> {
    /// A channel is in use here, or no longer: the application is told, unless it is in use in
    /// another process.
    pub(crate) fn report_use(&mut self, channel: &Arc<str>, is_used: bool) {
        let elsewhere = |engine: &Engine| engine.used.has(channel);
        if !self.engine.as_deref().is_some_and(elsewhere) {
            self.spread_use(channel, is_used);
        }
    }

    /// Returns `true` if anybody wants to know of the use of a channel.
    fn is_use_told(&self, channel: &str) -> bool {
        // The default channel is in use for as long as the server runs.
        let is_told = self.config.news.channels && *channel != *self.config.default_channel;
        is_told || self.backend_wants(channel, |news| news.channels)
    }

    /// Tells that a channel is in use in any process, or in none of them any more.
    fn spread_use(&mut self, channel: &Arc<str>, is_used: bool) {
        if !self.is_use_told(channel) {
            return;
        }
        let channel = Arc::clone(channel);
        match self.engine.as_deref_mut() {
            Some(engine) if engine.hands_news_over() => {
                engine.tell(LEADER, Told::Roll(Roll::Use { channel, on: is_used }));
                self.port.waits_for_link = engine.is_full();
            }
            _ if is_used => self.send_news(Happening::Occupied(channel)),
            _ => self.send_news(Happening::Vacated(channel)),
        }
    }

    /// Appends the channels in use, for the process that takes over. That one tells what happens in
    /// them from here on, and what waits to be told is told first.
    pub(super) fn hand_news_over(&mut self, facts: &mut Vec<u8>) {
        let me = self.port.me;
        let own = self.rooms.channels.iter().filter(|one| one.home == me && one.order.shards != 0);
        let own = own.map(|channel| &channel.name).filter(|name| self.is_use_told(name));
        own.for_each(|name| put_used(facts, name));
        let used = self.engine.as_deref().map(|engine| &engine.used.names);
        used.into_iter().flatten().for_each(|name| put_used(facts, name));
        let apps = self.rooms.channels.rules().apps();
        if self.config.news.channels || apps.iter().any(|app| app.news.any()) {
            self.send_news(Happening::HandedOver);
        }
    }

    /// Goes on with a channel that is in use in the process before this one.
    pub(super) fn restore_use(&mut self, channel: Arc<str>) {
        self.engine.get_or_insert_default().used.names.insert(channel);
    }

    /// A channel is in use in the process behind this one, or no longer.
    pub(super) fn hear_use(&mut self, channel: &Arc<str>, on: bool) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let names = &mut engine.used.names;
        let has_changed =
            if on { names.insert(Arc::clone(channel)) } else { names.remove(channel) };
        if has_changed && !self.is_used_here(channel) {
            self.spread_use(channel, on);
        }
    }

    fn is_used_here(&self, channel: &str) -> bool {
        let index = self.rooms.channels.find(channel);
        index.is_some_and(|index| self.rooms.channels.get(index).order.shards != 0)
    }

    /// Tells that channels are in use no longer that only a lost process has used, some at a time.
    pub(crate) fn tell_lost_use(&mut self) {
        for _ in 0..LEAVES_MAX {
            let Some(engine) = self.engine.as_deref_mut() else { return };
            let Some(channel) = engine.used.gone.pop() else { return };
            if !engine.used.has(&channel) && !self.is_used_here(&channel) {
                self.spread_use(&channel, false);
            }
        }
    }

    /// Tells that a user has come to a presence channel, or has left it.
    pub(super) fn report_member(&mut self, index: ChannelIndex, presence: &Presence) {
        let channel = self.rooms.channels.get(index);
        let Some(user) = presence.member.user.as_ref().filter(|_| channel.terms.is_presence())
        else {
            return;
        };
        if self.is_told_here(&channel.name, |news| news.members) {
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
        if self.is_told_here(channel, |news| news.counts) {
            self.send_news(Happening::Subscribers(Arc::clone(channel), clients));
        }
    }

    /// Returns `true` if the backend of a channel's app wants news of a kind.
    fn backend_wants(&self, channel: &str, wants: fn(AppNews) -> bool) -> bool {
        let app = self.rooms.channels.rules().app_of_channel(channel);
        app.is_some_and(|app| wants(app.news))
    }

    /// Does that for news that the leader has as well, and tells.
    fn is_told_here(&self, channel: &str, wants: fn(AppNews) -> bool) -> bool {
        !self.engine.as_deref().is_some_and(Engine::hands_news_over)
            && self.backend_wants(channel, wants)
    }

    fn send_news(&mut self, what: Happening) {
        let news = Crossing::News(Box::new(News { time_ms: unix_ms(), what }));
        if let Err(Crossing::News(news)) = self.port.bridges.send(BridgeId::Events, news) {
            self.tally.events_dropped += 1;
            self.rooms.channels.rules().count_dropped(&news.what);
        }
    }
}
