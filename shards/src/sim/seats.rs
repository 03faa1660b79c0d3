//! Clients of Centrifugo's protocol that are too slow under the policies that lose publications:
//! they are taken out of the channel, come back as their libraries do, and miss nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::{CHANNELS, Shards};
use crate::config::Config;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules, SlowClients};

/// The kind of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It subscribes by itself.
    Asking,
    /// The server has subscribed it.
    Served,
    /// It only listens.
    Listening,
}

/// A channel as the library of a client knows it.
#[derive(Debug, Default)]
struct Known {
    epoch: String,
    /// The offset of the newest publication that it has heard.
    offset: u64,
    bodies: Vec<String>,
    /// It is a member.
    is_in: bool,
}

/// A client as its library behaves.
struct Sdk {
    kind: Kind,
    client: Client,
    channels: BTreeMap<&'static str, Known>,
    /// Messages of this connection that it has looked at.
    seen: usize,
    /// The channels of its requests that are not answered.
    asked: BTreeMap<u64, &'static str>,
    id: u64,
    /// The codes with which the server has ended connections.
    ends: Vec<u16>,
    reads: bool,
}

fn open(shards: &mut Shards, shard: usize, kind: Kind) -> Client {
    let (stream, client) = Client::silent(Wish::JSON, 4_000);
    let path = if kind == Kind::Listening { "uni_websocket?" } else { "websocket?" };
    let head = Wish::JSON.head().replace("/ws?", &format!("/connection/{path}"));
    client.send(head.replace("Sec-WebSocket-Protocol: stentor.v1\r\n", "").as_bytes());
    shards.accept(shard, stream);
    client
}

impl Sdk {
    fn new(shards: &mut Shards, shard: usize, kind: Kind) -> Self {
        let client = open(shards, shard, kind);
        let channels = CHANNELS.into_iter().map(|channel| (channel, Known::default())).collect();
        let (asked, ends, seen, id, reads) = (BTreeMap::new(), Vec::new(), 0, 1, true);
        let mut sdk = Self { kind, client, channels, seen, asked, id, ends, reads };
        sdk.connect();
        sdk
    }

    /// Says its first words: all that it knows of the channels that the server has chosen.
    fn connect(&mut self) {
        (self.seen, self.id) = (0, 1);
        let subs = self.channels.iter().map(|(channel, known)| {
            let Known { epoch, offset, .. } = known;
            let sub = json!({ "recover": !epoch.is_empty(), "epoch": epoch, "offset": offset });
            ((*channel).to_owned(), sub)
        });
        let subs: Value = subs.collect::<serde_json::Map<_, _>>().into();
        match self.kind {
            Kind::Asking => self.client.ask(r#"{"id":1,"connect":{}}"#),
            Kind::Served => {
                self.client.ask(&json!({ "id": 1, "connect": { "subs": subs } }).to_string());
            }
            Kind::Listening => self.client.ask(&json!({ "subs": subs }).to_string()),
        }
    }

    fn subscribe(&mut self, channel: &'static str) {
        let Known { epoch, offset, .. } = &self.channels[channel];
        self.id += 1;
        self.asked.insert(self.id, channel);
        let recover = !epoch.is_empty();
        let request =
            json!({ "channel": channel, "recover": recover, "epoch": epoch, "offset": offset });
        self.client.ask(&json!({ "id": self.id, "subscribe": request }).to_string());
    }

    /// Looks at what has come. Returns `true` if it has said something.
    fn look(&mut self, shards: &mut Shards, shard: usize) -> bool {
        let frames = self.client.frames();
        let mut spoke = false;
        for frame in frames.iter().skip(std::mem::replace(&mut self.seen, frames.len())) {
            match frame.opcode {
                1 => spoke |= self.hear(frame.text()),
                8 => self.ends.push(u16::from_be_bytes(frame.payload[..2].try_into().unwrap())),
                _ => {}
            }
        }
        if self.client.is_sent_away() || self.client.is_closed() {
            self.client.cut();
            self.client = open(shards, shard, self.kind);
            self.channels.values_mut().for_each(|known| known.is_in = false);
            self.connect();
            return true;
        }
        spoke
    }

    fn hear(&mut self, text: &str) -> bool {
        let mut said: Value = serde_json::from_str(text).unwrap();
        if self.kind == Kind::Listening && said.get("connect").is_none() {
            said = json!({ "push": said });
        }
        if let Some(result) = said.get("connect") {
            return self.hear_connected(result);
        }
        if let Some(result) = said.get("subscribe") {
            let id = said["id"].as_u64().unwrap();
            let channel = self.asked.remove(&id).expect("a reply is to a request");
            self.join(channel, result);
            return false;
        }
        let push = &said["push"];
        let Some(name) = push["channel"].as_str() else { return false };
        let channel = CHANNELS.into_iter().find(|channel| *channel == name).unwrap();
        let known = self.channels.get_mut(channel).unwrap();
        if let Some(offset) = push["pub"]["offset"].as_u64() {
            assert!(known.is_in, "{channel}: {text}");
            assert_eq!(offset, known.offset + 1, "{:?} {channel}: {text}", self.kind);
            known.offset = offset;
            known.bodies.push(push["pub"]["data"].as_str().unwrap().to_owned());
        } else if let Some(code) = push["unsubscribe"]["code"].as_u64() {
            assert_eq!((code, self.kind), (2500, Kind::Asking));
            known.is_in = false;
            self.subscribe(channel);
            return true;
        }
        false
    }

    fn hear_connected(&mut self, result: &Value) -> bool {
        if self.kind == Kind::Asking {
            for channel in CHANNELS {
                self.subscribe(channel);
            }
            return true;
        }
        for channel in CHANNELS {
            self.join(channel, &result["subs"][channel]);
        }
        false
    }

    fn join(&mut self, channel: &'static str, result: &Value) {
        let known = self.channels.get_mut(channel).unwrap();
        let told = (result["recoverable"] == true, result["positioned"] == true);
        assert_eq!(told, (true, true), "{result}");
        if !known.epoch.is_empty() {
            assert_eq!(
                (&result["recovered"], &result["epoch"]),
                (&true.into(), &json!(known.epoch))
            );
            assert_eq!(result["offset"], known.offset, "the rest follows");
        }
        known.epoch = result["epoch"].as_str().unwrap().to_owned();
        known.offset = result["offset"].as_u64().unwrap();
        known.is_in = true;
    }
}

fn shards(dice: &mut Dice, seed: u64) -> Shards {
    let history = HistoryRules { size: 10_000, ttl: Duration::from_hours(1), bytes: 1 << 24 };
    let rules = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.history_total_bytes = 1 << 26;
    config.slow_clients = [SlowClients::Drop, SlowClients::Conflate][dice.below(2)];
    config.outbox_bytes = 400 + dice.below(1_200);
    config.lane_parcels = 1 + dice.below(4);
    Shards::new(1 + dice.below(3), config, seed)
}

/// Returns the number of times that clients were taken out of a channel.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = shards(&mut dice, seed);
    let mut speakers = Vec::new();
    for channel in CHANNELS {
        let wish = Wish { channel: Some(channel), ..Wish::JSON };
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(dice.below(shards.all.len()), stream);
        speakers.push(client);
    }
    let kinds = [Kind::Asking, Kind::Served, Kind::Listening];
    let count = shards.all.len();
    let sdks = (0..6).map(|number| Sdk::new(&mut shards, number % count, kinds[number % 3]));
    let mut sdks: Vec<Sdk> = sdks.collect();
    come_to_rest(&mut shards, &mut sdks);
    let mut said = 0;
    for _ in 0..300 {
        let shard = dice.below(shards.all.len());
        let index = dice.below(sdks.len());
        let sdk = &mut sdks[index];
        match dice.below(20) {
            0..7 => {
                said += 1;
                speakers[dice.below(3)].say(said, 100 * dice.below(3));
            }
            7 => {
                sdk.reads = false;
                sdk.client.stall();
            }
            8 => {
                sdk.reads = true;
                sdk.client.take_up(usize::MAX);
                sdk.client.take_up(100 + dice.below(2_000));
            }
            9..11 if sdk.reads => {
                sdk.look(&mut shards, shard);
            }
            11 if dice.below(8) == 0 => sdk.client.cut(),
            _ => shards.turn(shard),
        }
    }
    come_to_rest(&mut shards, &mut sdks);
    for channel in CHANNELS {
        let longest = sdks.iter().map(|sdk| &sdk.channels[channel].bodies).max_by_key(|b| b.len());
        for sdk in &sdks {
            assert!(sdk.ends.iter().all(|code| *code == 3010), "{:?}", sdk.ends);
            assert_eq!(Some(&sdk.channels[channel].bodies), longest, "{:?} {channel}", sdk.kind);
        }
        let place = CHANNELS.into_iter().position(|one| one == channel).unwrap();
        assert_eq!(longest, Some(&speakers[place].words));
    }
    check_books(&shards.all);
    shards.all.iter().map(|shard| shard.clients.tally.sent_back).sum()
}

/// Lets everybody read and come back until nothing moves.
fn come_to_rest(shards: &mut Shards, sdks: &mut [Sdk]) {
    loop {
        shards.come_to_rest(|| {
            for sdk in &mut *sdks {
                sdk.client.take_up(usize::MAX);
            }
        });
        let mut spoke = false;
        for sdk in &mut *sdks {
            sdk.reads = true;
            spoke |= sdk.look(shards, 0);
        }
        if !spoke {
            return;
        }
    }
}

#[test]
fn a_client_gets_in_however_far_apart_the_answers_about_its_channels_come() {
    let mut shards = Shards::new(3, Config::with_cores(Vec::new()), 1);
    let names = (0..100).map(|number| format!("room{number}"));
    let home = |name: &String| shards.all[0].port.mesh.home_of(&**name).index();
    let [one, two] = [1, 2].map(|at| names.clone().find(|name| home(name) == at).unwrap());
    let client = open(&mut shards, 0, Kind::Served);
    client.ask(&json!({ "id": 1, "connect": { "subs": { one: {}, two: {} } } }).to_string());
    for shard in [0, 1, 0, 1, 0, 2, 0, 1, 0] {
        shards.turn(shard);
    }
    let frames = client.frames();
    assert!(frames.iter().any(|frame| frame.text().contains("connect")), "{frames:?}");
}

#[test]
fn slow_clients_come_back_for_all_that_they_have_lost() {
    if let Some(taken_out) = for_each_seed(256, simulate) {
        assert!(taken_out > 1_000, "hardly anybody lost anything: {taken_out}");
    }
}
