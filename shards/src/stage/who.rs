//! The members of a channel: each shard is asked for its own clients, and the shard of the client
//! that asked puts the answers together.

use std::sync::Arc;

use crate::client::roster::Gathering;
use crate::mesh::parcel::{Ask, Asker, Deliver};
use crate::model::id::{ClientId, RequestId, ShardId, Slot};
use crate::model::report::Here;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::event::Event;

/// The most questions of one client that may be under way.
const GATHERINGS_MAX: usize = 4;

/// The most users that an answer names, of one shard and of all together.
const USERS_MAX: usize = 1000;

/// Too many questions of one client are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<N: Net> Shard<N> {
    /// Asks every shard for its members of a channel, for a client.
    pub(crate) fn ask_who(
        &mut self,
        slot: Slot,
        channel: Arc<str>,
        id: Option<RequestId>,
    ) -> Result<(), TooMany> {
        let client = self.clients.roster.id(slot);
        let shards = self.port.mesh.shards();
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
            awaited: shards,
            here: Here::default(),
        });
        for shard in (0..shards).map(ShardId::at) {
            let asker = Asker::Client { client, request };
            self.port.owe(shard, Ask::Who { channel: Arc::clone(&channel), asker });
        }
        Ok(())
    }

    /// Answers for the clients of this shard.
    pub(crate) fn answer_who(&mut self, channel: &str, asker: Asker) {
        let here = self.who_is_here(channel);
        match asker {
            Asker::Bridge(reply) => reply.send(here),
            Asker::Client { client, request } => {
                self.port.deliver(client.shard, Deliver::Here { to: client, request, here });
            }
        }
    }

    fn who_is_here(&self, channel: &str) -> Here {
        let Some(index) = self.rooms.channels.find(channel) else { return Here::default() };
        let members = &self.rooms.channels.get(index).members;
        let mut named =
            members.iter().filter_map(|slot| self.clients.roster.get(slot)?.user.clone());
        let users = named.by_ref().take(USERS_MAX).collect();
        Here { clients: members.len() as u64, users, more: named.next().is_some() }
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
        open.here.clients += here.clients;
        open.here.users.extend(here.users);
        open.here.more |= here.more;
        open.awaited -= 1;
        if open.awaited > 0 {
            return;
        }
        let Gathering { id, channel, mut here, .. } = brief.gatherings.swap_remove(place);
        client.shed();
        here.users.sort_unstable();
        here.users.dedup();
        let more = here.more || here.users.len() > USERS_MAX;
        here.users.truncate(USERS_MAX);
        let event = Event::Here {
            channel: &channel,
            clients: here.clients,
            users: &here.users,
            more,
            id: id.as_ref(),
        };
        self.clients.tell(slot, &event);
    }
}
