//! Clients of streams under schedules: what others say for them on any shard is heard once and in
//! order, however full the lanes are and however slowly the response is read.

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::reader::{read_chunks, split_head};
use super::run::Shards;
use crate::config::Config;

/// The first words of each listener.
const FIRST: &str = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}";

/// A client that listens to a response.
struct Listener {
    client: Client,
    /// The names under which others speak for it, once it is in.
    names: Option<(String, String)>,
    /// The commands that were taken for it.
    commands: u32,
    /// It reads nothing.
    stalled: bool,
}

/// The connection on which a command for a listener was sent, and the listener.
struct Spoken {
    by: Client,
    listener: usize,
}

fn send(shards: &mut Shards, shard: usize, path: &str, body: &str) -> Client {
    let (stream, client) = Client::silent(Wish::default(), 4_000);
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    client.send(body.as_bytes());
    shards.accept(shard, stream);
    client
}

impl Listener {
    fn lines(&self) -> Vec<serde_json::Value> {
        let bytes = self.client.outbound();
        let (lines, _) = read_chunks(split_head(&bytes).1);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Learns its names from the reply to its first command.
    fn learn(&mut self) {
        let reply = self.lines().into_iter().next();
        let name = |reply: &serde_json::Value, name: &str| {
            reply["connect"][name].as_str().map(str::to_owned)
        };
        self.names =
            reply.and_then(|reply| Some((name(&reply, "session")?, name(&reply, "node")?)));
    }

    /// The body of a request that speaks for it.
    fn emulation(&self, words: &str) -> Option<String> {
        let (session, node) = self.names.as_ref()?;
        let body = serde_json::json!({ "session": session, "node": node, "data": words });
        Some(body.to_string())
    }
}

/// One run: shards, listeners, and what was said for them and is not answered.
struct Run {
    dice: Dice,
    shards: Shards,
    listeners: Vec<Listener>,
    spoken: Vec<Spoken>,
}

impl Run {
    /// Shards with small lanes, and three listeners in one channel.
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let count = 1 + dice.below(4);
        let mut config = Config::with_cores(Vec::new());
        config.lane_parcels = 1 + dice.below(3);
        config.read_buffer_bytes = 512;
        let mut shards = Shards::new(count, config, seed);
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let shard = dice.below(count);
            let client = send(&mut shards, shard, "/connection/http_stream", FIRST);
            listeners.push(Listener { client, names: None, commands: 2, stalled: false });
        }
        shards.come_to_rest(|| {});
        listeners.iter_mut().for_each(Listener::learn);
        Self { dice, shards, listeners, spoken: Vec::new() }
    }

    fn step(&mut self) {
        let shard = self.dice.below(self.shards.all.len());
        let index = self.dice.below(self.listeners.len());
        let listener = &mut self.listeners[index];
        match self.dice.below(8) {
            0..3 => {
                // One at a time for each: what is sent on two connections has no order.
                let waits = self.spoken.iter().any(|one| one.listener == index);
                let id = listener.commands + 1;
                let words = format!(
                    r#"{{"id":{id},"publish":{{"channel":"room","data":"{index}-{id}"}}}}"#
                );
                if let Some(body) = listener.emulation(&words).filter(|_| !waits) {
                    listener.commands += 1;
                    let by = send(&mut self.shards, shard, "/emulation", &body);
                    self.spoken.push(Spoken { by, listener: index });
                }
            }
            3 if !listener.stalled => {
                listener.stalled = true;
                listener.client.stall();
            }
            4 => {
                listener.stalled = false;
                listener.client.take_up(usize::MAX);
            }
            _ => self.shards.turn(shard),
        }
    }
}

/// Runs one schedule. Returns the number of commands that were refused because lanes were full.
fn run(seed: u64) -> u64 {
    let mut run = Run::new(seed);
    let mut refused = 0;
    for _ in 0..120 {
        run.step();
        refused += settle(&mut run.spoken, &mut run.listeners);
    }
    let Run { mut shards, mut listeners, mut spoken, .. } = run;
    shards.come_to_rest(|| {
        for listener in &mut listeners {
            listener.client.take_up(usize::MAX);
        }
    });
    refused += settle(&mut spoken, &mut listeners);
    assert_eq!(spoken.len(), 0, "every request is answered");
    check(&listeners);
    check_books(&shards.all);
    refused
}

/// Reads the answers to what was said for listeners. Returns the number of refusals: the client
/// says the same command again later, under its number.
fn settle(spoken: &mut Vec<Spoken>, listeners: &mut [Listener]) -> u64 {
    let mut refused = 0;
    spoken.retain(|Spoken { by, listener }| match by.outbound().get(9..12) {
        None => true,
        Some(b"204") => false,
        Some(b"503") => {
            refused += 1;
            listeners[*listener].commands -= 1;
            false
        }
        other => panic!("{other:?}"),
    });
    refused
}

fn check(listeners: &[Listener]) {
    let mut orders: Vec<Vec<(u64, String)>> = Vec::new();
    for listener in listeners {
        let lines = listener.lines();
        let replies: Vec<u64> = lines.iter().filter_map(|line| line["id"].as_u64()).collect();
        let expected: Vec<u64> = (1..=u64::from(listener.commands)).collect();
        let mut sorted = replies.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "each command is answered once");
        let publications = lines.iter().map(|line| &line["push"]["pub"]);
        let heard = publications.filter_map(|publication| {
            Some((publication["offset"].as_u64()?, publication["data"].as_str()?.to_owned()))
        });
        orders.push(heard.collect());
    }
    let longest = orders.iter().max_by_key(|order| order.len()).unwrap().clone();
    assert!(longest.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{longest:?}");
    assert!(orders.iter().all(|order| longest.ends_with(order)), "one order: {orders:?}");
    for (index, listener) in listeners.iter().enumerate() {
        let said = longest.iter().filter_map(|(_, text)| text.strip_prefix(&format!("{index}-")));
        let said: Vec<u32> = said.map(|id| id.parse().unwrap()).collect();
        assert!(said.is_sorted(), "a client's words keep their order");
        assert_eq!(said.len(), (listener.commands - 2) as usize, "none is lost");
    }
}

#[test]
fn words_of_stream_clients_are_heard_once_and_in_order_over_full_lanes() {
    let refused = for_each_seed(128, run);
    assert!(refused.is_none_or(|refused| refused > 0), "no lane was ever full");
}
