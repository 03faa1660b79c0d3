//! The application is told what happens: in order, signed, several events in one post, again until
//! a post is taken; and what finds no room is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Asked, Backend, Reply};
use crate::client::Client;
use crate::hooks::metric;
use crate::server::{Server, eventually};

const ALL: &str = "connected,disconnected,subscribed,unsubscribed,channel_occupied,channel_vacated";

fn start(backend: &Backend, flags: &[&str]) -> Server {
    let url = backend.url("/events");
    Server::start(&[&["--shards", "2", "--events-url", &url], flags].concat())
}

/// The events of all posts until one satisfies `is_last`.
fn until(backend: &Backend, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    while !events.iter().any(&is_last) {
        events.extend(backend.next().body["events"].as_array().unwrap().iter().cloned());
    }
    events
}

fn of<'a>(events: &'a [Value], field: &str, value: &str) -> Vec<&'a str> {
    let chosen = events.iter().filter(|event| event[field] == value);
    chosen.map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn what_a_client_does_is_told_in_its_order() {
    let backend = Backend::start(|_| Reply::Json(json!({})));
    let server = start(&backend, &["--events", ALL, "--events-debounce", "0"]);
    let (mut client, welcome) = Client::json(server.address, "/ws?user=ana");
    client.send(r#"{"type":"join","channel":"room","id":1}"#);
    client.next_json();
    client.send(r#"{"type":"leave","channel":"room","id":2}"#);
    client.next_json();
    client.goodbye();
    let events = until(&backend, |event| event["event"] == "disconnected");
    let id = welcome["client"].as_str().unwrap();
    let own = of(&events, "client", id);
    assert_eq!(own, ["connected", "subscribed", "unsubscribed", "disconnected"], "{events:?}");
    let last = events.iter().find(|event| event["event"] == "disconnected").unwrap();
    assert_eq!((&last["user"], &last["reason"]), (&json!("ana"), &json!("goodbye")));
    assert!(last["time"].as_u64().unwrap() > 1_600_000_000_000, "{last}");
    let mut seen = events;
    if !of(&seen, "channel", "room").contains(&"channel_vacated") {
        seen.extend(until(&backend, |event| event["event"] == "channel_vacated"));
    }
    let channel: Vec<&str> = of(&seen, "channel", "room")
        .into_iter()
        .filter(|name| name.starts_with("channel"))
        .collect();
    assert_eq!(channel, ["channel_occupied", "channel_vacated"]);
    assert!(
        seen.iter().all(|event| event["channel"] != "lobby"
            || !event["event"].as_str().unwrap().starts_with("channel")),
        "the default channel is in use all the time"
    );
}

#[test]
fn a_channel_that_is_in_use_again_soon_was_not_vacated() {
    let backend = Backend::start(|_| Reply::Json(json!({})));
    let flags = ["--events", "channel_occupied,channel_vacated", "--events-debounce", "2s"];
    let server = start(&backend, &flags);
    for _ in 0..3 {
        let (mut client, _) = Client::json(server.address, "/ws");
        client.send(r#"{"type":"join","channel":"room","id":1}"#);
        client.next_json();
        client.goodbye();
    }
    let events = until(&backend, |event| event["event"] == "channel_vacated");
    assert_eq!(of(&events, "channel", "room"), ["channel_occupied", "channel_vacated"]);
}

#[test]
fn posts_are_signed_and_hold_several_events() {
    let is_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_up);
    let backend = Backend::start(move |_: &Asked| {
        if seen.load(Ordering::Relaxed) {
            Reply::Json(json!({}))
        } else {
            Reply::Other(503, String::new())
        }
    });
    let flags = ["--events", "subscribed", "--events-secret", "s", "--events-batch", "50"];
    let server = start(&backend, &flags);
    let (mut client, _) = Client::json(server.address, "/ws");
    for n in 0..120 {
        client.send(&json!({"type": "join", "channel": format!("c{n}"), "id": n}).to_string());
        client.next_json();
    }
    backend.next();
    is_up.store(true, Ordering::Relaxed);
    let (mut posts, mut channels): (Vec<Asked>, Vec<String>) = (Vec::new(), Vec::new());
    while channels.len() < 120 {
        let post = backend.next();
        // A post that was refused comes again as it was.
        if posts.last().is_none_or(|last| last.text != post.text) {
            let events = post.body["events"].as_array().unwrap();
            channels.extend(events.iter().map(|event| event["channel"].as_str().unwrap().into()));
            posts.push(post);
        }
    }
    assert_eq!(channels, (0..120).map(|n| format!("c{n}")).collect::<Vec<_>>());
    assert!(posts.iter().all(|post| post.body["events"].as_array().unwrap().len() <= 50));
    let post = &posts[0];
    let signature = stentor_signature("s", &post.text);
    assert_eq!(post.headers["x-stentor-signature"], signature);
    assert!(metric(&server, "stentor_event_failures_total") >= 1.0);
}

/// The signature as Python's standard library makes it.
fn stentor_signature(secret: &str, body: &str) -> String {
    use std::io::Write;
    let script = "import hmac,sys;print(hmac.new(sys.argv[1].encode(),sys.stdin.buffer.read(),\
                  'sha256').hexdigest())";
    let mut python = std::process::Command::new("python3")
        .args(["-c", script, secret])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn events_that_find_no_room_are_dropped_and_counted_and_nobody_waits() {
    let backend = Backend::start(|_| Reply::Late(Duration::from_mins(1), json!({})));
    let flags = ["--events", "subscribed", "--events-queue", "10", "--events-batch", "5"];
    let server = start(&backend, &flags);
    let (mut client, _) = Client::json(server.address, "/ws");
    for n in 0..100 {
        client.send(&json!({"type": "join", "channel": format!("c{n}"), "id": n}).to_string());
        assert_eq!(client.next_json()["type"], "joined");
    }
    eventually("all but those that wait are dropped", || {
        metric(&server, "stentor_event_drops_total") >= 80.0
    });
    assert!(metric(&server, "stentor_events_waiting") <= 10.0);
}

#[test]
fn what_the_last_clients_leave_is_told_at_the_end() {
    let backend = Backend::start(|_| Reply::Json(json!({})));
    let mut server = start(&backend, &["--events", "disconnected", "--drain-spread", "0"]);
    let clients: Vec<_> = (0..5).map(|_| Client::json(server.address, "/ws")).collect();
    server.signal("TERM");
    for (mut client, _) in clients {
        assert_eq!(client.close_code(), Some(1001));
    }
    server.wait();
    let events: Vec<Value> = backend
        .rest()
        .iter()
        .flat_map(|post| post.body["events"].as_array().unwrap().clone())
        .collect();
    assert_eq!(events.len(), 5, "{events:?}");
    assert!(events.iter().all(|event| event["reason"] == "drain"), "{events:?}");
}
