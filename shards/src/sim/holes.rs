//! Histories with a hole: what lies in front of it is kept, and is nothing that a client that comes
//! back could go on from.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::pair::Pair;
use super::passage::{JSON, ROOM, answer, come, told};
use super::run::Shards;
use super::world::World;
use crate::config::Config;
use crate::mesh::link::Sizes;
use crate::model::message::Position;
use crate::model::snapshot;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

const ROOMY: Sizes = Sizes { out: 64, relayed: 64, pending: 64 };

/// Rules under which channels keep so many publications; under none clients recover nothing.
fn rules(size: u32) -> Arc<Rules> {
    let history = HistoryRules { size, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery: size > 0, ..ChannelRules::open("") };
    Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap())
}

fn config() -> Config {
    Config { rules: rules(1000), ping_interval: Duration::ZERO, ..Config::with_cores(Vec::new()) }
}

fn publish(client: &Client, count: usize) {
    for number in 0..count {
        client.ask(&format!(r#"{{"type":"publish","channel":"{ROOM}","body":{number}}}"#));
    }
}

fn newest(shards: &Shards) -> Position {
    let channels = &shards.all[0].rooms.channels;
    channels.get(channels.find(ROOM).unwrap()).order.newest
}

fn join(client: &Client, Position { epoch, offset }: Position) {
    let since = format!(r#"{{"epoch":"{epoch}","offset":{offset}}}"#);
    client.ask(&format!(r#"{{"type":"join","channel":"{ROOM}","id":7,"since":{since}}}"#));
}

/// The offsets of the messages that a client was told.
fn offsets(client: &Client) -> Vec<u64> {
    let messages = told(client).into_iter().filter(|said| said["type"] == "message");
    messages.map(|said| said["offset"].as_u64().unwrap()).collect()
}

#[test]
fn what_was_said_while_rules_kept_no_history_is_missed_for_good() {
    let mut shards = Shards::new(1, config(), 1);
    let speaker = come(&mut shards, 0, JSON);
    publish(&speaker, 3);
    shards.come_to_rest(|| {});
    let before = newest(&shards);
    for (size, count) in [(0, 1), (1000, 2)] {
        shards.all[0].rooms.channels.set_rules(rules(size));
        publish(&speaker, count);
        shards.come_to_rest(|| {});
    }
    for (offset, recovered, heard) in [(3, false, vec![]), (4, true, vec![5, 6])] {
        let mut client = come(&mut shards, 0, JSON);
        join(&client, Position { offset, ..before });
        shards.come_to_rest(|| {});
        assert_eq!(answer(&client, 7)["recovered"], recovered, "behind {offset}");
        assert_eq!(offsets(&client), heard);
        client.goodbye();
    }
    // One that counts its messages is told none in front of the hole.
    let last = come(&mut shards, 0, Wish { channel: Some(ROOM), last: Some(10), ..JSON });
    shards.come_to_rest(|| {});
    assert_eq!(offsets(&last), [5, 6]);
    // A process that takes over knows of the hole.
    let saved = snapshot::read_part(&shards.all[0].save(true, 0, usize::MAX).bytes).unwrap();
    let room = saved.iter().find(|channel| &*channel.name == ROOM).unwrap();
    assert_eq!((room.floor, room.publications.len()), (4, 2));
    // The time of what lies in front of it is over before that of the rest.
    shards.all[0].rooms.channels.set_rules(rules(2));
    publish(&speaker, 1);
    shards.come_to_rest(|| {});
    check_books(&shards.all);
}

#[test]
fn clients_of_a_process_that_has_lost_its_leader_recover_nothing_from_before() {
    World::reset(8);
    let mut pair = Pair::new(Shards::beside(0, 1, config(), 1), ROOMY);
    let member = come(&mut pair.older, 0, JSON);
    publish(&member, 3);
    pair.come_to_rest();
    pair.begin(1, config(), 2);
    pair.come_to_rest();
    pair.take_over();
    // The newer process may have numbered more than has come here.
    let speaker = come(pair.newest(), 0, JSON);
    publish(&speaker, 1);
    pair.come_to_rest();
    let before = newest(&pair.older);
    assert_eq!(before.offset, 4);
    pair.break_link();
    pair.come_to_rest();
    for offset in [0, 4] {
        let mut client = come(&mut pair.older, 0, JSON);
        join(&client, Position { offset, ..before });
        pair.come_to_rest();
        assert_eq!(answer(&client, 7)["recovered"], Value::Bool(false), "behind {offset}");
        client.goodbye();
        pair.come_to_rest();
    }
    // Clients that have joined since recover as ever, and all that is kept can be read.
    let since = newest(&pair.older);
    publish(&member, 2);
    pair.come_to_rest();
    let client = come(&mut pair.older, 0, JSON);
    join(&client, since);
    client.ask(&format!(r#"{{"type":"history","channel":"{ROOM}","id":8}}"#));
    pair.come_to_rest();
    assert_eq!(answer(&client, 7)["recovered"], Value::Bool(true));
    assert_eq!(offsets(&client), [since.offset + 1, since.offset + 2]);
    assert_eq!(answer(&client, 8)["publications"].as_array().unwrap().len(), 6);
}

#[test]
fn a_client_without_a_word_for_the_leap_is_told_nothing_behind_it() {
    World::reset(8);
    let mut pair = Pair::new(Shards::beside(0, 1, config(), 1), ROOMY);
    let wish = Wish { channel: Some(ROOM), ..Wish::default() };
    let clients = [wish, Wish { events: true, ..wish }].map(|wish| come(&mut pair.older, 0, wish));
    let member = come(&mut pair.older, 0, JSON);
    publish(&member, 1);
    pair.come_to_rest();
    pair.begin(1, config(), 2);
    pair.come_to_rest();
    pair.take_over();
    pair.come_to_rest();
    // On its way when the newer process dies: it is numbered again, in the turn of the leap.
    publish(&member, 1);
    for _ in 0..3 {
        pair.older.turn(0);
    }
    pair.break_link();
    pair.come_to_rest();
    assert!(newest(&pair.older).offset > 1 << 32);
    for client in clients {
        let bodies = client.frames().iter().filter(|frame| frame.opcode == 1).count();
        let is_over = client.is_sent_away() || client.is_closed();
        assert!(bodies == 1 && is_over, "{:?}", client.frames());
    }
}
