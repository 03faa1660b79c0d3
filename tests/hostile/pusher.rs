//! The kinds of the other hostile tests through Pusher's protocol: floods of what is refused and of
//! what is allowed, readers that do not read, storms of connects, and users that sign in to watch.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use socket2::SockRef;
use stentor_auth::hmac_sha256_hex;

use crate::bytes::{head, next_frame, text};
use crate::floods::{ATTACKERS, EACH_BYTES, Flood, Kind, storm_of_connects};
use crate::raw::{connect as connect_to, status_on};
use crate::server::eventually;
use crate::siege::Siege;

const TARGET: &str = "/app/key?protocol=7";

/// The users that each of the watchers names.
const WATCHED: usize = 20;

/// A client behind its first message, and its socket id.
fn open(to: SocketAddr) -> (TcpStream, String) {
    let mut stream = connect_to(to);
    stream.write_all(head(TARGET, "").as_bytes()).unwrap();
    assert_eq!(status_on(&mut stream), 101);
    let told = message(&mut stream);
    let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
    SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
    (stream, data["socket_id"].as_str().unwrap().to_owned())
}

fn message(stream: &mut TcpStream) -> Value {
    serde_json::from_slice(&next_frame(stream).unwrap().1).unwrap()
}

/// The frame of a message.
fn said(event: &str, data: &Value) -> Vec<u8> {
    text(&json!({ "event": event, "channel": "private-room", "data": data }).to_string())
}

/// A siege by clients that say the same again and again; half of them read no answer.
fn flood(siege: &Siege, name: &str, unit: &[u8]) {
    // Many in one write, as short ones cost the attacker more than the server.
    let unit = unit.repeat(1 + 4096 / unit.len());
    let kinds = [Kind::read(&unit), Kind::unread(&unit)];
    siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
        let units = Flood { kinds: &kinds, open: &|_| open(server.address).0 }.run();
        assert!(units > 1, "{name}: only {units}");
        eprintln!("{name}: {units}");
    });
}

#[test]
fn floods_of_clients_of_pusher() {
    let siege = Siege::begin(&["--pusher-app", "1:key:secret", "--write-timeout", "2s"]);
    let channel = |name: &str| json!({ "channel": name, "auth": "key:00", "channel_data": "{}" });
    let signed = format!("key:{}", "0".repeat(64));
    let wrong = json!({ "channel": "private-a:b", "auth": signed, "channel_data": "b" });
    let names: Vec<String> = (0..WATCHED).map(|n| format!("u{n}")).collect();
    let user_data = json!({ "id": "u", "watchlist": names }).to_string();
    let sign_in = json!({ "auth": signed, "user_data": user_data });
    for (name, unit) in [
        ("signatures of nobody", said("pusher:subscribe", &wrong)),
        ("members of nobody", said("pusher:subscribe", &channel("presence-room"))),
        ("events to channels of others", said("client-moved", &json!({ "x": 1 }))),
        ("pings", said("pusher:ping", &json!({}))),
        (
            "clients that come and go",
            [
                said("pusher:subscribe", &channel("cache-room")),
                said("pusher:unsubscribe", &channel("cache-room")),
            ]
            .concat(),
        ),
    ] {
        flood(&siege, name, &unit);
    }
    // These end their clients at the first message.
    let deep = text(&format!(r#"{{"event":"client-x","data":{}"#, "[".repeat(60_000)));
    let words = [said("pusher:signin", &sign_in), deep, text("{"), text("[]")];
    let words: Vec<Vec<u8>> =
        words.iter().map(|word| [head(TARGET, "").as_bytes(), word].concat()).collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    siege.withstand("first words that end a client", 512 * (128 << 10), |server| {
        let count = storm_of_connects(server.address, &words);
        assert!(count > 100, "only {count}");
    });
}

#[test]
fn watchers_of_one_user_in_pushers_protocol() {
    let siege = Siege::begin(&["--pusher-app", "1:key:secret"]);
    let sign_in = |to: SocketAddr, user: &str, watchlist: &[String]| {
        let (mut stream, id) = open(to);
        let user_data = json!({ "id": user, "watchlist": watchlist }).to_string();
        let auth = hmac_sha256_hex(b"secret", format!("{id}::user::{user_data}").as_bytes());
        let data = json!({ "auth": format!("key:{auth}"), "user_data": user_data });
        stream.write_all(&said("pusher:signin", &data)).unwrap();
        assert_eq!(message(&mut stream)["event"], "pusher:signin_success");
        stream
    };
    let names: Vec<String> = (0..WATCHED).map(|n| format!("u{n}")).collect();
    siege.withstand("a user that comes and goes", 400 * (64 << 10), |server| {
        let mut watchers: Vec<TcpStream> =
            (0..100).map(|_| sign_in(server.address, "watcher", &names)).collect();
        // Neither a moment there nor one away is news, but that it stays is.
        for _ in 0..100 {
            drop(sign_in(server.address, "u0", &[]));
        }
        let stays = sign_in(server.address, "u0", &[]);
        // At first each is told, by each shard that owns some of the users, that they are away.
        let news = |watcher: &mut TcpStream| message(watcher)["data"].as_str().unwrap().to_owned();
        for watcher in &mut watchers {
            let mut first = (0..3).map(|_| news(watcher));
            assert!(first.any(|told| told.contains("online") && told.contains("u0")));
        }
        drop(stays);
        let told = news(&mut watchers[0]);
        assert!(told.contains("offline") && told.contains("u0"), "{told}");
        drop(watchers);
    });
    eventually("all have gone", || siege.server.total("users") == 0);
}
