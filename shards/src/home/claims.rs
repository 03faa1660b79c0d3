//! Users and addresses: their owner grants claims, knows the clients of each, and reaches them.

use std::sync::Arc;

use super::Home;
use crate::close::CloseReason;
use crate::mesh::Port;
use crate::mesh::parcel::{Ask, Claim, Deliver};
use crate::model::directory::Verdict;
use crate::model::id::{ClientId, ShardId};

/// The shard that decides about a claim.
pub(crate) fn owner_of(port: &Port, claim: &Claim) -> ShardId {
    match claim {
        Claim::User(user) => port.mesh.home_of(&**user),
        Claim::Address(address) => port.mesh.home_of(address),
    }
}

impl Home<'_> {
    /// Decides a claim as its owner.
    pub(super) fn judge(&mut self, client: ClientId, claim: &Claim) -> Verdict {
        match claim {
            Claim::Address(address) => {
                let granted =
                    self.directory.claim_address(*address, client, self.config.clients_per_ip);
                if granted { Verdict::Granted } else { Verdict::Refused }
            }
            Claim::User(user) => {
                self.directory.claim_user(user, client, self.config.duplicate_user)
            }
        }
    }

    pub(super) fn release(&mut self, client: ClientId, claim: &Claim) {
        match claim {
            Claim::User(user) => self.directory.release_user(user, client),
            Claim::Address(address) => self.directory.release_address(*address, client),
        }
    }

    /// Sends away the clients that an open one replaces. The word goes through the home of its
    /// channel, behind all that the home has sent to them; so everything that was numbered before
    /// the newer one sat there reaches the older ones.
    pub(super) fn replace_older(
        &mut self,
        client: ClientId,
        user: &str,
        channel: Option<Arc<str>>,
    ) {
        let clients = self.directory.settle_user(user, client);
        match channel {
            _ if clients.is_empty() => {}
            Some(channel) => {
                let home = self.port.mesh.home_of(&*channel);
                self.port.owe(home, Ask::Replace { clients });
            }
            None => self.send_away(&clients),
        }
    }

    pub(super) fn send_away(&mut self, clients: &[ClientId]) {
        self.close_all(clients, CloseReason::Replaced);
    }

    /// Sends all clients of a user away. Returns their number.
    pub(super) fn disconnect(&mut self, user: &str) -> u64 {
        let clients = self.directory.clients_of(user).to_vec();
        self.close_all(&clients, CloseReason::Disconnected);
        clients.len() as u64
    }

    fn close_all(&mut self, clients: &[ClientId], reason: CloseReason) {
        for &client in clients {
            self.port.deliver(client.shard, Deliver::Close { client, reason });
        }
    }
}
