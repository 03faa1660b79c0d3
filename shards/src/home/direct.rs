//! Direct messages: the owner of a user reaches its clients, here and in the other process of a
//! take-over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Home;
use super::engine::{FOLLOWER, LEADER};
use crate::mesh::parcel::{Deliver, Outcome};
use crate::mesh::reply::ReplyTo;
use crate::model::id::{ClientId, ShardId};
use crate::model::message::Publication;
use crate::model::told::{Token, Told};

/// A direct message that other processes send to clients of theirs as well.
#[derive(Debug)]
pub(super) struct Crossing {
    reply: ReplyTo<u64>,
    from: Option<ClientId>,
    clients: u64,
    /// The processes whose answers are not here yet.
    awaited: u8,
}

impl Home<'_> {
    /// Sends a message to every client of a user, on whichever shard and in whichever process.
    pub(super) fn direct(
        &mut self,
        user: &Arc<str>,
        publication: &Arc<Publication>,
        reply: ReplyTo<u64>,
    ) {
        let clients = self.direct_here(user, publication);
        let from = publication.from.as_ref().map(|from| from.client);
        let crossing = Crossing { reply, from, clients, awaited: 0 };
        if self.engine.is_some() {
            self.direct_elsewhere(user, publication, crossing);
        } else {
            self.answer_direct(crossing);
        }
    }

    fn direct_here(&mut self, user: &str, publication: &Arc<Publication>) -> u64 {
        let clients = self.clients_here(user);
        let mut by_shard: BTreeMap<ShardId, Vec<ClientId>> = BTreeMap::new();
        for &client in &clients {
            by_shard.entry(client.shard).or_default().push(client);
        }
        let count = clients.len() as u64;
        for (shard, to) in by_shard {
            let publication = Arc::clone(publication);
            self.port.deliver(shard, Deliver::Direct { to, publication });
        }
        count
    }

    /// Sends a message to the other processes, but for the one that it comes from.
    fn direct_elsewhere(
        &mut self,
        user: &Arc<str>,
        publication: &Arc<Publication>,
        mut crossing: Crossing,
    ) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let not_to = match crossing.reply {
            ReplyTo::Follower(_) => FOLLOWER,
            ReplyTo::Leader(_) => LEADER,
            _ => 0,
        };
        let token = Token { home: self.port.me, number: engine.next_direct };
        engine.next_direct += 1;
        for side in [LEADER, FOLLOWER] {
            let (user, publication) = (Arc::clone(user), Arc::clone(publication));
            if side != not_to && engine.tell(side, Told::Direct { token, user, publication }) {
                crossing.awaited |= side;
            }
        }
        if crossing.awaited == 0 {
            return self.answer_direct(crossing);
        }
        engine.crossings.insert(token.number, crossing);
        self.port.waits_for_link = engine.is_full();
    }

    /// Another process has sent a message to so many clients.
    pub(super) fn reached(&mut self, number: u64, clients: u64, side: u8) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let Some(mut crossing) = engine.crossings.remove(&number) else { return };
        crossing.clients += clients;
        crossing.awaited &= !side;
        if crossing.awaited == 0 {
            self.answer_direct(crossing);
        } else {
            engine.crossings.insert(number, crossing);
        }
    }

    /// Waits no longer for answers of processes that take part no more.
    pub(crate) fn answer_for_the_lost(&mut self) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let sides = engine.sides();
        for crossing in engine.crossings.values_mut() {
            crossing.awaited &= sides;
        }
        let over = engine.crossings.extract_if(.., |_, crossing| crossing.awaited == 0);
        let over: Vec<Crossing> = over.map(|(_, crossing)| crossing).collect();
        for crossing in over {
            self.answer_direct(crossing);
        }
    }

    fn answer_direct(&mut self, crossing: Crossing) {
        let Crossing { reply, from, clients, .. } = crossing;
        let (to, id) = match reply {
            ReplyTo::Bridge(reply) => return reply.send(clients),
            ReplyTo::Follower(token) => {
                return self.send_to_follower(Told::Reached { token, clients });
            }
            ReplyTo::Leader(token) => {
                if let Some(engine) = self.engine.as_deref_mut() {
                    engine.tell(LEADER, Told::Reached { token, clients });
                }
                return;
            }
            ReplyTo::Client(to, id) => (Some(to), Some(id)),
            // An unknown user is an error whether or not the client asked for an answer.
            ReplyTo::Nobody if clients == 0 => (from, None),
            ReplyTo::Nobody => return,
        };
        if let Some(to) = to {
            let outcome = Outcome::Reached(clients);
            self.port.deliver(to.shard, Deliver::Answer { to, id, outcome });
        }
    }
}
