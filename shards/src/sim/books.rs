//! Facts on which shards, homes, owners and clients must agree whenever all of them are at rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::run::CHANNELS;
use super::world::SimNet;
use crate::client::state::Flags;
use crate::config::DuplicateUser;
use crate::model::channel::Subscription;
use crate::model::history::History;
use crate::model::id::{ClientId, Place, Slot};
use crate::model::order::Order;
use crate::model::shape::Form;
use crate::net::Net;
use crate::shard::Shard;

/// Holds every table of the shards against the others.
pub(crate) fn check_books(shards: &[Shard<SimNet>]) {
    for shard in shards {
        check_seats(shard);
        check_outboxes(shard);
    }
    check_subscriptions(shards);
    check_users(shards);
    check_addresses(shards);
}

/// Members and seats are the same facts from both ends.
fn check_seats(shard: &Shard<SimNet>) {
    let mut seats = BTreeSet::new();
    let mut open = 0;
    for (slot, client) in shard.clients.roster.iter() {
        let state = shard.clients.roster.state(slot);
        open += usize::from(state.is_open());
        assert!(state.is_open() || client.seats().next().is_none(), "only open clients sit");
        assert_eq!(state.is_any(Flags::MANY), client.seats().nth(1).is_some(), "{slot:?}");
        assert_eq!(client.recalls().count(), 0, "nothing is under way");
        for seat in client.seats() {
            let form = Form::first(shard.clients.roster.hot(slot).shape, seat.patches);
            let kind = (form.shape, form.takes_patches());
            assert!(seats.insert((seat.channel, kind, seat.place, slot, seat.presence)));
        }
    }
    assert_eq!(open, shard.clients.open, "the count of open clients");
    let mut members = 0;
    for channel in shard.rooms.channels.iter() {
        let index =
            shard.rooms.channels.find(&channel.name).expect("each channel is found by its name");
        let mut watching = 0;
        for (form, slots) in channel.members.groups() {
            for (place, &slot) in slots.iter().enumerate() {
                let kind = (form.shape, form.takes_patches());
                let seat = |presence| (index, kind, Place::at(place), slot, presence);
                let watches = seats.contains(&seat(true));
                assert!(watches || seats.contains(&seat(false)), "{}", channel.name);
                watching += u32::from(watches);
            }
        }
        let user_of = |slot: &Slot| shard.clients.user_in(*slot, index);
        let named = channel.members.iter().filter(|slot| user_of(slot).is_some()).count();
        assert_eq!(channel.named as usize, named, "{}", channel.name);
        assert_eq!(channel.recalling, 0, "{}", channel.name);
        assert_eq!(watching, channel.watching, "{}", channel.name);
        assert!(channel.tick.is_empty() && channel.waiting.is_empty(), "nothing is under way");
        members += channel.members.len();
    }
    assert_eq!(members, seats.len(), "every seat is in a channel that is known");
}

/// A home that waits for the return of users knows the clients of each, and counts members right.
fn check_attendance(shards: &[Shard<SimNet>], name: &str) {
    let home = &shards[shards[0].port.mesh.home_of(name).index()];
    let Some(order) = home.rooms.channels.find(name).map(|at| &home.rooms.channels.get(at).order)
    else {
        return;
    };
    let mut users: BTreeMap<&str, u32> = BTreeMap::new();
    let mut members = 0;
    let peers = home.engine.as_ref().into_iter().flat_map(|engine| engine.peers.of(name));
    for (member, clients) in peers {
        if let Some(user) = &member.user {
            *users.entry(user).or_default() += clients;
        }
    }
    for shard in shards {
        let Some(index) = shard.rooms.channels.find(name) else { continue };
        for slot in shard.rooms.channels.get(index).members.iter() {
            members += 1;
            if let Some(user) = shard.clients.user_in(slot, index) {
                *users.entry(user).or_default() += 1;
            }
        }
    }
    if let Some(crowd) = &order.crowd {
        assert_eq!(crowd.here(), members, "{name}: the members as the home counts them");
    }
    if let Some(mut known) = order.attendance.as_ref().and_then(|one| one.clients()) {
        known.retain(|_, clients| *clients > 0);
        assert_eq!(known, users, "{name}: the users as the home knows them");
    }
}

fn check_outboxes(shard: &Shard<SimNet>) {
    let outboxes = shard.clients.roster.iter().filter_map(|(_, client)| client.outbox.as_ref());
    assert_eq!(shard.clients.outboxes.bytes, outboxes.map(|outbox| outbox.bytes()).sum::<usize>());
    for (slot, client) in shard.clients.roster.iter() {
        let listed = shard
            .clients
            .outboxes
            .listed
            .iter()
            .any(|id| shard.clients.roster.slot_of(*id) == Some(slot));
        assert!(listed || client.outbox.is_none(), "an outbox that nobody looks after");
    }
}

/// The home of a channel knows exactly the shards with members and the shards with watchers.
fn check_subscriptions(shards: &[Shard<SimNet>]) {
    let mut names: BTreeMap<Arc<str>, [u64; 3]> = BTreeMap::new();
    for shard in shards {
        for channel in shard.rooms.channels.iter() {
            let [live, watching, watched] = names.entry(Arc::clone(&channel.name)).or_default();
            let bit = shard.port.me.bit();
            assert_ne!(channel.subscription, Subscription::Asked, "nothing is under way");
            if channel.subscription == Subscription::Live {
                *live |= bit;
                assert!(
                    !channel.members.is_empty() || channel.pinned,
                    "{} has a subscription and no members",
                    channel.name
                );
            } else {
                assert!(channel.members.is_empty(), "{} has members only", channel.name);
            }
            *watching |= if channel.watching > 0 { bit } else { 0 };
            *watched |= if channel.watched { bit } else { 0 };
        }
    }
    for (name, [live, watching, watched]) in names {
        let home = &shards[shards[0].port.mesh.home_of(&*name).index()];
        let order =
            home.rooms.channels.find(&name).map(|index| &home.rooms.channels.get(index).order);
        let (subscribed, watchers) = order.map_or((0, 0), |order| (order.shards, order.watchers));
        assert_eq!(subscribed, live, "{name}: the home's shards and the shards that subscribe");
        assert_eq!(watchers, watching, "{name}: the home's watchers and the shards that watch");
        check_attendance(shards, &name);
        let told = if order.is_some_and(Order::is_told) { live } else { 0 };
        assert_eq!(watched & live, told, "{name}: who knows that it is watched");
    }
}

/// The owner of a user knows exactly the open clients of that name.
fn check_users(shards: &[Shard<SimNet>]) {
    let mut users: HashMap<Arc<str>, BTreeSet<ClientId>> = HashMap::new();
    for shard in shards {
        for (slot, client) in shard.clients.roster.iter() {
            let user = client.user.as_ref().filter(|_| shard.clients.roster.state(slot).is_open());
            if let Some(user) = user {
                users.entry(Arc::clone(user)).or_default().insert(shard.clients.roster.id(slot));
            }
        }
    }
    for (user, clients) in &users {
        let owner = &shards[shards[0].port.mesh.home_of(&**user).index()];
        let known = owner.directory.clients_of(user).iter().copied();
        let here = known.filter(|client| client.process() == owner.port.process);
        assert_eq!(&here.collect::<BTreeSet<_>>(), clients, "the owner of {user} and the clients");
    }
    if shards[0].engine.is_none() {
        let known: usize = shards.iter().map(|shard| shard.directory.users()).sum();
        assert_eq!(known, users.len(), "no user outlives its clients");
    }
}

/// The owner of an address counts exactly the open clients from there.
fn check_addresses(shards: &[Shard<SimNet>]) {
    let limit = shards[0].clients.config.clients_per_ip as usize;
    let mut addresses: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for shard in shards {
        for (slot, client) in shard.clients.roster.iter() {
            let peer = SimNet::peer(&client.stream).map(|peer| peer.ip());
            if let Some(address) = peer.filter(|_| shard.clients.roster.state(slot).is_open()) {
                *addresses.entry(address).or_default() += 1;
            }
        }
    }
    for (address, clients) in addresses {
        assert!(limit == 0 || clients <= limit, "{clients} clients from {address}");
        let owner = &shards[shards[0].port.mesh.home_of(&address).index()];
        let counted = owner.directory.clients_from(address);
        let exact = if limit == 0 { 0 } else { clients };
        let leads = owner.engine.is_some();
        assert!(counted == exact || leads && counted > exact, "{address}");
    }
}

/// The leader of two processes knows the clients of users and addresses of both, and the two keep
/// the same histories.
pub(crate) fn check_shared(leader: &[Shard<SimNet>], follower: &[Shard<SimNet>]) {
    let config = &leader[0].clients.config;
    let mut users: BTreeMap<Arc<str>, BTreeSet<ClientId>> = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for shard in leader.iter().chain(follower) {
        for (slot, client) in shard.clients.roster.iter() {
            if !shard.clients.roster.state(slot).is_open() {
                continue;
            }
            if let Some(user) = &client.user {
                users.entry(Arc::clone(user)).or_default().insert(shard.clients.roster.id(slot));
            }
            if let Some(peer) = SimNet::peer(&client.stream) {
                *addresses.entry(peer.ip()).or_default() += 1;
            }
        }
    }
    for (user, clients) in &users {
        let owner = &leader[leader[0].port.mesh.home_of(&**user).index()];
        let known = owner.directory.clients_of(user).iter().copied();
        assert_eq!(&known.collect::<BTreeSet<_>>(), clients, "{user} in both processes");
        let alone = config.duplicate_user == DuplicateUser::Allow || clients.len() == 1;
        assert!(alone, "{user} has {clients:?}");
    }
    let known: usize = leader.iter().map(|shard| shard.directory.users()).sum();
    assert_eq!(known, users.len(), "a user without clients");
    for (address, clients) in addresses {
        assert!(clients <= config.clients_per_ip as usize, "{clients} clients from {address}");
        let owner = &leader[leader[0].port.mesh.home_of(&address).index()];
        assert_eq!(owner.directory.clients_from(address), clients, "{address}");
    }
    for name in CHANNELS {
        let kept = [leader, follower].map(|shards| {
            let rooms = &shards[shards[0].port.mesh.home_of(name).index()].rooms;
            let index = rooms.channels.find(name)?;
            let history = rooms.channels.get(index).order.history.as_deref();
            let kept = history.into_iter().flat_map(History::publications);
            Some(kept.map(|publication| publication.offset).collect::<Vec<_>>())
        });
        let [Some(here), Some(there)] = kept else { continue };
        assert_eq!(here, there, "the histories of {name}");
    }
}
