//! A node of a cluster, and a client of it that takes down what it hears.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use async_tungstenite::tungstenite::Message;
use serde_json::{Value, json};

use crate::client::Client;
use crate::nats::Nats;
use crate::server::Server;

/// The body after which a listener hears no more.
pub(crate) const LAST: &str = "last";

pub(crate) fn start(nats: &Nats, more: &[&str]) -> Server {
    let url = nats.url();
    let kept = ["--history", "1000", "--recovery", "--engine-history", "2000"];
    Server::start(&[&["--shards", "2", "--engine", &url], &kept[..], more].concat())
}

/// The next JSON message of a client, or `None` when its connection has ended.
pub(crate) fn next(client: &mut Client) -> Option<Value> {
    loop {
        match client.try_next() {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Joins a channel, behind a position if there is one. Returns the answer.
pub(crate) fn join(client: &mut Client, channel: &str, since: Option<(&str, u64)>) -> Value {
    let mut join = json!({ "type": "join", "channel": channel, "id": 1 });
    if let Some((epoch, offset)) = since {
        join["since"] = json!({ "epoch": epoch, "offset": offset });
    }
    client.send(&join.to_string());
    loop {
        let answer = next(client).unwrap();
        if answer["type"] == "joined" || answer["type"] == "error" {
            return answer;
        }
    }
}

/// A client that hears a channel until the last body.
pub(crate) struct Listener(JoinHandle<Vec<(u64, String)>>);

impl Listener {
    /// Joins, and then listens on a thread of its own.
    pub(crate) fn start(to: SocketAddr, channel: &str) -> Self {
        let (mut client, _) = Client::json(to, "/ws");
        let joined = join(&mut client, channel, None);
        assert_eq!(joined["type"], "joined", "{joined}");
        Self(thread::spawn(move || {
            let mut heard = Vec::new();
            while let Some(message) = next(&mut client) {
                if message["type"] != "message" {
                    continue;
                }
                let body = message["body"].as_str().unwrap().to_owned();
                let is_last = body == LAST;
                heard.push((message["offset"].as_u64().unwrap(), body));
                if is_last {
                    break;
                }
            }
            heard
        }))
    }

    /// Returns what it has heard: offsets and bodies.
    pub(crate) fn heard(self) -> Vec<(u64, String)> {
        self.0.join().unwrap()
    }
}

/// A client that publishes so many bodies to a channel, and waits for the place of each.
pub(crate) fn publisher(to: SocketAddr, channel: &str, name: &str, count: usize) -> Receiver<u64> {
    let (told, places) = mpsc::channel();
    let (channel, name) = (channel.to_owned(), name.to_owned());
    thread::spawn(move || {
        let (mut client, _) = Client::json(to, "/ws");
        for number in 0..count {
            let body = format!("{name}-{number}");
            let publish =
                json!({ "type": "publish", "channel": channel, "body": body, "id": number });
            client.send(&publish.to_string());
        }
        let mut answered = 0;
        while answered < count {
            let message = next(&mut client).unwrap();
            if message["type"] == "ack" {
                answered += 1;
                told.send(message["offset"].as_u64().unwrap()).unwrap();
            }
            assert_ne!(message["type"], "error", "{message}");
        }
    });
    places
}
