//! A user is reached on any shard, and a second connection of a user does what the rule says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use async_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::server::{Server, eventually};

#[test]
fn chat_core_a_second_connection_of_a_user_closes_the_first() {
    let server = Server::start(&["--shards", "2"]);
    let mut older = Client::plain(server.address, "/ws?user=bob");
    // Many rounds, so that old and new meet on the same shard and on different ones.
    for _ in 0..20 {
        let newer = Client::plain(server.address, "/ws?user=bob");
        let (frame, _) = older.closed();
        let frame = frame.unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3500, "replaced"));
        older = newer;
    }
    eventually("one bob is left", || server.total("clients") == 1 && server.total("users") == 1);
    assert_eq!(server.by_reason("disconnects", "replaced"), 20);
    let accepts = server.by_shard("accepts_total");
    assert!(accepts.iter().all(|count| *count > 0), "all met on one shard: {accepts:?}");
}

#[test]
fn the_channel_that_each_user_has_is_not_the_one_that_requests_without_a_channel_mean() {
    let server = Server::start(&["--personal-channel", "#", "--history", "10"]);
    let (mut ana, welcome) = Client::json(server.address, "/ws?user=ana");
    let absent = ["channel", "offset", "epoch"].map(|name| welcome[name].is_null());
    assert_eq!(absent, [true; 3], "{welcome}");
    let joined = ana.next_json();
    let about = ["type", "channel", "id"].map(|name| joined[name].as_str());
    assert_eq!(about, [Some("joined"), Some("#ana"), None], "{joined}");
    ana.send(r#"{"type":"publish","id":1,"body":"to nobody"}"#);
    let error = ana.next_json();
    assert_eq!((error["type"].as_str(), error["id"].as_u64()), (Some("error"), Some(1)), "{error}");
    ana.send(r##"{"type":"publish","channel":"#ana","body":"to herself"}"##);
    assert_eq!(ana.next_json()["body"], "to herself");

    // Older messages are those of the channel of the URL.
    let (mut again, welcome) = Client::json(server.address, "/ws?user=ana&history=5");
    assert!(welcome["channel"].is_null(), "{welcome}");
    assert_eq!(again.next_json()["type"], "joined");
    again.send(r#"{"type":"ping","id":2}"#);
    assert_eq!(again.next_json()["type"], "pong", "nothing older is told");
    let (mut named, welcome) =
        Client::json(server.address, "/ws?user=ana&channel=%23ana&history=5");
    assert_eq!(welcome["channel"], "#ana");
    assert_eq!(named.next_json()["body"], "to herself");
    let (mut other, welcome) = Client::json(server.address, "/ws?user=ana&channel=room");
    assert_eq!(
        (&welcome["channel"], &other.next_json()["channel"]),
        (&"room".into(), &"#ana".into())
    );
}

/// Publishes numbers until it is stopped, with so many of them under way that lanes stay full.
/// Without a bound they would fill the sockets as well: where another process has the cores, each
/// parcel of a short lane waits for its shard's turn, and the last message for longer than any
/// client waits.
fn talk(to: SocketAddr, channel: &'static str, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    const UNDER_WAY_MAX: i64 = 64;
    let stopped = Arc::clone(stop);
    thread::spawn(move || {
        let mut talker = Client::plain(to, &format!("/ws?channel={channel}"));
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            talker.send(&number.to_string());
            number += 1;
            if number > UNDER_WAY_MAX {
                assert_eq!(talker.next_text(), (number - 1 - UNDER_WAY_MAX).to_string());
            }
        }
    })
}

/// Reads numbers from `first` on until the server closes, and gives the last.
fn last_of(mut client: Client, first: i64) -> i64 {
    let mut last = first;
    loop {
        match client.try_next() {
            Ok(Message::Text(text)) => {
                last += 1;
                assert_eq!(text.as_str(), last.to_string(), "a gap within a connection");
            }
            Ok(Message::Close(frame)) => {
                assert_eq!(u16::from(frame.unwrap().code), 3500);
                return last;
            }
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_message_that_the_older_connection_misses_reaches_the_newer_one() {
    // One parcel in a lane: homes and publishers wait for room all the time, and a close may not
    // overtake what waits.
    let server = Server::start(&["--shards", "2", "--lane-parcels", "1"]);
    let address = server.address;
    for channel in ["lobby", "news", "north", "south"] {
        let stop = Arc::new(AtomicBool::new(false));
        let talker = talk(address, channel, &stop);
        let target = format!("/ws?channel={channel}&user=bob");
        let mut older: Option<thread::JoinHandle<i64>> = None;
        for _ in 0..150 {
            let mut newer = Client::plain(address, &target);
            let first: i64 = newer.next_text().parse().unwrap();
            if let Some(older) = older.take() {
                let last = older.join().unwrap();
                assert!(first <= last + 1, "{channel}: {last} was the last, then {first}");
            }
            older = Some(thread::spawn(move || last_of(newer, first)));
        }
        let _replaces_the_last = Client::plain(address, &target);
        older.unwrap().join().unwrap();
        stop.store(true, Ordering::Relaxed);
        talker.join().unwrap();
    }
}

#[test]
fn the_newer_connection_misses_nothing_from_its_opening_on() {
    let server = Server::start(&["--shards", "2"]);
    let address = server.address;
    let stop = Arc::new(AtomicBool::new(false));
    let talker = talk(address, "news", &stop);
    let mut older: Option<Client> = None;
    for _ in 0..10 {
        let mut newer = Client::plain(address, "/ws?channel=news&user=bob");
        if let Some(mut older) = older.take() {
            assert_eq!(older.close_code(), Some(3500));
        }
        let first: i64 = newer.next_text().parse().unwrap();
        for number in first + 1..first + 200 {
            assert_eq!(newer.next_text(), number.to_string());
        }
        older = Some(newer);
    }
    stop.store(true, Ordering::Relaxed);
    talker.join().unwrap();
}

#[test]
fn refuse_and_allow() {
    let server = Server::start(&["--shards", "2", "--on-duplicate-user", "refuse"]);
    let first = Client::plain(server.address, "/ws?user=bob");
    // So often that both shards have asked.
    for _ in 0..24 {
        let refused = Client::try_plain(server.address, "/ws?user=bob").err().unwrap();
        assert_eq!(refused, (409, "this user is connected already".to_owned()));
    }
    let refusals = server.by_shard("accepts_total");
    assert!(refusals.iter().all(|count| *count > 1), "only one shard was tried: {refusals:?}");
    first.goodbye();
    eventually("the name is free again", || {
        Client::try_plain(server.address, "/ws?user=bob").is_ok()
    });

    let server = Server::start(&["--shards", "2", "--on-duplicate-user", "allow"]);
    let mut both = server.on_all_shards(2, || Client::json(server.address, "/ws?user=bob").0);
    let (mut ann, _) = Client::json(server.address, "/ws?user=ann");
    ann.send(r#"{"type":"direct","user":"bob","body":"hi","id":1}"#);
    assert_eq!(ann.next_json()["clients"], both.len());
    for bob in &mut both {
        let message = bob.next_json();
        assert_eq!((&message["direct"], &message["body"]), (&true.into(), &"hi".into()));
        assert_eq!(message["from"]["user"], "ann");
    }
}

#[test]
fn chat_core_an_unknown_user_is_an_error_to_the_sender() {
    let server = Server::start(&["--shards", "2"]);
    let (mut ann, _) = Client::json(server.address, "/ws?user=ann");
    for _ in 0..4 {
        ann.send(r#"{"type":"direct","user":"nobody","body":1}"#);
        let error = ann.next_json();
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"unknown_user".into()));
    }
    let mut bob = Client::plain(server.address, "/ws?user=bob");
    ann.send(r#"{"type":"direct","user":"bob","body":"psst"}"#);
    assert_eq!(bob.next_text(), "psst", "a plain client gets the text of a string body");
}

#[test]
fn chat_core_a_user_is_required() {
    let server = Server::start(&["--require-user"]);
    assert_eq!(Client::try_plain(server.address, "/ws").err().unwrap().0, 401);
    Client::plain(server.address, "/ws?user=bob").goodbye();
}
