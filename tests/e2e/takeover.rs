//! A take-over keeps what the older process knows: histories, positions and revocations, with no
//! file between the two.

use std::process::Command;

use serde_json::{Value, json};

use crate::client::Client;
use crate::history::joined_since;
use crate::server::{Server, post};

const KEPT: [&str; 6] =
    ["--history", "100", "--recovery", "--take-over-settle", "0s", "--drain-spread"];

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&KEPT[..], &["1s"], more].concat()
}

fn publish(server: &Server, channel: &str, data: u64) -> Value {
    let body = json!({ "channel": channel, "data": data }).to_string();
    let (status, answer) = post(server.admin, "/api/publish", &body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["result"].clone()
}

#[test]
fn a_take_over_keeps_histories_positions_and_epochs_without_a_file() {
    let older = Server::start(&flags(&["--shards", "1"]));
    let mut known = Vec::new();
    for room in 0..20 {
        let channel = format!("room{room}");
        let first = publish(&older, &channel, 1);
        (2..=5 + room).for_each(|number| drop(publish(&older, &channel, number)));
        known.push((channel, first, 5 + room));
    }
    // Another number of shards: the channels find their homes anew.
    let newer = Server::start_beside(&older, &flags(&["--shards", "2"]));
    // With the default channel.
    assert_eq!(newer.total("restored_channels_total"), 21);
    assert_eq!(newer.total("lost_pasts_total"), 0);
    let (mut client, _) = Client::json(newer.address, "/ws");
    for (channel, first, count) in &known {
        let (missed, joined) =
            joined_since(&mut client, channel, &first["epoch"], first["offset"].as_u64().unwrap());
        assert_eq!(missed, (2..=*count).collect::<Vec<_>>());
        assert_eq!((&joined["recovered"], &joined["offset"]), (&true.into(), &(*count).into()));
    }
    assert_eq!(publish(&newer, "room7", 0)["offset"], 13, "numbers go on");
    assert_eq!(client.next_json()["offset"], 13);
}

#[test]
fn revocations_pass_to_the_process_that_takes_over() {
    const SECRET: &str = "a secret of the tests, which is long enough";
    let secret = ["--token-hmac-secret", SECRET];
    let older = Server::start(&flags(&secret));
    let mut token = Command::new(env!("CARGO_BIN_EXE_stentor"));
    token.args(["token", "--user", "ana", "--id", "t1"]).args(secret);
    let token = String::from_utf8(token.output().unwrap().stdout).unwrap();
    let target = format!("/ws?token={}", token.trim());
    drop(Client::json(older.address, &target));
    let (status, _) = post(older.admin, "/api/revoke", &json!({ "token": "t1" }).to_string());
    assert_eq!(status, 200);
    let newer = Server::start_beside(&older, &flags(&secret));
    assert_eq!(Client::try_plain(newer.address, &target).err().map(|error| error.0), Some(401));
    assert!(newer.by_shard("revocations").iter().all(|count| *count == 1));
}
