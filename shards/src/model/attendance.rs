//! The home's view of who is in a channel: its users, where a quick return is no event, and the
//! number of its members, where they are too many to be told one by one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ChannelIndex;
use super::presence::Member;

/// The most users of one channel, and of all channels of one home, whose return is waited for. The
/// users of an app's presence channel are bounded by the app.
const GUESTS_OF_CHANNEL_MAX: usize = if cfg!(test) { 8 } else { 10_000 };
const GUESTS_MAX: usize = 100_000;

/// The sides on which other processes may be.
const SIDES: usize = 2;

/// The time in which a user comes that has been let into a presence channel.
const EXPECTED_MS: u64 = 10_000;

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
    /// Clients of the user that have been let in and have not come, and the time until which they
    /// are waited for.
    expected: u32,
    expected_ms: u64,
    /// None of its clients has come yet: nobody was told of it.
    is_expected: bool,
    /// It counts among the users of all channels.
    is_counted: bool,
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

    /// The users with the number of their clients; those without any may return.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&Member, u32)> {
        let there = self.guests.values().filter(|guest| !guest.is_expected);
        there.map(|guest| (&guest.member, guest.clients))
    }

    /// Returns the number of users.
    pub(crate) fn count(&self) -> u64 {
        self.users().count() as u64
    }

    /// Returns the number of clients of each user, and `None` if they were too many to be counted.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn clients(&self) -> Option<std::collections::BTreeMap<&str, u32>> {
        let there = self.guests.iter().filter(|(_, guest)| !guest.is_expected);
        let counts = there.map(|(user, guest)| (&**user, guest.clients));
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

    /// Returns the number of users in all channels that wait for a return.
    #[cfg(test)]
    pub(crate) fn guests(&self) -> usize {
        self.guests
    }

    /// A client of a user came to a channel, which has at most `users_max` users if an app bounds
    /// them. Those beyond that are not told.
    pub(crate) fn come(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        (user, member): (&Arc<str>, &Member),
        users_max: Option<usize>,
    ) -> News {
        if let Some(guest) = attendance.guests.get_mut(user) {
            guest.clients += 1;
            guest.expected = guest.expected.saturating_sub(1);
            if guest.clients > 1 {
                return News::Kept;
            }
            self.due.remove(&(guest.due_ms, index, Arc::clone(user)));
            if std::mem::take(&mut guest.is_expected) {
                guest.member = member.clone();
                return News::Told;
            }
            self.returned += 1;
            return News::Kept;
        }
        match users_max {
            Some(users_max) if attendance.guests.len() >= users_max => return News::Kept,
            Some(_) => {}
            None if attendance.is_over => return News::Told,
            None if attendance.guests.len() >= GUESTS_OF_CHANNEL_MAX
                || self.guests >= GUESTS_MAX =>
            {
                return News::Crowded(self.give_up(index, attendance));
            }
            None => self.guests += 1,
        }
        let is_counted = users_max.is_none();
        let member = member.clone();
        let guest = Guest {
            clients: 1,
            member,
            due_ms: 0,
            expected: 0,
            expected_ms: 0,
            is_expected: false,
            is_counted,
        };
        attendance.guests.insert(Arc::clone(user), guest);
        News::Told
    }

    /// Keeps a place for a user in a presence channel of at most `users_max` users: it has been let
    /// in and comes soon. Returns `false` if there is no room for it.
    pub(crate) fn expect(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        (user, member): (&Arc<str>, Member),
        (users_max, now_ms): (usize, u64),
    ) -> bool {
        let expected_ms = now_ms + EXPECTED_MS;
        if let Some(guest) = attendance.guests.get_mut(user) {
            // Its other clients may go before this one comes.
            guest.expected = guest.expected.saturating_add(1);
            guest.expected_ms = expected_ms;
            return true;
        }
        if attendance.guests.len() >= users_max {
            return false;
        }
        let guest = Guest {
            clients: 0,
            member,
            due_ms: expected_ms,
            expected: 1,
            expected_ms,
            is_expected: true,
            is_counted: false,
        };
        attendance.guests.insert(Arc::clone(user), guest);
        self.due.insert((expected_ms, index, Arc::clone(user)));
        true
    }

    /// A user of so many clients, or one that may return until `due_ms`, is in a channel, and was
    /// when others were told so by another process. Returns `false` if there is no room for it.
    pub(crate) fn enter(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        (user, users_max): (&Arc<str>, Option<usize>),
        (member, clients, due_ms): (&Member, u32, u64),
    ) -> bool {
        let place = (index, &mut *attendance);
        let news = self.come(place, (user, member), users_max);
        if matches!(news, News::Crowded(_)) || attendance.is_over {
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
        (user, is_bounded): (&Arc<str>, bool),
        (member, due_ms): (&Member, u64),
    ) -> News {
        let Some(guest) = attendance.guests.get_mut(user) else {
            // Of those for whom there was no room nobody was told in a bounded channel.
            return if is_bounded { News::Kept } else { News::Told };
        };
        if guest.clients == 0 {
            return News::Kept;
        }
        guest.clients -= 1;
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
        let mut left = Vec::new();
        for (user, guest) in attendance.guests.drain() {
            self.guests -= usize::from(guest.is_counted);
            if guest.clients == 0 {
                self.due.remove(&(guest.due_ms, index, user));
                if !guest.is_expected {
                    left.push(guest.member);
                }
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

    /// Takes out a user that has not returned, or has not come: nobody was told of that one. If
    /// another client of a user is about to come, the place of the user is kept.
    pub(crate) fn end(
        &mut self,
        (index, attendance): (ChannelIndex, &mut Attendance),
        user: &Arc<str>,
        now_ms: u64,
    ) -> Option<Member> {
        let guest = attendance.guests.get_mut(user)?;
        debug_assert_eq!(guest.clients, 0, "it has returned");
        let told = (!guest.is_expected).then(|| guest.member.clone());
        if guest.expected > 0 && guest.expected_ms > now_ms {
            (guest.is_expected, guest.due_ms) = (true, guest.expected_ms);
            self.due.insert((guest.due_ms, index, Arc::clone(user)));
        } else if let Some(guest) = attendance.guests.remove(user) {
            self.guests -= usize::from(guest.is_counted);
        }
        told
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
#[path = "attendance_tests.rs"]
mod tests;
