//! Two processes in a take-over: the older one's homes follow, over a link that delays, fills and
//! breaks as the schedule says.

use super::run::Shards;
use crate::config::Config;
use crate::mesh::link::{Link, Message, Sizes};
use crate::mesh::parcel::{Deliver, Instruction};
use crate::mesh::reply::Answers;
use crate::model::facts::read_facts;
use crate::model::id::{ProcessId, ShardId};
use crate::model::snapshot::{self, Past};
use crate::run::spread;

/// Bytes on their way in one direction.
#[derive(Default)]
pub(super) struct Wire {
    bytes: Vec<u8>,
    /// The number of those that have arrived.
    arrived: usize,
}

impl Wire {
    pub(super) fn has_some(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Carries some bytes from one end to the other.
    fn carry(&mut self, from: &mut Link, to: &Link, bytes: usize) {
        from.outgoing.take_ready(&mut self.bytes, bytes);
        self.arrived = self.bytes.len().min(self.arrived + bytes);
        while let Some((message, length)) = Message::read(&self.bytes[..self.arrived]).unwrap() {
            if to.incoming.hand_on(message).is_err() {
                return;
            }
            self.bytes.drain(..length);
            self.arrived -= length;
        }
    }
}

/// The newer process, and the link to it while it holds.
pub(super) struct Newer {
    pub(super) shards: Shards,
    pub(super) link: Option<(Link, Link, Wire, Wire)>,
}

/// The processes of a take-over.
pub(super) struct Pair {
    pub(super) older: Shards,
    pub(super) newer: Option<Newer>,
    /// The older one's end of the link, while its homes learn of it.
    ours: Option<Link>,
    /// The newer one, which does not serve yet.
    prepared: Option<Shards>,
    sizes: Sizes,
}

impl Pair {
    pub(super) fn new(older: Shards, sizes: Sizes) -> Self {
        Self { older, newer: None, ours: None, prepared: None, sizes }
    }

    /// Has the homes of the older process follow a newer one of so many shards.
    pub(super) fn begin(&mut self, count: usize, config: Config, seed: u64) {
        let (link, ends) = Link::follower(&self.older.all[0].port.mesh.clone(), self.sizes);
        let newer = Shards::beside(4, count, config, seed);
        let epoch = newer.all[0].port.mesh.epoch();
        let (reply, _answers) = Answers::expect(ends.len());
        for (index, end) in ends.into_iter().enumerate() {
            let shard = ShardId::at(index);
            let follow = Instruction::Follow { end, epoch, reply: reply.clone() };
            let mut order = Deliver::Instruction(follow);
            let mesh = self.older.all[0].port.mesh.clone();
            while let Err(back) = mesh.deliver(shard, order) {
                order = back;
                self.older.turn(index);
            }
        }
        (self.ours, self.prepared) = (Some(link), Some(newer));
    }

    /// Returns `true` if every home of the older process follows.
    pub(super) fn follows(&self) -> bool {
        let shards = &self.older.all;
        shards.iter().all(|one| one.engine.as_ref().is_some_and(|engine| engine.follows()))
    }

    /// Starts the newer process with all that the older one knows.
    pub(super) fn take_over(&mut self) {
        let (link, mut newer) = self.ours.take().zip(self.prepared.take()).unwrap();
        let mut channels = Vec::new();
        for shard in &self.older.all {
            channels.extend(snapshot::read_part(&shard.save(true, 0, usize::MAX).bytes).unwrap());
        }
        let facts = self.older.all.iter_mut().flat_map(|one| read_facts(&one.facts()).unwrap());
        let process = ProcessId::default().next();
        let facts = facts.collect();
        let past = Past { channels, facts, process, leads: true, ..Past::default() };
        let (theirs, out) = Link::leader(&newer.all[0].port.mesh, self.sizes);
        let pasts = spread(past, &newer.all[0].port.mesh);
        newer.now = self.older.now;
        for (shard, past) in newer.all.iter_mut().zip(pasts) {
            shard.clients.now = newer.now;
            shard.restore(past);
            shard.lead(out.clone());
        }
        let link = Some((link, theirs, Wire::default(), Wire::default()));
        self.newer = Some(Newer { shards: newer, link });
    }

    /// The newer process fails before it begins: it has numbered nothing.
    pub(super) fn give_back(&mut self) {
        self.prepared = None;
        self.ours.take().unwrap().give_back();
    }

    /// The shards of the process that takes new clients.
    pub(super) fn newest(&mut self) -> &mut Shards {
        self.newer.as_mut().map_or(&mut self.older, |newer| &mut newer.shards)
    }

    pub(super) fn carry(&mut self, there: usize, back: usize) {
        if let Some(Newer { link: Some((ours, theirs, out, home)), .. }) = &mut self.newer {
            out.carry(ours, theirs, there);
            home.carry(theirs, ours, back);
        }
    }

    /// Turns until nothing moves in either process.
    pub(super) fn come_to_rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            self.carry(1 << 20, 1 << 20);
            let newer = self.newer.as_mut().map(|newer| &mut newer.shards);
            let mut busy = false;
            for shards in [Some(&mut self.older), newer].into_iter().flatten() {
                for shard in 0..shards.all.len() {
                    shards.turn(shard);
                }
                busy |= shards.all.iter().any(|shard| {
                    shard.has_work() || shard.port.is_stalled() || !shard.held.is_empty()
                });
            }
            let link = self.newer.as_ref().and_then(|newer| newer.link.as_ref());
            busy |= link.is_some_and(|(_, _, out, home)| out.has_some() || home.has_some());
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet > 20 {
                return;
            }
        }
        panic!("the two processes wait for each other");
    }

    /// Time passes in both.
    pub(super) fn pass(&mut self, ns: u64) {
        self.older.now.ns += ns;
        if let Some(newer) = &mut self.newer {
            newer.shards.now.ns += ns;
        }
    }

    /// The link ends on the way, with what is in it.
    pub(super) fn break_link(&mut self) {
        let Some((ours, theirs, ..)) = self.newer.as_mut().and_then(|newer| newer.link.take())
        else {
            return;
        };
        // As after the time for which its end waits for room there.
        let homes: Vec<_> = (0..self.older.all.len()).collect();
        drop(theirs);
        for _ in 0..50 {
            for &shard in &homes {
                self.older.turn(shard);
            }
        }
        drop(ours);
    }
}
