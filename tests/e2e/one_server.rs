//! While the older process of a take-over drains, the API of either reaches the clients of both, a
//! user has one client in both, and what was made under a key is not made again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually, post};
use crate::tokens::{SECRET, token};

const KEPT: [&str; 7] =
    ["--history", "100", "--take-over-settle", "0s", "--drain-spread", "60s", "--recovery"];

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&KEPT[..], more].concat()
}

fn result(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].clone()
}

fn api(server: &Server, method: &str, params: &Value) -> Value {
    let (status, text) = post(server.admin, &format!("/api/{method}"), &params.to_string());
    assert_eq!(status, 200, "{text}");
    result(&text)
}

/// A connection to the API of a process that has another one take over meanwhile: its next request
/// is still answered.
struct Kept(TcpStream);

impl Kept {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // This one comes behind it, so the process has accepted both.
        api(server, "info", &json!({}));
        Self(stream)
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let body = params.to_string();
        let head = format!("POST /api/{method} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.0.write_all((head + &length).as_bytes()).unwrap();
        let mut answer = Vec::new();
        loop {
            let mut byte = [0; 4096];
            let count = self.0.read(&mut byte).unwrap();
            answer.extend(&byte[..count]);
            let text = String::from_utf8_lossy(&answer);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let length = head.to_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            assert!(count > 0 || length.is_some(), "{text}");
            if length.is_some_and(|length| length.parse() == Ok(body.len())) {
                return result(body);
            }
        }
    }
}

fn ana(server: &Server) -> (Client, Value) {
    let (client, welcome) = Client::json(server.address, "/ws?user=ana&channel=room");
    (client, welcome["client"].clone())
}

fn kept_here(client: &mut Client) -> usize {
    client.send(r#"{"type":"history","channel":"room","limit":10,"id":1}"#);
    let page = client.next_json();
    page["publications"].as_array().unwrap_or_else(|| panic!("{page}")).len()
}

#[test]
fn the_api_of_the_newer_process_reaches_the_clients_of_the_older_one() {
    let flags = flags(&["--on-duplicate-user", "allow", "--shards", "2"]);
    let older = Server::start(&flags);
    let (mut first, old_id) = ana(&older);
    let newer = Server::start_beside(&older, &flags);
    let (mut second, new_id) = ana(&newer);
    assert_ne!(old_id, new_id, "no two clients that live at once have one id");

    let about = json!({ "user": "ana", "channel": "news" });
    assert_eq!(api(&newer, "subscribe", &about), json!({ "clients": 2 }));
    api(&newer, "publish", &json!({ "channel": "news", "data": 7 }));
    for client in [&mut first, &mut second] {
        assert_eq!(client.next_json()["type"], "joined");
        assert_eq!(client.next_json()["body"], 7);
    }
    let room = json!({ "channel": "room" });
    let channels = api(&newer, "channels", &json!({}))["channels"].clone();
    assert_eq!(
        (&channels["news"]["num_clients"], &channels["room"]["num_clients"]),
        (&json!(2), &json!(2))
    );
    let nodes = api(&newer, "info", &json!({}))["nodes"].clone();
    let clients: u64 =
        nodes.as_array().unwrap().iter().map(|node| node["num_clients"].as_u64().unwrap()).sum();
    assert_eq!((nodes.as_array().unwrap().len(), clients), (2, 2));
    let members = api(&newer, "presence", &room)["presence"].clone();
    assert!(members.get(old_id.as_str().unwrap()).is_some(), "{members}");
    assert!(members.get(new_id.as_str().unwrap()).is_some(), "{members}");
    assert_eq!(api(&newer, "presence_stats", &room), json!({ "num_clients": 2, "num_users": 1 }));
    assert_eq!(api(&newer, "unsubscribe", &about), json!({ "clients": 2 }));
    for client in [&mut first, &mut second] {
        assert_eq!(client.next_json()["type"], "left");
    }

    for data in 0..3 {
        api(&newer, "publish", &json!({ "channel": "room", "data": data }));
    }
    for client in [&mut first, &mut second] {
        (0..3).for_each(|_| drop(client.next_json()));
        assert_eq!(kept_here(client), 3);
    }
    api(&newer, "history_remove", &room);
    eventually("both have forgotten", || kept_here(&mut first) + kept_here(&mut second) == 0);

    let one = json!({ "client": old_id });
    assert_eq!(api(&newer, "disconnect", &one), json!({ "clients": 1 }));
    assert_eq!(first.close_code(), Some(3501));
    let expired = json!({ "user": "ana", "expired": true });
    assert_eq!(api(&newer, "refresh", &expired), json!({ "clients": 1 }));
    assert_eq!(second.close_code(), Some(3005));
}

#[test]
fn the_older_process_asks_the_newer_one_along() {
    let flags = flags(&["--token-hmac-secret", SECRET, "--on-duplicate-user", "allow"]);
    let older = Server::start(&flags);
    let token = token(&["--user", "ana"]);
    let target = format!("/ws?channel=room&token={token}");
    let publish = json!({ "channel": "room", "data": 1, "idempotency_key": "k1" });
    let version = json!({ "channel": "versions", "data": 1, "version": 5 });
    let place = api(&older, "publish", &publish);
    let versioned = api(&older, "publish", &version);
    let mut first = Client::json(older.address, &target).0;
    let mut kept: Vec<Kept> = (0..4).map(|_| Kept::open(&older)).collect();
    let newer = Server::start_beside(&older, &flags);
    let mut second = Client::json(newer.address, &target).0;

    // Made before the take-over, and asked for again of the newer process.
    assert_eq!(api(&newer, "publish", &publish), place);
    assert_eq!(api(&newer, "publish", &version), versioned, "it has had that version");
    // Made through the older process, and asked for again of the newer one, and the other way.
    let mut key = json!({ "channel": "room", "data": 2, "idempotency_key": "k2" });
    let place = kept.pop().unwrap().call("publish", &key);
    assert_eq!(place["offset"], 2);
    assert_eq!(api(&newer, "publish", &key), place);
    key["idempotency_key"] = json!("k3");
    let place = api(&newer, "publish", &key);
    assert_eq!(kept.pop().unwrap().call("publish", &key), place);
    for client in [&mut first, &mut second] {
        let bodies = [client.next_json(), client.next_json()].map(|one| one["offset"].clone());
        assert_eq!(bodies, [2, 3]);
    }
    kept.pop().unwrap().call("history_remove", &json!({ "channel": "room" }));
    eventually("both have forgotten", || kept_here(&mut first) + kept_here(&mut second) == 0);

    let revoked = kept
        .pop()
        .unwrap()
        .call("revoke", &json!({ "user": "ana" , "issued_before": 1_u64 << 40 }));
    assert_eq!(revoked, json!({ "clients": 2 }));
    assert_eq!([first.close_code(), second.close_code()], [Some(3502), Some(3502)]);
    assert_eq!(Client::try_plain(newer.address, &target).err().map(|error| error.0), Some(401));
}

#[test]
fn a_user_and_an_address_count_in_both_processes() {
    let settings = flags(&["--shards", "2"]);
    let older = Server::start(&settings);
    let mut first = ana(&older).0;
    let newer = Server::start_beside(&older, &settings);
    let mut second = ana(&newer).0;
    assert_eq!(first.close_code(), Some(3500), "replaced");
    api(&newer, "publish", &json!({ "channel": "room", "data": 1 }));
    assert_eq!(second.next_json()["body"], 1);
    drop((older, newer));

    let refuse = flags(&["--on-duplicate-user", "refuse", "--max-clients-per-ip", "2"]);
    let older = Server::start(&refuse);
    let (first, bob) = (ana(&older).0, Client::plain(older.address, "/ws?user=bob"));
    let newer = Server::start_beside(&older, &refuse);
    let status = |target: &str| Client::try_plain(newer.address, target).err().map(|error| error.0);
    assert_eq!(status("/ws?user=cid"), Some(429), "two clients have come from here");
    drop(bob);
    eventually("the older process says that bob has gone", || status("/ws?user=bob").is_none());
    assert_eq!(status("/ws?user=ana"), Some(409));
    // The newer process forgets the clients of one that dies.
    older.signal("KILL");
    eventually("ana may come", || status("/ws?user=ana").is_none());
    drop(first);
}

/// The oldest process still drains when the second one is relieved.
#[test]
fn three_processes_are_one_server_too() {
    let flags = flags(&["--shards", "1"]);
    let oldest = Server::start(&flags);
    let come = |server: &Server, user: &str| {
        Client::json(server.address, &format!("/ws?user={user}&channel=room")).0
    };
    let (mut a, mut ann) = (come(&oldest, "a"), come(&oldest, "ann"));
    let middle = Server::start_beside(&oldest, &flags);
    let mut b = come(&middle, "b");
    let newest = Server::start_beside(&middle, &flags);
    let mut c = come(&newest, "c");
    for (number, from) in [0, 1, 2].into_iter().enumerate() {
        let clients = [&mut a, &mut b, &mut c];
        let said = json!({ "type": "publish", "channel": "room", "body": number });
        clients[from].send(&said.to_string());
        for client in clients {
            let heard = client.next_json();
            assert_eq!((&heard["body"], &heard["offset"]), (&json!(number), &json!(number + 1)));
        }
        assert_eq!(ann.next_json()["body"], number);
    }
    c.send(r#"{"type":"direct","user":"a","id":1,"body":"hello"}"#);
    assert_eq!(c.next_json()["clients"], 1);
    assert_eq!(a.next_json()["body"], "hello");
    let stats = api(&newest, "presence_stats", &json!({ "channel": "room" }));
    assert_eq!(stats, json!({ "num_clients": 4, "num_users": 4 }));
    let mut newer_ann = come(&newest, "ann");
    assert_eq!(ann.close_code(), Some(3500), "two processes away");
    assert_eq!(api(&newest, "disconnect", &json!({ "user": "a" })), json!({ "clients": 1 }));
    assert_eq!(a.close_code(), Some(3501));
    middle.signal("KILL");
    drop((middle, b));
    c.send(r#"{"type":"publish","channel":"room","body":9}"#);
    assert_eq!([c.next_json()["body"].clone(), newer_ann.next_json()["body"].clone()], [9, 9]);
}

#[test]
fn a_process_that_is_stopped_keeps_the_api_of_the_other_for_some_seconds_only() {
    let flags = flags(&[]);
    let older = Server::start(&flags);
    let _first = ana(&older);
    let newer = Server::start_beside(&older, &flags);
    let (_second, id) = Client::json(newer.address, "/ws?user=bob");
    older.signal("STOP");
    let began = Instant::now();
    let (_, answer) = post(newer.admin, "/api/disconnect", &json!({ "user": "bob" }).to_string());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(answer.contains("clients") || answer.contains("try again"), "{answer} {id}");
    // It is given up by then.
    eventually("the newer process is alone", || {
        let began = Instant::now();
        post(newer.admin, "/api/info", "{}").1.matches("uid").count() == 1
            && began.elapsed() < Duration::from_secs(2)
    });
    older.signal("CONT");
}
