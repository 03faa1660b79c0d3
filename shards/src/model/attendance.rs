//! The home's view of who is in a channel: its users, where a quick return is no event, and the
//! number of its members, where they are too many to be told one by one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ChannelIndex;
use super::presence::Member;

/// The most users of one channel, and of all channels of one home, whose return is waited for.
const GUESTS_OF_CHANNEL_MAX: usize = if cfg!(test) { 8 } else { 10_000 };
const GUESTS_MAX: usize = 100_000;

/// The sides on which other processes may be.
const SIDES: usize = 2;

/// Counts of a large channel are told once in so many milliseconds.
const COUNT_EVERY_MS: u64 = 1000;

/// A user in a channel, or one that has just left it.
#[derive(Debug)]
struct Guest {
    /// Clients in the channel.
    clients: u32,
    /// The client that came first or left last.
    member: Member,
    /// The time at which watchers are told that the user has left, if it does not return.
    due_ms: u64,
}

/// The users in a channel that waits for their return.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    guests: HashMap<Arc<str>, Guest, RandomState>,
    /// There were more users than have room: everything is told at once, until all have left.
    is_over: bool,
}

impl Attendance {
    /// Returns `true` if no user is in the channel or may return.
    pub(crate) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Returns `true` if a user is in the channel, or may return.
    pub(crate) fn has(&self, user: &Arc<str>) -> bool {
        self.guests.contains_key(user)
    }

    /// Returns `true` if another user may come, where so many are allowed.
    pub(crate) fn has_room(&self, users_max: usize) -> bool {
        !self.is_over && self.guests.len() < users_max.min(GUESTS_OF_CHANNEL_MAX)
    }

    /// The users with the number of their clients; those without any may return.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&Member, u32)> {
        self.guests.values().map(|guest| (&guest.member, guest.clients))
    }

    /// Returns the number of clients of each user, and `None` if they were too many to be counted.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn clients(&self) -> Option<std::collections::BTreeMap<&str, u32>> {
        let counts = self.guests.iter().map(|(user, guest)| (&**user, guest.clients));
        (!self.is_over).then(|| counts.collect())
    }
}

/// The number of members of a channel with watchers, by their places: the shards of this process,
/// and behind them its two sides, that is other processes.
#[derive(Debug)]
pub(crate) struct Crowd {
    members: Vec<u32>,
    /// Watchers hear counts, and no names.
    pub(crate) is_large: bool,
    /// The count has changed since watchers heard it.
    is_stale: bool,
}

impl Crowd {
    /// A crowd whose shards have not told their members yet.
    pub(crate) fn new(shards: usize) -> Self {
        Self { members: vec![0; shards + SIDES], is_large: false, is_stale: false }
    }

    /// Returns the number of members.
    pub(crate) fn count(&self) -> u64 {
        self.members.iter().copied().map(u64::from).sum()
    }

    /// Returns the number of members in this process.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn here(&self) -> u64 {
        let here = self.members.len() - SIDES;
        self.members[..here].iter().copied().map(u64::from).sum()
    }

    /// Returns the number of members at one place.
    pub(crate) fn at(&self, place: usize) -> u32 {
        self.members[place]
    }

    /// Returns the number of members that are not at one place.
    pub(crate) fn count_without(&self, place: usize) -> u64 {
        self.count() - u64::from(self.members[place])
    }

    /// Takes note of the members at one place, where at most `names` are told by their names.
    /// Returns `true` if it became large by that, or small.
    pub(crate) fn note(&mut self, place: usize, members: u32, names: usize) -> bool {
        self.members[place] = members;
        // A channel about that size is not to change from one to the other with each client.
        let names = if self.is_large { names - names / 8 } else { names };
        let is_large = self.count() > names as u64;
        std::mem::replace(&mut self.is_large, is_large) != is_large
    }
}

/// The way in which watchers hear of a join or leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It is told as it is.
    Told,
    /// The user has other clients in the channel, or may return.
    Kept,
    /// It is told as it is, and these have left before. There is no room for the user.
    Crowded(Vec<Member>),
}

/// All that the channels of a home wait for.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// Users that may return, by the time at which they have left.
    due: BTreeSet<(u64, ChannelIndex, Arc<str>)>,
    /// Users in all channels.
    guests: usize,
    /// Large channels whose count is to be told.
    stale: Vec<ChannelIndex>,
    counted_ms: u64,
    /// Users that returned in time.
    pub(crate) returned: u64,
}

impl Returns {
    /// Returns `true` if nothing is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.stale.is_empty()
    }

    /// Returns `true` if there is room for another user.
    pub(crate) fn has_room(&self) -> bool {
        self.guests < GUESTS_MAX
    }

    /// Returns the number of users in all channels that wait for a return.
    #[cfg(test)]
    pub(crate) fn guests(&self) -> usize {
        self.guests
    }

    /// A client of a user came to a channel.
    pub(crate) fn come(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        user: &Arc<str>,
        member: &Member,
    ) -> News {
        if let Some(guest) = attendance.guests.get_mut(user) {
            guest.clients += 1;
            if guest.clients == 1 {
                self.due.remove(&(guest.due_ms, index, Arc::clone(user)));
                self.returned += 1;
            }
            return News::Kept;
        }
        if attendance.is_over {
            return News::Told;
        }
        if attendance.guests.len() >= GUESTS_OF_CHANNEL_MAX || self.guests >= GUESTS_MAX {
            return News::Crowded(self.give_up(index, attendance));
        }
        self.guests += 1;
        let guest = Guest { clients: 1, member: member.clone(), due_ms: 0 };
        attendance.guests.insert(Arc::clone(user), guest);
        News::Told
    }

    /// A user of so many clients, or one that may return until `due_ms`, is in a channel, and was
    /// when others were told so by another process. Returns `false` if there is no room for it.
    pub(crate) fn enter(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        user: &Arc<str>,
        (member, clients, due_ms): (&Member, u32, u64),
    ) -> bool {
        let place = (index, &mut *attendance);
        if matches!(self.come(place, user, member), News::Crowded(_)) || attendance.is_over {
            return false;
        }
        let Some(guest) = attendance.guests.get_mut(user) else { return false };
        // One client has come.
        guest.clients = guest.clients - 1 + clients;
        if guest.clients == 0 {
            guest.due_ms = due_ms;
            self.due.insert((due_ms, index, Arc::clone(user)));
        }
        true
    }

    /// A client of a user left a channel, which waits for the user until `due_ms`.
    pub(crate) fn go(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        user: &Arc<str>,
        (member, due_ms): (&Member, u64),
    ) -> News {
        let Some(guest) = attendance.guests.get_mut(user) else { return News::Told };
        guest.clients = guest.clients.saturating_sub(1);
        if guest.clients == 0 {
            guest.member = member.clone();
            guest.due_ms = due_ms;
            self.due.insert((due_ms, index, Arc::clone(user)));
        }
        News::Kept
    }

    /// Forgets the users of a channel. Returns those that had left and were not told of.
    fn give_up(&mut self, index: ChannelIndex, attendance: &mut Attendance) -> Vec<Member> {
        attendance.is_over = true;
        self.guests -= attendance.guests.len();
        let mut left = Vec::new();
        for (user, guest) in attendance.guests.drain() {
            if guest.clients == 0 {
                self.due.remove(&(guest.due_ms, index, user));
                left.push(guest.member);
            }
        }
        left
    }

    /// Takes the next channel and user whose time to return is over.
    pub(crate) fn next_due(&mut self, now_ms: u64) -> Option<(ChannelIndex, Arc<str>)> {
        let first = self.due.first().filter(|(due_ms, ..)| *due_ms <= now_ms)?.clone();
        self.due.remove(&first);
        Some((first.1, first.2))
    }

    /// Takes out a user that has not returned.
    pub(crate) fn end(&mut self, attendance: &mut Attendance, user: &str) -> Option<Member> {
        let guest = attendance.guests.remove(user)?;
        debug_assert_eq!(guest.clients, 0, "it has returned");
        self.guests -= 1;
        Some(guest.member)
    }

    /// Has the count of a large channel told with the next ones.
    pub(crate) fn note_stale(&mut self, index: ChannelIndex, crowd: &mut Crowd) {
        if !std::mem::replace(&mut crowd.is_stale, true) {
            self.stale.push(index);
        }
    }

    /// Takes the channels whose counts are to be told now.
    pub(crate) fn take_stale(&mut self, now_ms: u64) -> Vec<ChannelIndex> {
        if self.stale.is_empty() || now_ms < self.counted_ms + COUNT_EVERY_MS {
            return Vec::new();
        }
        self.counted_ms = now_ms;
        std::mem::take(&mut self.stale)
    }
}

impl Crowd {
    /// Returns `true` if the count is to be told, and takes it for told.
    pub(crate) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ClientId, ShardId, Slot};

    const ROOM: ChannelIndex = ChannelIndex(3);

    fn member(number: u32, user: &Arc<str>) -> Member {
        let client = ClientId { generation: 0, slot: Slot(number), shard: ShardId(0) };
        Member { client, user: Some(Arc::clone(user)), info: None, channel_info: None }
    }

    #[test]
    fn a_user_is_there_from_its_first_client_until_its_last_one_does_not_return() {
        let (mut returns, mut room) = (Returns::default(), Attendance::default());
        let ann: Arc<str> = "ann".into();
        let at = |number| member(number, &ann);
        assert_eq!(returns.come((ROOM, &mut room), &ann, &at(1)), News::Told);
        assert_eq!(returns.come((ROOM, &mut room), &ann, &at(2)), News::Kept);
        assert_eq!(returns.go((ROOM, &mut room), &ann, (&at(1), 100)), News::Kept);
        assert_eq!(returns.next_due(1000), None, "the second is there");
        assert_eq!(returns.go((ROOM, &mut room), &ann, (&at(2), 100)), News::Kept);
        assert_eq!(returns.come((ROOM, &mut room), &ann, &at(3)), News::Kept);
        assert_eq!((returns.next_due(1000), returns.returned), (None, 1));
        assert_eq!(returns.go((ROOM, &mut room), &ann, (&at(3), 200)), News::Kept);
        assert_eq!(returns.next_due(199), None);
        assert_eq!(returns.next_due(200), Some((ROOM, Arc::clone(&ann))));
        assert_eq!(returns.end(&mut room, &ann), Some(at(3)));
        assert!(returns.is_empty() && room.is_empty() && returns.guests() == 0);
        let unknown = returns.go((ROOM, &mut room), &ann, (&at(3), 300));
        assert_eq!(unknown, News::Told, "who was not told to have come is not waited for");
    }

    #[test]
    fn beyond_the_bound_everything_is_told_at_once() {
        let (mut returns, mut room) = (Returns::default(), Attendance::default());
        let users: Vec<Arc<str>> =
            (0..=GUESTS_OF_CHANNEL_MAX).map(|number| format!("u{number}").into()).collect();
        let (last, rest) = users.split_last().unwrap();
        for user in rest {
            assert_eq!(returns.come((ROOM, &mut room), user, &member(1, user)), News::Told);
        }
        returns.go((ROOM, &mut room), &users[0], (&member(1, &users[0]), 100));
        let crowded = returns.come((ROOM, &mut room), last, &member(2, last));
        assert_eq!(crowded, News::Crowded(vec![member(1, &users[0])]));
        assert!(returns.is_empty() && returns.guests() == 0);
        for user in &users {
            assert_eq!(returns.go((ROOM, &mut room), user, (&member(1, user), 100)), News::Told);
        }
    }

    #[test]
    fn a_channel_becomes_large_above_its_names_and_small_well_below_them() {
        let mut crowd = Crowd::new(2);
        let mut steps = Vec::new();
        for members in [8, 9, 16, 9, 8, 7, 6, 8, 9] {
            steps.push((crowd.note(1, members, 8), crowd.is_large));
        }
        let [small, becomes, large] = [(false, false), (true, true), (false, true)];
        let shrinks = (true, false);
        assert_eq!(steps, [small, becomes, large, large, large, shrinks, small, small, becomes]);
        let mut returns = Returns::default();
        returns.note_stale(ROOM, &mut crowd);
        returns.note_stale(ROOM, &mut crowd);
        assert_eq!(returns.take_stale(5000), [ROOM]);
        assert!(crowd.take_stale() && !crowd.take_stale());
        returns.note_stale(ROOM, &mut crowd);
        assert!(returns.take_stale(5999).is_empty());
        assert_eq!(returns.take_stale(6000), [ROOM]);
    }
}
