//! The HTTP API of Pusher's protocol in the real server: signatures, events that other dialects
//! hear, what is known of channels, bounds, and apps that a reload brings and takes away.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::real_clients::{node, python, run};
use crate::server::{Server, eventually, get, post};
use crate::signed::Backend;

const APP: [&str; 2] = ["--pusher-app", "1:app-key:app-secret"];

const SHOP: &str = "[[namespace]]\nname = 'shop'\n\
    [[app]]\nid = 1\nkey = 'app-key'\nsecret = 'app-secret'\nnamespace = 'shop'\n";

fn start(text: &str) -> (tempfile::TempDir, String, Server) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml").to_string_lossy().into_owned();
    fs::write(&file, text).unwrap();
    let server = Server::start(&["--shards", "2", "--config", &file]);
    (folder, file, server)
}

fn event(channel: &str, data: &str) -> Value {
    json!({ "name": "greeting", "channel": channel, "data": data })
}

#[test]
fn events_of_a_backend_reach_clients_of_other_dialects() {
    let (_folder, _, server) = start(SHOP);
    let mut plain = Client::plain(server.address, "/ws?channel=shop:news");
    let (mut client, _) = Client::json(server.address, "/ws?channel=shop:news");
    for to in [server.address, server.admin] {
        let backend = Backend::new(to);
        let answer = backend.post("events", &event("news", "{\"text\": \"hello\"}"));
        assert_eq!(answer, (200, json!({})));
        assert_eq!(plain.next_text(), "{\"text\": \"hello\"}", "byte for byte");
        let heard = client.next_json();
        assert_eq!(
            (&heard["body"]["text"], &heard["tags"]["event"]),
            (&json!("hello"), &json!("greeting"))
        );
        backend.post("events", &event("news", "no json"));
        assert_eq!(
            (plain.next_text(), client.next_json()["body"].clone()),
            ("no json".into(), json!("no json"))
        );
    }
    let both = json!({ "name": "n", "data": "1", "channels": ["news", "other"] });
    assert_eq!(Backend::new(server.address).post("events", &both).0, 200);
    let batch = json!({ "batch": [event("news", "2"), event("news", "3")] });
    assert_eq!(Backend::new(server.address).post("batch_events", &batch), (200, json!({})));
    assert_eq!([plain.next_text(), plain.next_text(), plain.next_text()], ["1", "2", "3"]);
}

#[test]
fn what_is_known_of_channels_is_told() {
    let (_folder, _, server) = start(SHOP);
    let backend = Backend::new(server.address);
    assert_eq!(backend.get("channels", ""), (200, json!({ "channels": {} })));
    let clients: Vec<Client> =
        (0..2).map(|_| Client::plain(server.address, "/ws?channel=shop:news")).collect();
    let _other = Client::plain(server.address, "/ws?channel=lobby");
    let all = json!({ "channels": { "news": { "subscription_count": 2 } } });
    assert_eq!(backend.get("channels", "info=subscription_count"), (200, all));
    let none = json!({ "channels": {} });
    assert_eq!(backend.get("channels", "filter_by_prefix=presence-&info=user_count"), (200, none));
    let one = json!({ "occupied": true, "subscription_count": 2 });
    assert_eq!(backend.get("channels/news", "info=subscription_count"), (200, one));
    assert_eq!(backend.get("channels/other", ""), (200, json!({ "occupied": false })));
    assert_eq!(backend.get("channels/presence-a/users", ""), (200, json!({ "users": [] })));
    assert_eq!(backend.get("connections", ""), (200, json!({ "connections": 0 })));
    let told = backend.post(
        "events",
        &json!({
            "name": "n", "data": "1", "channels": ["news", "presence-a"],
            "info": "subscription_count,user_count",
        }),
    );
    let told_of = json!({ "channels": {
        "news": { "subscription_count": 2 },
        "presence-a": { "subscription_count": 0, "user_count": 0 },
    }});
    assert_eq!(told, (200, told_of));
    let mut asking = event("news", "1");
    asking["info"] = "subscription_count".into();
    let batch = backend.post("batch_events", &json!({ "batch": [event("news", "1"), asking] }));
    assert_eq!(batch, (200, json!({ "batch": [{}, { "subscription_count": 2 }] })));
    drop(clients);
    eventually("the channel is vacated", || {
        backend.get("channels", "").1 == json!({ "channels": {} })
    });
}

#[test]
fn the_last_event_of_a_cache_channel_is_told() {
    let server = Server::start(&[&APP[..], &["--shards", "2"]].concat());
    let backend = Backend::new(server.address);
    let asked = || backend.get("channels/cache-a", "info=cache").1;
    assert_eq!(asked(), json!({ "occupied": false, "cache": null }));
    for data in ["{\"n\": 1}", "{\"n\": 2}"] {
        assert_eq!(backend.post("events", &event("cache-a", data)).0, 200);
    }
    let told = asked();
    assert_eq!(told["cache"]["data"], "{\"n\": 2}");
    let ttl = told["cache"]["ttl"].as_u64().unwrap();
    assert!((1790..=1800).contains(&ttl), "{told}");
}

#[test]
fn faults_are_told_by_their_status() {
    let server = Server::start(&APP);
    let backend = Backend::new(server.address);
    let error = |answer: (u16, Value)| {
        let why = answer.1["error"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        (answer.0, why)
    };
    let call = |backend: Backend| error(backend.post("events", &event("a", "1")));
    for (backend, status, part) in [
        (Backend { id: "2", ..backend }, 404, "no app has this id"),
        (Backend { key: "other", ..backend }, 401, "auth_key is not"),
        (Backend { secret: "other", ..backend }, 401, "auth_signature is not"),
        (Backend { ahead_s: 700, ..backend }, 401, "is not within 600 s"),
        (Backend { ahead_s: -700, ..backend }, 401, "is not within 600 s"),
    ] {
        let (told, why) = call(backend);
        assert!(told == status && why.contains(part), "{told} {why}");
    }
    assert_eq!(backend.post("events", &event("a", "1")).0, 200);
    // The body is part of what is signed.
    let signed = event("a", "1").to_string();
    let target = backend.target("POST", "events", "", &signed);
    let other = error(backend.send("POST", &target, &event("a", "2").to_string()));
    assert!(other.0 == 401 && other.1.contains("body_md5 is not"), "{other:?}");
    let unsigned = backend.target("POST", "events", "", "");
    let other = error(backend.send("POST", &unsigned, &signed));
    assert!(other.0 == 401 && other.1.contains("body_md5 is missing"), "{other:?}");

    for (call, more, status, part) in [
        ("nothing", "", 404, "no call of this API"),
        ("channels", "info=user_count", 400, "user_count is known of presence channels"),
        ("channels/a", "info=user_count", 400, "user_count is known of presence channels"),
        ("channels/a/users", "", 400, "users are known of presence channels"),
        ("channels/a%20b", "", 400, "the name of a channel is"),
        ("channels/a", "info=colour", 400, "info is a list of"),
        ("events", "", 405, "asked for by POST"),
        ("users/ana/terminate_connections", "", 405, "asked for by POST"),
    ] {
        let (told, why) = error(backend.get(call, more));
        assert!(told == status && why.contains(part), "{call}: {told} {why}");
    }
    for (body, status, part) in [
        (event("a b", "1"), 400, "the name of a channel is"),
        (event("a", &"x".repeat((10 << 10) + 1)), 413, "data is longer than 10240 bytes"),
        (event("a", &"x".repeat(1 << 20)), 413, "the body is longer than"),
        (json!([]), 400, "the body: "),
    ] {
        let (told, why) = error(backend.post("events", &body));
        assert!(told == status && why.contains(part), "{told} {why}");
    }
    let eleven: Vec<Value> = (0..11).map(|_| event("a", "1")).collect();
    let (status, why) = error(backend.post("batch_events", &json!({ "batch": eleven })));
    assert!(status == 400 && why.contains("at most 10 events"), "{why}");
    // Of a batch with a fault nothing is sent.
    let before = figures(server.admin, "1")["api_events_total"].clone();
    let half = json!({ "batch": [event("a", "1"), event("a b", "1")] });
    assert_eq!(backend.post("batch_events", &half).0, 400);
    assert_eq!(figures(server.admin, "1")["api_events_total"], before);
    assert_eq!(get(server.address, "/up").0, 200);
    assert_eq!(get(server.admin, "/up").0, 200);
}

fn figures(admin: SocketAddr, id: &str) -> Value {
    let (_, body) = get(admin, "/api/stats");
    let stats: Value = serde_json::from_str(&body).unwrap();
    stats["apps"][id].clone()
}

#[test]
fn an_apps_own_channels_are_unknown_to_clients_of_other_dialects() {
    let server = Server::start(&APP);
    let Err(refused) = Client::try_plain(server.address, "/ws?channel=app-1:news") else {
        panic!("it is let in")
    };
    assert!(refused.1.contains("unknown namespace"), "{refused:?}");
    let (mut client, _) = Client::json(server.address, "/ws?channel=lobby");
    for request in ["join", "publish", "history", "presence"] {
        let request = json!({ "type": request, "channel": "app-1:news", "id": 1, "body": 1 });
        client.send(&request.to_string());
        assert_eq!(client.next_json()["code"], "unknown_namespace", "{request}");
    }
    // A colon means nothing as long as no namespace is declared.
    Client::plain(server.address, "/ws?channel=app-2:news");
}

#[test]
fn behind_a_prefix_either_path_may_be_signed() {
    let server = Server::start(&[&APP[..], &["--path-prefix", "/live"]].concat());
    let backend = Backend::new(server.address);
    let body = event("a", "1").to_string();
    // As where the proxy cuts the prefix off: it was signed without.
    let target = backend.target("POST", "events", "", &body);
    assert_eq!(backend.send("POST", &target, &body).0, 200);
    assert_eq!(backend.send("POST", &format!("/live{target}"), &body).0, 200);
    assert_eq!(get(server.address, "/live/up").0, 200);
}

#[test]
fn a_reload_brings_apps_and_takes_them_away() {
    let (_folder, file, server) = start("");
    let backend = Backend::new(server.address);
    let status = || backend.post("events", &event("a", "1")).0;
    let reload = |text: &str| {
        fs::write(&file, text).unwrap();
        let (_, answer) = post(server.admin, "/api/reload", "{}");
        assert!(!answer.contains("error"), "{answer}");
    };
    assert_eq!(status(), 404);
    let app = "[[app]]\nid = 1\nkey = 'app-key'\nsecret = 'app-secret'\n";
    reload(app);
    assert_eq!(status(), 200);
    reload(&format!("{app}enabled = false\n"));
    assert_eq!(status(), 403);
    reload(&app.replace("app-secret", "another"));
    assert_eq!(status(), 401);
    let other = Backend { secret: "another", ..backend };
    assert_eq!(other.post("events", &event("a", "1")).0, 200);
    assert_eq!(figures(server.admin, "1")["api_events_total"], 2, "figures outlive a reload");
    // Its names may be longer than those of other channels.
    let long = format!("{}-{}", "a".repeat(80), "b".repeat(80));
    assert_eq!(other.post("events", &event(&long, "1")).0, 200);
    reload("");
    assert_eq!(status(), 404);
    fs::write(&file, "[[app]]\nid = 1\n").unwrap();
    let (_, answer) = post(server.admin, "/api/reload", "{}");
    assert!(answer.contains("stentor.toml:1:1: an app needs key"), "{answer}");
}

/// A server that has the app of the scripts of other people's libraries.
fn of_libraries() -> (tempfile::TempDir, String, Server) {
    start(SHOP)
}

#[test]
fn real_clients_npm_pusher() {
    let (_folder, _, server) = of_libraries();
    let mut command = node("pusher_server.mjs");
    command.args([server.address.to_string(), server.admin.to_string()]);
    run(command);
}

#[test]
fn real_clients_pypi_pusher() {
    let (_folder, _, server) = of_libraries();
    let mut command = python("pusher_server.py");
    command.args([server.address.to_string(), server.admin.to_string()]);
    run(command);
}
