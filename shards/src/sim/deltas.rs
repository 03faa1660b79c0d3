//! Clients that are told publications by their difference from the one before, among slow ones,
//! others that lose messages, and such as leave and come back: a patch is applied to the body that
//! its client heard last, and makes the body that everybody else was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::Shards;
use crate::config::Config;
use crate::rules::{ChannelRules, Delta, HistoryRules, Marks, Rules, SlowClients};

const CHANNELS: [&str; 3] = ["lobby", "north", "south"];

fn shards(dice: &mut Dice, seed: u64) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    let policies = [SlowClients::Drop, SlowClients::Conflate, SlowClients::Disconnect];
    config.slow_clients = policies[dice.below(3)];
    config.outbox_bytes = 600 + dice.below(3_000);
    // Many leave channels that they are not in.
    config.errors_max = 1_000_000;
    config.lane_parcels = 1 + dice.below(4);
    let history = HistoryRules {
        size: u32::try_from(10 * dice.below(3)).unwrap(),
        ttl: Duration::from_mins(1),
        bytes: 1 << 16,
    };
    let recovery = history.is_on();
    let rules = ChannelRules { history, recovery, delta: Delta::Fossil, ..ChannelRules::open("") };
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    Shards::new(1 + dice.below(3), config, seed)
}

/// A client of Centrifugo's protocol.
struct Listener {
    client: Client,
    asks_for_patches: bool,
    /// It is granted them, as it wants its own words back.
    takes_patches: bool,
    commands: u64,
    /// The channels of its subscriptions, by the numbers of their commands.
    subscriptions: BTreeMap<u64, &'static str>,
}

/// The knowledge that one client has of one channel.
#[derive(Default)]
struct Told {
    patched: bool,
    last: Option<String>,
    /// The newest position that it knows.
    position: Option<(String, u64)>,
}

/// The bodies of a channel by their offsets.
type Bodies = BTreeMap<(String, u64), String>;

#[derive(Default)]
struct Seen {
    bodies: Bodies,
    patches: u64,
}

impl Listener {
    fn connect(shards: &mut Shards, shard: usize, (asks_for_patches, echo): (bool, bool)) -> Self {
        let (stream, client) = Client::silent(Wish::default(), usize::MAX);
        client.send(
            format!(
                "GET /connection/websocket?echo={echo} HTTP/1.1\r\nHost: h\r\n\
                 Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
        client.send_frame(1, br#"{"id":1,"connect":{}}"#);
        shards.accept(shard, stream);
        let takes_patches = asks_for_patches && echo;
        let subscriptions = BTreeMap::new();
        Self { client, asks_for_patches, takes_patches, commands: 1, subscriptions }
    }

    fn command(&mut self, method: &str, fields: &str) {
        self.commands += 1;
        let id = self.commands;
        self.client.send_frame(1, format!(r#"{{"id":{id},"{method}":{{{fields}}}}}"#).as_bytes());
    }

    fn publish(&mut self, channel: &str, number: usize, padding: usize) {
        let pad = "é🟢 z".repeat(padding);
        let data = format!(r#"{{"text":"of some length, with {pad}","n":{number}}}"#);
        self.command("publish", &format!(r#""channel":"{channel}","data":{data}"#));
    }

    fn subscribe(&mut self, channel: &'static str, since: Option<(String, u64)>) {
        let delta = if self.asks_for_patches { r#","delta":"fossil""# } else { "" };
        let since = since.map(|(epoch, offset)| {
            format!(r#","recover":true,"epoch":"{epoch}","offset":{offset}"#)
        });
        let since = since.unwrap_or_default();
        self.command("subscribe", &format!(r#""channel":"{channel}"{delta}{since}"#));
        self.subscriptions.insert(self.commands, channel);
    }

    fn unsubscribe(&mut self, channel: &str) {
        self.command("unsubscribe", &format!(r#""channel":"{channel}""#));
    }

    /// Reads all that it was told, and holds each body against what others were told.
    fn read(&self, channel: &str, seen: &mut Seen) -> Told {
        // A slow client may lose the reply to its subscription, and is a member all the same.
        let mut told = Told { patched: self.takes_patches, ..Told::default() };
        for frame in self.client.frames().iter().filter(|frame| frame.opcode == 1) {
            let value: Value = serde_json::from_str(frame.text()).unwrap();
            if let Some(result) = value.get("subscribe") {
                let id = value["id"].as_u64().unwrap();
                if self.subscriptions.get(&id) == Some(&channel) {
                    told.subscribed(result);
                }
            }
            let push = &value["push"];
            if push["channel"] == channel {
                told.take_push(push, (channel, seen));
            }
        }
        told
    }
}

impl Told {
    fn subscribed(&mut self, result: &Value) {
        assert_eq!(self.patched, result["delta"] == true);
        self.last = None;
        let epoch = result["epoch"].as_str().unwrap().to_owned();
        self.position = Some((epoch, result["offset"].as_u64().unwrap()));
    }

    fn take_push(&mut self, push: &Value, (channel, seen): (&str, &mut Seen)) {
        let Some(publication) = push.get("pub") else { return };
        let data = &publication["data"];
        let body = if !self.patched {
            assert_eq!(publication.get("delta"), None, "nobody asked for it");
            data.to_string()
        } else if publication["delta"] == true {
            seen.patches += 1;
            let last = self.last.as_ref().expect("a patch of nothing");
            let patch = data.as_str().expect("a patch is a string");
            let made = fossil_delta::apply(last, patch).expect("a patch of what it heard last");
            String::from_utf8(made).unwrap()
        } else {
            data.as_str().expect("a body of a chain is a string").to_owned()
        };
        self.last = Some(body.clone());
        let value: Value = serde_json::from_str(&body).expect("a body is JSON");
        let offset = publication["offset"].as_u64().unwrap();
        let key = (channel.to_owned(), offset);
        let known = seen.bodies.entry(key).or_insert_with(|| value.to_string());
        assert_eq!(*known, value.to_string(), "two bodies of one offset");
        if let Some((_, newest)) = &mut self.position {
            assert!(*newest < offset, "{newest} before {offset}");
            *newest = offset;
        }
    }
}

/// Returns the number of patches that clients were told.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = shards(&mut dice, seed);
    let mut listeners: Vec<Listener> = (0..8)
        .map(|number| {
            let shard = number % shards.all.len();
            let wish = (dice.below(4) > 0, dice.below(6) > 0);
            Listener::connect(&mut shards, shard, wish)
        })
        .collect();
    let mut number = 0;
    for _ in 0..500 {
        let shard = dice.below(shards.all.len());
        let at = dice.below(listeners.len());
        let channel = CHANNELS[dice.below(3)];
        let listener = &mut listeners[at];
        match dice.below(24) {
            0..7 => {
                number += 1;
                listener.publish(channel, number, dice.below(8) * dice.below(4));
            }
            7..9 => listener.subscribe(channel, None),
            9 => listener.unsubscribe(channel),
            10 => {
                let known = listener.read(channel, &mut Seen::default()).position;
                listener.unsubscribe(channel);
                listener.subscribe(channel, known);
            }
            11 if at >= 2 => listener.client.stall(),
            12..14 if at >= 2 => {
                listener.client.take_up(usize::MAX);
                listener.client.take_up(100 + dice.below(2_000));
            }
            _ => shards.turn(shard),
        }
    }
    shards.come_to_rest(|| {
        for listener in &mut listeners {
            listener.client.take_up(usize::MAX);
        }
    });
    check_books(&shards.all);
    let mut seen = Seen::default();
    for listener in &listeners {
        for channel in CHANNELS {
            listener.read(channel, &mut seen);
        }
    }
    seen.patches
}

#[test]
fn patches_make_what_everybody_was_told() {
    if let Some(patches) = for_each_seed(256, simulate) {
        assert!(patches > 5_000, "hardly anything was patched: {patches}");
    }
}
