//! Windows under every policy for slow clients: whoever comes, goes, loses something, or is in
//! several channels for a while, each client's own inflater reads all that it is sent, in order.

use std::collections::HashMap;
use std::sync::Arc;

use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::{CHANNELS, Shards};
use crate::close::CloseReason;
use crate::config::Config;
use crate::model::shape::Window;
use crate::rules::Compression;
use crate::rules::SlowClients;

/// The offers of clients; with most of them a client may take part in windows.
const OFFERS: [Option<&str>; 5] = [
    Some("permessage-deflate"),
    Some("permessage-deflate; client_max_window_bits"),
    Some("permessage-deflate"),
    Some("permessage-deflate; server_no_context_takeover"),
    None,
];

const POLICIES: [SlowClients; 3] =
    [SlowClients::Drop, SlowClients::Conflate, SlowClients::Disconnect];

struct Run {
    dice: Dice,
    shards: Shards,
    clients: Vec<Client>,
    said: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let mut config = Config::with_cores(Vec::new());
        config.slow_clients = POLICIES[dice.below(3)];
        config.outbox_bytes = 400 + dice.below(1_200);
        config.compression = Compression::Shared;
        let shards = Shards::new(1 + dice.below(3), config, seed);
        Self { dice, shards, clients: Vec::new(), said: 0 }
    }

    fn connect(&mut self) {
        let wish = Wish {
            channel: Some(CHANNELS[self.dice.below(CHANNELS.len())]),
            json: self.dice.below(2) == 0,
            joined: self.dice.below(3) == 0,
            echoless: self.dice.below(8) == 0,
            offers: OFFERS[self.dice.below(OFFERS.len())],
            ..Wish::default()
        };
        let (stream, client) = Client::connect(wish, usize::MAX);
        let shard = self.dice.below(self.shards.all.len());
        self.shards.accept(shard, stream);
        self.clients.push(client);
    }

    fn say(&mut self, index: usize) {
        self.said += 1;
        let padding = [0, 20, 200][self.dice.below(3)];
        self.clients[index].say(self.said, padding);
    }

    fn step(&mut self) {
        let shard = self.dice.below(self.shards.all.len());
        let any = self.dice.below(self.clients.len().max(1));
        match self.dice.below(100) {
            0..6 => self.connect(),
            _ if self.clients.is_empty() => {}
            6..40 => self.say(any),
            40..48 => {
                let request = ["join", "leave"][self.dice.below(2)];
                let channel = CHANNELS[self.dice.below(CHANNELS.len())];
                if self.clients[any].wish.json {
                    self.clients[any]
                        .ask(&format!(r#"{{"type":"{request}","channel":"{channel}"}}"#));
                }
            }
            48..54 => self.clients[any].stall(),
            54..60 => {
                let room = 1 + self.dice.below(250);
                self.clients[any].make_some_room(room);
            }
            60..64 => self.clients[any].take_up_again(),
            64..65 => self.clients[any].cut(),
            // A window that was not used for a second may give way.
            65..67 => self.shards.now.ns += 600_000_000,
            67..68 => self.change_rules(),
            _ => self.shards.turn(shard),
        }
    }

    /// The settings of compression change, and the treatment of slow clients.
    fn change_rules(&mut self) {
        let compression =
            [Compression::Off, Compression::On, Compression::Shared, Compression::Shared];
        let compression = compression[self.dice.below(4)];
        let policy = POLICIES[self.dice.below(3)];
        for shard in &mut self.shards.all {
            let config = Arc::make_mut(&mut shard.clients.config);
            (config.compression, config.slow_clients) = (compression, policy);
        }
    }

    fn come_to_rest(&mut self) {
        for client in &mut self.clients {
            client.take_up_again();
        }
        self.shards.come_to_rest(|| {});
    }

    /// Checks that each client has read words that were said, and JSON clients each channel in its
    /// order.
    fn check(&self) {
        for client in &self.clients {
            let mut newest: HashMap<String, u64> = HashMap::new();
            for heard in client.heard() {
                match heard {
                    Heard::Json { channel, offset, .. } => {
                        let before = newest.insert(channel, offset);
                        assert!(before.is_none_or(|before| before < offset), "{offset}");
                    }
                    Heard::Plain(text) => assert!(text.starts_with('m'), "{text}"),
                    _ => {}
                }
            }
        }
    }
}

/// Returns the number of messages that were compressed.
fn simulate(seed: u64) -> u64 {
    let mut run = Run::new(seed);
    for _ in 0..600 {
        run.step();
    }
    run.come_to_rest();
    run.check();
    for shard in &run.shards.all {
        let unread = shard.clients.tally.closes[CloseReason::Protocol.index()];
        assert_eq!(unread, 0, "nobody has broken a rule");
    }
    run.shards.all.iter().map(|shard| shard.clients.tally.deflated_messages).sum()
}

#[test]
fn everybody_reads_all_that_windows_compress() {
    let compressed = for_each_seed(160, simulate);
    assert!(compressed.is_none_or(|count| count > 3_000), "{compressed:?}");
}

fn config() -> Config {
    let config = Config::with_cores(Vec::new());
    Config { compression: Compression::Shared, ..config }
}

const MEMBER: Wish =
    Wish { channel: Some("lobby"), offers: Some("permessage-deflate"), ..Wish::PLAIN };

/// The members of a channel within its windows, apart from them, and without one.
fn parts(shards: &Shards, channel: &str) -> [usize; 3] {
    let channels = &shards.all[0].rooms.channels;
    let channel = channels.get(channels.find(channel).unwrap());
    let count = |window| {
        let groups = channel.members.groups().filter(|(form, _)| form.window == window);
        groups.map(|(_, slots)| slots.len()).sum()
    };
    [count(Window::Within), count(Window::Apart), count(Window::Off)]
}

fn join(shards: &mut Shards, wish: Wish) -> Client {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(0, stream);
    shards.come_to_rest(|| {});
    client
}

/// A window begins at once where nobody is within, and anew for those who wait after some messages.
#[test]
fn newcomers_wait_for_the_window_to_begin_anew() {
    let mut shards = Shards::new(1, config(), 7);
    let mut first = join(&mut shards, MEMBER);
    let mut say = |shards: &mut Shards, number| {
        first.say(number, 100);
        shards.come_to_rest(|| {});
    };
    say(&mut shards, 0);
    assert_eq!(parts(&shards, "lobby"), [1, 0, 0]);
    let late = join(&mut shards, MEMBER);
    for number in 1..5 {
        say(&mut shards, number);
        assert_eq!(parts(&shards, "lobby"), [1, 1, 0], "{number}");
    }
    say(&mut shards, 5);
    assert_eq!(parts(&shards, "lobby"), [2, 0, 0]);
    for number in 6..20 {
        say(&mut shards, number);
    }
    assert_eq!(late.heard().len(), 19);
}

/// Nobody takes part who hears other channels too, or not everything.
#[test]
fn a_window_is_for_members_that_hear_nothing_else() {
    let mut shards = Shards::new(1, config(), 7);
    let json = Wish { channel: Some("lobby"), offers: MEMBER.offers, ..Wish::JSON };
    let mut speaker = join(&mut shards, json);
    join(&mut shards, Wish { echoless: true, ..MEMBER });
    join(
        &mut shards,
        Wish { offers: Some("permessage-deflate; server_max_window_bits=12"), ..MEMBER },
    );
    join(&mut shards, Wish { offers: None, ..MEMBER });
    speaker.say(0, 100);
    shards.come_to_rest(|| {});
    assert_eq!(parts(&shards, "lobby"), [1, 0, 3]);
    speaker.ask(r#"{"type":"join","channel":"south"}"#);
    shards.come_to_rest(|| {});
    assert_eq!(parts(&shards, "lobby"), [0, 0, 4]);
    assert_eq!(parts(&shards, "south"), [0, 0, 1]);
    speaker.ask(r#"{"type":"leave","channel":"lobby"}"#);
    shards.come_to_rest(|| {});
    assert_eq!(parts(&shards, "south"), [0, 1, 0]);
}

/// A window is given up for a channel only if it was not used for a while.
#[test]
fn windows_are_few() {
    let mut shards = Shards::new(1, config(), 7);
    let mut clients =
        CHANNELS.map(|channel| join(&mut shards, Wish { channel: Some(channel), ..MEMBER }));
    for round in 0..3 {
        for client in &mut clients {
            client.say(round, 100);
            shards.come_to_rest(|| {});
        }
        let within = CHANNELS.map(|channel| parts(&shards, channel)[0]);
        assert_eq!(within, [1, 1, 0], "there is room for two");
    }
    shards.now.ns += 2_000_000_000;
    for round in 3..5 {
        clients[2].say(round, 100);
        shards.come_to_rest(|| {});
    }
    assert_eq!(parts(&shards, CHANNELS[2]), [1, 0, 0]);
    assert!(clients.iter().all(|client| client.heard().len() > 2));
}

/// Nothing reaches back into messages that a slow client has lost: it hears the next ones in the
/// clear.
#[test]
fn a_client_that_loses_a_message_is_apart() {
    for policy in [SlowClients::Drop, SlowClients::Conflate] {
        let config = Config { slow_clients: policy, outbox_bytes: 400, ..config() };
        let mut shards = Shards::new(1, config, 7);
        let [mut speaker, mut slow] = [0; 2].map(|_| join(&mut shards, MEMBER));
        speaker.say(0, 50);
        shards.come_to_rest(|| {});
        assert_eq!(parts(&shards, "lobby"), [2, 0, 0], "{policy:?}");
        slow.stall();
        for number in 1..30 {
            speaker.say(number, 300);
            shards.come_to_rest(|| {});
        }
        slow.take_up_again();
        shards.come_to_rest(|| {});
        for number in 30..50 {
            speaker.say(number, 50);
            shards.come_to_rest(|| {});
        }
        assert_eq!(parts(&shards, "lobby"), [2, 0, 0], "it is within again");
        assert_eq!(speaker.heard().len(), 50);
        let heard = slow.heard();
        assert!(heard.len() < 50 && heard.ends_with(&speaker.heard()[30..]), "{policy:?}");
    }
}
