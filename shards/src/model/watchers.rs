//! Clients that are told when users of their app come and go, at the owner of these users.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ClientId;

/// The watchers of each user. A client watches so many users as its app allows.
#[derive(Debug, Default)]
pub(crate) struct Watchers(HashMap<Arc<str>, Vec<ClientId>, RandomState>);

impl Watchers {
    /// A client watches a user from now on.
    pub(crate) fn add(&mut self, user: &Arc<str>, client: ClientId) {
        let clients = self.0.entry(Arc::clone(user)).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
    }

    /// A client watches a user no longer.
    pub(crate) fn remove(&mut self, user: &Arc<str>, client: ClientId) {
        if let Some(clients) = self.0.get_mut(user) {
            clients.retain(|known| *known != client);
            if clients.is_empty() {
                self.0.remove(user);
            }
        }
    }

    /// The clients that watch a user.
    pub(crate) fn of(&self, user: &str) -> &[ClientId] {
        self.0.get(user).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    #[test]
    fn a_watcher_counts_once_and_leaves_nothing_behind() {
        let client = |slot| ClientId { generation: 0, slot: Slot(slot), shard: ShardId(0) };
        let (mut watchers, ann) = (Watchers::default(), Arc::from("ann"));
        for slot in [1, 2, 1] {
            watchers.add(&ann, client(slot));
        }
        assert_eq!(watchers.of("ann"), [client(1), client(2)]);
        assert!(watchers.of("bob").is_empty());
        for slot in [1, 3, 2] {
            watchers.remove(&ann, client(slot));
        }
        assert!(watchers.0.is_empty());
    }
}
