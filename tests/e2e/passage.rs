//! While the older process of a take-over drains, the members of both are members of one channel:
//! for watchers, for questions, and for a user that goes from one process to the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually};

/// The older process keeps its clients for as long as a test takes.
const FLAGS: [&str; 10] = [
    "--take-over-settle",
    "0s",
    "--drain-spread",
    "60s",
    "--leave-debounce",
    "2s",
    "--on-duplicate-user",
    "allow",
    "--shards",
    "2",
];

fn come(server: &Server, user: &str) -> Client {
    Client::json(server.address, &format!("/ws?user={user}&channel=room")).0
}

/// The process that a client is at, by its id: the older one, 0, may still accept some connections
/// when the newer one begins to.
fn process_of(welcome: &Value) -> u32 {
    let id = welcome["client"].as_str().unwrap();
    id.rsplit('-').next().unwrap().parse::<u32>().unwrap() >> 27
}

/// A client of the newer process, of two.
pub(crate) fn come_to_newer(server: &Server, target: &str) -> Client {
    let mut come = None;
    eventually("the older process accepts no more", || {
        let (client, welcome) = Client::json(server.address, "/ws");
        come = (process_of(&welcome) == 1).then_some(client);
        come.is_some()
    });
    drop(come);
    let (client, welcome) = Client::json(server.address, target);
    assert_eq!(process_of(&welcome), 1);
    client
}

fn watch(server: &Server) -> Client {
    watch_with(Client::json(server.address, "/ws").0)
}

fn watch_with(mut watcher: Client) -> Client {
    watcher.send(r#"{"type":"join","channel":"room","presence":true,"id":1}"#);
    assert_eq!(watcher.next_json()["type"], "joined");
    watcher
}

/// The answer to a question, behind the events before it.
fn ask(client: &mut Client, kind: &str) -> (Vec<String>, Value) {
    client.send(&json!({ "type": kind, "channel": "room", "id": "q" }).to_string());
    let mut events = Vec::new();
    loop {
        let said = client.next_json();
        if said["id"] == "q" {
            return (events, said);
        }
        if let (Some(kind), Some(user)) = (said["type"].as_str(), said["user"].as_str()) {
            events.push(format!("{kind} {user}"));
        }
    }
}

/// The next event about a user.
fn event(client: &mut Client) -> String {
    loop {
        let said = client.next_json();
        if let (Some(kind), Some(user)) = (said["type"].as_str(), said["user"].as_str()) {
            return format!("{kind} {user}");
        }
    }
}

fn users(answer: &Value) -> Vec<&str> {
    let clients = answer["clients"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut users: Vec<&str> = clients.iter().filter_map(|one| one["user"].as_str()).collect();
    users.sort_unstable();
    users
}

#[test]
fn members_of_two_processes_are_one_channel_and_moving_is_no_event() {
    let older = Server::start(&FLAGS);
    let (ann, mut bob) = (come(&older, "ann"), come(&older, "bob"));
    let mut first = watch(&older);
    let newer = Server::start_beside(&older, &FLAGS);
    let mut second = watch_with(come_to_newer(&newer, "/ws"));
    let mut cid = come(&newer, "cid");
    for watcher in [&mut first, &mut second] {
        assert_eq!(event(watcher), "joined cid");
    }
    for client in [&mut first, &mut second, &mut cid, &mut bob] {
        let (events, answer) = ask(client, "presence");
        assert_eq!((users(&answer), &answer["count"]), (vec!["ann", "bob", "cid"], &json!(5)));
        assert!(events.is_empty() && answer["more"] == false, "{events:?} {answer}");
        assert_eq!(ask(client, "who").1["users"], json!(["ann", "bob", "cid"]));
        let stats = ask(client, "presence_stats").1;
        assert_eq!(
            (&stats["clients"], &stats["users"], &stats["exact"]),
            (&json!(5), &json!(3), &json!(true))
        );
    }
    let mut centrifuge = Client::try_plain(newer.address, "/connection/websocket").unwrap();
    centrifuge.send(r#"{"id":1,"connect":{}}"#);
    centrifuge.next_json();
    centrifuge.send(r#"{"id":2,"presence":{"channel":"room"}}"#);
    let told = centrifuge.next_json()["presence"]["presence"].as_object().unwrap().len();
    centrifuge.send(r#"{"id":3,"presence_stats":{"channel":"room"}}"#);
    let stats = centrifuge.next_json()["presence_stats"].clone();
    assert_eq!((told, &stats["num_clients"]), (5, &json!(5)), "{stats}");

    // Ann moves. Bob comes with a second client to the newer process, and the first one goes.
    ann.goodbye();
    let (ann, second_bob) = (come(&newer, "ann"), come(&newer, "bob"));
    bob.goodbye();
    let told = Instant::now();
    while told.elapsed() < Duration::from_secs(3) {
        for watcher in [&mut first, &mut second] {
            let (events, answer) = ask(watcher, "presence");
            assert_eq!((events, users(&answer)), (Vec::new(), vec!["ann", "bob", "cid"]));
        }
    }
    ann.goodbye();
    for watcher in [&mut first, &mut second] {
        assert_eq!(event(watcher), "left ann");
    }
    drop((cid, second_bob));
}

#[test]
fn the_other_process_may_be_stopped_or_die_and_questions_are_answered() {
    let older = Server::start(&FLAGS);
    let _ann = come(&older, "ann");
    let newer = Server::start_beside(&older, &FLAGS);
    let (mut watcher, _bob) = (watch_with(come_to_newer(&newer, "/ws")), come(&newer, "bob"));
    assert_eq!(event(&mut watcher), "joined bob");
    assert_eq!(users(&ask(&mut watcher, "presence").1), ["ann", "bob"]);
    older.signal("STOP");
    let began = Instant::now();
    let (_, answer) = ask(&mut watcher, "presence_stats");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(answer["clients"] == 2, "its own: {answer}");
    // The stopped process is given up by then, and its clients with it.
    assert_eq!(event(&mut watcher), "left ann");
    assert_eq!(users(&ask(&mut watcher, "presence").1), ["bob"]);
    older.signal("CONT");
}

#[test]
fn members_of_a_newer_process_that_dies_have_left() {
    let older = Server::start(&FLAGS);
    let mut watcher = watch(&older);
    let newer = Server::start_beside(&older, &FLAGS);
    let _ann = come_to_newer(&newer, "/ws?user=ann&channel=room");
    let _bob = come(&newer, "bob");
    let mut joined = [event(&mut watcher), event(&mut watcher)];
    joined.sort();
    assert_eq!(joined, ["joined ann", "joined bob"]);
    newer.signal("KILL");
    let mut left = [event(&mut watcher), event(&mut watcher)];
    left.sort();
    assert_eq!(left, ["left ann", "left bob"]);
    assert_eq!(ask(&mut watcher, "presence_stats").1["clients"], 1);
}
