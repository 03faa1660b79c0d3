//! All links between shards: two bounded lanes into each, and the bell that wakes it.
//!
//! Asks may wait for room, deliveries may make a home wait for room, and the receiver of deliveries
//! waits for nothing: so no ring of waiting shards can form.
//!
//! A lane is bounded in parcels, and more tightly in broad ones, for each of which a shard sends to
//! many clients: a full lane of broad parcels would take a shard seconds, and all others wait.

pub(crate) mod bell;
pub(crate) mod bridge;
pub(crate) mod bus;
mod lane;
pub(crate) mod link;
pub(crate) mod news;
mod port;
pub(crate) mod parcel;
pub(crate) mod question;
pub(crate) mod recall;
pub(crate) mod reply;

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use crate::model::id::ShardId;
use crate::model::message::Epoch;
use bell::Bell;
use bridge::Bridges;
use lane::Lane;
use parcel::{Ask, Deliver};
pub(crate) use port::Port;
use port::Receivers;

/// The sending ends of one shard's lanes, and its bell.
#[derive(Debug)]
struct End {
    asks: Lane<Ask>,
    delivers: Lane<Deliver>,
    bell: Bell,
}

/// Every shard's end; the same for all threads.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    ends: Arc<[End]>,
    homes: SeedableRandomState,
}

fn homes(seed: u64) -> SeedableRandomState {
    SeedableRandomState::with_seed(seed, SharedSeed::global_fixed())
}

fn first_epoch(homes: &SeedableRandomState) -> Epoch {
    let bits = homes.hash_one("epoch");
    Epoch(u32::try_from(bits >> 32).unwrap_or_default())
}

/// The first numbering of a run with that seed.
pub(crate) fn epoch_of(seed: u64) -> Epoch {
    first_epoch(&homes(seed))
}

impl Mesh {
    /// A mesh of `shards` shards, and the port of each, with its ends of the bridges. Names are
    /// spread over homes by `seed`, which outsiders must not know.
    pub(crate) fn new(
        shards: usize,
        lane_parcels: usize,
        seed: u64,
        bridges: &Bridges,
    ) -> (Self, Vec<Port>) {
        let mut ends = Vec::with_capacity(shards);
        let mut receivers = Vec::with_capacity(shards);
        for _ in 0..shards {
            let (asks, asks_in) = Lane::new(lane_parcels);
            let (delivers, delivers_in) = Lane::new(lane_parcels);
            ends.push(End { asks, delivers, bell: Bell::new() });
            receivers.push((asks_in, delivers_in));
        }
        let mesh = Self { ends: ends.into(), homes: homes(seed) };
        let ports = receivers
            .into_iter()
            .enumerate()
            .map(|(index, (asks, delivers))| {
                let receivers = Receivers { asks, delivers };
                let (me, mesh) = (ShardId::at(index), mesh.clone());
                Port::new(me, mesh, lane_parcels, receivers, bridges.clone())
            })
            .collect();
        (mesh, ports)
    }

    pub(crate) fn shards(&self) -> usize {
        self.ends.len()
    }

    /// The shard that orders a channel, or that keeps a user's or an address's entry.
    pub(crate) fn home_of(&self, name: &(impl std::hash::Hash + ?Sized)) -> ShardId {
        let shard = self.homes.hash_one(name) % self.ends.len() as u64;
        ShardId(u16::try_from(shard).expect("at most 64 shards"))
    }

    /// The first numbering of channels at the homes of this run: another run has another one.
    pub(crate) fn epoch(&self) -> Epoch {
        first_epoch(&self.homes)
    }

    /// Wakes one shard.
    pub(crate) fn ring(&self, shard: ShardId) {
        if let Some(end) = self.ends.get(shard.index()) {
            end.bell.ring();
        }
    }

    /// Asks from outside the shards: refused when the lane is full.
    pub(crate) fn ask(&self, to: ShardId, ask: Ask) -> Result<(), Ask> {
        let end = &self.ends[to.index()];
        end.asks.try_send(ask)?;
        end.bell.ring();
        Ok(())
    }

    /// Delivers from outside the shards: refused when the lane is full.
    pub(crate) fn deliver(&self, to: ShardId, deliver: Deliver) -> Result<(), Deliver> {
        let end = &self.ends[to.index()];
        end.delivers.try_send(deliver)?;
        end.bell.ring();
        Ok(())
    }

    /// Wakes every shard if that is needed.
    pub(crate) fn ring_all_if(&self, is_needed: bool) {
        if is_needed {
            self.ring_all();
        }
    }

    /// Wakes every shard.
    pub(crate) fn ring_all(&self) {
        for end in &*self.ends {
            end.bell.ring();
        }
    }
}
