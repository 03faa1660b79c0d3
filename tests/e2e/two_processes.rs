//! While the older process of a take-over drains, both are one server: what is said in either
//! reaches the clients of both in one order, and a client that is sent away misses nothing.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually, post};

/// The body after which a listener hears no more.
const LAST: u64 = u64::MAX;

fn flags<'a>(spread: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let kept = ["--history", "5000", "--history-bytes", "4MiB", "--recovery"];
    [&kept[..], &["--take-over-settle", "0s", "--drain-spread", spread], more].concat()
}

/// The next JSON message of a client, or `None` when its connection has ended.
fn next(client: &mut Client) -> Option<Value> {
    loop {
        match client.try_next() {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// A client that comes back until it has heard the last body: offsets and bodies.
struct Listener {
    joined: Receiver<()>,
    heard: JoinHandle<Vec<(u64, u64)>>,
}

impl Listener {
    fn start(to: SocketAddr, channel: &'static str) -> Self {
        let (told, joined) = mpsc::channel();
        let heard = thread::spawn(move || {
            let mut heard: Vec<(u64, u64)> = Vec::new();
            let mut position: Option<(Value, u64)> = None;
            loop {
                let (mut client, _) = Client::json(to, "/ws");
                let mut join = json!({ "type": "join", "channel": channel, "id": 1 });
                if let Some((epoch, offset)) = &position {
                    join["since"] = json!({ "epoch": epoch, "offset": offset });
                }
                if client.try_send(&join.to_string()).is_err() {
                    continue;
                }
                while let Some(message) = next(&mut client) {
                    let offset = message["offset"].as_u64().unwrap();
                    if message["type"] == "joined" {
                        assert!(position.is_none() || message["recovered"] == true, "{message}");
                        let offset = position.as_ref().map_or(offset, |known| known.1);
                        position = Some((message["epoch"].clone(), offset));
                        let _ = told.send(());
                        continue;
                    }
                    let body = message["body"].as_u64().unwrap();
                    heard.push((offset, body));
                    if let Some(position) = &mut position {
                        position.1 = offset;
                    }
                    if body == LAST {
                        return heard;
                    }
                }
            }
        });
        Self { joined, heard }
    }

    fn when_joined(self) -> Self {
        self.joined.recv_timeout(Duration::from_secs(20)).unwrap();
        self
    }
}

/// Publishes numbers, each of which is acknowledged or given up with its connection.
fn publish(to: SocketAddr, from: u64, over: &Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        let (mut acknowledged, mut number) = (Vec::new(), from);
        while !over.load(Ordering::Relaxed) {
            let (mut client, _) = Client::json(to, "/ws");
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let publish =
                    json!({ "type": "publish", "channel": "room", "id": number, "body": number });
                if client.try_send(&publish.to_string()).is_err() {
                    break;
                }
                let Some(answer) = next(&mut client) else { break };
                assert_eq!(answer["type"], "ack", "{answer}");
                acknowledged.push(number);
            }
        }
        acknowledged
    })
}

fn say_last(server: &Server) {
    let body = json!({ "channel": "room", "data": LAST }).to_string();
    let (status, answer) = post(server.admin, "/api/publish", &body);
    assert_eq!(status, 200, "{answer}");
}

/// All offsets of what was heard follow each other, and every acknowledged number is among it once.
fn check(heard: &[(u64, u64)], acknowledged: &[u64]) {
    for pair in heard.windows(2) {
        assert_eq!(pair[0].0 + 1, pair[1].0, "{pair:?}");
    }
    let mut bodies: Vec<u64> = heard.iter().map(|one| one.1).collect();
    bodies.sort_unstable();
    for pair in bodies.windows(2) {
        assert_ne!(pair[0], pair[1], "heard twice");
    }
    let lost = acknowledged.iter().filter(|one| bodies.binary_search(one).is_err()).count();
    assert_eq!(lost, 0, "of {}", acknowledged.len());
}

#[test]
fn what_is_said_in_either_process_reaches_both_in_one_order() {
    let older = Server::start(&flags("4s", &["--shards", "2"]));
    let here = |_| Listener::start(older.address, "room").when_joined();
    let mut listeners: Vec<Listener> = (0..4).map(here).collect();
    let over = Arc::new(AtomicBool::new(false));
    let mut publishers =
        vec![publish(older.address, 0, &over), publish(older.address, 1 << 40, &over)];
    eventually("something is said", || older.total("publications_total") > 50);
    let newer = Server::start_beside(&older, &flags("4s", &["--shards", "1"]));
    listeners.extend((0..2).map(|_| Listener::start(newer.address, "room").when_joined()));
    publishers.push(publish(newer.address, 2 << 40, &over));
    // The older process is the follower, until its last client has gone.
    let mut older = older;
    older.wait();
    over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<Vec<u64>> =
        publishers.into_iter().map(|one| one.join().unwrap()).collect();
    say_last(&newer);
    let heard: Vec<Vec<(u64, u64)>> =
        listeners.into_iter().map(|one| one.heard.join().unwrap()).collect();
    assert!(acknowledged.iter().all(|one| one.len() > 50), "all three have spoken");
    for one in &heard[..4] {
        check(one, &acknowledged.concat());
    }
    for one in &heard[4..] {
        // It came later, and heard the same from then on.
        let begin = heard[0].iter().position(|first| *first == one[0]).unwrap();
        assert_eq!(&heard[0][begin..], &one[..]);
    }
    assert_eq!(newer.total("lost_pasts_total"), 0);
}

#[test]
fn over_ten_take_overs_in_a_row_clients_that_come_back_miss_nothing() {
    let mut server = Server::start(&flags("300ms", &[]));
    let listeners: Vec<Listener> =
        (0..3).map(|_| Listener::start(server.address, "room").when_joined()).collect();
    let over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2).map(|one| publish(server.address, one << 40, &over)).collect();
    for _ in 0..10 {
        let newer = Server::start_beside(&server, &flags("300ms", &[]));
        let mut older = std::mem::replace(&mut server, newer);
        older.wait();
        let said = server.total("publications_total");
        eventually("more is said", || server.total("publications_total") > said + 20);
    }
    over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<u64> =
        publishers.into_iter().flat_map(|one| one.join().unwrap()).collect();
    say_last(&server);
    for one in listeners {
        check(&one.heard.join().unwrap(), &acknowledged);
    }
}

#[test]
fn a_newer_process_that_dies_leaves_the_older_one_to_number_by_itself() {
    let older = Server::start(&flags("20s", &[]));
    let (mut first, _) = Client::json(older.address, "/ws?channel=room");
    let (mut second, _) = Client::json(older.address, "/ws?channel=room");
    let mut centrifuge = Client::try_plain(older.address, "/connection/websocket").unwrap();
    for request in [r#"{"id":1,"connect":{}}"#, r#"{"id":2,"subscribe":{"channel":"room"}}"#] {
        centrifuge.send(request);
        centrifuge.next_json();
    }
    let say = |client: &mut Client, body: u64| {
        client.send(&json!({ "type": "publish", "body": body }).to_string());
    };
    say(&mut first, 1);
    let before = [&mut first, &mut second].map(|client| client.next_json()["offset"].clone());
    assert_eq!(before, [json!(1), json!(1)]);
    let newer = Server::start_beside(&older, &flags("20s", &[]));
    say(&mut first, 2);
    let followed = [&mut first, &mut second].map(|client| client.next_json()["offset"].clone());
    assert_eq!(followed, [json!(2), json!(2)]);
    newer.signal("KILL");
    drop(newer);
    // The link ends with the process; whatever is said meanwhile is numbered all the same.
    (3..6).for_each(|body| say(&mut first, body));
    for client in [&mut first, &mut second] {
        // Those of the dead process may never be told.
        let gap = client.next_json();
        assert_eq!((&gap["type"], &gap["from"]), (&json!("gap"), &json!(3)), "{gap}");
        let to = gap["to"].as_u64().unwrap();
        let heard: Vec<(u64, u64)> = (3..6)
            .map(|_| client.next_json())
            .map(|told| (told["offset"].as_u64().unwrap(), told["body"].as_u64().unwrap()))
            .collect();
        assert_eq!(heard.iter().map(|one| one.1).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(heard[0].0 > 1 << 32, "no offset that the dead process may have given out");
        assert_eq!(heard[0].0, to + 1);
        assert_eq!((heard[0].0 + 1, heard[1].0 + 1), (heard[1].0, heard[2].0));
    }
    // Its dialect has no word for a gap: it is out of the channel, for which it may ask again.
    let told = [(); 3].map(|()| centrifuge.next_json()["push"].clone());
    assert_eq!(told[2]["unsubscribe"]["code"], 2500, "behind two messages: {told:?}");
}

/// Asks a server for its sockets and histories as a newer process does, and reads them to the end.
fn read_histories(older: &Server) -> UnixStream {
    let place = format!("stentor/2/{}", older.address);
    let mut stream =
        UnixStream::connect_addr(&UnixAddress::from_abstract_name(place).unwrap()).unwrap();
    let form = 5_u32;
    let request = [&b"B"[..], &7_u64.to_le_bytes(), &form.to_le_bytes()].concat();
    stream.write_all(&request).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], b'Z', "it sends histories of this form");
    stream.write_all(b"H0badcafe").unwrap();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let [kind, length @ ..] = head;
        let length = if kind == b'E' { 6 } else { u32::from_le_bytes(length) };
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
        if kind == b'E' {
            return stream;
        }
    }
}

#[test]
fn a_newer_process_that_fails_before_it_begins_leaves_the_order_as_it_was() {
    for begins in [false, true] {
        let older = Server::start(&flags("20s", &[]));
        let (mut ana, welcome) = Client::json(older.address, "/ws?channel=room");
        let say = |client: &mut Client, channel: &str, body: u64| {
            let words = json!({ "type": "publish", "channel": channel, "body": body });
            client.send(&words.to_string());
        };
        say(&mut ana, "room", 1);
        assert_eq!(ana.next_json()["offset"], 1);
        let mut newer = read_histories(&older);
        // These wait for the newer process, in a channel that is new as well.
        say(&mut ana, "room", 2);
        say(&mut ana, "other", 3);
        if begins {
            newer.write_all(b"G").unwrap();
        }
        drop(newer);
        let told = ana.next_json();
        if begins {
            assert_eq!((&told["type"], &told["from"]), (&json!("gap"), &json!(2)), "{told}");
            eventually("it is counted", || older.total("lost_leaders_total") > 0);
            continue;
        }
        assert_eq!((&told["offset"], &told["body"]), (&json!(2), &json!(2)), "{told}");
        let since = format!("{}:1", welcome["epoch"].as_str().unwrap());
        let (mut back, again) =
            Client::json(older.address, &format!("/ws?channel=room&since={since}"));
        assert_eq!((&again["epoch"], &back.next_json()["offset"]), (&welcome["epoch"], &json!(2)));
        let (mut other, _) = Client::json(older.address, "/ws?channel=other&history=5");
        assert_eq!(other.next_json()["offset"], 1);
        assert_eq!(older.total("lost_leaders_total"), 0);
        // The next one takes over as if there had been none before.
        let newer = Server::start_beside(&older, &flags("20s", &[]));
        say(&mut ana, "room", 4);
        assert_eq!(back.next_json()["type"], "joined");
        assert_eq!([ana.next_json()["offset"].clone(), back.next_json()["offset"].clone()], [3, 3]);
        let (mut there, welcome) =
            Client::json(newer.address, &format!("/ws?channel=room&since={since}"));
        assert_eq!(&welcome["epoch"], &again["epoch"]);
        assert_eq!([(); 2].map(|()| there.next_json()["offset"].clone()), [2, 3]);
    }
}

#[test]
fn direct_messages_reach_the_clients_of_both_processes() {
    let flags = flags("20s", &["--on-duplicate-user", "allow"]);
    let older = Server::start(&flags);
    let user = |to, user: &str| Client::json(to, &format!("/ws?user={user}")).0;
    let (mut ana, mut cid) = (user(older.address, "ana"), user(older.address, "cid"));
    let newer = Server::start_beside(&older, &flags);
    let (mut other_ana, mut bob) = (user(newer.address, "ana"), user(newer.address, "bob"));
    let direct = |client: &mut Client, to: &str| {
        let request = json!({ "type": "direct", "user": to, "id": 7, "body": to });
        client.send(&request.to_string());
        client.next_json()
    };
    assert_eq!(direct(&mut bob, "ana")["clients"], 2);
    assert_eq!(direct(&mut cid, "ana")["clients"], 2);
    for client in [&mut ana, &mut other_ana] {
        let told = [client.next_json(), client.next_json()];
        assert!(told.iter().all(|one| one["direct"] == true && one["body"] == "ana"), "{told:?}");
    }
    assert_eq!(direct(&mut ana, "bob")["clients"], 1);
    assert_eq!(bob.next_json()["body"], "bob");
    assert_eq!(direct(&mut ana, "nobody")["code"], "unknown_user");
    assert_eq!(direct(&mut bob, "nobody")["code"], "unknown_user");
}

/// Stops a process, and waits until all of it stands still.
fn stop(server: &Server) {
    server.signal("STOP");
    let tasks = format!("/proc/{}/task", server.pid());
    eventually("every thread is stopped", || {
        let mut tasks = std::fs::read_dir(&tasks).unwrap().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    });
}

/// A stopped process is given up within some seconds, whichever of the two it is.
#[test]
fn neither_process_waits_for_ever_for_one_that_is_stopped() {
    let older = Server::start(&flags("60s", &[]));
    let mut here = Client::json(older.address, "/ws?channel=room").0;
    let mut newer = Server::start_beside(&older, &flags("60s", &[]));
    let mut there = Client::json(newer.address, "/ws?channel=room").0;
    here.send(r#"{"type":"publish","body":1}"#);
    assert_eq!([here.next_json()["body"].clone(), there.next_json()["body"].clone()], [1, 1]);
    stop(&newer);
    here.send(r#"{"type":"publish","body":2}"#);
    assert_eq!(here.next_json()["type"], "gap");
    let told = here.next_json();
    assert_eq!(told["body"], 2);
    assert!(told["offset"].as_u64().unwrap() > 1 << 32, "{told}");
    newer.signal("CONT");
    // It has found out too, and goes on for its clients.
    there.send(r#"{"type":"publish","body":3}"#);
    // What lay in the link when it was stopped may still be numbered for its own clients.
    let heard = there.next_json();
    let heard = if heard["body"] == 2 { there.next_json() } else { heard };
    assert_eq!(heard["body"], 3);
    drop((here, older));

    let newest = Server::start_beside(&newer, &flags("60s", &[]));
    stop(&newer);
    let mut client = Client::json(newest.address, "/ws?channel=room").0;
    for body in 0..6000 {
        client.send(&json!({ "type": "publish", "body": body }).to_string());
        assert_eq!(client.next_json()["body"], body);
    }
    newer.signal("CONT");
    newer.signal("KILL");
    newer.wait();
}
