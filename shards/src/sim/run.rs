//! One run: shards, clients, and a schedule that throws dice for every step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Wish};
use super::dice::Dice;
use super::members::{dismiss, enlist};
use super::world::World;
pub(crate) use super::world::{SimNet, SimStream};
use crate::client::Shared;
use crate::clock::Now;
use crate::config::Config;
use crate::mesh::Mesh;
use crate::mesh::bridge::Bridges;
use crate::model::message::Epoch;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules, SlowClients};
use crate::shard::{Fresh, Shard};

pub(crate) const CHANNELS: [&str; 3] = ["lobby", "north", "south"];
/// The number of addresses from which clients come.
const PEERS: usize = 4;
pub(crate) const USERS: [&str; 3] = ["ann", "bob", "cid"];

/// Shards that take a turn only when the test says so.
pub(crate) struct Shards {
    pub(crate) all: Vec<Shard<SimNet>>,
    pub(crate) now: Now,
}

impl Shards {
    pub(crate) fn new(count: usize, config: Config, seed: u64) -> Self {
        World::reset(count);
        Self::beside(0, count, config, seed)
    }

    /// Those of a process beside others, which have so many shards in this world.
    pub(crate) fn beside(others: usize, count: usize, mut config: Config, seed: u64) -> Self {
        config.cores = vec![0; count];
        let config = Arc::new(config);
        let (_, ports) = Mesh::new(count, config.lane_parcels, seed, &Bridges::default());
        let shared = Arc::new(Shared::default());
        let shards = ports.into_iter().enumerate().map(|(shard, port)| {
            let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
            Shard::new(SimNet { shard: others + shard }, config, 0, port, shared)
        });
        let all = shards.collect();
        Self { all, now: Now { ns: 1_000_000_000_000 } }
    }

    pub(crate) fn turn(&mut self, shard: usize) {
        self.all[shard].turn(self.now);
        self.all[shard].check();
    }

    pub(crate) fn accept(&mut self, shard: usize, stream: SimStream) {
        let is_sealed = stream.is_sealed;
        self.all[shard].fresh.push_back(Fresh { stream, is_sealed });
    }

    /// Turns until nothing moves, `before` each round.
    pub(crate) fn come_to_rest(&mut self, mut before: impl FnMut()) {
        for round in 0..20_000 {
            before();
            for shard in 0..self.all.len() {
                self.turn(shard);
            }
            let busy = self
                .all
                .iter()
                .any(|shard| shard.has_work() || shard.port.is_stalled() || !shard.held.is_empty());
            if !busy && round > 3 {
                return;
            }
        }
        panic!("the shards wait for each other");
    }
}

/// Lets the channels of a run keep some publications.
fn keep_history(config: &mut Config, dice: &mut Dice) {
    let history = HistoryRules {
        size: u32::try_from(1 + dice.below(20)).expect("few"),
        ttl: Duration::from_millis(200),
        bytes: 100 + 10 * dice.below(200),
    };
    let rules = ChannelRules { history, recovery: dice.below(4) > 0, ..ChannelRules::open("") };
    let rules = Rules::new(Marks::default(), rules, Vec::new()).expect("sound rules");
    config.rules = Arc::new(rules);
    config.history_total_bytes = 3_000;
}

/// A run under a schedule.
pub(crate) struct Run {
    dice: Dice,
    pub(crate) shards: Shards,
    pub(crate) clients: Vec<Client>,
    pub(crate) said: usize,
    /// Some clients offer compression.
    deflates: bool,
}

/// The offers of clients, one after the other.
const OFFERS: [Option<&str>; 6] = [
    Some("permessage-deflate"),
    None,
    Some("permessage-deflate; client_max_window_bits"),
    Some("permessage-deflate; server_no_context_takeover"),
    Some("permessage-deflate; server_max_window_bits=13"),
    Some("permessage-deflate; server_max_window_bits=9"),
];

impl Run {
    pub(crate) fn new(mut dice: Dice, seed: u64) -> Self {
        let count = 1 + dice.below(4);
        let mut config = Config::with_cores(Vec::new());
        config.lane_parcels = 1 + dice.below(4);
        config.read_buffer_bytes = 512;
        if dice.below(2) == 0 {
            config.outbox_bytes = 2_000;
        }
        if dice.below(4) == 0 {
            config.slow_clients = SlowClients::Disconnect;
            config.outbox_total_bytes = 3_000;
        }
        if dice.below(3) == 0 {
            config.write_timeout = Duration::from_millis(50);
        }
        if dice.below(3) == 0 {
            config.clients_per_ip = 2;
        }
        if dice.below(2) == 0 {
            keep_history(&mut config, &mut dice);
        }
        let shards = Shards::new(count, config, seed);
        Self { dice, shards, clients: Vec::new(), said: 0, deflates: false }
    }

    /// The same with compression.
    #[cfg(test)]
    pub(crate) fn deflated(self, compression: crate::rules::Compression) -> Self {
        let mut shards = self.shards;
        for shard in &mut shards.all {
            Arc::make_mut(&mut shard.clients.config).compression = compression;
        }
        Self { shards, deflates: true, ..self }
    }

    /// The same with every second client speaking TLS, in versions that take turns by seed.
    #[cfg(test)]
    pub(crate) fn sealed(dice: Dice, seed: u64) -> Self {
        let run = Self::new(dice, seed);
        let version =
            if seed.is_multiple_of(2) { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        World::seal_some(super::sealed::client_config_of(version));
        let config = super::sealed::server_config();
        let mut shards = run.shards;
        for shard in &mut shards.all {
            shard.clients.sealing.replace(Arc::clone(&config));
        }
        Self { shards, ..run }
    }

    fn connect(&mut self) {
        let shard = self.dice.below(self.shards.all.len());
        let channel = Some(CHANNELS[self.dice.below(CHANNELS.len())]);
        let user = (self.dice.below(3) == 0).then(|| USERS[self.dice.below(USERS.len())]);
        let (json, lines, events) = match self.dice.below(5) {
            0 | 1 => (true, false, false),
            2 => (false, true, false),
            3 => (false, false, true),
            _ => (false, false, false),
        };
        let echoless = self.dice.below(5) == 0;
        let joined = self.dice.below(3) == 0;
        let last = u8::try_from(self.dice.below(PEERS)).expect("few");
        let peer = Some(SocketAddr::from(([127, 0, 0, last], 1)));
        let (since, last) = match self.dice.below(6) {
            0 => (channel.map(|channel| self.any_position(channel)), None),
            1 => (None, u32::try_from(self.dice.below(12)).ok()),
            _ => (None, None),
        };
        let late = lines && self.dice.below(4) == 0;
        let number = self.clients.len();
        let offers = if events {
            number.is_multiple_of(2).then_some("deflate, gzip;q=0.5")
        } else {
            OFFERS[number % OFFERS.len()]
        };
        let offers = offers.filter(|_| self.deflates);
        let wish = Wish {
            channel,
            user,
            json,
            lines,
            events,
            late,
            echoless,
            joined,
            since,
            last,
            peer,
            offers,
        };
        let (stream, client) = Client::connect(wish, 4_000);
        self.shards.accept(shard, stream);
        self.clients.push(client);
    }

    /// Takes the given number of steps, or fewer if the dice run out of throws.
    pub(crate) fn go(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.dice.goes_on() {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let shard = self.dice.below(self.shards.all.len());
        match self.dice.below(100) {
            0..8 => self.connect(),
            8..45 if !self.clients.is_empty() => {
                let index = self.dice.below(self.clients.len());
                for _ in 0..=self.dice.below(6) {
                    let long = self.dice.below(8) == 0;
                    self.said += 1;
                    self.clients[index].say(self.said, if long { 300 } else { 0 });
                }
            }
            45..50 if !self.clients.is_empty() => self.ask(),
            50..53 if !self.clients.is_empty() => {
                let index = self.dice.below(self.clients.len());
                match self.dice.below(4) {
                    0 => self.clients[index].cut(),
                    3 => self.clients[index].finish(),
                    1 => self.clients[index].goodbye(),
                    _ => self.clients[index].stall(),
                }
            }
            53..56 => {
                for client in &mut self.clients {
                    client.take_up(500);
                }
            }
            56..59 => self.order(),
            59..61 => self.shards.now.ns += 20_000_000,
            _ => self.shards.turn(shard),
        }
    }

    /// The API puts a client that has requests into a channel, or takes it out of one.
    fn order(&mut self) {
        let shard = self.dice.below(self.shards.all.len());
        let clients = &self.shards.all[shard].clients;
        let slots = clients.roster.iter().map(|(slot, _)| slot);
        let slots: Vec<_> = slots.filter(|slot| clients.dialect(*slot).has_requests()).collect();
        if slots.is_empty() {
            return;
        }
        let client = clients.roster.id(slots[self.dice.below(slots.len())]);
        let channel = CHANNELS[self.dice.below(CHANNELS.len())];
        if self.dice.below(3) == 0 {
            let _ = dismiss(&mut self.shards, client, channel);
        } else {
            let _ = enlist(&mut self.shards, client, channel, None, false);
        }
    }

    /// A JSON client asks for something else than to publish.
    fn ask(&mut self) {
        let index = self.dice.below(self.clients.len());
        let client = &self.clients[index];
        if client.wish.lines {
            // Once more than it may, now and then.
            if self.dice.below(if client.wish.late { 2 } else { 6 }) == 0 {
                return client.say_who_it_is();
            }
            let kind = [b'j', b'l', b'x'][self.dice.below(3)];
            return client.ask_in_lines(kind, CHANNELS[self.dice.below(CHANNELS.len())]);
        }
        if !client.wish.json {
            return;
        }
        let channel = CHANNELS[self.dice.below(CHANNELS.len())];
        let user = USERS[self.dice.below(USERS.len())];
        if self.dice.below(3) == 0 {
            return self.come_back(index, channel);
        }
        let request = match self.dice.below(6) {
            0 | 1 => format!(r#"{{"type":"join","channel":"{channel}"}}"#),
            2 => format!(r#"{{"type":"join","channel":"{channel}","presence":true}}"#),
            3 => format!(r#"{{"type":"leave","channel":"{channel}"}}"#),
            4 => format!(r#"{{"type":"who","channel":"{channel}"}}"#),
            _ => format!(r#"{{"type":"direct","user":"{user}","body":"for you"}}"#),
        };
        self.clients[index].ask(&request);
    }

    /// A client joins for what it missed, behind any offset that there may be.
    fn come_back(&mut self, index: usize, channel: &str) {
        let (epoch, offset) = self.any_position(channel);
        let epoch = epoch.to_string();
        let epoch = if self.dice.below(8) == 0 { "another" } else { &epoch };
        self.clients[index].come_back(channel, epoch, offset);
    }

    /// A position that some client may have heard, or one in front of it or behind it.
    fn any_position(&mut self, channel: &str) -> (Epoch, u64) {
        let home = self.shards.all[0].port.mesh.home_of(channel).index();
        let channels = &self.shards.all[home].rooms.channels;
        let newest = channels.find(channel).map(|index| channels.get(index).order.newest);
        let newest = newest.unwrap_or_else(|| channels.start());
        let offset = match self.dice.below(3) {
            0 => newest.offset,
            _ => self.dice.below(usize::try_from(newest.offset).expect("few") + 2) as u64,
        };
        (newest.epoch, offset)
    }

    /// Lets everybody read, and turns until nothing moves.
    pub(crate) fn come_to_rest(&mut self) {
        let clients = &mut self.clients;
        self.shards.come_to_rest(|| {
            for client in &mut *clients {
                client.take_up(usize::MAX);
            }
        });
    }
}
