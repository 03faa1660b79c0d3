//! The order of two processes in a take-over, over a link that delays, fills and breaks as the dice
//! say.
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
use super::pair::{Newer, Pair};
use super::run::{CHANNELS, Shards};
use super::world::World;
use super::{check_json, check_plain, orders};
use crate::config::{Config, DuplicateUser};
use crate::mesh::link::Sizes;
use crate::mesh::parcel::Ask;
use crate::mesh::reply::Answers;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

/// The offsets of a process that numbers alone again lie beyond.
const ALONE: u64 = 1 << 32;

const USERS: [&str; 3] = ["ann", "bob", "cid"];

struct Two {
    dice: Dice,
    config: Config,
    pair: Pair,
    /// With the mark of those that are the newer process's.
    clients: Vec<(Client, bool)>,
    said: usize,
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
        let (clients, said, removes) = (Vec::new(), 0, false);
        Self { dice, config, pair: Pair::new(older, sizes), clients, said, removes }
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
        let is_newer = self.pair.newer.is_some();
        let shards = self.pair.newest();
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
        let home = self.pair.older.all[0].port.mesh.home_of(name).index();
        let channels = &self.pair.older.all[home].rooms.channels;
        let epoch = channels.get(channels.find(name).unwrap()).order.newest.epoch;
        let channel = CHANNELS.iter().position(|one| *one == name).unwrap();
        self.connect(Some((epoch, last)), channel);
    }

    /// The history of a channel is forgotten, as the API asks the leader.
    fn remove_history(&mut self) {
        let Some(Newer { shards, .. }) = &mut self.pair.newer else { return };
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

    /// A newer process fails before it begins, while some homes of the older one may not follow
    /// yet.
    fn fail_to_take_over(&mut self, seed: u64) {
        self.pair.begin(1, self.config.clone(), seed + 1_000_007);
        for _ in 0..self.dice.below(80) {
            self.step();
        }
        self.pair.give_back();
        // The next one is not asked for before all homes have learned of it.
        self.pair.come_to_rest();
        assert!(!self.pair.follows());
    }

    /// The newer process takes over: from here on the older one's homes follow.
    fn take_over(&mut self, seed: u64) {
        let count = 1 + self.dice.below(3);
        self.pair.begin(count, self.config.clone(), seed + 1_000_003);
        while !self.pair.follows() {
            self.step();
        }
        self.pair.take_over();
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
            40..44 if self.pair.newer.is_some() && !self.clients.is_empty() => self.migrate(),
            44 if !self.clients.is_empty() => self.cut(),
            45 if self.dice.below(8) == 0 => self.remove_history(),
            44..60 => {
                let (one, other) = (1 + self.dice.below(300), 1 + self.dice.below(300));
                self.pair.carry(one, other);
            }
            60..80 if self.pair.newer.is_some() => {
                let newer = &mut self.pair.newer.as_mut().unwrap().shards;
                newer.turn(self.dice.below(newer.all.len()));
            }
            _ => {
                let shard = self.dice.below(self.pair.older.all.len());
                self.pair.older.turn(shard);
            }
        }
    }
}

/// Checks what a client of the older process heard, if the link may have been broken: no gap in its
/// order but the one leap.
fn check_leap(index: usize, client: &Client, heard: &[Heard]) {
    let name = client.wish.channel.unwrap();
    let (mut last, mut gap) = (None, None);
    for one in heard {
        match one {
            Heard::Gap { channel, from, to } if channel == name => gap = Some((*from, *to)),
            Heard::Json { channel, offset, .. } if channel == name => {
                let before = last.replace(*offset);
                if before.is_some_and(|before| before < ALONE) && *offset > ALONE {
                    let is_told = gap.is_some_and(|(from, to)| from <= ALONE && to < *offset);
                    assert!(is_told, "client {index}: {gap:?} before {offset}");
                }
            }
            _ => {}
        }
    }
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
    two.pair.come_to_rest();
    for _ in 0..100 {
        two.step();
    }
    if two.dice.below(3) == 0 {
        two.fail_to_take_over(seed);
    }
    two.take_over(seed);
    for _ in 0..250 {
        two.step();
    }
    if breaks {
        two.pair.break_link();
        for _ in 0..60 {
            two.step();
        }
    }
    two.pair.come_to_rest();

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
    let newer = two.pair.newer.as_ref().unwrap();
    check_books(&two.pair.older.all);
    check_books(&newer.shards.all);
    if !breaks {
        check_shared(&newer.shards.all, &two.pair.older.all);
    }
    let shards = two.pair.older.all.iter().chain(&newer.shards.all);
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
