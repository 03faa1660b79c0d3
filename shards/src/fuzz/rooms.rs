//! Clients that come, join, speak, replace each other and go, one thing at a time, on one to three
//! shards: after each, everyone must have been told exactly what a single plain table says.

use std::collections::BTreeMap;

use super::input::Input;
use super::table::{Member, Table, Told};
use crate::config::{Config, DuplicateUser};
use crate::net::Net;
use crate::sim::books::check_books;
use crate::sim::client::{Client, Wish};
use crate::sim::reader::{Frame, read_frames, split_head};
use crate::sim::run::{CHANNELS, Shards, SimNet, USERS};

const CLIENTS_MAX: usize = 12;
pub(super) const CHANNELS_PER_CLIENT: usize = 2;
pub(super) const FROM_ONE_ADDRESS: u32 = 3;

struct Rooms {
    shards: Shards,
    clients: Vec<Client>,
    table: Table,
}

/// Bytes for the number of shards and the rule for users, then one operation after another.
///
/// # Panics
/// If a client was told something else than the table says.
pub fn rooms(data: &[u8]) {
    let mut input = Input::new(data);
    let rules = [DuplicateUser::Replace, DuplicateUser::Refuse, DuplicateUser::Allow];
    let mut config = Config::with_cores(Vec::new());
    config.duplicate_user = rules[input.below(3)];
    config.channels_per_client = CHANNELS_PER_CLIENT;
    config.clients_per_ip = if input.below(2) == 0 { 0 } else { FROM_ONE_ADDRESS };
    config.errors_max = u32::MAX / 1_000;
    config.read_buffer_bytes = 4_096;
    config.lane_parcels = 1 + input.below(3);
    let table = Table::new(&config);
    let shards = Shards::new(1 + input.below(3), config, 3);
    let mut rooms = Rooms { shards, clients: Vec::new(), table };
    rooms.shards.come_to_rest(|| {});
    while !input.rest.is_empty() {
        rooms.step(&mut input);
        rooms.shards.come_to_rest(|| {});
        rooms.compare();
        check_books(&rooms.shards.all);
    }
}

impl Rooms {
    fn step(&mut self, input: &mut Input<'_>) {
        let act = input.below(16);
        if act < 4 && self.clients.len() < CLIENTS_MAX {
            return self.connect(input);
        }
        if self.clients.is_empty() {
            return;
        }
        let index = input.below(self.clients.len());
        let channel = CHANNELS[input.below(CHANNELS.len())];
        let json = self.clients[index].wish.json && self.table.is_open(index);
        let id = (input.below(2) == 0).then_some(7);
        match act {
            0..=5 => self.speak(index, (input.below(2) == 0).then_some(channel), id),
            6 | 7 if json => self.join(index, channel, input.below(2) == 0, id),
            8 if json => {
                self.ask(index, "leave", &format!(r#","channel":"{channel}""#), id);
                self.table.leave(index, channel, id);
            }
            9 if json => {
                self.ask(index, "who", &format!(r#","channel":"{channel}""#), id);
                self.table.who(index, channel, id);
            }
            10 if json => {
                let user = USERS[input.below(USERS.len())];
                self.ask(index, "direct", &format!(r#","user":"{user}","body":"psst""#), id);
                self.table.direct(index, user, id);
            }
            11 if json => {
                self.ask(index, "ping", "", id);
                self.table.tell(index, Told::Pong(id));
            }
            12 => {
                self.clients[index].goodbye();
                if self.table.is_open(index) {
                    self.table.tell(index, Told::Close(1000));
                    self.table.gone(index);
                }
            }
            13 => {
                self.clients[index].cut();
                if self.table.is_open(index) {
                    self.table.gone(index);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, input: &mut Input<'_>) {
        let json = input.below(2) == 0;
        let channel = input.below(CHANNELS.len() + 1);
        let wish = Wish {
            channel: CHANNELS.get(channel).copied(),
            user: USERS.get(input.below(USERS.len() + 1)).copied(),
            json,
            lines: false,
            late: false,
            echoless: input.below(4) == 0,
            joined: input.below(4) == 0,
            peer: Some(([10, 0, 0, input.byte() % 2], 1).into()),
            ..Wish::default()
        };
        let shard = input.below(self.shards.all.len());
        let (stream, client) = Client::connect(wish, usize::MAX);
        let fd = SimNet::fd(&stream);
        self.shards.accept(shard, stream);
        self.shards.come_to_rest(|| {});
        let outbound = client.outbound();
        let status: u16 = std::str::from_utf8(&outbound[9..12]).unwrap().parse().unwrap();
        let all = &self.shards.all[shard];
        let slot = all.clients.roster.iter().find(|(_, of)| SimNet::fd(&of.stream) == fd);
        let id = slot.map(|(slot, _)| all.clients.roster.id(slot).to_string()).unwrap_or_default();
        self.clients.push(client);
        self.table.connect(Member::new(wish, id), status);
    }

    fn ask(&self, index: usize, kind: &str, fields: &str, id: Option<u64>) {
        let id = id.map(|id| format!(",\"id\":{id}")).unwrap_or_default();
        self.clients[index].ask(&format!("{{\"type\":\"{kind}\"{fields}{id}}}"));
    }

    fn speak(&mut self, index: usize, channel: Option<&'static str>, id: Option<u64>) {
        if !self.table.is_open(index) {
            return;
        }
        if self.clients[index].wish.json {
            let place = channel.map(|channel| format!(r#","channel":"{channel}""#));
            let fields = format!(r#"{},"body":"hello""#, place.unwrap_or_default());
            self.ask(index, "publish", &fields, id);
            self.table.publish(index, channel, id);
        } else {
            self.clients[index].send_frame(1, b"hello");
            self.table.publish(index, None, None);
        }
    }

    fn join(&mut self, index: usize, channel: &'static str, presence: bool, id: Option<u64>) {
        let fields = format!(r#","channel":"{channel}","presence":{presence}"#);
        self.ask(index, "join", &fields, id);
        self.table.join(index, channel, presence, id);
    }

    /// Compares the events of every client with the table's, in any order within one step.
    fn compare(&mut self) {
        for (index, client) in self.clients.iter().enumerate() {
            let bytes = client.take_outbound();
            let frames = match split_head(&bytes) {
                ([], frames) => frames,
                (head, frames) if head.starts_with(b"HTTP/1.1 101") => frames,
                _ => &[],
            };
            let (frames, used) = read_frames(frames);
            assert!(used == bytes.len() || bytes.starts_with(b"HTTP"), "whole frames only");
            let mut heard: Vec<Told> =
                frames.iter().map(|frame| understand(frame, client.wish.json)).collect();
            let mut told = self.table.take_told(index);
            heard.sort();
            told.sort();
            assert_eq!(heard, told, "client {index}, {:?}", client.wish);
        }
    }
}

fn understand(frame: &Frame, json: bool) -> Told {
    if frame.opcode == 8 {
        return Told::Close(frame.code().unwrap_or(0));
    }
    assert_eq!(frame.opcode, 1);
    if !json {
        return Told::Text(frame.text().to_owned());
    }
    let mut value: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(frame.text()).expect("the server writes JSON");
    let mut text = |key: &str| Some(value.remove(key)?.as_str()?.to_owned());
    let kind = text("type").expect("a type");
    let (channel, user, client) = (text("channel"), text("user"), text("client"));
    let number = |key: &str| value.get(key).and_then(serde_json::Value::as_u64);
    let (id, offset) = (number("id"), number("offset"));
    let channel = || channel.clone().unwrap_or_default();
    match (kind.as_str(), client) {
        ("welcome", Some(client)) => Told::Welcome { client, user, channel: channel() },
        ("message", _) => {
            let from = &value["from"];
            Told::Message {
                channel: channel(),
                offset: offset.unwrap_or(0),
                from: from["client"].as_str().unwrap_or("").to_owned(),
                user: from["user"].as_str().map(str::to_owned),
                body: value["body"].as_str().unwrap().to_owned(),
                direct: value.get("direct") == Some(&true.into()),
            }
        }
        (kind @ ("joined" | "left"), Some(client)) => {
            Told::Presence { joined: kind == "joined", channel: channel(), client, user }
        }
        ("joined", None) => Told::Joined { channel: channel(), offset: offset.unwrap(), id },
        ("left", None) => Told::Left { channel: channel(), id },
        ("who", _) => Told::Who {
            channel: channel(),
            clients: number("clients").unwrap(),
            users: serde_json::from_value(value["users"].clone()).unwrap(),
            id,
        },
        ("ack", _) => Told::Ack { channel: channel(), offset, clients: number("clients"), id },
        ("pong", _) => Told::Pong(id),
        ("error", _) => Told::Error(value["code"].as_str().unwrap().to_owned(), id),
        (kind, _) => panic!("{kind}"),
    }
}
