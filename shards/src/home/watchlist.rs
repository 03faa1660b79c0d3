//! Watchlists: the owner of a user of an app tells the clients that watch the user when its first
//! client signs in, and when its last one has gone and has not returned.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Home;
use super::engine::FOLLOWER;
use crate::mesh::parcel::Deliver;
use crate::model::directory::is_user_of_app;
use crate::model::id::{ClientId, ShardId};
use crate::model::roll::Roll;
use crate::model::told::Told;

/// The most clients of one parcel, and of all parcels that are sent at one time.
const TOLD_AT_ONCE: usize = 512;
const TOLD_MAX: usize = 4096;

/// The users of apps that are here, as two processes of a take-over tell each other.
#[derive(Debug, Default)]
pub(super) struct Online {
    /// Those that the follower has been told of.
    told: HashSet<Arc<str>, RandomState>,
    /// Those that the leader has told of.
    heard: HashSet<Arc<str>, RandomState>,
}

impl Home<'_> {
    /// A client watches some users from now on, and is told which of them are here.
    pub(super) fn watch_users(&mut self, client: ClientId, users: &[Arc<str>]) {
        let mut present: [Vec<Arc<str>>; 2] = Default::default();
        for user in users {
            let is_here = self.is_online(user);
            let is_told = self.directory.watchers.add(user, client, is_here);
            present[usize::from(is_told)].push(Arc::clone(user));
        }
        for (online, users) in [false, true].into_iter().zip(present) {
            if !users.is_empty() {
                let watchlist = Deliver::Watchlist { to: vec![client], online, users };
                self.port.deliver(client.shard, watchlist);
            }
        }
    }

    /// A client watches some users no longer.
    pub(super) fn unwatch_users(&mut self, client: ClientId, users: &[Arc<str>]) {
        for user in users {
            self.directory.watchers.remove(user, client);
        }
    }

    /// The clients of a user have changed: if it came or went by that, its watchers are told.
    pub(super) fn note_clients(&mut self, user: &Arc<str>) {
        if !is_user_of_app(user) {
            return;
        }
        let is_here = self.is_online(user);
        self.directory.watchers.note(user, is_here, self.now.long_ms());
        if !self.has_side(FOLLOWER) {
            return;
        }
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let told = &mut engine.online.told;
        let has_changed = if is_here { told.insert(Arc::clone(user)) } else { told.remove(user) };
        if has_changed {
            let user = Arc::clone(user);
            self.send_to_follower(Told::Roll(Roll::Online { user, on: is_here }));
        }
    }

    /// Returns `true` if a user of an app has clients in any process of a take-over.
    fn is_online(&self, user: &Arc<str>) -> bool {
        let elsewhere = self.engine.as_deref().map(|engine| &engine.online.heard);
        !self.directory.clients_of(user).is_empty()
            || elsewhere.is_some_and(|heard| heard.contains(user))
    }

    /// The leader tells that a user has clients there or beyond, or has them no longer.
    pub(super) fn hear_online(&mut self, user: &Arc<str>, on: bool) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let heard = &mut engine.online.heard;
        if on {
            heard.insert(Arc::clone(user));
        } else {
            heard.remove(user);
        }
        self.note_clients(user);
    }

    /// The leader takes part no more.
    pub(super) fn lose_online(&mut self) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        for user in std::mem::take(&mut engine.online.heard) {
            self.note_clients(&user);
        }
    }

    /// Tells watchers of the users that have come or gone, as many as one time allows.
    pub(crate) fn tell_watchers_of_users(&mut self) {
        let mut told = 0;
        while told < TOLD_MAX && !self.port.is_stalled() {
            let now_ms = self.now.long_ms();
            let news = self.directory.watchers.next_news(now_ms, TOLD_AT_ONCE);
            let Some((user, online, clients)) = news else { break };
            told += clients.len();
            let mut by_shard: BTreeMap<ShardId, Vec<ClientId>> = BTreeMap::new();
            for client in clients {
                by_shard.entry(client.shard).or_default().push(client);
            }
            for (shard, to) in by_shard {
                let users = vec![Arc::clone(&user)];
                self.port.deliver(shard, Deliver::Watchlist { to, online, users });
            }
        }
    }
}
