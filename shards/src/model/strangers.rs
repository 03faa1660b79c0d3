//! Clients of other processes of a take-over that joined channels: how many each user has in each
//! channel, so that they can be taken for gone together with their process.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ClientId;
use super::presence::Member;

/// The most users and unnamed clients of all channels of one home, on one side.
const STRANGERS_MAX: usize = if cfg!(test) { 12 } else { 100_000 };

/// A user, or a client without one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    User(Arc<str>),
    Client(ClientId),
}

/// The clients of one user in one channel.
#[derive(Debug)]
struct Stranger {
    /// The client that joined last.
    member: Member,
    clients: u32,
}

/// Clients on one side: those of a process, and of the processes behind it.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    known: HashMap<(Arc<str>, Name), Stranger, RandomState>,
}

fn key(channel: &Arc<str>, member: &Member) -> (Arc<str>, Name) {
    let user = member.user.clone().map(Name::User);
    (Arc::clone(channel), user.unwrap_or(Name::Client(member.client)))
}

impl Strangers {
    /// Some clients joined a channel. Returns `false` if there is no room for them: nothing is
    /// known of them later.
    pub(crate) fn come(&mut self, channel: &Arc<str>, member: &Member, clients: u32) -> bool {
        let key = key(channel, member);
        if let Some(known) = self.known.get_mut(&key) {
            known.clients += clients;
            known.member = member.clone();
            return true;
        }
        if self.known.len() >= STRANGERS_MAX {
            return false;
        }
        self.known.insert(key, Stranger { member: member.clone(), clients });
        true
    }

    /// A client left a channel. Returns `false` if it was not known.
    pub(crate) fn go(&mut self, channel: &Arc<str>, member: &Member) -> bool {
        let key = key(channel, member);
        let Some(known) = self.known.get_mut(&key) else { return false };
        known.clients -= 1;
        if known.clients == 0 {
            self.known.remove(&key);
        }
        true
    }

    /// Returns `true` if a user has a client in a channel.
    pub(crate) fn has(&self, channel: &Arc<str>, user: &Arc<str>) -> bool {
        self.known.contains_key(&(Arc::clone(channel), Name::User(Arc::clone(user))))
    }

    /// Takes all of them: a member and the number of clients for each user and channel.
    pub(crate) fn take(&mut self) -> Vec<(Arc<str>, Member, u32)> {
        let all = self.known.drain();
        all.map(|((channel, _), known)| (channel, known.member, known.clients)).collect()
    }

    /// The number of clients of each user in a channel.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of<'a>(&'a self, channel: &str) -> impl Iterator<Item = (&'a Member, u32)> {
        let here = self.known.iter().filter(move |((name, _), _)| **name == *channel);
        here.map(|(_, known)| (&known.member, known.clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    fn member(number: u32, user: Option<&str>) -> Member {
        let client = ClientId { generation: 0, slot: Slot(number), shard: ShardId(0) };
        Member { client, user: user.map(Arc::from), info: None, channel_info: None }
    }

    #[test]
    fn the_clients_of_a_user_are_counted_and_unnamed_ones_stand_for_themselves() {
        let mut strangers = Strangers::default();
        let (room, hall): (Arc<str>, Arc<str>) = ("room".into(), "hall".into());
        let ann: Arc<str> = "ann".into();
        assert!(strangers.come(&room, &member(1, Some("ann")), 2));
        assert!(strangers.come(&hall, &member(1, Some("ann")), 1));
        assert!(strangers.come(&room, &member(2, None), 1));
        assert!(!strangers.go(&room, &member(3, None)), "another client without a user");
        assert!(strangers.go(&room, &member(9, Some("ann"))) && strangers.has(&room, &ann));
        assert!(strangers.go(&room, &member(1, Some("ann"))) && !strangers.has(&room, &ann));
        assert!(!strangers.go(&room, &member(1, Some("ann"))));
        let mut left = strangers.take();
        left.sort_by_key(|(channel, ..)| Arc::clone(channel));
        assert_eq!(left, [(hall, member(1, Some("ann")), 1), (room, member(2, None), 1)]);
        assert!(strangers.take().is_empty());
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let (mut strangers, room) = (Strangers::default(), Arc::from("room"));
        let room: &Arc<str> = &room;
        let taken = (0..100).filter(|&one| strangers.come(room, &member(one, None), 1)).count();
        assert_eq!(taken, STRANGERS_MAX);
        assert!(!strangers.go(room, &member(99, None)) && strangers.go(room, &member(0, None)));
        assert!(strangers.come(room, &member(99, None), 1), "there is room again");
    }
}
