//! Watchlists: the owner of a user of an app tells the clients that watch the user when its first
//! client signs in, and when its last one has gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Home;
use crate::mesh::parcel::Deliver;
use crate::model::directory::is_user_of_app;
use crate::model::id::{ClientId, ShardId};

impl Home<'_> {
    /// A client watches some users from now on, and is told which of them are here.
    pub(super) fn watch_users(&mut self, client: ClientId, users: &[Arc<str>]) {
        let mut present: [Vec<Arc<str>>; 2] = Default::default();
        for user in users {
            self.directory.watchers.add(user, client);
            let is_here = !self.directory.clients_of(user).is_empty();
            present[usize::from(is_here)].push(Arc::clone(user));
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

    /// A user has one client more or less, and had so many before: its watchers are told if it came
    /// or went by that.
    pub(super) fn note_clients(&mut self, user: &Arc<str>, before: usize) {
        let online = !self.directory.clients_of(user).is_empty();
        if online == (before > 0) || !is_user_of_app(user) {
            return;
        }
        let mut by_shard: BTreeMap<ShardId, Vec<ClientId>> = BTreeMap::new();
        let process = self.port.process;
        let here = |client: &&ClientId| client.process() == process;
        for client in self.directory.watchers.of(user).iter().filter(here) {
            by_shard.entry(client.shard).or_default().push(*client);
        }
        for (shard, to) in by_shard {
            let users = vec![Arc::clone(user)];
            self.port.deliver(shard, Deliver::Watchlist { to, online, users });
        }
    }
}
