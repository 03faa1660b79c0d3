//! The members of a channel in two processes of a take-over, as watchers of either hear of them:
//! one set of users, and no event when a user goes from one process to the other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::pair::Pair;
pub(super) use super::presence::{DEBOUNCE, JSON, ROOM, config};
use super::presence::{USERS, present};
use super::run::Shards;
use super::world::World;
use crate::config::Config;
use crate::mesh::link::Sizes;

pub(super) fn pair(counts: usize, config: &Config, sizes: Sizes, seed: u64) -> Pair {
    World::reset(8);
    Pair::new(Shards::beside(0, counts, config.clone(), seed), sizes)
}

pub(super) fn come(shards: &mut Shards, shard: usize, wish: Wish) -> Client {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(shard, stream);
    client
}

pub(super) fn watch(client: &Client) {
    client.ask(&format!(r#"{{"type":"join","channel":"{ROOM}","presence":true}}"#));
}

pub(super) fn ask(client: &Client, kind: &str, id: usize) {
    client.ask(&format!(r#"{{"type":"{kind}","channel":"{ROOM}","id":{id}}}"#));
}

pub(super) fn told(client: &Client) -> Vec<Value> {
    client.frames().iter().map(|frame| serde_json::from_str(frame.text()).unwrap()).collect()
}

pub(super) fn answer(client: &Client, id: usize) -> Value {
    let answer = told(client).into_iter().rfind(|said| said["id"] == id);
    answer.unwrap_or_else(|| panic!("{id} is not answered: {:?}", told(client)))
}

/// Users by the answer of a number, and the joins and leaves behind it: each changes something.
pub(super) fn heard(client: &Client, id: usize) -> BTreeSet<String> {
    let told = told(client);
    let place = told.iter().position(|said| said["id"] == id).expect("it is answered");
    let members = told[place]["clients"].as_array().unwrap();
    let named = members.iter().filter_map(|member| member["user"].as_str());
    let mut users: BTreeSet<String> = named.map(str::to_owned).collect();
    for said in told[place..].iter().filter(|said| said.get("id").is_none()) {
        let Some(user) = said["user"].as_str() else { continue };
        let is_event = match said["type"].as_str() {
            Some("joined") => users.insert(user.to_owned()),
            Some("left") => users.remove(user),
            _ => true,
        };
        assert!(is_event, "{said} is told to one that knows: {told:#?}");
    }
    users
}

struct Passage {
    dice: Dice,
    pair: Pair,
    /// With the mark of those that are the newer process's.
    clients: Vec<(Client, bool)>,
    watchers: Vec<(Client, bool)>,
}

impl Passage {
    /// A client comes to some process.
    fn come(&mut self, wish: Wish) -> (Client, bool) {
        // The older one takes a few as well, until it is told to leave.
        let to_newer = self.pair.newer.is_some() && self.dice.below(4) > 0;
        let shards = if to_newer { self.pair.newest() } else { &mut self.pair.older };
        let shard = self.dice.below(shards.all.len());
        (come(shards, shard, wish), to_newer)
    }

    fn step(&mut self) {
        match self.dice.below(16) {
            0 | 1 if self.clients.len() < 40 => {
                let user = Some(USERS[self.dice.below(USERS.len())]);
                let client = self.come(Wish { channel: Some(ROOM), user, ..JSON });
                self.clients.push(client);
            }
            2 if self.watchers.len() < 4 => {
                let watcher = self.come(JSON);
                watch(&watcher.0);
                self.watchers.push(watcher);
            }
            3..6 if !self.clients.is_empty() => {
                let at = self.dice.below(self.clients.len());
                let client = &mut self.clients[at].0;
                match self.dice.below(4) {
                    0 => client.cut(),
                    1 => client.goodbye(),
                    2 => client.ask(&format!(r#"{{"type":"leave","channel":"{ROOM}"}}"#)),
                    _ => client.ask(&format!(r#"{{"type":"join","channel":"{ROOM}"}}"#)),
                }
            }
            6 => self.pair.pass(20_000_000),
            7..10 => {
                let (one, other) = (1 + self.dice.below(400), 1 + self.dice.below(400));
                self.pair.carry(one, other);
            }
            10..13 if self.pair.newer.is_some() => {
                let newer = self.pair.newest();
                newer.turn(self.dice.below(newer.all.len()));
            }
            _ => {
                let shard = self.dice.below(self.pair.older.all.len());
                self.pair.older.turn(shard);
            }
        }
    }

    /// Users in both processes.
    fn present(&mut self) -> BTreeSet<String> {
        let older = present(&self.pair.older);
        &older | &present(self.pair.newest())
    }

    /// Every watcher asks, at rest: the answers name the users of both processes.
    fn ask_all(&mut self, id: usize) {
        self.pair.come_to_rest();
        // Nobody is waited for who might stand in an answer.
        for _ in 0..2 {
            self.pair.pass(2 * u64::try_from(DEBOUNCE.as_nanos()).unwrap());
            self.pair.come_to_rest();
        }
        let present = self.present();
        for (watcher, _) in &self.watchers {
            ask(watcher, "presence", id);
            ask(watcher, "who", id + 1);
            ask(watcher, "presence_stats", id + 2);
        }
        self.pair.come_to_rest();
        for (watcher, _) in &self.watchers {
            assert_eq!(heard(watcher, id), present);
            let named: BTreeSet<String> =
                serde_json::from_value(answer(watcher, id + 1)["users"].clone()).unwrap();
            assert_eq!(named, present);
            assert_eq!(answer(watcher, id + 2)["users"], present.len());
        }
    }
}

/// Returns the number of events that watchers heard behind their last question.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut config = config(DEBOUNCE);
    config.lane_parcels = 1 + dice.below(4);
    config.read_buffer_bytes = 512;
    let sizes =
        Sizes { out: 1 + dice.below(6), relayed: 1 + dice.below(4), pending: 1 + dice.below(8) };
    let (older, newer) = (1 + dice.below(3), 1 + dice.below(3));
    let pair = pair(older, &config, sizes, seed);
    let mut run = Passage { dice, pair, clients: Vec::new(), watchers: Vec::new() };
    (0..80).for_each(|_| run.step());
    run.pair.begin(newer, config, seed + 1_000_003);
    while !run.pair.follows() {
        run.step();
    }
    (0..run.dice.below(20)).for_each(|_| run.step());
    run.pair.take_over();
    (0..150).for_each(|_| run.step());
    run.ask_all(100);
    (0..150).for_each(|_| run.step());
    let breaks = run.dice.below(3) == 0;
    if breaks {
        run.pair.break_link();
        (0..60).for_each(|_| run.step());
        run.watchers.truncate(run.watchers.len().min(4));
    }
    for _ in 0..2 {
        run.pair.come_to_rest();
        run.pair.pass(2 * u64::try_from(DEBOUNCE.as_nanos()).unwrap());
    }
    run.pair.come_to_rest();
    let (all, of_older) = (run.present(), present(&run.pair.older));
    let of_newer = present(run.pair.newest());
    check_books(&run.pair.older.all);
    check_books(&run.pair.newest().all);
    let mut events = 0;
    for (watcher, is_newer) in &run.watchers {
        if !told(watcher).iter().any(|said| said["id"] == 100) {
            continue;
        }
        let alone = if *is_newer { &of_newer } else { &of_older };
        assert_eq!(&heard(watcher, 100), if breaks { alone } else { &all }, "breaks: {breaks}");
        events += told(watcher).len() as u64;
    }
    for shards in [&run.pair.older, &run.pair.newer.as_ref().unwrap().shards] {
        assert!(shards.all.iter().all(|shard| shard.rooms.returns.is_empty()), "none may return");
        let engines = shards.all.iter().filter_map(|shard| shard.engine.as_ref());
        assert!(engines.clone().all(|engine| !engine.waits_for_members()), "all is answered");
        assert!(!breaks || engines.count() == 0, "each is alone");
    }
    events
}

#[test]
fn watchers_of_both_processes_know_the_users_of_both_until_their_link_breaks() {
    if let Some(events) = for_each_seed(192, simulate) {
        assert!(events > 1000, "hardly anything was told: {events}");
    }
}
