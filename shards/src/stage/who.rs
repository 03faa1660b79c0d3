//! The members of a channel: each shard is asked for its own clients, and the shard of the client
//! that asked puts the answers together.

use std::sync::Arc;

use crate::client::wants::Gathering;
use crate::config::DuplicateUser;
use crate::mesh::parcel::{Ask, Asker, Deliver};
use crate::model::channel::NoChannel;
use crate::model::id::{ClientId, RequestId, ShardId, Slot};
use crate::model::presence::{Here, Question, USERS_MAX};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::event::Event;

/// The most questions of one client that may be under way.
const GATHERINGS_MAX: usize = 4;

/// An answer costs its shard as much as so many messages to single clients.
const TOLD_PER_ANSWER: usize = 64;

/// Too many questions of one client are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<N: Net> Shard<N> {
    /// Asks every shard for its members of a channel, for a client.
    pub(crate) fn ask_who(
        &mut self,
        slot: Slot,
        channel: Arc<str>,
        question: Question,
        id: Option<RequestId>,
    ) -> Result<(), TooMany> {
        let client = self.clients.roster.id(slot);
        let shards = self.port.mesh.shards();
        // The home of the channel answers once more, for other processes of a take-over.
        let elsewhere = self.engine.is_some();
        let request = self.clients.number_request();
        let Some(asking) = self.clients.roster.get_mut(slot) else { return Ok(()) };
        let brief = asking.brief();
        if brief.gatherings.len() >= GATHERINGS_MAX {
            return Err(TooMany);
        }
        brief.gatherings.push(Gathering {
            request,
            id,
            channel: Arc::clone(&channel),
            question,
            awaited: shards + usize::from(elsewhere),
            here: Here::default(),
        });
        for shard in (0..shards).map(ShardId::at) {
            let asker = Asker::Client { client, request };
            self.port.owe(shard, Ask::Who { channel: Arc::clone(&channel), question, asker });
        }
        if elsewhere {
            let home = self.port.mesh.home_of(&*channel);
            self.port.owe(home, Ask::Elsewhere { channel, question, client, request });
        }
        Ok(())
    }

    /// Answers for the clients of this shard.
    pub(crate) fn answer_who(&mut self, channel: &str, question: Question, asker: Asker) {
        let here = self.who_is_here(channel, question);
        match asker {
            Asker::Bridge(reply) => {
                let known = self.rooms.channels.rules().of(channel).is_some();
                reply.send(if known { Ok(here) } else { Err(NoChannel::UnknownNamespace) });
            }
            Asker::Client { client, request } => {
                self.clients.told += TOLD_PER_ANSWER;
                self.port.deliver(client.shard, Deliver::Here { to: client, request, here });
            }
            Asker::Home { home, number } => {
                self.clients.told += TOLD_PER_ANSWER;
                self.port.deliver(home, Deliver::Part { number, here });
            }
        }
    }

    fn who_is_here(&self, channel: &str, question: Question) -> Here {
        let Some(index) = self.rooms.channels.find(channel) else { return Here::default() };
        let channel = self.rooms.channels.get(index);
        let (members, named) = (&channel.members, channel.named as usize);
        let mut here = Here { clients: members.len() as u64, ..Here::default() };
        let users = || {
            members
                .iter()
                .map(|slot| self.clients.roster.get(slot).and_then(|one| one.user.clone()))
        };
        let known = channel.order.attendance.iter().flat_map(|attendance| attendance.users());
        // Another process answers for its clients.
        let is_elsewhere = |user: &Option<Arc<str>>| {
            let engine = self.engine.as_ref().zip(user.as_ref());
            engine.is_some_and(|(engine, user)| engine.has_elsewhere(&channel.name, user))
        };
        let guests = known.map(|(member, _)| member).filter(|guest| !is_elsewhere(&guest.user));
        here.keep_guests(guests.cloned(), question);
        match question {
            Question::Users => here.add_users(users(), named),
            Question::Members { count, bytes } => {
                let all = members.iter().filter_map(|slot| self.member(slot, index));
                here.add_members(all, (count, bytes));
            }
            // Each user has one client in the whole process.
            Question::Numbers { distinct: false } => here.uncounted = named as u64,
            Question::Numbers { distinct: true } => {
                here.add_users(users(), named);
                here.uncounted = (named - here.users.len()) as u64;
            }
        }
        here
    }

    /// Returns how users are to be counted in a channel.
    pub(crate) fn question_for_numbers(&self) -> Question {
        let distinct = self.clients.config.duplicate_user == DuplicateUser::Allow;
        Question::Numbers { distinct }
    }

    /// Takes one shard's part of the answer to a client's question. The last one completes it.
    pub(crate) fn gather(&mut self, to: ClientId, request: u32, here: Here) {
        let Some(slot) = self.clients.listener(to) else { return };
        let client = self.clients.roster.get_mut(slot);
        let Some(client) = client else { return };
        let Some(brief) = client.brief_mut() else { return };
        let Some(place) = brief.gatherings.iter().position(|open| open.request == request) else {
            return;
        };
        let open = &mut brief.gatherings[place];
        open.here.add(here, open.question);
        open.awaited -= 1;
        if open.awaited > 0 {
            return;
        }
        let done = brief.gatherings.swap_remove(place);
        client.shed();
        self.clients.told += TOLD_PER_ANSWER;
        self.tell_gathered(slot, done);
    }

    fn tell_gathered(&mut self, slot: Slot, done: Gathering) {
        let Gathering { id, channel, mut here, question, .. } = done;
        here.add_guests(question);
        let (channel, id, clients) = (&*channel, id.as_ref(), here.clients);
        let event = match question {
            Question::Users => {
                here.users.sort_unstable();
                here.users.dedup();
                let more = here.more || here.users.len() > USERS_MAX;
                here.users.truncate(USERS_MAX);
                Event::Here { channel, clients, users: &here.users, more, id }
            }
            Question::Members { .. } => {
                Event::Members { channel, clients, members: &here.members, more: here.more, id }
            }
            Question::Numbers { .. } => {
                let users = here.count_users();
                Event::Numbers { channel, clients, users, exact: !here.more, id }
            }
        };
        self.clients.tell(slot, &event);
    }
}
