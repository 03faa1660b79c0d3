//! Engines and nodes that die, hang and lie: nothing is lost in silence, and nothing is doubled.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::client::Client;
use crate::nats::Nats;
use crate::node::{LAST, Listener, join, next, start};
use crate::server::{Server, eventually, get, post};

/// Publishes until it is told to stop, each body once the one before has its answer. Returns those
/// that were acknowledged and those that were refused.
fn talk(
    to: std::net::SocketAddr,
    name: &'static str,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<(Vec<String>, Vec<String>)> {
    thread::spawn(move || {
        let (mut client, _) = Client::json(to, "/ws");
        let (mut said, mut refused) = (Vec::new(), Vec::new());
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let body = format!("{name}-{number}");
            client.send(
                &json!({ "type": "publish", "channel": "room", "body": body, "id": number })
                    .to_string(),
            );
            let answer = loop {
                let message = next(&mut client).unwrap();
                if message["id"] == number {
                    break message;
                }
            };
            if answer["type"] == "ack" {
                said.push(body);
            } else {
                assert_eq!(answer["code"], "unavailable", "{answer}");
                refused.push(body);
            }
        }
        (said, refused)
    })
}

fn figure(node: &Server, name: &str) -> u64 {
    let (_, page) = get(node.admin, "/metrics");
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

fn say_last(node: &Server) {
    let last = json!({ "channel": "room", "data": LAST }).to_string();
    eventually("the engine is back", || post(node.admin, "/api/publish", &last).0 == 200);
}

#[test]
fn an_engine_that_dies_under_load_loses_and_doubles_nothing() {
    let mut nats = Nats::start();
    let nodes = [start(&nats, &[]), start(&nats, &[])];
    let listeners = [0, 1, 0, 1].map(|node: usize| Listener::start(nodes[node].address, "room"));
    let stop = Arc::new(AtomicBool::new(false));
    let talkers: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| talk(nodes[number % 2].address, name, Arc::clone(&stop)))
        .collect();
    let accepted = "stentor_bus_accepted_total";
    for _ in 0..2 {
        let before = figure(&nodes[0], accepted);
        eventually("there is load", || figure(&nodes[0], accepted) > before + 20);
        nats.kill();
        eventually("it is missed", || figure(&nodes[0], "stentor_bus_connected") == 0);
        nats.start_again();
        let before = figure(&nodes[0], accepted);
        eventually("it is found", || figure(&nodes[0], accepted) > before + 20);
    }
    stop.store(true, Ordering::Relaxed);
    let said: Vec<(Vec<String>, Vec<String>)> =
        talkers.into_iter().map(|talker| talker.join().unwrap()).collect();
    say_last(&nodes[0]);
    let heard = listeners.map(Listener::heard);
    let bodies: Vec<&String> = heard[0].iter().map(|(_, body)| body).collect();
    let all: BTreeSet<&String> = bodies.iter().copied().collect();
    assert_eq!(all.len(), bodies.len(), "nothing is doubled");
    for (said, _) in &said {
        let name = said[0].split_once('-').unwrap().0;
        let own = bodies.iter().filter(|body| body.starts_with(&format!("{name}-")));
        let own: Vec<&String> = own.copied().filter(|body| said.contains(*body)).collect();
        assert!(own.iter().copied().eq(said), "all that was acknowledged, in its order");
    }
    for other in &heard[1..] {
        assert_eq!(other, &heard[0], "all clients hear one order");
    }
    for node in &nodes {
        assert_eq!(figure(node, "stentor_bus_losses_total"), 0);
        assert!(figure(node, "stentor_bus_reconnects_total") >= 2);
    }
}

#[test]
fn an_engine_that_forgets_everything_is_another_numbering_and_clients_are_told() {
    let mut nats = Nats::start();
    let nodes = [0, 1].map(|_| start(&nats, &["--engine-storage", "memory"]));
    let (mut client, _) = Client::json(nodes[0].address, "/ws");
    let joined = join(&mut client, "room", None);
    let epoch = joined["epoch"].as_str().unwrap().to_owned();
    let publish = |text: &str| {
        let body = json!({ "channel": "room", "data": text }).to_string();
        eventually("it is published", || post(nodes[1].admin, "/api/publish", &body).0 == 200);
    };
    publish("before");
    let offset = next(&mut client).unwrap()["offset"].as_u64().unwrap();
    nats.kill();
    nats.start_again();
    let ended = std::iter::from_fn(|| next(&mut client)).collect::<Vec<Value>>();
    assert!(ended.iter().all(|message| message["type"] != "message"), "{ended:?}");
    publish("behind");
    for node in &nodes {
        let (mut client, _) = Client::json(node.address, "/ws");
        let joined = join(&mut client, "room", Some((&epoch, offset)));
        assert_eq!(joined["recovered"], false, "{joined}");
        assert_ne!(joined["epoch"], epoch.as_str());
    }
}

#[test]
fn publishers_are_told_when_an_engine_hangs_and_readers_stay() {
    let nats = Nats::start();
    let node = start(&nats, &[]);
    let (mut reader, _) = Client::json(node.address, "/ws");
    join(&mut reader, "room", None);
    let mut plain = Client::plain(node.address, "/ws?channel=room");
    nats.signal("STOP");
    let stop = Arc::new(AtomicBool::new(false));
    let talker = talk(node.address, "a", Arc::clone(&stop));
    eventually("it is not ready", || get(node.admin, "/ready").0 == 503);
    assert_eq!(get(node.admin, "/health").0, 200);
    let body = json!({ "channel": "room", "data": 1 }).to_string();
    assert_eq!(post(node.admin, "/api/publish", &body).0, 503);
    plain.send("who takes this?");
    let close = loop {
        if let async_tungstenite::tungstenite::Message::Close(close) = plain.try_next().unwrap() {
            break close.unwrap();
        }
    };
    assert_eq!(u16::from(close.code), 1013);
    nats.signal("CONT");
    eventually("it is ready again", || get(node.admin, "/ready").0 == 200);
    stop.store(true, Ordering::Relaxed);
    let (_, refused) = talker.join().unwrap();
    assert!(!refused.is_empty());
    say_last(&node);
    let mut bodies = Vec::new();
    while bodies.last().is_none_or(|body| body != LAST) {
        let message = next(&mut reader).unwrap();
        assert_eq!(message["type"], "message", "the reader has missed nothing");
        bodies.push(message["body"].clone());
    }
}

#[test]
fn a_client_of_a_node_that_dies_recovers_at_another_one() {
    let nats = Nats::start();
    let (dies, lives) = (start(&nats, &[]), start(&nats, &[]));
    let (mut client, _) = Client::json(dies.address, "/ws");
    let epoch = join(&mut client, "room", None)["epoch"].as_str().unwrap().to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let talker = talk(lives.address, "a", Arc::clone(&stop));
    let mut bodies = Vec::new();
    let mut offset = 0;
    while bodies.len() < 50 {
        let message = next(&mut client).unwrap();
        offset = message["offset"].as_u64().unwrap();
        bodies.push(message["body"].as_str().unwrap().to_owned());
    }
    drop(dies);
    let (mut client, _) = Client::json(lives.address, "/ws");
    let since = json!({ "epoch": epoch, "offset": offset });
    client.send(&json!({ "type": "join", "channel": "room", "id": 1, "since": since }).to_string());
    let mut is_recovered = false;
    while bodies.len() < 200 {
        let message = next(&mut client).unwrap();
        match message["type"].as_str().unwrap() {
            "message" => bodies.push(message["body"].as_str().unwrap().to_owned()),
            "joined" => is_recovered = message["recovered"] == true,
            other => panic!("{other}"),
        }
    }
    assert!(is_recovered);
    assert!(bodies.iter().cloned().eq((0..200).map(|number| format!("a-{number}"))));
    stop.store(true, Ordering::Relaxed);
    talker.join().unwrap();
}

/// Says something to the engine as any program with access to it could.
fn inject(nats: &Nats, subject: &str, headers: &str, body: &[u8]) {
    let address = nats.url().strip_prefix("nats://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").unwrap();
    let head = format!("NATS/1.0\r\n{headers}\r\n");
    let all = head.len() + body.len();
    stream.write_all(format!("HPUB {subject} {} {all}\r\n{head}", head.len()).as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream.write_all(b"\r\nPING\r\n").unwrap();
    let mut line = String::new();
    while !line.starts_with("PONG") {
        line.clear();
        lines.read_line(&mut line).unwrap();
    }
}

#[test]
fn a_poisoned_stream_ends_no_process_and_no_channel() {
    let nats = Nats::start();
    let node = start(&nats, &[]);
    let listener = Listener::start(node.address, "room");
    let key = format!("{}.room", crc32fast::hash(b"room") % 1024);
    let (stored, live) = (format!("st.stentor.h.{key}"), format!("st.stentor.l.{key}"));
    let large = vec![b'x'; 900_000];
    for body in [&b""[..], b"\x01", b"nonsense", &[0xff; 64], &large] {
        inject(&nats, &stored, "", body);
        inject(&nats, &live, "", body);
        inject(&nats, &live, "Nats-Stream: other\r\nNats-Sequence: 9\r\n", body);
        inject(&nats, &live, "Nats-Sequence: -1\r\nNats-Last-Sequence: x\r\n", body);
        inject(&nats, "st.stentor.h.x", "", body);
        inject(&nats, "st.stentor.l.9999.=ZZ", "Nats-Sequence: 1\r\n", body);
    }
    say_last(&node);
    assert_eq!(listener.heard().len(), 1);
    assert!(node.total("damaged_publications_total") >= 5);
    assert!(figure(&node, "stentor_bus_foreign_total") >= 10);
}
