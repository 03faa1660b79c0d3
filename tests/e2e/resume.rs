//! Clients of Centrifugo's protocol that name in their first command the channels that they were
//! in: what the reply says of each, and what they are told that they missed.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, post};
use crate::streams::{Listener, posted};
use crate::tokens::{SECRET, token};

const RULES: &str = "history = 100\nrecovery = true\n\
    [[namespace]]\nname = 'closed'\nsubscribe = 'nobody'\n\
    [[namespace]]\nname = 'bare'\n";

fn start(flags: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    fs::write(&file, RULES).unwrap();
    let all = [&["--shards", "2", "--config", file.to_str().unwrap()], flags].concat();
    let server = Server::start(&all);
    (folder, server)
}

fn publish(server: &Server, channel: &str, data: u64) {
    let body = json!({ "channel": channel, "data": data }).to_string();
    assert_eq!(post(server.admin, "/api/publish", &body).0, 200);
}

/// A client that connects with such `subs`, and the result.
fn connect(to: SocketAddr, subs: &Value) -> (Client, Value) {
    let mut client = Client::plain(to, "/connection/websocket");
    client.send(&json!({ "id": 1, "connect": { "subs": subs } }).to_string());
    let reply = client.next_json();
    (client, reply["connect"].clone())
}

/// The bodies of the next publications of a channel.
fn bodies(client: &mut Client, count: usize) -> Vec<(String, u64)> {
    let one = |_| {
        let push = client.next_json()["push"].clone();
        let channel = push["channel"].as_str().unwrap().to_owned();
        (channel, push["pub"]["data"].as_u64().unwrap())
    };
    let mut all: Vec<_> = (0..count).map(one).collect();
    all.sort();
    all
}

#[test]
fn resume_of_channels_that_the_server_has_chosen() {
    let (_folder, server) = start(&[]);
    let (mut first, result) =
        connect(server.address, &json!({ "one": {}, "two": {}, "bare:1": {} }));
    let epoch = result["subs"]["one"]["epoch"].clone();
    for channel in ["one", "two", "bare:1"] {
        let sub = &result["subs"][channel];
        assert_eq!((&sub["offset"], &sub["recoverable"]), (&0.into(), &true.into()), "{result}");
        assert!(sub.get("was_recovering").is_none(), "{result}");
    }
    for data in 1..=3 {
        publish(&server, "one", data);
        publish(&server, "two", data);
    }
    publish(&server, "bare:1", 1);
    bodies(&mut first, 7);
    let since = |offset: u64| json!({ "recover": true, "epoch": epoch, "offset": offset });
    let subs = json!({
        "one": since(1), "two": since(3), "three": since(0), "bare:1": since(0),
        "closed:1": since(0), "gone": { "recover": true, "epoch": "another", "offset": 1 },
    });
    let (mut back, result) = connect(server.address, &subs);
    let subs = &result["subs"];
    let told = |channel: &str| {
        let sub = &subs[channel];
        let recovered = sub["recovered"].as_bool().unwrap_or_default();
        (sub["was_recovering"] == true, recovered, sub["offset"].as_u64())
    };
    assert_eq!(told("one"), (true, true, Some(1)), "the rest follows: {result}");
    assert_eq!(told("two"), (true, true, Some(3)), "{result}");
    assert_eq!(told("three"), (true, true, Some(0)), "{result}");
    assert_eq!(told("bare:1"), (true, false, Some(1)), "nothing is kept: {result}");
    assert_eq!(told("gone"), (true, false, Some(0)), "another numbering: {result}");
    assert!(subs.get("closed:1").is_none(), "the rules do not let it in: {result}");
    assert_eq!(bodies(&mut back, 2), [("one".to_owned(), 2), ("one".to_owned(), 3)]);
    for channel in ["one", "two", "three", "bare:1", "gone"] {
        publish(&server, channel, 9);
    }
    let all = ["bare:1", "gone", "one", "three", "two"].map(|channel| (channel.to_owned(), 9));
    assert_eq!(bodies(&mut back, 5), all, "it hears all of them live");
    assert_eq!(server.total("denied_total"), 1);
    assert_eq!(server.total("recoveries_total"), 3);
}

#[test]
fn resume_of_clients_that_only_listen() {
    let (_folder, server) = start(&[]);
    let (_first, result) = connect(server.address, &json!({ "news": {} }));
    let epoch = result["subs"]["news"]["epoch"].as_str().unwrap().to_owned();
    for data in 1..=3 {
        publish(&server, "news", data);
    }
    let since = json!({ "recover": true, "epoch": epoch, "offset": 1 });
    let request = json!({ "subs": { "news": since, "closed:1": {} } }).to_string();
    let heard = |text: &str| {
        let lines = text.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
    };
    let check = |heard: &[Value]| {
        let sub = &heard[0]["connect"]["subs"]["news"];
        assert_eq!((&sub["recovered"], &sub["offset"]), (&true.into(), &1.into()), "{heard:?}");
        assert!(heard[0]["connect"]["subs"].get("closed:1").is_none(), "{heard:?}");
        let told: Vec<u64> = heard.iter().filter_map(|one| one["pub"]["data"].as_u64()).collect();
        assert_eq!(told, [2, 3], "{heard:?}");
    };
    let encoded = request.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02x}");
        all
    });
    let target = format!("/connection/uni_sse?cf_connect={encoded}");
    for request in [
        posted("/connection/uni_http_stream", &request),
        posted("/connection/uni_sse", &request),
        format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"),
    ] {
        let mut listener = Listener::send(server.address, &request);
        listener.hears(r#""pub":{"data":3,"#);
        check(&heard(&listener.text()));
    }
    let mut socket = Client::plain(server.address, "/connection/uni_websocket");
    socket.send(&request);
    let told: Vec<Value> = (0..3).map(|_| socket.next_json()).collect();
    check(&told);
    // Nobody knows of such a namespace.
    let mut lost = Client::plain(server.address, "/connection/uni_websocket");
    lost.send(r#"{"subs":{"other:1":{}}}"#);
    assert_eq!(lost.next_text(), r#"{"disconnect":{"code":3501,"reason":"bad request"}}"#);
    assert_eq!(lost.close_code(), Some(3501));
    // A client that speaks is not closed for what it knows from earlier rules.
    let (_stays, result) = connect(server.address, &json!({ "other:1": {}, "news": {} }));
    assert_eq!(result["subs"].as_object().unwrap().len(), 1, "{result}");
}

#[test]
fn resume_refuses_what_is_no_position_and_what_is_too_much() {
    let (_folder, server) = start(&["--channels-per-client", "200"]);
    let close_code = |subs: &str| {
        let mut client = Client::plain(server.address, "/connection/websocket");
        client.send(&format!(r#"{{"id":1,"connect":{{"subs":{subs}}}}}"#));
        client.close_code()
    };
    for wrong in [
        r#"{"a":{"recover":true,"epoch":"e","offset":18446744073709551616}}"#,
        r#"{"a":{"recover":true,"epoch":"e","offset":-1}}"#,
        r#"{"a":7}"#,
        r#"{"":{}}"#,
        r#"["a"]"#,
    ] {
        assert_eq!(close_code(wrong), Some(3501), "{wrong}");
    }
    let many = |count: u32, prefix: &str| {
        let subs: Vec<String> = (0..count).map(|n| format!("\"{prefix}{n}\":{{}}")).collect();
        format!("{{{}}}", subs.join(","))
    };
    assert_eq!(close_code(&many(5_000, "")), Some(3505), "channel limit");
    // Those into which it may not go cost it nothing.
    let (_client, result) =
        connect(server.address, &serde_json::from_str(&many(3_000, "closed:")).unwrap());
    assert!(result["client"].is_string() && result.get("subs").is_none(), "{result}");
    let far = json!({ "recover": true, "epoch": "", "offset": u64::MAX });
    let (_client, result) = connect(server.address, &json!({ "a": far }));
    let sub = &result["subs"]["a"];
    assert_eq!((&sub["was_recovering"], sub.get("recovered")), (&true.into(), None), "{result}");
    let known: serde_json::Map<String, Value> = (0..200)
        .map(|n| (format!("c{n}"), json!({ "recover": true, "epoch": "", "offset": 0 })))
        .collect();
    let (_client, result) = connect(server.address, &known.into());
    let subs = result["subs"].as_object().unwrap();
    assert!(subs.len() == 200 && subs.values().all(|sub| sub["recovered"] == true), "{result}");
}

#[test]
fn resume_of_the_channel_that_each_user_has() {
    let flags = ["--token-hmac-secret", SECRET, "--personal-channel", "closed:#"];
    let (_folder, server) = start(&flags);
    let connect = |user: &str, subs: &Value| {
        let mut client = Client::plain(server.address, "/connection/websocket");
        let token = token(&["--user", user]);
        client.send(&json!({ "id": 1, "connect": { "token": token, "subs": subs } }).to_string());
        (client.next_json()["connect"]["subs"].clone(), client)
    };
    // No rule lets anybody in but its user, whom nothing else than the token names.
    let (subs, _ana) = connect("ana", &json!({ "closed:#ben": {} }));
    let names: Vec<&String> = subs.as_object().unwrap().keys().collect();
    assert_eq!(names, ["closed:#ana"], "{subs}");
    let epoch = &subs["closed:#ana"]["epoch"];
    publish(&server, "closed:#ana", 1);
    publish(&server, "closed:#ben", 2);
    let since = json!({ "closed:#ana": { "recover": true, "epoch": epoch, "offset": 0 } });
    let (subs, mut back) = connect("ana", &since);
    let own = &subs["closed:#ana"];
    assert_eq!((&own["was_recovering"], own.get("recovered")), (&true.into(), None), "{own}");
    publish(&server, "closed:#ana", 3);
    assert_eq!(bodies(&mut back, 1), [("closed:#ana".into(), 3)]);
    let mut several = Client::plain(server.address, "/connection/websocket");
    let token = token(&["--user", "ana,ben"]);
    several.send(&json!({ "id": 1, "connect": { "token": token } }).to_string());
    assert!(several.close_code().is_some(), "a channel of such a name would be that of others");
}
