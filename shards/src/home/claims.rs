//! Users and addresses: their owner grants claims, knows the clients of each, and reaches them.
//!
//! Of two processes in a take-over the leader decides for the clients of both: the follower passes
//! the claims of its clients on, and keeps a list of its own, for the time after the link.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Home;
use super::engine::{Engine, FOLLOWER, LEADER};
use crate::close::CloseReason;
use crate::mesh::Mesh;
use crate::mesh::parcel::{Ask, Deliver};
use crate::model::directory::{Claim, Verdict};
use crate::model::facts::{Fact, Known};
use crate::model::id::{ClientId, ShardId};
use crate::model::told::Told;

/// The shard that decides about a claim.
pub(crate) fn owner_of(mesh: &Mesh, claim: &Claim) -> ShardId {
    match claim {
        Claim::User(user) => mesh.home_of(&**user),
        Claim::Address(address) => mesh.home_of(address),
    }
}

/// Some users by the shards that own them.
pub(crate) fn by_owner(
    mesh: &Mesh,
    users: &[Arc<str>],
) -> impl Iterator<Item = (ShardId, Vec<Arc<str>>)> + use<> {
    let mut by_owner: BTreeMap<ShardId, Vec<Arc<str>>> = BTreeMap::new();
    for user in users {
        by_owner.entry(mesh.home_of(&**user)).or_default().push(Arc::clone(user));
    }
    by_owner.into_iter()
}

impl Home<'_> {
    /// Goes on with what homes and owners of an earlier process knew. `leads`: this process numbers
    /// for that one, which still has clients.
    pub(crate) fn restore(&mut self, facts: Vec<Fact>, leads: bool) {
        for Fact(known) in facts {
            match known {
                Known::Granted { claim, clients } => {
                    for client in clients {
                        self.directory.enter(&claim, client);
                    }
                }
                Known::Version { channel, version } => {
                    if let Some(index) = self.rooms.channels.find(&channel) {
                        self.rooms.channels.at(index).order.takes(&version);
                    }
                }
                Known::Present { .. } | Known::Watched { .. } | Known::Used { .. } if !leads => {}
                Known::Present { channel, clients, member } => {
                    self.restore_member(&channel, (&member, clients));
                }
                Known::Watched { channel } => self.hear_interest(&channel, true, FOLLOWER),
                Known::Used { channel } => self.restore_use(channel),
            }
        }
    }

    /// Decides a claim as its owner, or has the leader decide.
    pub(super) fn claim(&mut self, client: ClientId, claim: Claim) {
        if let Some(engine) = self.engine.as_deref_mut().filter(|engine| engine.follows()) {
            return engine.ask_claim(client, claim);
        }
        // The claims of a process that has gone may still lie in the lane.
        if client.process() != self.port.process && !self.has_side(FOLLOWER) {
            return;
        }
        let verdict = match &claim {
            Claim::Address(address) => {
                let granted =
                    self.directory.claim_address(*address, client, self.config.clients_per_ip);
                if granted { Verdict::Granted } else { Verdict::Refused }
            }
            Claim::User(user) => {
                let rule = self.config.duplicate_user;
                let verdict = self.directory.claim_user(user, client, rule);
                self.note_clients(user);
                verdict
            }
        };
        self.answer_claim(client, claim, verdict);
    }

    fn answer_claim(&mut self, client: ClientId, claim: Claim, verdict: Verdict) {
        if client.process() == self.port.process {
            self.port.deliver(client.shard, Deliver::Claimed { client, claim, verdict });
        } else {
            self.send_to_follower(Told::Claimed { client, claim, verdict });
        }
    }

    /// The leader has decided a claim. One that was released meanwhile is answered no more.
    pub(super) fn take_verdict(&mut self, client: ClientId, claim: Claim, verdict: Verdict) {
        let asked = self.engine.as_deref_mut().is_some_and(|one| one.is_asked(client, &claim));
        if !asked {
            return;
        }
        if verdict != Verdict::Refused {
            self.enter(&claim, client);
        }
        self.answer_claim(client, claim, verdict);
    }

    /// Takes note of a claim that another process has granted.
    fn enter(&mut self, claim: &Claim, client: ClientId) {
        self.directory.enter(claim, client);
        if let Claim::User(user) = claim {
            self.note_clients(user);
        }
    }

    pub(super) fn release(&mut self, client: ClientId, claim: Claim) {
        match &claim {
            Claim::User(user) => {
                self.directory.release_user(user, client);
                self.note_clients(user);
            }
            Claim::Address(address) => self.directory.release_address(*address, client),
        }
        if let Some(engine) = self.engine.as_deref_mut().filter(|engine| engine.follows()) {
            engine.is_asked(client, &claim);
            engine.tell(LEADER, Told::Release { client, claim });
        }
    }

    /// Sends away the clients that an open one replaces. The word goes through the home of its
    /// channel, behind all that the home has sent to them; so everything that was numbered before
    /// the newer one sat there reaches the older ones.
    pub(super) fn replace_older(
        &mut self,
        client: ClientId,
        user: Arc<str>,
        channel: Option<Arc<str>>,
    ) {
        if let Some(engine) = self.engine.as_deref_mut().filter(|engine| engine.follows()) {
            engine.tell(LEADER, Told::Settle { client, user, channel });
            return;
        }
        let clients = self.directory.settle_user(&user, client);
        match channel {
            _ if clients.is_empty() => {}
            Some(channel) => {
                let home = self.port.mesh.home_of(&*channel);
                self.port.owe(home, Ask::Replace { channel, clients });
            }
            None => self.send_away(user, clients),
        }
    }

    /// Sends replaced clients away, of whichever process. In another one the home of a name does
    /// it: that of their channel, or of their user.
    pub(super) fn send_away(&mut self, name: Arc<str>, clients: Vec<ClientId>) {
        let process = self.port.process;
        let (own, others): (Vec<_>, Vec<_>) =
            clients.into_iter().partition(|client| client.process() == process);
        self.close_all(&own, CloseReason::Replaced);
        if !others.is_empty() {
            self.send_to_follower(Told::Replace { name, clients: others });
        }
    }

    /// Returns the clients of a user in this process.
    pub(super) fn clients_here(&self, user: &str) -> Vec<ClientId> {
        let all = self.directory.clients_of(user).iter();
        all.copied().filter(|client| client.process() == self.port.process).collect()
    }

    /// Sends the clients of a user away, but for some. Returns their number.
    pub(super) fn disconnect(&mut self, user: &str, but: &[ClientId]) -> u64 {
        let mut clients = self.clients_here(user);
        clients.retain(|client| !but.contains(client));
        self.close_all(&clients, CloseReason::Disconnected);
        clients.len() as u64
    }

    fn close_all(&mut self, clients: &[ClientId], reason: CloseReason) {
        for &client in clients {
            self.port.deliver(client.shard, Deliver::Close { client, reason });
        }
    }

    /// Forgets the clients of a process that takes part no more.
    pub(crate) fn forget_lost_follower(&mut self) {
        if !self.engine.as_deref_mut().is_some_and(Engine::take_lost_follower) {
            return;
        }
        self.lose_members(FOLLOWER);
        if let Some(engine) = self.engine.as_deref_mut() {
            engine.used.lose();
        }
        for (client, claim) in self.directory.keep_only(self.port.process) {
            if let Claim::User(user) = &claim {
                self.note_clients(user);
            }
            if let Some(engine) = self.engine.as_deref_mut() {
                engine.tell(LEADER, Told::Release { client, claim });
            }
        }
    }
}
