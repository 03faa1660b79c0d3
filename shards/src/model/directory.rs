//! The claims that an owner has granted: for each of its users and addresses, the clients.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::id::ClientId;
use crate::config::DuplicateUser;

/// The outcome of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    /// Granted, and older clients must go once this one is open: [`Directory::settle_user`].
    GrantedOver,
    Refused,
}

/// The entries of one owner.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    users: HashMap<Arc<str>, Vec<ClientId>, RandomState>,
    addresses: HashMap<IpAddr, HashSet<ClientId, RandomState>, RandomState>,
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
            _ if clients.is_empty() => Verdict::Granted,
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
