//! Clients of Pusher's protocol: npm's pusher-js and Laravel Echo, and what no library shows:
//! codes, signatures that are good for one connection, and channels that other dialects share or
//! cannot see.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use crate::client::Client;
use crate::real_clients::{node, run};
use crate::server::{Server, eventually, post};

pub(crate) const ONE_APP: [&str; 4] = ["--shards", "2", "--pusher-app", "1:key:secret"];

const TARGET: &str = "/app/key?protocol=7&client=test&version=1";

/// How often each publisher of the one order publishes.
const ROUNDS: usize = 20;

/// A client that is connected, and its socket id.
pub(crate) struct Socket {
    pub(crate) client: Client,
    id: String,
}

impl Socket {
    pub(crate) fn open(to: SocketAddr) -> Self {
        let mut client = Client::pusher(to, TARGET, &[]);
        let first = client.next_json();
        assert_eq!(first["event"], "pusher:connection_established", "{first}");
        let data: Value = serde_json::from_str(first["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["activity_timeout"], 120);
        Self { client, id: data["socket_id"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn say(&mut self, event: &str, data: Value) {
        self.client.send(&json!({ "event": event, "data": data }).to_string());
    }

    /// Subscribes with a signature, and returns the answer.
    pub(crate) fn subscribe(&mut self, channel: &str, channel_data: Option<&str>) -> Value {
        let data = channel_data.map(|data| format!(":{data}")).unwrap_or_default();
        let auth = sign(&format!("{}:{channel}{data}", self.id));
        let data = json!({ "channel": channel, "auth": auth, "channel_data": channel_data });
        self.say("pusher:subscribe", data);
        self.client.next_json()
    }

    /// Signs in as the user that some data names.
    pub(crate) fn sign_in(&mut self, user_data: &str) {
        let auth = sign(&format!("{}::user::{user_data}", self.id));
        self.say("pusher:signin", json!({ "auth": auth, "user_data": user_data }));
        let told = self.client.next_json();
        assert_eq!(told["event"], "pusher:signin_success", "{told}");
    }

    /// The next news about a user that it watches.
    pub(crate) fn watched(&mut self) -> String {
        let told = self.client.next_json();
        assert_eq!(told["event"], "pusher_internal:watchlist_events", "{told}");
        let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
        let event = &data["events"][0];
        format!("{} {}", event["name"].as_str().unwrap(), event["user_ids"][0].as_str().unwrap())
    }

    /// Subscribes, and is in.
    pub(crate) fn join(&mut self, channel: &str) {
        let answer = self.subscribe(channel, None);
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
    }
}

fn sign(text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    format!("key:{}", HEXLOWER.encode(hmac::sign(&key, text.as_bytes()).as_ref()))
}

/// The code of the error and of the close frame behind it with which a client is refused.
fn refusal(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> u64 {
    end_of(Client::pusher(to, target, headers))
}

fn end_of(mut client: Client) -> u64 {
    let mut error = client.next_json();
    while error["event"] != "pusher:error" {
        error = client.next_json();
    }
    let code = error["data"]["code"].as_u64().unwrap();
    assert_eq!(client.close_code().map(u64::from), Some(code), "{error}");
    code
}

/// Publishes an event through the API of the server itself.
fn publish(server: &Server, channel: &str, event: &str, data: &Value) {
    let body = json!({ "channel": channel, "data": data, "tags": { "event": event } });
    let (status, answer) = post(server.admin, "/api/publish", &body.to_string());
    assert!(status == 200 && answer.contains("result"), "{answer}");
}

#[test]
fn pusher_js_and_laravel_echo_work_as_they_are() {
    let server = Server::start(&ONE_APP);
    let mut command = node("pusher.mjs");
    command.arg(format!("ws://{}", server.address)).arg(format!("http://{}", server.admin));
    run(command);
}

#[test]
fn pusher_refusals_come_behind_the_101_with_their_codes() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = "[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\nmax_clients = 1\n\
                allowed_origins = ['https://a.example']\n\
                [[app]]\nid = 2\nkey = 'off'\nsecret = 'secret'\nenabled = false\n";
    std::fs::write(config.path(), text).unwrap();
    let server = Server::start(&["--config", config.path().to_str().unwrap()]);
    let to = server.address;
    let origin = [("Origin", "https://evil.example")];
    for (target, headers, code) in [
        ("/app/none?protocol=7", &[][..], 4001),
        ("/app/off?protocol=7", &[], 4003),
        ("/some/path/app/key?protocol=seven", &[], 4006),
        ("/app/key?protocol=4", &[], 4007),
        ("/app/key", &[], 4008),
        (TARGET, &origin, 4009),
    ] {
        assert_eq!(refusal(to, target, headers), code, "{target}");
    }
    let first = Socket::open(to);
    assert_eq!(refusal(to, TARGET, &[]), 4004);
    drop(first);
    eventually("room for another client", || server.total("clients") == 0);
    let allowed = [("Origin", "https://a.example")];
    let mut second = Client::pusher(to, TARGET, &allowed);
    assert_eq!(second.next_json()["event"], "pusher:connection_established");
    assert_eq!(server.by_reason("refusals", "app"), 6);
}

#[test]
fn pusher_clients_hear_the_end_with_a_code_that_brings_them_back() {
    let full = Server::start(&["--max-clients", "1", "--pusher-app", "1:key:secret"]);
    let _first = Socket::open(full.address);
    assert_eq!(refusal(full.address, TARGET, &[]), 4100, "no room");
    let quick = ["--ping-interval", "300ms", "--pong-timeout", "300ms"];
    let server = Server::start(&[&ONE_APP[..], &quick].concat());
    let silent = Socket::open(server.address);
    assert_eq!(end_of(silent.client), 4201, "no answer to a ping");
    let mut awake = Socket::open(server.address);
    let mut pings = 0;
    while pings < 3 {
        let ping = awake.client.next_json();
        assert_eq!(ping["event"], "pusher:ping");
        awake.say("pusher:pong", json!({}));
        pings += 1;
    }
    let mut server = Server::start(&ONE_APP);
    let last = Socket::open(server.address);
    server.signal("TERM");
    assert_eq!(end_of(last.client), 4200, "a drain");
    assert!(server.wait().success());
}

/// A signature names a socket id, and no other connection has that: not even after a restart.
#[test]
fn pusher_signatures_are_good_for_one_connection() {
    let server = Server::start(&ONE_APP);
    let mut first = Socket::open(server.address);
    first.join("private-room");
    let old = first.id.clone();
    drop(first);
    eventually("it has gone", || server.total("clients") == 0);
    let replay = |mut socket: Socket| {
        assert_ne!(socket.id, old);
        let auth = sign(&format!("{old}:private-room"));
        socket.say("pusher:subscribe", json!({ "channel": "private-room", "auth": auth }));
        let answer = socket.client.next_json();
        assert_eq!(answer["event"], "pusher:subscription_error", "{answer}");
        assert_eq!(answer["data"]["type"], "AuthError");
    };
    for _ in 0..5 {
        replay(Socket::open(server.address));
    }
    let address = server.address;
    drop(server);
    replay(Socket::open(Server::start_on(address, &ONE_APP).address));
}

#[test]
fn pusher_channels_of_an_app_are_closed_to_other_dialects() {
    let server = Server::start(&["--pusher-app", "1:key:secret 2:other:secret"]);
    let mut member = Socket::open(server.address);
    member.join("news");
    let (mut other, _) = Client::json(server.address, "/ws");
    for request in [
        json!({ "type": "join", "channel": "app-1:news" }),
        json!({ "type": "publish", "channel": "app-1:news", "body": 1 }),
        json!({ "type": "presence", "channel": "app-1:news" }),
    ] {
        other.send(&request.to_string());
        assert_eq!(other.next_json()["code"], "unknown_namespace", "{request}");
    }
    // Nor does an app see the channels of another one, whose names are the same.
    let mut stranger = Client::pusher(server.address, "/app/other?protocol=7", &[]);
    stranger.next_json();
    stranger.send(r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#);
    stranger.next_json();
    publish(&server, "app-1:news", "first", &json!(1));
    publish(&server, "app-2:news", "second", &json!(2));
    assert_eq!(member.client.next_json()["event"], "first");
    assert_eq!(stranger.next_json()["event"], "second");
}

/// Nobody hears its own event, whichever shard it is on; all others hear all events in one order.
#[test]
fn pusher_client_events_reach_all_others_on_all_shards() {
    let server = Server::start(&ONE_APP);
    let mut sockets = server.on_all_shards(2, || {
        let mut socket = Socket::open(server.address);
        socket.join("private-room");
        socket
    });
    let count = sockets.len();
    for round in 0..5 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            let event = json!({
                "event": "client-says", "channel": "private-room", "data": [number, round],
            });
            socket.client.send(&event.to_string());
        }
    }
    let mut orders = Vec::new();
    for (own, socket) in sockets.iter_mut().enumerate() {
        let mut heard = Vec::new();
        for _ in 0..5 * (count - 1) {
            let event = socket.client.next_json();
            assert_eq!(event["event"], "client-says");
            assert_ne!(event["data"][0], own, "its own event");
            heard.push(event["data"].clone());
        }
        orders.push(heard);
    }
    for (one, first) in orders.iter().enumerate() {
        for (other, second) in orders.iter().enumerate() {
            let both = |data: &&Value| data[0] != one && data[0] != other;
            let (first, second) = (first.iter().filter(both), second.iter().filter(both));
            assert!(first.eq(second), "{one} and {other} heard different orders");
        }
    }
}

/// Members of several tabs are one user, which comes and goes once over all shards.
#[test]
fn pusher_presence_channels_know_each_user_once() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = "[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\npresence_members = 2\n";
    std::fs::write(config.path(), text).unwrap();
    let server = Server::start(&["--config", config.path().to_str().unwrap(), "--shards", "2"]);
    let room = "presence-room";
    let mut ann = Socket::open(server.address);
    ann.subscribe(room, Some(r#"{"user_id":"ann"}"#));
    let tabs = server.on_all_shards(3, || {
        let mut tab = Socket::open(server.address);
        let told = tab.subscribe(room, Some(r#"{"user_id":7,"user_info":{"n":1}}"#));
        let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["presence"]["count"], 2, "{told}");
        assert_eq!(data["presence"]["hash"], json!({ "ann": null, "7": { "n": 1 } }));
        tab
    });
    let added = ann.client.next_json();
    assert_eq!(added["event"], "pusher_internal:member_added");
    assert_eq!(added["data"], r#"{"user_id":"7","user_info":{"n":1}}"#);
    let mut third = Socket::open(server.address);
    let refused = third.subscribe(room, Some(r#"{"user_id":"cid"}"#));
    assert_eq!(refused["data"]["type"], "LimitReached", "{refused}");
    drop(tabs);
    let removed = ann.client.next_json();
    assert_eq!(removed["event"], "pusher_internal:member_removed", "{removed}");
    assert_eq!(removed["data"], r#"{"user_id":"7"}"#);
    let joined = third.subscribe(room, Some(r#"{"user_id":"cid"}"#));
    assert_eq!(joined["event"], "pusher_internal:subscription_succeeded", "{joined}");
    let cid = ann.client.next_json();
    assert_eq!(cid["data"], r#"{"user_id":"cid"}"#, "{cid}");
}

#[test]
fn pusher_subscribers_are_counted_and_users_watched() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = "[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\nsubscription_count = true\n\
                watched_users = 1\n";
    std::fs::write(config.path(), text).unwrap();
    let path = config.path().to_str().unwrap();
    let server = Server::start(&["--config", path, "--shards", "2"]);
    let mut first = Socket::open(server.address);
    first.join("news");
    let count = |socket: &mut Socket| {
        let told = socket.client.next_json();
        assert_eq!(told["event"], "pusher_internal:subscription_count", "{told}");
        told["data"].as_str().unwrap().to_owned()
    };
    assert_eq!(count(&mut first), r#"{"subscription_count":1}"#);
    let others = server.on_all_shards(2, || {
        let mut other = Socket::open(server.address);
        other.join("news");
        other
    });
    let all = format!(r#"{{"subscription_count":{}}}"#, others.len() + 1);
    while count(&mut first) != all {}
    // A user is online from its first client to its last one.
    let mut watcher = Socket::open(server.address);
    watcher.sign_in(r#"{"id":"w","watchlist":["u","v"]}"#);
    assert_eq!(watcher.client.next_json()["data"]["code"], 4302, "it has one name too many");
    assert_eq!(watcher.watched(), "offline u");
    let mut tabs = [Socket::open(server.address), Socket::open(server.address)];
    for tab in &mut tabs {
        tab.sign_in(r#"{"id":"u"}"#);
    }
    assert_eq!(watcher.watched(), "online u");
    drop(tabs);
    assert_eq!(watcher.watched(), "offline u");
    // An app that is disabled loses its clients for good.
    std::fs::write(config.path(), text.replace("subscription_count = true", "enabled = false"))
        .unwrap();
    server.signal("HUP");
    assert_eq!(end_of(watcher.client), 4003);
}

/// A channel of a namespace that an app shares has one order for the clients of all dialects, and
/// the name of an event is a tag for the others.
#[test]
fn pusher_and_other_dialects_hear_one_order() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = "[[namespace]]\nname = 'shop'\n\
                [[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\nnamespace = 'shop'\n";
    std::fs::write(config.path(), text).unwrap();
    let server = Server::start(&["--config", config.path().to_str().unwrap(), "--shards", "2"]);
    let mut pushers = [(); 4].map(|()| {
        let mut socket = Socket::open(server.address);
        socket.join("news");
        socket
    });
    let mut plain = [(); 4].map(|()| Client::plain(server.address, "/ws?channel=shop:news"));
    let mut centrifugo = [(); 4].map(|()| {
        let mut client = Client::pusher(server.address, "/connection/websocket", &[]);
        client.send(r#"{"id":1,"connect":{}}"#);
        client.next_json();
        client.send(r#"{"id":2,"subscribe":{"channel":"shop:news"}}"#);
        client.next_json();
        client
    });
    for round in 0..ROUNDS {
        plain[round % 4].send(&json!({ "p": round }).to_string());
        let publish_one = json!({
            "id": 3 + round, "publish": { "channel": "shop:news", "data": { "c": round } },
        });
        centrifugo[round % 4].send(&publish_one.to_string());
        publish(&server, "shop:news", "order", &json!({ "a": round }));
    }
    // Centrifugo's clients are told the text of a plain client as a string.
    let body = |data: &Value| data.as_str().map_or_else(|| data.to_string(), str::to_owned);
    let mut orders: Vec<Vec<String>> = Vec::new();
    for client in &mut plain {
        orders.push((0..3 * ROUNDS).map(|_| body(&client.next_json())).collect());
    }
    for socket in &mut pushers {
        let mut heard = Vec::new();
        for _ in 0..3 * ROUNDS {
            let event = socket.client.next_json();
            let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
            let name = if data.get("a").is_some() { "order" } else { "message" };
            assert_eq!((&event["event"], &event["channel"]), (&json!(name), &json!("news")));
            heard.push(body(&data));
        }
        orders.push(heard);
    }
    for client in &mut centrifugo {
        let mut heard = Vec::new();
        while heard.len() < 3 * ROUNDS {
            // A frame may hold several lines.
            for line in client.next_text().lines() {
                let told: Value = serde_json::from_str(line).unwrap();
                let Some(one) = told["push"].get("pub") else { continue };
                let name = one["data"].get("a").map(|_| "order");
                assert_eq!(one["tags"]["event"].as_str(), name, "{one}");
                heard.push(body(&one["data"]));
            }
        }
        orders.push(heard);
    }
    for order in &orders {
        assert_eq!(order, &orders[0], "two orders of one channel");
    }
}
