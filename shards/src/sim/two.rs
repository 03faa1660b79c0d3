//! Two processes in a take-over: the older one's homes follow, over a link that delays, fills and
//! breaks as the dice say.
//!
//! Clients of both must hear one order, each its channel without a gap; and a client that goes from
//! the older process to the newer one must be told all that it missed. After a break the clients of
//! the older one hear its own order, in which no offset is one of the other order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::books::{check_books, check_shared};
use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::{CHANNELS, Shards};
use super::world::World;
use super::{check_json, check_plain, orders};
use crate::config::{Config, DuplicateUser};
use crate::mesh::link::{Link, Message, Sizes};
use crate::mesh::parcel::{Ask, Deliver, Instruction};
use crate::mesh::reply::Answers;
use crate::model::facts::read_facts;
use crate::model::id::{ProcessId, ShardId};
use crate::model::snapshot::{self, Past};
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};
use crate::run::spread;

/// The offsets of a process that numbers alone again lie beyond.
const ALONE: u64 = 1 << 32;

/// Bytes on their way in one direction.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    /// The number of those that have arrived.
    arrived: usize,
}

impl Wire {
    fn has_some(&self) -> bool {
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

const USERS: [&str; 3] = ["ann", "bob", "cid"];

/// The newer process, and the link to it while it holds.
struct Newer {
    shards: Shards,
    link: Option<(Link, Link, Wire, Wire)>,
}

struct Two {
    dice: Dice,
    config: Config,
    older: Shards,
    newer: Option<Newer>,
    /// With the mark of those that are the newer process's.
    clients: Vec<(Client, bool)>,
    said: usize,
    sizes: Sizes,
    /// A history was removed.
    removes: bool,
}

fn config(dice: &mut Dice) -> Config {
    let history = HistoryRules { size: 10_000, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.duplicate_user =
        [DuplicateUser::Replace, DuplicateUser::Refuse, DuplicateUser::Allow][dice.below(3)];
    config.clients_per_ip = 3;
    config.lane_parcels = 1 + dice.below(4);
    config.read_buffer_bytes = 512;
    config
}

impl Two {
    fn new(mut dice: Dice, seed: u64) -> Self {
        let config = config(&mut dice);
        let sizes = Sizes {
            out: 1 + dice.below(6),
            relayed: 1 + dice.below(4),
            pending: 1 + dice.below(8),
        };
        World::reset(8);
        let older = Shards::beside(0, 1 + dice.below(3), config.clone(), seed);
        let (newer, clients, said, removes) = (None, Vec::new(), 0, false);
        Self { dice, config, older, newer, clients, said, sizes, removes }
    }

    fn connect(&mut self, since: Option<(crate::model::message::Epoch, u64)>, channel: usize) {
        let (json, lines) = [(true, false), (false, true), (false, false)][self.dice.below(3)];
        let wish = Wish {
            channel: Some(CHANNELS[channel]),
            json: json || since.is_some(),
            lines: lines && since.is_none(),
            echoless: since.is_none() && self.dice.below(4) == 0,
            since,
            user: (self.dice.below(3) == 0).then(|| USERS[self.dice.below(USERS.len())]),
            // One of them may have many clients.
            peer: (self.dice.below(6) == 0).then(|| SocketAddr::from(([9, 9, 9, 9], 9))),
            ..Wish::default()
        };
        let (stream, client) = Client::connect(wish, usize::MAX);
        let is_newer = self.newer.is_some();
        let shards = self.newer.as_mut().map_or(&mut self.older, |newer| &mut newer.shards);
        let shard = self.dice.below(shards.all.len());
        shards.accept(shard, stream);
        self.clients.push((client, is_newer));
    }

    /// A client of the older process is sent away, and comes to the newer one.
    fn migrate(&mut self) {
        let index = self.dice.below(self.clients.len());
        let (client, is_newer) = &mut self.clients[index];
        if *is_newer || !client.wish.json || !client.stayed() {
            return;
        }
        let name = client.wish.channel.unwrap();
        let last = client.heard().iter().rev().find_map(|heard| match heard {
            Heard::Json { channel, offset, .. } if channel == name => Some(*offset),
            _ => None,
        });
        // Without a message it knows no position in this test.
        let Some(last) = last.filter(|last| *last < ALONE) else { return };
        client.cut();
        let home = self.older.all[0].port.mesh.home_of(name).index();
        let channels = &self.older.all[home].rooms.channels;
        let epoch = channels.get(channels.find(name).unwrap()).order.newest.epoch;
        let channel = CHANNELS.iter().position(|one| *one == name).unwrap();
        self.connect(Some((epoch, last)), channel);
    }

    /// The history of a channel is forgotten, as the API asks the leader.
    fn remove_history(&mut self) {
        let Some(Newer { shards, .. }) = &mut self.newer else { return };
        let name = CHANNELS[self.dice.below(CHANNELS.len())];
        let (reply, _answers) = Answers::expect(1);
        let mesh = shards.all[0].port.mesh.clone();
        // A full lane refuses it.
        let _ = mesh.ask(mesh.home_of(name), Ask::RemoveHistory { channel: name.into(), reply });
        self.removes = true;
    }

    /// Some client goes.
    fn cut(&mut self) {
        let index = self.dice.below(self.clients.len());
        self.clients[index].0.cut();
    }

    /// The newer process takes over: from here on the older one's homes follow.
    fn take_over(&mut self, seed: u64) {
        let (link, ends) = Link::follower(&self.older.all[0].port.mesh.clone(), self.sizes);
        let count = 1 + self.dice.below(3);
        let mut newer = Shards::beside(4, count, self.config.clone(), seed + 1_000_003);
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
        let follows = |shards: &Shards| {
            shards.all.iter().all(|one| one.engine.as_ref().is_some_and(|engine| engine.follows()))
        };
        while !follows(&self.older) {
            self.step();
        }
        let mut channels = Vec::new();
        for shard in &self.older.all {
            channels.extend(snapshot::read_part(&shard.save(true, 0, usize::MAX).bytes).unwrap());
        }
        let facts = self.older.all.iter().flat_map(|one| read_facts(&one.facts()).unwrap());
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

    fn step(&mut self) {
        match self.dice.below(100) {
            0..8 => {
                let channel = self.dice.below(CHANNELS.len());
                self.connect(None, channel);
            }
            8..40 if !self.clients.is_empty() => {
                let index = self.dice.below(self.clients.len());
                for _ in 0..=self.dice.below(6) {
                    self.said += 1;
                    self.clients[index].0.say(self.said, 0);
                }
            }
            40..44 if self.newer.is_some() && !self.clients.is_empty() => self.migrate(),
            44 if !self.clients.is_empty() => self.cut(),
            45 if self.dice.below(8) == 0 => self.remove_history(),
            44..60 => {
                let (one, other) = (1 + self.dice.below(300), 1 + self.dice.below(300));
                self.carry(one, other);
            }
            60..80 if self.newer.is_some() => {
                let newer = &mut self.newer.as_mut().unwrap().shards;
                newer.turn(self.dice.below(newer.all.len()));
            }
            _ => {
                let shard = self.dice.below(self.older.all.len());
                self.older.turn(shard);
            }
        }
    }

    fn carry(&mut self, there: usize, back: usize) {
        if let Some(Newer { link: Some((ours, theirs, out, home)), .. }) = &mut self.newer {
            out.carry(ours, theirs, there);
            home.carry(theirs, ours, back);
        }
    }

    /// Turns until nothing moves in either process.
    fn come_to_rest(&mut self) {
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

    /// The link ends on the way, with what is in it.
    fn break_link(&mut self) {
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

/// Checks what a client of the older process heard, if the link may have been broken: no gap in its
/// order but the one leap.
fn check_leap(index: usize, client: &Client, heard: &[Heard]) {
    let name = client.wish.channel.unwrap();
    let offsets: Vec<u64> = heard
        .iter()
        .filter_map(|one| match one {
            Heard::Json { channel, offset, .. } if channel == name => Some(*offset),
            _ => None,
        })
        .collect();
    for pair in offsets.windows(2) {
        let leaps = pair[0] < ALONE && pair[1] > ALONE;
        assert!(leaps || pair[0] < pair[1], "client {index}: {pair:?}");
    }
    let apart = |pair: &&[u64]| pair[0] + 1 != pair[1];
    let leaps = offsets.windows(2).filter(apart).filter(|pair| pair[1] > ALONE).count();
    assert!(leaps <= 1 || client.wish.echoless, "client {index} heard {leaps} leaps");
}

fn simulate(seed: u64) {
    let mut two = Two::new(Dice::seeded(seed), seed);
    let breaks = two.dice.below(3) == 0;
    // All channels are known before: one that is met behind a break begins with 1, in an epoch of
    // its own.
    (0..CHANNELS.len()).for_each(|channel| two.connect(None, channel));
    two.come_to_rest();
    for _ in 0..100 {
        two.step();
    }
    two.take_over(seed);
    for _ in 0..250 {
        two.step();
    }
    if breaks {
        two.break_link();
        for _ in 0..60 {
            two.step();
        }
    }
    two.come_to_rest();

    let heard: Vec<(usize, Vec<Heard>)> =
        two.clients.iter().enumerate().map(|(index, one)| (index, one.0.heard())).collect();
    // Also behind a break: no offset stands for two publications.
    let all = orders(&heard);
    let of_newer: Vec<_> =
        heard.iter().filter(|(index, _)| two.clients[*index].1).cloned().collect();
    let followed = if breaks { orders(&of_newer) } else { all };
    for (index, heard) in &heard {
        let (client, is_newer) = &two.clients[*index];
        let order = client.wish.channel.and_then(|channel| followed.get(channel));
        if breaks && !is_newer {
            check_leap(*index, client, heard);
        } else if client.wish.json || client.wish.lines {
            check_json(*index, client, heard, &followed);
        } else if let (true, Some(order)) = (client.stayed(), order) {
            check_plain(*index, client, heard, order);
        }
        let may_go = breaks || client.wish.user.is_some() || client.wish.peer.is_some();
        assert!(may_go || !client.is_sent_away(), "client {index} is sent away");
        let failed = |one: &Heard| matches!(one, Heard::Joined { recovered: Some((_, false)), .. });
        assert!(
            breaks || two.removes || !heard.iter().any(failed),
            "client {index} recovered nothing"
        );
    }
    let newer = two.newer.as_ref().unwrap();
    check_books(&two.older.all);
    check_books(&newer.shards.all);
    if !breaks {
        check_shared(&newer.shards.all, &two.older.all);
    }
    let shards = two.older.all.iter().chain(&newer.shards.all);
    let numbered: u64 = shards.map(|shard| shard.clients.tally.publications).sum();
    let stayed = two.clients.iter().filter(|one| one.0.stayed());
    let whole: usize = stayed.map(|one| one.0.said).sum();
    assert!(numbered >= whole as u64, "{whole} said by those who stayed, {numbered} numbered");
    assert!(breaks || numbered <= two.said as u64, "more was numbered than said");
}

#[test]
fn two_processes_have_one_order_until_their_link_breaks() {
    for_each_seed(128, |seed| {
        simulate(seed);
        0
    });
}
