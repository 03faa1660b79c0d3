//! Clients that are told when users of their app come and go, at the owner of these users. A user
//! that returns soon was not away, and a user that many watch is told to some of them at a time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ClientId;

/// A user that is back within this time was not away.
const RETURN_MS: u64 = 2000;

/// A user, and the clients that watch it.
#[derive(Debug)]
struct Watched {
    clients: HashSet<ClientId, RandomState>,
    /// The clients know, or are being told, that the user is here.
    is_told: bool,
    /// The time at which the opposite is told, unless the user is as it was by then.
    due_ms: Option<u64>,
}

/// News of a user that not all of its watchers have been told.
#[derive(Debug)]
struct Telling {
    user: Arc<str>,
    is_here: bool,
    clients: Vec<ClientId>,
}

/// The watchers of each user. A client watches so many users as its app allows.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watched: HashMap<Arc<str>, Watched, RandomState>,
    /// The users that have come or gone, by the time at which that is told.
    due: BTreeSet<(u64, Arc<str>)>,
    telling: VecDeque<Telling>,
}

impl Watchers {
    /// A client watches a user from now on, which is here or not. Returns what it is to be told of
    /// that: what the other watchers know.
    pub(crate) fn add(&mut self, user: &Arc<str>, client: ClientId, is_here: bool) -> bool {
        let new = || Watched { clients: HashSet::default(), is_told: is_here, due_ms: None };
        let watched = self.watched.entry(Arc::clone(user)).or_insert_with(new);
        watched.clients.insert(client);
        watched.is_told
    }

    /// A client watches a user no longer.
    pub(crate) fn remove(&mut self, user: &Arc<str>, client: ClientId) {
        let Some(watched) = self.watched.get_mut(user) else { return };
        watched.clients.remove(&client);
        if watched.clients.is_empty() {
            let due_ms = watched.due_ms;
            self.watched.remove(user);
            if let Some(due_ms) = due_ms {
                self.due.remove(&(due_ms, Arc::clone(user)));
            }
        }
    }

    /// A user may have come or gone: its watchers are told so, now or when it has not returned.
    pub(crate) fn note(&mut self, user: &Arc<str>, is_here: bool, now_ms: u64) {
        let Some(watched) = self.watched.get_mut(user) else { return };
        let due_ms = (watched.is_told != is_here)
            .then(|| watched.due_ms.unwrap_or(if is_here { now_ms } else { now_ms + RETURN_MS }));
        let before = std::mem::replace(&mut watched.due_ms, due_ms);
        if before == due_ms {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, Arc::clone(user)));
        }
        if let Some(due_ms) = due_ms {
            self.due.insert((due_ms, Arc::clone(user)));
        }
    }

    /// Returns `true` if news wait for their time, or for room.
    pub(crate) fn has_news(&self) -> bool {
        !self.due.is_empty() || !self.telling.is_empty()
    }

    /// Takes the next user that has come or gone, with at most so many of its watchers.
    pub(crate) fn next_news(
        &mut self,
        now_ms: u64,
        clients_max: usize,
    ) -> Option<(Arc<str>, bool, Vec<ClientId>)> {
        if self.telling.is_empty() {
            self.begin_telling(now_ms)?;
        }
        let telling = self.telling.front_mut()?;
        let rest = telling.clients.len().saturating_sub(clients_max);
        let (user, is_here) = (Arc::clone(&telling.user), telling.is_here);
        let clients = telling.clients.split_off(rest);
        if telling.clients.is_empty() {
            self.telling.pop_front();
        }
        Some((user, is_here, clients))
    }

    /// Begins with the news that are due. One piece of news is told to the end before the next one
    /// begins, so all watchers hear of a user in one order.
    fn begin_telling(&mut self, now_ms: u64) -> Option<()> {
        let (_, user) = self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms)?.clone();
        self.due.pop_first();
        let watched = self.watched.get_mut(&user)?;
        watched.due_ms = None;
        watched.is_told = !watched.is_told;
        let clients = watched.clients.iter().copied().collect();
        self.telling.push_back(Telling { user, is_here: watched.is_told, clients });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    fn client(slot: u32) -> ClientId {
        ClientId { generation: 0, slot: Slot(slot), shard: ShardId(0) }
    }

    #[test]
    fn a_watcher_counts_once_and_leaves_nothing_behind() {
        let (mut watchers, ann) = (Watchers::default(), Arc::from("ann"));
        for slot in [1, 2, 1] {
            assert!(!watchers.add(&ann, client(slot), false));
        }
        watchers.note(&ann, true, 5);
        let (_, is_here, mut told) = watchers.next_news(5, 10).unwrap();
        told.sort_unstable();
        assert_eq!((is_here, told), (true, vec![client(1), client(2)]));
        assert!(watchers.add(&ann, client(3), true));
        watchers.note(&ann, false, 5);
        for slot in [1, 3, 2] {
            watchers.remove(&ann, client(slot));
        }
        assert!(watchers.watched.is_empty() && !watchers.has_news());
    }

    #[test]
    fn a_user_that_returns_soon_was_not_away() {
        let (mut watchers, ann) = (Watchers::default(), Arc::from("ann"));
        watchers.add(&ann, client(1), true);
        for now_ms in 0..10 {
            watchers.note(&ann, false, now_ms);
            assert!(watchers.has_news());
            assert!(watchers.add(&ann, client(2), false), "it is told what the others know");
            watchers.note(&ann, true, now_ms);
            assert!(!watchers.has_news());
        }
        watchers.note(&ann, false, 10);
        watchers.note(&ann, false, 500);
        assert!(watchers.next_news(9 + RETURN_MS, 10).is_none(), "the first absence counts");
        assert!(watchers.next_news(10 + RETURN_MS, 10).is_some_and(|(_, is_here, _)| !is_here));
        watchers.note(&ann, false, 3000);
        assert!(!watchers.has_news(), "it is told once");
    }

    #[test]
    fn a_crowd_of_watchers_is_told_in_parts_and_in_order() {
        let (mut watchers, ann) = (Watchers::default(), Arc::from("ann"));
        for slot in 0..100_000 {
            watchers.add(&ann, client(slot), false);
        }
        watchers.note(&ann, true, 0);
        let mut heard = [0; 2];
        while let Some((_, is_here, clients)) = watchers.next_news(RETURN_MS, 512) {
            assert!(clients.len() <= 512 && (!is_here || heard[0] == 0), "one after the other");
            heard[usize::from(is_here)] += clients.len();
            watchers.note(&ann, false, 0);
        }
        assert_eq!(heard, [100_000, 100_000]);
        // With a list in place of the set this would take minutes.
        for slot in 0..100_000 {
            watchers.remove(&ann, client(slot));
        }
        assert!(watchers.watched.is_empty());
    }
}
