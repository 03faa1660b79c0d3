//! Clients come in: the form in which they are told, and the memory that they keep afterwards.

use std::time::Duration;

use super::client::{Client, Heard, Wish};
use super::run::Shards;
use crate::config::Config;

/// A JSON client whose user and channel are of the second shard, on the first one.
fn wish(shards: &Shards) -> Wish {
    let elsewhere = |name: &&&str| shards.all[0].port.mesh.home_of(**name).index() == 1;
    let names = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];
    let name = names.iter().find(elsewhere).copied();
    assert!(name.is_some(), "one of eight names is of the second shard");
    Wish { channel: name, user: name, json: true, ..Wish::default() }
}

#[test]
fn the_answer_and_the_greeting_leave_in_one_send() {
    for lines in [false, true] {
        let mut shards = Shards::new(2, Config::with_cores(Vec::new()), 1);
        let wish = Wish { lines, json: !lines, ..wish(&shards) };
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(0, stream);
        // Words that are sent before the answer wait for it, and are heard behind the greeting.
        if lines {
            client.ask_in_lines(b'j', "another");
        } else {
            client.ask(r#"{"type":"join","channel":"another"}"#);
        }
        shards.turn(0);
        assert_eq!(client.sends(), 0, "the second shard has not decided");
        shards.turn(1);
        shards.turn(0);
        let (head, frames) = (client.outbound(), client.frames());
        assert!(head.starts_with(b"HTTP/1.1 101"), "admitted");
        assert_eq!(client.heard(), [Heard::Other], "greeted: {frames:?}");
        assert_eq!(client.sends(), 1);
        shards.come_to_rest(|| {});
        assert!(
            matches!(&client.heard()[1], Heard::Joined { channel, .. } if channel == "another")
        );
    }
}

#[test]
fn limits_that_nothing_was_taken_of_lately_keep_no_memory() {
    let mut config = Config::with_cores(Vec::new());
    config.messages_per_second = 10;
    config.bytes_per_second = 1_000;
    config.ping_interval = Duration::from_secs(1);
    config.pong_timeout = Duration::from_secs(10);
    let mut shards = Shards::new(1, config, 1);
    let (stream, client) = Client::connect(Wish { json: true, ..Wish::default() }, usize::MAX);
    shards.accept(0, stream);
    shards.come_to_rest(|| {});
    let keeps_any = |shards: &Shards| {
        let mut clients = shards.all[0].clients.roster.iter();
        clients.any(|(_, client)| client.extra.is_some())
    };
    assert!(!keeps_any(&shards), "a client that has said nothing");
    client.ask("not JSON");
    client.ask("not JSON either");
    shards.come_to_rest(|| {});
    assert!(keeps_any(&shards), "two errors, and two messages of ten");
    let mut wait = |milliseconds: u64| {
        for _ in 0..milliseconds / 50 {
            client.send_frame(10, b"");
            shards.now.ns += 50_000_000;
            shards.turn(0);
        }
        keeps_any(&shards)
    };
    assert!(wait(1_000), "one error is not forgiven yet");
    assert!(!wait(3_000), "all of it is forgiven");
    assert!(client.stayed());
}
