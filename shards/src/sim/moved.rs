//! Single cases of members in two processes of a take-over: moves, deaths, questions without an
//! answer, and bounds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Wish};
use super::pair::Pair;
use super::passage::{DEBOUNCE, JSON, ROOM, answer, ask, come, config, heard, pair, told, watch};
use super::reader::Frame;
use crate::config::Config;
use crate::mesh::link::Sizes;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

const ROOMY: Sizes = Sizes { out: 64, relayed: 64, pending: 64 };

/// The events that a watcher was told, of others.
fn events(client: &Client) -> Vec<String> {
    let told = told(client).into_iter();
    let is_of_others = |said: &Value| said["type"] != "welcome" && said["type"] != "gap";
    let others = told.filter(|said| said.get("offset").is_none() && is_of_others(said));
    let named = others.filter(|said| said.get("id").is_none());
    named
        .map(|said| {
            let whose = said["user"].as_str().map(str::to_owned);
            let whose = whose.or(said["count"].as_u64().map(|count| count.to_string()));
            format!("{} {}", said["type"].as_str().unwrap(), whose.unwrap_or_default())
        })
        .collect()
}

/// Two processes at rest, a watcher in each, and a client of `users` in the older one.
fn both(config: &Config, users: &[Option<&'static str>]) -> (Pair, [Client; 2], Vec<Client>) {
    let mut pair = pair(2, config, ROOMY, 1);
    let member = |pair: &mut Pair, user| {
        come(&mut pair.older, 1, Wish { channel: Some(ROOM), user, ..JSON })
    };
    let members = users.iter().map(|user| member(&mut pair, *user)).collect();
    pair.come_to_rest();
    let first = come(&mut pair.older, 0, JSON);
    watch(&first);
    pair.come_to_rest();
    pair.begin(3, config.clone(), 2);
    pair.come_to_rest();
    pair.take_over();
    let second = come(pair.newest(), 0, JSON);
    watch(&second);
    pair.come_to_rest();
    (pair, [first, second], members)
}

#[test]
fn a_user_that_moves_to_the_newer_process_in_time_neither_leaves_nor_joins() {
    for (away_s, is_event) in [(1, false), (4, true)] {
        let (mut pair, watchers, mut members) =
            both(&config(Duration::from_secs(3)), &[Some("ann")]);
        members[0].goodbye();
        pair.come_to_rest();
        pair.pass(away_s * 1_000_000_000);
        pair.come_to_rest();
        let ann = Wish { channel: Some(ROOM), user: Some("ann"), ..JSON };
        let mut ann = come(pair.newest(), 1, ann);
        pair.come_to_rest();
        let mut expected = if is_event { vec!["left ann", "joined ann"] } else { Vec::new() };
        for watcher in &watchers {
            let told: Vec<String> = events(watcher);
            let told: Vec<&str> =
                told.iter().map(String::as_str).filter(|one| *one != "joined ").collect();
            assert_eq!(told, expected, "away for {away_s} s");
        }
        ann.goodbye();
        pair.come_to_rest();
        pair.pass(4_000_000_000);
        pair.come_to_rest();
        expected.push("left ann");
        for watcher in &watchers {
            let mut told = events(watcher);
            told.retain(|one| one != "joined ");
            assert_eq!(told, expected, "it does not return");
        }
    }
}

#[test]
fn members_of_a_process_that_dies_leave_the_channels_of_the_other() {
    for debounce in [Duration::ZERO, Duration::from_secs(3)] {
        let (mut pair, watchers, _members) = both(&config(debounce), &[Some("bob")]);
        let member = |user| Wish { channel: Some(ROOM), user, ..JSON };
        let _newer = [Some("ann"), Some("ann"), None].map(|user| {
            let client = come(pair.newest(), 1, member(user));
            pair.come_to_rest();
            client
        });
        pair.break_link();
        pair.come_to_rest();
        pair.pass(4_000_000_000);
        pair.come_to_rest();
        let mut told = events(&watchers[0]);
        // The second watcher has no user, as the third client.
        told.retain(|one| !one.starts_with("crowd"));
        told.sort();
        let mut expected = vec!["joined ", "joined ", "joined ann", "left ", "left ", "left ann"];
        if debounce.is_zero() {
            expected.extend(["joined ann", "left ann"]);
        }
        expected.sort_unstable();
        assert_eq!(told, expected, "{debounce:?}");
    }
}

#[test]
fn watchers_are_to_ask_again_if_members_went_with_their_process_and_were_not_told_of() {
    for in_order in [false, true] {
        let (mut pair, mut watchers, mut members) =
            both(&config(Duration::ZERO), &[Some("ann"), None]);
        ask(&watchers[1], "presence", 7);
        pair.come_to_rest();
        assert_eq!(answer(&watchers[1], 7)["count"], 4, "both watchers and both members");
        if in_order {
            members.iter_mut().for_each(Client::goodbye);
            watchers[0].goodbye();
            pair.come_to_rest();
        }
        pair.break_link();
        pair.come_to_rest();
        let crowds = events(&watchers[1]).iter().filter(|one| *one == "crowd 1").count();
        assert_eq!(crowds, usize::from(!in_order), "{:?}", events(&watchers[1]));
    }
}

#[test]
fn a_question_that_the_other_process_does_not_answer_is_answered_within_seconds() {
    let (mut pair, watchers, _members) = both(&config(DEBOUNCE), &[Some("ann")]);
    ask(&watchers[1], "presence", 7);
    // The older process is stopped.
    for passed in 0..50 {
        let newer = pair.newest();
        newer.now.ns += 100_000_000;
        for _ in 0..3 {
            (0..newer.all.len()).for_each(|shard| newer.turn(shard));
        }
        let is_told = told(&watchers[1]).iter().any(|said| said["id"] == 7);
        assert_eq!(is_told, passed >= 40, "behind {passed} tenths of a second");
    }
    assert!(pair.newest().all[0].nap().is_none_or(|nap| nap > Duration::from_millis(20)));
    let answer = answer(&watchers[1], 7);
    assert_eq!(answer["more"], true, "{answer}");
    let unanswered = pair.newest().all.iter().map(|one| one.clients.tally.unanswered_questions);
    assert_eq!(unanswered.sum::<u64>(), 1);
    pair.come_to_rest();
    assert!(heard(&watchers[1], 7).is_empty());
}

#[test]
fn watchers_hear_the_number_of_members_in_both_processes() {
    let mut config = config(Duration::ZERO);
    config.presence_names = 4;
    let (mut pair, watchers, _members) = both(&config, &[Some("ann"), Some("bob")]);
    // Two watchers and two members.
    let count = |watcher: &Client| {
        events(watcher)
            .iter()
            .filter_map(|one| one.strip_prefix("crowd ").map(str::to_owned))
            .next_back()
    };
    assert_eq!(watchers.each_ref().map(count), [None, None]);
    let wish = Wish { channel: Some(ROOM), user: Some("cid"), ..JSON };
    let mut newer: Vec<Client> = Vec::new();
    for _ in 0..3 {
        newer.push(come(pair.newest(), 2, wish));
        pair.come_to_rest();
        pair.pass(1_100_000_000);
        pair.come_to_rest();
    }
    assert_eq!(watchers.each_ref().map(count), [Some("7".into()), Some("7".into())]);
    pair.break_link();
    pair.come_to_rest();
    pair.pass(1_100_000_000);
    pair.come_to_rest();
    let [older, newer] = watchers.each_ref().map(count);
    assert_eq!((older.as_deref(), newer.as_deref()), (Some("3"), Some("4")));
}

#[test]
fn more_direct_messages_than_may_wait_for_the_other_process_do_not_stop_a_home() {
    let (mut pair, _watchers, _members) = both(&config(DEBOUNCE), &[Some("ann")]);
    let speaker = come(pair.newest(), 0, JSON);
    pair.come_to_rest();
    for id in 0..200 {
        speaker.ask(&format!(r#"{{"type":"direct","user":"ann","id":{id},"body":"hello"}}"#));
    }
    pair.come_to_rest();
    for id in 0..200 {
        assert_eq!(answer(&speaker, id)["clients"], 1);
    }
}

#[test]
fn more_questions_than_may_wait_for_the_other_process_are_answered_at_once() {
    let (mut pair, _watchers, _members) = both(&config(DEBOUNCE), &[Some("ann")]);
    let askers: Vec<Client> = (0..20).map(|_| come(pair.newest(), 0, JSON)).collect();
    pair.come_to_rest();
    for asker in &askers {
        (0..4).for_each(|id| ask(asker, "presence_stats", id));
    }
    let newer = pair.newest();
    for _ in 0..200 {
        (0..newer.all.len()).for_each(|shard| newer.turn(shard));
    }
    let answered = |exact: bool| {
        let told = askers.iter().flat_map(told);
        told.filter(|said| said["type"] == "presence_stats" && said["exact"] == exact).count()
    };
    assert_eq!((answered(false), answered(true)), (48, 0), "32 wait");
    pair.come_to_rest();
    assert_eq!((answered(false), answered(true)), (48, 32));
}

/// A client of Centrifugo's protocol in the room, on the older process.
fn centrifugo(pair: &mut Pair) -> Client {
    let (stream, client) = Client::silent(Wish::default(), usize::MAX);
    client.send(
        b"GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
          Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let subscribe = format!(r#"{{"id":2,"subscribe":{{"channel":"{ROOM}"}}}}"#);
    client.send_frame(1, format!("{{\"id\":1,\"connect\":{{}}}}\n{subscribe}").as_bytes());
    pair.older.accept(1, stream);
    client
}

/// Messages that the newer process has numbered may be lost with it: each member of the older one
/// learns that in its own dialect, and one that could not tell comes again.
#[test]
fn members_learn_of_a_gap_when_the_newer_process_dies() {
    for keeps in [true, false] {
        let size = if keeps { 10 } else { 0 };
        let history = HistoryRules { size, ttl: Duration::from_mins(5), bytes: 1 << 20 };
        let rules = ChannelRules { history, recovery: keeps, ..ChannelRules::open("") };
        let mut config = Config::with_cores(Vec::new());
        config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
        let mut pair = pair(2, &config, ROOMY, 1);
        let room = Wish { channel: Some(ROOM), ..Wish::default() };
        let plain = come(&mut pair.older, 0, room);
        let json = come(&mut pair.older, 1, Wish { json: true, ..room });
        let other = centrifugo(&mut pair);
        pair.come_to_rest();
        pair.begin(2, config.clone(), 2);
        pair.come_to_rest();
        pair.take_over();
        let speaker = come(pair.newest(), 0, Wish { json: true, ..room });
        pair.come_to_rest();
        speaker.ask(r#"{"type":"publish","body":1}"#);
        pair.come_to_rest();
        pair.break_link();
        pair.come_to_rest();
        let close = plain.frames().into_iter().find(|frame| frame.opcode == 8);
        let code = close.map(|close| u16::from_be_bytes([close.payload[0], close.payload[1]]));
        assert_eq!(code, Some(3010), "a plain client counts its messages");
        let gap = told(&json).into_iter().find(|said| said["type"] == "gap");
        let gap = gap.unwrap_or_else(|| panic!("{:?}", told(&json)));
        assert_eq!((&gap["from"], gap["to"].as_u64() > Some(1 << 31)), (&2.into(), true), "{gap}");
        let left = |frame: &Frame| frame.text().contains(r#""unsubscribe":{"code":2500"#);
        assert!(other.frames().iter().any(left), "{:?}", other.frames());
        assert!(!json.is_sent_away() && !other.is_sent_away());
    }
}
