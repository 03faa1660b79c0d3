//! The members of a channel: questions for them, and the answers of shards put together.

use std::collections::HashSet;
use std::sync::Arc;

use super::id::ClientId;

/// The most users that an answer names, of one shard and of all together.
pub(crate) const USERS_MAX: usize = 1000;

/// The most members of one shard that are looked at for those with a user.
const LOOKS_MAX: usize = 8192;

/// The bytes that a member takes in an answer, beside its user and what tokens say about it.
const MEMBER_BYTES: usize = 32;

/// A client in a channel, as others are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub(crate) client: ClientId,
    pub(crate) user: Option<Arc<str>>,
    /// JSON of the token with which the client came.
    pub(crate) info: Option<Arc<str>>,
    /// JSON of its token for this channel.
    pub(crate) channel_info: Option<Arc<str>>,
}

impl Member {
    /// Returns its id as `welcome` told it.
    pub fn client(&self) -> String {
        self.client.to_string()
    }

    /// Returns its user, if it has one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the JSON that the token of its connection has for others.
    pub fn info(&self) -> Option<&str> {
        self.info.as_deref()
    }

    /// Returns the JSON that its token for the channel has for others.
    pub fn channel_info(&self) -> Option<&str> {
        self.channel_info.as_deref()
    }

    /// Returns the JSON that says the most about it here: that of the channel, if there is one.
    pub(crate) fn info_here(&self) -> Option<&str> {
        self.channel_info().or(self.info())
    }

    fn bytes(&self) -> usize {
        let texts = [&self.user, &self.info, &self.channel_info];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        MEMBER_BYTES + texts.sum::<usize>()
    }
}

/// A question for the members of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// The names of users.
    Users,
    /// The members, so many at most and with so many bytes.
    Members { count: usize, bytes: usize },
    /// The numbers of clients and of users. `distinct`: a user may have several clients, and is to
    /// be counted once.
    Numbers { distinct: bool },
}

/// The members of a channel, on one shard or on several.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Clients of the channel.
    pub clients: u64,
    /// Users, at most 1,000 of each shard; a user of several clients may stand there several times.
    pub(crate) users: Vec<Arc<str>>,
    /// Clients with a user that is not among those.
    pub(crate) uncounted: u64,
    /// Members, if they were asked for.
    pub members: Vec<Member>,
    /// Members as their watchers know them, at the home of a channel that waits for the return of
    /// users: also those that have just left.
    pub(crate) guests: Vec<Member>,
    /// There are more than are named.
    pub more: bool,
}

impl Here {
    /// Adds members as far as a question wants them.
    pub(crate) fn add_members(
        &mut self,
        members: impl IntoIterator<Item = Member>,
        (count, bytes): (usize, usize),
    ) {
        let mut used: usize = self.members.iter().map(Member::bytes).sum();
        for member in members {
            used += member.bytes();
            // An answer has one member, whatever its size.
            let fits = used <= bytes || self.members.is_empty();
            if self.members.len() >= count || !fits {
                self.more = true;
                return;
            }
            self.members.push(member);
        }
    }

    /// Adds the users of a shard's members, of which `named` have one.
    pub(crate) fn add_users(
        &mut self,
        members: impl Iterator<Item = Option<Arc<str>>>,
        named: usize,
    ) {
        let users = members.take(LOOKS_MAX).flatten();
        self.users.extend(users.take(named.min(USERS_MAX)));
        self.more |= self.users.len() < named;
    }

    /// Keeps the members as watchers know them, as far as a question wants them. One more than an
    /// answer names shows that there are more.
    pub(crate) fn keep_guests(&mut self, guests: impl Iterator<Item = Member>, question: Question) {
        let named = match question {
            Question::Users => USERS_MAX,
            Question::Members { count, .. } => count,
            Question::Numbers { .. } => return,
        };
        self.guests.extend(guests.take(named.saturating_add(1)));
    }

    /// Adds another shard's part of the answer to a question.
    pub(crate) fn add(&mut self, part: Self, question: Question) {
        self.clients += part.clients;
        self.uncounted += part.uncounted;
        self.more |= part.more;
        self.users.extend(part.users);
        self.guests.extend(part.guests);
        if let Question::Members { count, bytes } = question {
            self.add_members(part.members, (count, bytes));
        }
    }

    /// Adds the users that have left and may return. Called once all shards have answered.
    pub(crate) fn add_guests(&mut self, question: Question) {
        let guests = std::mem::take(&mut self.guests);
        let Question::Members { count, bytes } = question else {
            return self.users.extend(guests.into_iter().filter_map(|guest| guest.user));
        };
        let here: HashSet<&str> = self.members.iter().filter_map(Member::user).collect();
        let absent = |guest: &Member| !guest.user().is_some_and(|user| here.contains(user));
        let absent: Vec<Member> = guests.into_iter().filter(absent).collect();
        self.add_members(absent, (count, bytes));
    }

    /// Puts the answers of shards together, with at most `count` members of so many bytes.
    pub fn sum(parts: Vec<Self>, count: usize, bytes: usize) -> Self {
        let (mut sum, question) = (Self::default(), Question::Members { count, bytes });
        for part in parts {
            sum.add(part, question);
        }
        sum.add_guests(question);
        sum
    }

    /// Returns the users that are named, some of them more than once.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|user| &**user)
    }

    /// Returns the number of clients with a user that is not named.
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Returns the number of users. If `more` is `true` it is the most that there can be: users of
    /// several clients may count several times.
    pub fn count_users(&self) -> u64 {
        let distinct: HashSet<&str> = self.users.iter().map(|user| &**user).collect();
        distinct.len() as u64 + self.uncounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    fn member(number: u32, user: &str) -> Member {
        let client = ClientId { generation: 0, slot: Slot(number), shard: ShardId(0) };
        Member { client, user: Some(user.into()), info: None, channel_info: None }
    }

    #[test]
    fn an_answer_is_bounded_in_members_and_in_bytes() {
        let room = MEMBER_BYTES + 3;
        for (count, bytes, taken) in
            [(10, 1 << 20, 5), (3, 1 << 20, 3), (10, 2 * room, 2), (10, 1, 1), (10, 5 * room, 5)]
        {
            let parts = [0..2, 2..5].map(|range| {
                let members = range.map(|number| member(number, "ann")).collect();
                Here { clients: 2, members, ..Here::default() }
            });
            let sum = Here::sum(parts.into(), count, bytes);
            assert_eq!((sum.members.len(), sum.clients), (taken, 4), "{count} of {bytes} bytes");
            assert_eq!(sum.more, taken < 5, "{count} of {bytes} bytes");
        }
    }

    #[test]
    fn an_answer_says_that_there_are_more_users_who_may_return() {
        for (here, gone, more) in [(0, 3, false), (0, 4, true), (2, 1, false), (2, 2, true)] {
            let all: Vec<Member> =
                (0..here + gone).map(|number| member(number, &number.to_string())).collect();
            let question = Question::Members { count: 3, bytes: 1 << 20 };
            let mut part = Here::default();
            part.keep_guests(all.iter().cloned(), question);
            part.add_members(all[..here as usize].to_vec(), (3, 1 << 20));
            let sum = Here::sum(vec![part], 3, 1 << 20);
            assert_eq!((sum.members.len(), sum.more), (3, more), "{here} here, {gone} gone");
        }
    }

    #[test]
    fn users_are_counted_once_as_far_as_they_are_named() {
        let named = |names: &[&str]| {
            let mut here = Here::default();
            let users = names.iter().map(|name| Some(Arc::from(*name)));
            here.add_users(users, names.len());
            here
        };
        let uncounted = Here { uncounted: 7, more: true, ..Here::default() };
        for (parts, users, more) in [
            (vec![named(&["ann", "bob", "ann"]), named(&["bob", "cid"])], 3, false),
            (vec![named(&["ann"]), uncounted], 8, true),
        ] {
            let sum = Here::sum(parts, 0, 0);
            assert_eq!((sum.count_users(), sum.more), (users, more));
        }
    }

    #[test]
    fn members_without_a_user_hide_no_user_and_are_not_looked_at_for_ever() {
        let anonymous = |count| std::iter::repeat_n(None, count);
        let ann = || std::iter::once(Some(Arc::from("ann")));
        for (in_front, found) in [(100, 1), (LOOKS_MAX, 0)] {
            let mut here = Here::default();
            here.add_users(anonymous(in_front).chain(ann()), 1);
            assert_eq!((here.users.len(), here.more), (found, found == 0), "{in_front}");
        }
    }
}
