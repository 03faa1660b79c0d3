//! Clients come in: the form in which they are told, and the memory that they keep afterwards.

use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Heard, Wish};
use super::run::Shards;
use crate::close::CloseReason;
use crate::config::{Config, DuplicateUser};
use crate::wire::lines::read::request;

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
        // A client of the test dialect says behind its 101 who it is.
        let head = usize::from(lines);
        assert_eq!(client.sends(), head, "the second shard has not decided");
        // Nor is the word behind it looked at meanwhile.
        (0..3).for_each(|_| shards.turn(0));
        shards.turn(1);
        shards.turn(0);
        let (answer, frames) = (client.outbound(), client.frames());
        assert!(answer.starts_with(b"HTTP/1.1 101"), "admitted");
        assert_eq!(client.heard(), [Heard::Other], "greeted: {frames:?}");
        assert_eq!(client.sends(), head + 1);
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

/// A client of the test dialect that has its 101, and has not said who it is.
fn nameless(shards: &mut Shards) -> Client {
    let wish = Wish { lines: true, late: true, user: Some("ann"), ..Wish::default() };
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(0, stream);
    shards.come_to_rest(|| {});
    assert_eq!(client.sends(), 1, "the 101");
    assert!(!client.stayed());
    client
}

/// The code of the close frame that it got.
fn close_code(client: &Client) -> Option<u16> {
    let close = client.frames().into_iter().find(|frame| frame.opcode == 8)?;
    Some(u16::from_be_bytes([close.payload[0], close.payload[1]]))
}

#[test]
fn a_client_that_does_not_say_who_it_is_goes() {
    for pinging in [true, false] {
        let mut config = Config::with_cores(Vec::new());
        config.handshake_timeout = Duration::from_secs(2);
        let mut shards = Shards::new(2, config, 1);
        let mut client = nameless(&mut shards);
        let mut pongs = 0;
        for step in 1..=60 {
            if pinging {
                client.send_frame(9, b"there?");
            }
            shards.now.ns += 50_000_000;
            shards.turn(0);
            pongs = client.frames().iter().filter(|frame| frame.opcode == 10).count();
            let over = close_code(&client);
            assert_eq!(over, (step >= 40).then_some(4000), "after {step} steps");
        }
        assert_eq!(pongs > 0, pinging, "a Ping frame is answered");
        client.goodbye();
        shards.come_to_rest(|| {});
        assert!(client.is_closed());
        check_books(&shards.all);
    }
}

#[test]
fn a_request_before_the_first_one_and_a_second_first_one_end_it() {
    for (kind, first) in [(b'j', false), (b'p', false), (b'c', true)] {
        let mut shards = Shards::new(2, Config::with_cores(Vec::new()), 1);
        let client = nameless(&mut shards);
        if first {
            client.say_who_it_is();
            shards.come_to_rest(|| {});
            assert!(client.stayed());
        }
        client.ask_in_lines(kind, "room");
        shards.come_to_rest(|| {});
        assert_eq!(close_code(&client), Some(4001), "{:?}", client.frames());
        let stale = shards.all[0].clients.tally.closes[CloseReason::Disorderly.index()];
        assert_eq!(stale, 1);
        check_books(&shards.all);
    }
}

#[test]
fn a_client_is_refused_behind_its_101_in_its_own_words() {
    // A claim that another shard decides, the lack of a user, and no name.
    for (user, channel) in [("ann", ""), ("", "room"), ("bob", "\u{7}")] {
        let mut config = Config::with_cores(Vec::new());
        config.duplicate_user = DuplicateUser::Refuse;
        config.require_user = true;
        let mut shards = Shards::new(2, config, 1);
        let first = nameless(&mut shards);
        first.say_who_it_is();
        shards.come_to_rest(|| {});
        assert!(first.stayed());
        let second = nameless(&mut shards);
        second.send_frame(2, &request(b'c', channel, user.as_bytes()));
        // Its words behind that reach nobody.
        second.ask_in_lines(b'j', "another");
        shards.come_to_rest(|| {});
        let frames = second.frames();
        assert_eq!(frames.first().map(|frame| frame.payload[0]), Some(b'r'), "{frames:?}");
        assert_eq!((close_code(&second), frames.len()), (Some(4002), 2));
        assert!(first.stayed() && shards.all[0].clients.open == 1);
        let refused: u64 = shards.all[0].clients.tally.refusals.iter().sum();
        assert_eq!(refused, 1);
        check_books(&shards.all);
    }
}

#[test]
fn a_drain_sends_those_away_that_have_not_said_who_they_are() {
    let mut config = Config::with_cores(Vec::new());
    config.drain_spread = Duration::ZERO;
    let mut shards = Shards::new(1, config, 1);
    let client = nameless(&mut shards);
    shards.all[0].begin_drain(false);
    shards.come_to_rest(|| {});
    assert_eq!(close_code(&client), Some(1001));
}

#[test]
fn a_client_that_goes_before_it_is_in_leaves_nothing_behind() {
    for (step, goodbye) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut shards = Shards::new(2, Config::with_cores(Vec::new()), 1);
        let mut client = nameless(&mut shards);
        if step == 1 {
            client.say_who_it_is();
            shards.turn(0);
        }
        if goodbye {
            client.goodbye();
        } else {
            client.cut();
        }
        shards.come_to_rest(|| {});
        assert!(client.is_closed());
        assert_eq!(shards.all[0].clients.roster.len(), 0);
        check_books(&shards.all);
    }
}

#[test]
fn a_client_is_told_in_order_while_it_comes_in() {
    let mut shards = Shards::new(1, Config::with_cores(Vec::new()), 1);
    let client = nameless(&mut shards);
    client.ask_in_lines(b'x', "nothing");
    client.say_who_it_is();
    client.ask_in_lines(b'j', "room");
    shards.come_to_rest(|| {});
    let kinds = client.frames().iter().map(|frame| frame.payload[0]).collect::<Vec<_>>();
    assert_eq!(kinds, b"ewj");
}
