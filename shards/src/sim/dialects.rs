//! Clients of every dialect and transport in one channel under schedules: all of them are told
//! everything in one order, whatever their bytes look like and however slowly they read.

use std::fmt::Write as _;
use std::sync::Arc;

use prost::encoding::{decode_varint, encode_varint};
use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::reader::{read_binary_chunks, read_chunks, split_head};
use super::run::Shards;
use crate::config::Config;
use crate::rules::{ChannelRules, Delta, Marks, Rules};

/// The form in which a client is told publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Several texts in one message.
    Joined,
    Events,
    Stentor,
    Centrifugo(Transport, Chained),
    Protobuf(Transport, Chained),
    Uni(Transport),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Socket,
    Events,
    Stream,
}

/// A client is told publications by their difference from the one before.
type Chained = bool;

const KINDS: [Kind; 15] = [
    Kind::Plain,
    Kind::Joined,
    Kind::Events,
    Kind::Stentor,
    Kind::Centrifugo(Transport::Socket, false),
    Kind::Centrifugo(Transport::Socket, true),
    Kind::Centrifugo(Transport::Events, true),
    Kind::Centrifugo(Transport::Stream, true),
    Kind::Protobuf(Transport::Socket, false),
    Kind::Protobuf(Transport::Socket, true),
    Kind::Protobuf(Transport::Stream, false),
    Kind::Protobuf(Transport::Stream, true),
    Kind::Uni(Transport::Socket),
    Kind::Uni(Transport::Events),
    Kind::Uni(Transport::Stream),
];

/// The value of a parameter with every byte in hexadecimal.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        write!(out, "%{byte:02x}").expect("memory takes every byte");
    }
    out
}

/// A request with the first words of its client.
fn request(path: &str, transport: Transport, words: &[u8], headers: &str) -> Vec<u8> {
    let head = match transport {
        Transport::Socket => {
            return format!(
                "GET {path}_websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
            )
            .replace("/_websocket", "/websocket")
            .into_bytes();
        }
        Transport::Events => {
            let words = escaped(std::str::from_utf8(words).unwrap());
            let target = format!("{path}_sse?cf_connect={words}").replace("/_sse", "/sse");
            return format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes();
        }
        Transport::Stream => {
            let target = format!("{path}_http_stream").replace("/_http", "/http");
            let length = words.len();
            format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n"
            )
        }
    };
    [head.as_bytes(), words].concat()
}

/// A field of bytes in Protobuf.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    encode_varint(content.len() as u64, &mut out);
    [&out, content].concat()
}

/// A command in Protobuf behind its length.
fn command(id: u8, method: u8, content: &[u8]) -> Vec<u8> {
    let body = [&[8, id][..], &field(method, content)].concat();
    let mut out = Vec::new();
    encode_varint(body.len() as u64, &mut out);
    [out, body].concat()
}

/// A value in Protobuf: a number, or bytes.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Returns the value of a field in Protobuf.
fn part(mut bytes: &[u8], wanted: u64) -> Option<Part<'_>> {
    while !bytes.is_empty() {
        let key = decode_varint(&mut bytes).unwrap();
        let number = decode_varint(&mut bytes).unwrap();
        let value = match key & 7 {
            0 => Part::Number(number),
            2 => {
                let (value, rest) = bytes.split_at(usize::try_from(number).unwrap());
                bytes = rest;
                Part::Bytes(value)
            }
            other => panic!("no such field: {other}"),
        };
        if key >> 3 == wanted {
            return Some(value);
        }
    }
    None
}

fn bytes_at(bytes: &[u8], wanted: u64) -> Option<&[u8]> {
    match part(bytes, wanted)? {
        Part::Bytes(bytes) => Some(bytes),
        Part::Number(number) => panic!("{number} is a number"),
    }
}

/// The number in a body, which a text may hold as well.
fn number_in(body: &Value) -> usize {
    match body {
        Value::String(text) => number_in(&serde_json::from_str(text).unwrap()),
        body => usize::try_from(body["n"].as_u64().unwrap()).unwrap(),
    }
}

/// The bodies that a client was told, and how many of them came as patches.
#[derive(Debug, Default)]
struct Told {
    numbers: Vec<usize>,
    patches: u64,
    last: Vec<u8>,
}

impl Told {
    fn text(&mut self, text: &[u8]) {
        self.numbers.push(number_in(&serde_json::from_slice(text).unwrap()));
    }

    /// Takes a whole body, or a patch against the one before.
    fn chained(&mut self, data: &[u8], is_patch: bool) {
        self.patches += u64::from(is_patch);
        let body = if is_patch {
            fossil_delta::apply(&self.last, data).expect("a patch of what it heard last")
        } else {
            data.to_vec()
        };
        self.text(&body);
        self.last = body;
    }

    /// Takes a publication in JSON.
    fn json(&mut self, publication: &Value, is_chained: Chained) {
        if !is_chained {
            assert_eq!(publication.get("delta"), None, "nobody asked for it");
            return self.numbers.push(number_in(&publication["data"]));
        }
        let data = publication["data"].as_str().expect("a body of a chain is a string");
        self.chained(data.as_bytes(), publication["delta"] == true);
    }

    /// Takes a message in Protobuf, which stands behind its length.
    fn binary(&mut self, mut message: &[u8]) {
        let len = decode_varint(&mut message).unwrap();
        assert_eq!(len, message.len() as u64, "one message at a time");
        let Some(push) = bytes_at(message, 4) else { return };
        let Some(publication) = bytes_at(push, 4) else { return };
        assert_eq!(bytes_at(push, 2), Some(&b"room"[..]));
        let is_patch = matches!(part(publication, 8), Some(Part::Number(1)));
        self.chained(bytes_at(publication, 4).unwrap(), is_patch);
    }
}

struct Member {
    kind: Kind,
    client: Client,
    commands: u8,
}

impl Member {
    fn connect(kind: Kind, shards: &mut Shards, shard: usize) -> Self {
        let room = Wish { channel: Some("room"), ..Wish::default() };
        let uni = br#"{"subs":{"room":{}}}"#;
        let (stream, client) = match kind {
            Kind::Plain => Client::connect(room, usize::MAX),
            Kind::Joined => Client::connect(Wish { joined: true, ..room }, usize::MAX),
            Kind::Events => Client::connect(Wish { events: true, ..room }, usize::MAX),
            Kind::Stentor => Client::connect(Wish { json: true, ..room }, usize::MAX),
            Kind::Centrifugo(transport, is_chained) => {
                let delta = if is_chained { r#","delta":"fossil""# } else { "" };
                let words = format!(
                    "{{\"id\":1,\"connect\":{{}}}}\n\
                     {{\"id\":2,\"subscribe\":{{\"channel\":\"room\"{delta}}}}}"
                );
                let (stream, client) = Client::silent(Wish::default(), usize::MAX);
                client.send(&request("/connection/", transport, words.as_bytes(), ""));
                if transport == Transport::Socket {
                    client.send_frame(1, words.as_bytes());
                }
                (stream, client)
            }
            Kind::Protobuf(transport, is_chained) => {
                let delta = if is_chained { field(12, b"fossil") } else { Vec::new() };
                let subscribe = command(2, 5, &[field(1, b"room"), delta].concat());
                let words = [command(1, 4, b""), subscribe].concat();
                let headers = match transport {
                    Transport::Socket => "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
                    _ => "Content-Type: application/octet-stream\r\n",
                };
                let (stream, client) = Client::silent(Wish::default(), usize::MAX);
                client.send(&request("/connection/", transport, &words, headers));
                if transport == Transport::Socket {
                    client.send_frame(2, &words);
                }
                (stream, client)
            }
            Kind::Uni(transport) => {
                let (stream, client) = Client::silent(Wish::default(), usize::MAX);
                client.send(&request("/connection/uni", transport, uni, ""));
                if transport == Transport::Socket {
                    client.send_frame(1, uni);
                }
                (stream, client)
            }
        };
        shards.accept(shard, stream);
        Self { kind, client, commands: 2 }
    }

    /// Publishes a body. Returns `false` if it only listens, or speaks by other requests.
    fn publish(&mut self, body: &str) -> bool {
        match self.kind {
            Kind::Plain | Kind::Joined => self.client.send_frame(1, body.as_bytes()),
            Kind::Stentor => self.client.ask(&format!(r#"{{"type":"publish","body":{body}}}"#)),
            // The numbers of these commands are one byte long.
            _ if self.commands > 100 => return false,
            Kind::Centrifugo(Transport::Socket, _) => {
                self.commands += 1;
                let id = self.commands;
                let publish = format!(r#""publish":{{"channel":"room","data":{body}}}"#);
                self.client.send_frame(1, format!(r#"{{"id":{id},{publish}}}"#).as_bytes());
            }
            Kind::Protobuf(Transport::Socket, _) => {
                self.commands += 1;
                let publish = [field(1, b"room"), field(2, body.as_bytes())].concat();
                self.client.send_frame(2, &command(self.commands, 7, &publish));
            }
            _ => return false,
        }
        true
    }

    /// Reads all that it was told.
    fn told(&self) -> Told {
        let mut told = Told::default();
        let bytes = self.client.outbound();
        let rest = split_head(&bytes).1;
        match self.kind {
            Kind::Protobuf(Transport::Stream, _) => {
                read_binary_chunks(rest).0.into_iter().for_each(|chunk| told.binary(chunk));
            }
            Kind::Centrifugo(Transport::Stream, _) | Kind::Uni(Transport::Stream) => {
                for line in read_chunks(rest).0 {
                    self.take_text(&line, &mut told);
                }
            }
            _ => {
                for frame in self.client.frames() {
                    match frame.opcode {
                        1 => self.take_text(frame.text(), &mut told),
                        2 => told.binary(&frame.payload),
                        _ => {}
                    }
                }
            }
        }
        told
    }

    fn take_text(&self, text: &str, told: &mut Told) {
        let value = || serde_json::from_str::<Value>(text).unwrap();
        match self.kind {
            Kind::Plain | Kind::Events => told.text(text.as_bytes()),
            Kind::Joined => text.split('\n').for_each(|text| told.text(text.as_bytes())),
            Kind::Stentor => {
                let value = value();
                if value["type"] == "message" {
                    told.numbers.push(number_in(&value["body"]));
                }
            }
            Kind::Centrifugo(_, is_chained) => {
                if let Some(publication) = value()["push"].get("pub") {
                    told.json(publication, is_chained);
                }
            }
            Kind::Uni(_) => {
                if let Some(publication) = value().get("pub") {
                    told.json(publication, false);
                }
            }
            Kind::Protobuf(..) => panic!("a text: {text}"),
        }
    }
}

fn shards(dice: &mut Dice, seed: u64) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    config.lane_parcels = 1 + dice.below(4);
    config.read_buffer_bytes = 512;
    let rules = ChannelRules { delta: Delta::Fossil, ..ChannelRules::open("") };
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    Shards::new(1 + dice.below(4), config, seed)
}

/// Returns the number of patches that clients were told.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = shards(&mut dice, seed);
    let mut members: Vec<Member> = Vec::new();
    for kind in KINDS {
        let shard = dice.below(shards.all.len());
        members.push(Member::connect(kind, &mut shards, shard));
    }
    shards.come_to_rest(|| {});
    let mut number = 0;
    for _ in 0..400 {
        let shard = dice.below(shards.all.len());
        let at = dice.below(members.len());
        let member = &mut members[at];
        match dice.below(16) {
            0..6 => {
                let pad = "\u{e9}\u{1f7e2} z".repeat(dice.below(12));
                let body = format!(r#"{{"text":"one that stays, with {pad}","n":{number}}}"#);
                number += usize::from(member.publish(&body));
            }
            6 => member.client.stall(),
            7..9 => member.client.take_up(usize::MAX),
            _ => shards.turn(shard),
        }
    }
    shards.come_to_rest(|| {
        for member in &mut members {
            member.client.take_up(usize::MAX);
        }
    });
    check_books(&shards.all);
    let orders: Vec<(Kind, Told)> = members.iter().map(|one| (one.kind, one.told())).collect();
    let mut all = orders[0].1.numbers.clone();
    for (kind, told) in &orders {
        assert_eq!(told.numbers, all, "{kind:?} and plain clients: one order");
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..number), "each once");
    orders.iter().map(|(_, told)| told.patches).sum()
}

#[test]
fn clients_of_every_dialect_and_transport_hear_one_order() {
    if let Some(patches) = for_each_seed(64, simulate) {
        assert!(patches > 5_000, "hardly anything was patched: {patches}");
    }
}
