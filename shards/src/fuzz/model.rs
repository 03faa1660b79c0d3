//! Operation lists on the pure state of a shard, each type against its simplest equivalent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::input::Input;
use crate::config::DuplicateUser;
use crate::model::bucket::Bucket;
use crate::model::channel::{Channels, NoChannel};
use crate::model::directory::{Directory, Verdict};
use crate::model::id::{ChannelIndex, ClientId, Place, ShardId, Slot};
use crate::model::message::Epoch;
use crate::model::outbox::{FRAME_COST, Mark, Outbox};
use crate::model::shape::Form;

/// A byte that selects the type, then the operations on it.
///
/// # Panics
/// If a type and its equivalent disagree.
pub fn model(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => outbox(&mut input),
        1 => directory(&mut input),
        2 => channels(&mut input),
        _ => bucket(&mut input),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "frames without a mark are others")]
fn mark(channel: u32) -> Option<Mark> {
    Some(Mark::publication(ChannelIndex(channel), 1))
}

/// An outbox is a list of whole frames, and a count of bytes gone from the first.
fn outbox(input: &mut Input<'_>) {
    const BYTES_MAX: usize = 2_000;
    let mut outbox = Outbox::new(0);
    let mut list: VecDeque<(Vec<u8>, u32)> = VecDeque::new();
    let mut gone = 0;
    let mut next = 0_u8;
    while !input.rest.is_empty() {
        match input.below(5) {
            0 | 1 => {
                next = next.wrapping_add(1);
                let (len, channel) = (1 + input.below(40), u32::from(input.byte() % 3));
                let held: usize = list.iter().map(|(bytes, _)| bytes.len() + FRAME_COST).sum();
                let fits = held + len + FRAME_COST <= BYTES_MAX;
                let frame = Bytes::from(vec![next; len]);
                if list.is_empty() && len > 1 && input.below(2) == 0 {
                    gone = 1 + input.below(len - 1);
                    outbox.begin(frame, mark(channel), gone);
                    list.push_back((vec![next; len], channel));
                } else {
                    assert_eq!(outbox.push(frame, mark(channel), BYTES_MAX).is_ok(), fits);
                    list.extend(fits.then(|| (vec![next; len], channel)));
                }
            }
            2 => {
                let there = list.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() - gone;
                let sent = input.below(80).min(there);
                outbox.advance(sent, 1);
                gone += sent;
                while list.front().is_some_and(|(bytes, _)| bytes.len() <= gone) {
                    gone -= list.pop_front().map_or(0, |(bytes, _)| bytes.len());
                }
            }
            3 => {
                let channel = u32::from(input.byte() % 3);
                let before = list.len();
                let head = if gone > 0 { list.pop_front() } else { None };
                list.retain(|(_, of)| *of != channel);
                if let Some(head) = head {
                    list.push_front(head);
                }
                let overtaken = outbox.overtake(ChannelIndex(channel)).publications;
                assert_eq!(overtaken, (before - list.len()) as u64);
            }
            _ => {
                let before = list.len();
                list.truncate(usize::from(gone > 0));
                assert_eq!(outbox.clear_behind_head(), (before - list.len()) as u64);
            }
        }
        let flat: Vec<u8> = list.iter().flat_map(|(bytes, _)| bytes.clone()).skip(gone).collect();
        assert!(outbox.slices().all(|slice| !slice.is_empty()));
        let seen: Vec<u8> = outbox.slices().flatten().copied().collect();
        assert_eq!(flat, seen);
        let held: usize = list.iter().map(|(bytes, _)| bytes.len() + FRAME_COST).sum();
        assert_eq!((outbox.bytes(), outbox.is_empty()), (held, list.is_empty()));
        assert!(held <= BYTES_MAX);
    }
}

/// A directory is a list of claims in the order in which they were granted.
fn directory(input: &mut Input<'_>) {
    const FROM_ONE_ADDRESS: u32 = 3;
    let rule = [DuplicateUser::Replace, DuplicateUser::Refuse, DuplicateUser::Allow];
    let rule = rule[input.below(3)];
    let users: [Arc<str>; 3] = ["ann".into(), "bob".into(), "cid".into()];
    let mut directory = Directory::default();
    let mut claims: Vec<(usize, ClientId)> = Vec::new();
    let mut addresses: Vec<(IpAddr, ClientId)> = Vec::new();
    let mut next = 0;
    while !input.rest.is_empty() {
        let user = input.below(3);
        let client = |slot| ClientId { generation: 0, slot: Slot(slot), shard: ShardId(0) };
        let of_user = |claims: &[(usize, ClientId)]| -> Vec<ClientId> {
            claims.iter().filter(|(of, _)| *of == user).map(|(_, client)| *client).collect()
        };
        match input.below(5) {
            0 => {
                next += 1;
                let verdict = match (rule, of_user(&claims).is_empty()) {
                    (_, true) | (DuplicateUser::Allow, _) => Verdict::Granted,
                    (DuplicateUser::Replace, _) => Verdict::GrantedOver,
                    (DuplicateUser::Refuse, _) => Verdict::Refused,
                };
                assert_eq!(directory.claim_user(&users[user], client(next), rule), verdict);
                claims.extend((verdict != Verdict::Refused).then(|| (user, client(next))));
            }
            1 => {
                let client = client(u32::from(input.byte()));
                let known = of_user(&claims);
                let older = known.iter().position(|of| *of == client).unwrap_or(0);
                claims.retain(|(of, client)| *of != user || !known[..older].contains(client));
                assert_eq!(directory.settle_user(&users[user], client), known[..older]);
            }
            2 => {
                let client = client(u32::from(input.byte()));
                claims.retain(|claim| *claim != (user, client));
                directory.release_user(&users[user], client);
            }
            3 => {
                next += 1;
                let address = IpAddr::from([10, 0, 0, input.byte() % 3]);
                let known = addresses.iter().filter(|(of, _)| *of == address).count();
                let granted = known < FROM_ONE_ADDRESS as usize;
                let claimed = directory.claim_address(address, client(next), FROM_ONE_ADDRESS);
                assert_eq!(claimed, granted);
                addresses.extend(granted.then(|| (address, client(next))));
            }
            _ => {
                let address = IpAddr::from([10, 0, 0, input.byte() % 3]);
                let client = client(u32::from(input.byte()));
                addresses.retain(|claim| *claim != (address, client));
                directory.release_address(address, client);
            }
        }
        assert_eq!(directory.clients_of(&users[user]), of_user(&claims));
        let named: BTreeSet<usize> = claims.iter().map(|(of, _)| *of).collect();
        assert_eq!(directory.users(), named.len(), "no entry outlives its clients");
        for last in 0..3 {
            let address = IpAddr::from([10, 0, 0, last]);
            let known = addresses.iter().filter(|(of, _)| *of == address).count();
            assert_eq!(directory.clients_from(address), known);
        }
    }
}

/// Channels are a map from names to lists of members; under pressure an idle one goes.
fn channels(input: &mut Input<'_>) {
    const COUNT_MAX: usize = 4;
    let mut channels = Channels::new(COUNT_MAX, Epoch(1), Arc::default());
    let mut map: BTreeMap<Arc<str>, Vec<Slot>> = BTreeMap::new();
    while !input.rest.is_empty() {
        let name: Arc<str> = ["a", "b", "c", "d", "e", "f"][input.below(6)].into();
        let slot = Slot(u32::from(input.byte() % 16));
        match input.below(3) {
            0 => {
                let known = map.contains_key(&name);
                let idle = map.values().filter(|members| members.is_empty()).count();
                let before = channels.forgotten();
                let room = known || map.len() < COUNT_MAX || idle > 0;
                let index = channels.find_or_add(&name, ShardId(0));
                assert_eq!(index.is_err(), !room);
                assert_eq!(index, channels.find(&name).ok_or(NoChannel::NoRoom));
                let pressed = !known && map.len() >= COUNT_MAX && idle > 0;
                assert_eq!(channels.forgotten() - before, u64::from(pressed));
                map.retain(|name, members| !members.is_empty() || channels.find(name).is_some());
                if room {
                    map.entry(name).or_default();
                }
            }
            1 => {
                let Some(index) = channels.find(&name) else { continue };
                let members = map.get_mut(&name).expect("known");
                if !members.contains(&slot) {
                    let place = channels.at(index).members.add(slot, Form::default());
                    assert_eq!(place.index(), members.len());
                    members.push(slot);
                }
            }
            _ => {
                let Some(index) = channels.find(&name) else { continue };
                let members = map.get_mut(&name).expect("known");
                let Some(position) = members.iter().position(|of| *of == slot) else { continue };
                let last = members.pop().expect("not empty");
                let moved = (last != slot).then_some(last);
                if moved.is_some() {
                    members[position] = last;
                }
                let place = Place::at(position);
                let members = &mut channels.at(index).members;
                assert_eq!(members.take_out(slot, place, Form::default()), moved);
            }
        }
        assert_eq!((channels.len(), channels.iter().count()), (map.len(), map.len()));
        for channel in channels.iter() {
            assert_eq!(channel.members.iter().collect::<Vec<_>>(), map[&channel.name]);
            assert_eq!(channel.is_idle(), channel.members.is_empty());
        }
    }
}

/// Over no stretch of time does a bucket let through more than its depth and what flowed in.
fn bucket(input: &mut Input<'_>) {
    let rate = u32::from(input.byte()) + 1;
    // Near the wrap of the clock that slots keep.
    let mut now_ms = u32::MAX - 2_000;
    let mut bucket = Bucket::full(rate, now_ms);
    let mut passed_ms = 0_u64;
    let mut taken: Vec<(u64, u64)> = Vec::new();
    while !input.rest.is_empty() && taken.len() < 64 {
        let step = u32::from(input.byte()) * 8;
        now_ms = now_ms.wrapping_add(step);
        passed_ms += u64::from(step);
        let tokens = u64::from(input.byte());
        let price = tokens.min(u64::from(rate));
        let granted = bucket.take(tokens, rate, now_ms);
        assert!(granted || taken.iter().any(|(when, _)| passed_ms - when < 1_000), "full again");
        taken.extend(granted.then_some((passed_ms, price)));
        let mut sum = 0;
        for &(when, price) in taken.iter().rev() {
            sum += price;
            let most = u64::from(rate) * (1_000 + passed_ms - when);
            assert!(sum * 1_000 <= most, "{sum} within {} ms", passed_ms - when);
        }
    }
}
