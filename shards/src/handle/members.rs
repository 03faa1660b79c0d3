//! Clients that the control plane puts into channels, and takes out of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Handle, Target};
use crate::error::Untaken;
use crate::mesh::parcel::{Ask, Deliver, Dismiss, Enlist};
use crate::mesh::reply::Answers;
use crate::model::channel::NoChannel;
use crate::model::id::{ClientId, ShardId};
use crate::model::seating::{Placement, Seatings};

/// The most clients of one call: a shard takes as many in one turn.
pub const MOVED_MAX: usize = 64;

impl Handle {
    /// Asks for the clients of a user, or of an id, which may not be there any more. No shard
    /// knows the clients of a token.
    ///
    /// # Errors
    /// A bad name or client id, or a full lane.
    pub fn clients_of(&self, target: &Target) -> Result<Answers<Vec<ClientId>>, Untaken> {
        let (reply, answers) = Answers::expect(1);
        match target {
            Target::User(user) => {
                let user = self.limits.user(user)?;
                self.ask(self.mesh.home_of(&*user), Ask::ClientsOf { user, reply })?;
            }
            Target::Client(id) => {
                let client: ClientId = id.parse().map_err(|()| Untaken::BadName)?;
                let is_here =
                    client.process() == self.process && client.shard.index() < self.mesh.shards();
                reply.send(is_here.then_some(client).into_iter().collect());
            }
            Target::Token(_) => return Err(Untaken::BadName),
        }
        Ok(answers)
    }

    /// Puts clients into a channel, [`MOVED_MAX`] of them at most. Those that are under way
    /// then are asked for again, with `asks_only`.
    ///
    /// # Errors
    /// A bad name, or a full lane: some clients may be in the channel. Call it again.
    pub fn enlist(
        &self,
        clients: &[ClientId],
        channel: &str,
        placement: &Placement,
        asks_only: bool,
    ) -> Result<Answers<Seatings>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let by_shard = self.by_shard(&channel, clients);
        let (reply, answers) = Answers::expect(by_shard.len());
        for (shard, clients) in by_shard {
            let (channel, reply) = (Arc::clone(&channel), reply.clone());
            let placement = placement.clone();
            let order = Enlist { clients, channel, placement, asks_only, reply };
            self.order(shard, Deliver::Enlist(Box::new(order)))?;
        }
        Ok(answers)
    }

    /// Takes clients out of a channel, [`MOVED_MAX`] of them at most. The answers add up to the
    /// number of those that were in it.
    ///
    /// # Errors
    /// A bad name, or a full lane: some clients may have been told. Call it again.
    pub fn dismiss(
        &self,
        clients: &[ClientId],
        channel: &str,
    ) -> Result<Answers<Result<u64, NoChannel>>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let by_shard = self.by_shard(&channel, clients);
        let (reply, answers) = Answers::expect(by_shard.len());
        for (shard, clients) in by_shard {
            let order = Dismiss { clients, channel: Arc::clone(&channel), reply: reply.clone() };
            self.order(shard, Deliver::Dismiss(Box::new(order)))?;
        }
        Ok(answers)
    }

    fn order(&self, shard: ShardId, order: Deliver) -> Result<(), Untaken> {
        self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)
    }

    /// The clients of each shard; without any, the home of the channel says if it can be had.
    fn by_shard(&self, channel: &str, clients: &[ClientId]) -> BTreeMap<ShardId, Vec<ClientId>> {
        let mut by_shard: BTreeMap<ShardId, Vec<ClientId>> = BTreeMap::new();
        if clients.is_empty() {
            by_shard.insert(self.mesh.home_of(channel), Vec::new());
        }
        for &client in clients.iter().take(MOVED_MAX) {
            by_shard.entry(client.shard).or_default().push(client);
        }
        by_shard
    }
}
