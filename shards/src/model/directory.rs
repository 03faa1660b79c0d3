//! The claims that an owner has granted: for each of its users and addresses, the clients.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::facts::put_granted;
use super::id::{ClientId, ProcessId};
use super::watchers::Watchers;
use crate::config::DuplicateUser;
use crate::rules::USER_END;

/// A client's claim, which its owner grants or refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    User(Arc<str>),
    Address(IpAddr),
}

/// Returns `true` for the user of an app.
pub(crate) fn is_user_of_app(user: &str) -> bool {
    user.contains(USER_END)
}

/// Returns the name of a user of an app as the app has it.
pub(crate) fn name_in_app(user: &str) -> &str {
    user.split_once(USER_END).map_or(user, |(_, name)| name)
}

/// The outcome of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    /// Granted, and older clients must go once this one is open: [`Directory::settle_user`].
    GrantedOver,
    Refused,
}

impl Verdict {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Granted, Self::GrantedOver, Self::Refused];
}

/// The entries of one owner.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    users: HashMap<Arc<str>, Vec<ClientId>, RandomState>,
    addresses: HashMap<IpAddr, HashSet<ClientId, RandomState>, RandomState>,
    /// The clients that watch users of this owner.
    pub(crate) watchers: Watchers,
}

impl Directory {
    /// A client claims to be `user`.
    pub(crate) fn claim_user(
        &mut self,
        user: &Arc<str>,
        client: ClientId,
        rule: DuplicateUser,
    ) -> Verdict {
        let clients = self.users.entry(Arc::clone(user)).or_default();
        let verdict = match rule {
            _ if clients.is_empty() || is_user_of_app(user) => Verdict::Granted,
            DuplicateUser::Replace => Verdict::GrantedOver,
            DuplicateUser::Refuse => return Verdict::Refused,
            DuplicateUser::Allow => Verdict::Granted,
        };
        clients.push(client);
        verdict
    }

    /// A client that replaces others is open. Returns the older clients, which are no longer
    /// `user`; the list is empty if the client was itself replaced meanwhile.
    pub(crate) fn settle_user(&mut self, user: &str, client: ClientId) -> Vec<ClientId> {
        let Some(clients) = self.users.get_mut(user) else { return Vec::new() };
        let older = clients.iter().position(|other| *other == client).unwrap_or(0);
        clients.drain(..older).collect()
    }

    /// A client is no longer `user`; one that was replaced or refused has nothing to release.
    pub(crate) fn release_user(&mut self, user: &str, client: ClientId) {
        if let Some(clients) = self.users.get_mut(user) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.users.remove(user);
            }
        }
    }

    /// Another process has granted a claim of a client, or an earlier one did.
    pub(crate) fn enter(&mut self, claim: &Claim, client: ClientId) {
        match claim {
            Claim::User(user) => {
                let clients = self.users.entry(Arc::clone(user)).or_default();
                if !clients.contains(&client) {
                    clients.push(client);
                }
            }
            Claim::Address(address) => {
                self.addresses.entry(*address).or_default().insert(client);
            }
        }
    }

    /// Forgets the clients of all processes but one. Returns their claims.
    pub(crate) fn keep_only(&mut self, process: ProcessId) -> Vec<(ClientId, Claim)> {
        let is_gone = |client: &ClientId| client.process() != process;
        let mut gone = Vec::new();
        self.users.retain(|user, clients| {
            let others = clients.extract_if(.., |client| is_gone(client));
            gone.extend(others.map(|client| (client, Claim::User(Arc::clone(user)))));
            !clients.is_empty()
        });
        self.addresses.retain(|address, clients| {
            let others = clients.extract_if(|client| is_gone(client));
            gone.extend(others.map(|client| (client, Claim::Address(*address))));
            !clients.is_empty()
        });
        gone
    }

    /// Appends all claims with their clients, as facts for a process that takes over.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        for (user, clients) in &self.users {
            put_granted(out, &Claim::User(Arc::clone(user)), clients.iter().copied());
        }
        for (address, clients) in &self.addresses {
            put_granted(out, &Claim::Address(*address), clients.iter().copied());
        }
    }

    /// Returns the number of users.
    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// The clients of `user`.
    pub(crate) fn clients_of(&self, user: &str) -> &[ClientId] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// One more client from `address`, if there may be one.
    pub(crate) fn claim_address(
        &mut self,
        address: IpAddr,
        client: ClientId,
        clients_max: u32,
    ) -> bool {
        let clients = self.addresses.entry(address).or_default();
        clients.len() < clients_max as usize && clients.insert(client)
    }

    /// A client is no longer from `address`. One that was refused has nothing to release: it may
    /// have gone before it knew.
    pub(crate) fn release_address(&mut self, address: IpAddr, client: ClientId) {
        if let Some(clients) = self.addresses.get_mut(&address) {
            clients.remove(&client);
            if clients.is_empty() {
                self.addresses.remove(&address);
            }
        }
    }

    /// Returns the number of clients from `address`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn clients_from(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, HashSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    fn client(slot: u32) -> ClientId {
        ClientId { generation: 0, slot: Slot(slot), shard: ShardId(0) }
    }

    #[test]
    fn each_rule_for_a_second_client_of_a_user() {
        let bob: Arc<str> = "bob".into();
        for (rule, verdict, left) in [
            (DuplicateUser::Replace, Verdict::GrantedOver, vec![client(1), client(2)]),
            (DuplicateUser::Refuse, Verdict::Refused, vec![client(1)]),
            (DuplicateUser::Allow, Verdict::Granted, vec![client(1), client(2)]),
        ] {
            let mut directory = Directory::default();
            assert_eq!(directory.claim_user(&bob, client(1), rule), Verdict::Granted);
            assert_eq!(directory.claim_user(&bob, client(2), rule), verdict, "{rule:?}");
            assert_eq!(directory.clients_of("bob"), left, "{rule:?}");
        }
    }

    #[test]
    fn older_clients_are_closed_when_the_newer_is_open() {
        let bob: Arc<str> = "bob".into();
        let mut directory = Directory::default();
        for slot in 1..=4 {
            directory.claim_user(&bob, client(slot), DuplicateUser::Replace);
        }
        assert_eq!(directory.settle_user("bob", client(3)), [client(1), client(2)]);
        assert_eq!(
            directory.settle_user("bob", client(2)),
            [],
            "it was replaced before it was open"
        );
        assert_eq!(directory.settle_user("bob", client(4)), [client(3)]);
        directory.release_user("bob", client(1));
        assert_eq!(directory.clients_of("bob"), [client(4)], "a replaced one releases nothing");
        directory.release_user("bob", client(4));
        assert!(directory.users.is_empty());
    }

    #[test]
    fn a_client_that_never_opens_replaces_nobody() {
        let bob: Arc<str> = "bob".into();
        let mut directory = Directory::default();
        directory.claim_user(&bob, client(1), DuplicateUser::Replace);
        directory.claim_user(&bob, client(2), DuplicateUser::Replace);
        directory.release_user("bob", client(2));
        assert_eq!(directory.clients_of("bob"), [client(1)]);
    }

    #[test]
    fn clients_of_other_processes_count_until_they_are_forgotten() {
        let (bob, here): (Arc<str>, _) = ("bob".into(), IpAddr::from([127, 0, 0, 1]));
        let claims = [Claim::User(Arc::clone(&bob)), Claim::Address(here)];
        let other =
            ClientId { generation: ProcessId::default().next().first_generation(), ..client(1) };
        let mut directory = Directory::default();
        for claim in claims.iter().chain(&claims) {
            directory.enter(claim, other);
        }
        let verdict = directory.claim_user(&bob, client(1), DuplicateUser::Replace);
        assert_eq!(verdict, Verdict::GrantedOver);
        assert!(directory.claim_address(here, client(1), 2));
        assert!(!directory.claim_address(here, client(2), 2));
        let gone = directory.keep_only(ProcessId::default());
        assert_eq!(gone, claims.map(|claim| (other, claim)));
        assert_eq!(
            (directory.clients_of("bob"), directory.clients_from(here)),
            (&[client(1)][..], 1)
        );
        assert_eq!(directory.keep_only(ProcessId::default().next()).len(), 2);
        assert!(directory.users.is_empty() && directory.addresses.is_empty());
    }

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut directory = Directory::default();
        assert!(directory.claim_address(here, client(1), 2));
        assert!(directory.claim_address(here, client(2), 2));
        assert!(!directory.claim_address(here, client(3), 2));
        directory.release_address(here, client(3));
        assert_eq!(directory.clients_from(here), 2, "a refused one releases nothing");
        directory.release_address(here, client(1));
        directory.release_address(here, client(2));
        assert!(directory.addresses.is_empty());
    }
}
