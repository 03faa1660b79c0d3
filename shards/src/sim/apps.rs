//! Clients of apps under schedules: members of a presence channel on all shards know who else is
//! there, each user once, and hear the events of all others and never their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::Shards;
use crate::config::Config;
use crate::rules::{App, Rules};
use crate::wire::pusher::sign::signature;

const ROOM: &str = "presence-room";
const USERS: [&str; 4] = ["ann", "bob", "cid", "dee"];

/// A client of the app, and what it has asked for.
struct Socket {
    client: Client,
    user: &'static str,
    id: String,
    is_in: bool,
    is_cut: bool,
}

impl Socket {
    fn say(&self, event: &str, data: &Value) {
        let message = json!({ "event": event, "channel": ROOM, "data": data });
        self.client.ask(&message.to_string());
    }

    fn subscribe(&mut self, app: &App) {
        self.is_in = true;
        let channel_data = json!({ "user_id": self.user, "user_info": self.user }).to_string();
        let signed = format!("{}:{ROOM}:{channel_data}", self.id);
        let auth = format!("{}:{}", app.key, signature(&app.secret, signed.as_bytes()));
        let data = json!({ "channel": ROOM, "auth": auth, "channel_data": channel_data });
        self.say("pusher:subscribe", &data);
    }

    fn unsubscribe(&mut self) {
        self.is_in = false;
        self.say("pusher:unsubscribe", &json!({ "channel": ROOM }));
    }

    /// All that it was told: the name, the data as it is meant, and the user of an event.
    fn told(&self) -> Vec<(String, Value, Option<String>)> {
        let texts = self.client.frames().into_iter().filter(|frame| frame.opcode == 1);
        let read = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            let data = value["data"].as_str().and_then(|data| serde_json::from_str(data).ok());
            let user = value["user_id"].as_str().map(str::to_owned);
            (
                value["event"].as_str().unwrap().to_owned(),
                data.unwrap_or(value["data"].clone()),
                user,
            )
        };
        texts.map(|frame| read(frame.text())).collect()
    }

    /// Follows the members of the room as its library does. Returns those that it knows at the end.
    fn follow(&self, events: &mut BTreeMap<u64, String>) -> BTreeSet<String> {
        let mut members = BTreeSet::new();
        let mut last = BTreeMap::new();
        for (event, data, user) in self.told() {
            let name = || data["user_id"].as_str().unwrap().to_owned();
            match event.as_str() {
                "pusher_internal:subscription_succeeded" => {
                    let ids = data["presence"]["ids"].as_array().unwrap();
                    members = ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
                    assert_eq!(members.len(), ids.len(), "a user stands twice in {data}");
                    assert!(members.contains(self.user), "it is there itself: {data}");
                }
                "pusher_internal:member_added" => {
                    assert_ne!(name(), self.user, "it knows that it is there itself");
                    assert!(members.insert(name()), "{} came twice", name());
                }
                "pusher_internal:member_removed" => {
                    assert!(members.remove(&name()), "{} has left already", name());
                }
                "client-says" => {
                    let (number, by) = (data["n"].as_u64().unwrap(), &data["by"]);
                    assert_ne!(by, &self.id, "its own event");
                    let after = last.insert(by.to_string(), number);
                    assert!(after.is_none_or(|after| after < number), "each once and in order");
                    let said = events.entry(number).or_insert_with(|| by.to_string());
                    assert_eq!(*said, by.to_string());
                    assert!(user.is_some_and(|user| USERS.contains(&&*user)));
                }
                _ => {}
            }
        }
        members
    }
}

fn app() -> App {
    App::new("1", "key", "secret")
}

fn shards(dice: &mut Dice, seed: u64) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    config.lane_parcels = 1 + dice.below(4);
    config.read_buffer_bytes = 512;
    config.rules = Arc::new(Rules::default().with_apps(vec![app()]).unwrap());
    Shards::new(1 + dice.below(4), config, seed)
}

fn connect(shards: &mut Shards, shard: usize, user: &'static str) -> Socket {
    let (stream, client) = Client::silent(Wish::default(), usize::MAX);
    let head = "GET /app/key?protocol=7 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(head.as_bytes());
    shards.accept(shard, stream);
    shards.come_to_rest(|| {});
    let mut socket = Socket { client, user, id: String::new(), is_in: false, is_cut: false };
    let (event, data, _) = socket.told().swap_remove(0);
    assert_eq!(event, "pusher:connection_established");
    data["socket_id"].as_str().unwrap().clone_into(&mut socket.id);
    socket
}

/// Lets the time pass in which those who have gone may return, and everything else end.
fn settle(shards: &mut Shards, sockets: &mut [Socket]) {
    for _ in 0..4 {
        shards.now.ns += 60_000_000;
        shards.come_to_rest(|| {
            for socket in &mut *sockets {
                socket.client.take_up(usize::MAX);
            }
        });
    }
}

/// Returns the number of events that clients have heard.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = shards(&mut dice, seed);
    let mut sockets: Vec<Socket> = Vec::new();
    for number in 0..10 {
        let shard = dice.below(shards.all.len());
        sockets.push(connect(&mut shards, shard, USERS[number % USERS.len()]));
    }
    let mut said = 0_u64;
    for _ in 0..200 {
        let shard = dice.below(shards.all.len());
        let at = dice.below(sockets.len());
        let socket = &mut sockets[at];
        match dice.below(12) {
            0..3 if !socket.is_cut => socket.subscribe(&app()),
            3..5 if !socket.is_cut => socket.unsubscribe(),
            5 if !socket.is_cut => {
                said += 1;
                socket.say("client-says", &json!({ "n": said, "by": socket.id }));
            }
            6 if dice.below(8) == 0 => {
                (socket.is_in, socket.is_cut) = (false, true);
                socket.client.cut();
            }
            7 => socket.client.stall(),
            8 => socket.client.take_up(usize::MAX),
            9 => shards.now.ns += 30_000_000,
            _ => shards.turn(shard),
        }
    }
    settle(&mut shards, &mut sockets);
    check_books(&shards.all);
    let there: BTreeSet<String> =
        sockets.iter().filter(|one| one.is_in).map(|one| one.user.to_owned()).collect();
    let mut events = BTreeMap::new();
    for socket in &sockets {
        let known = socket.follow(&mut events);
        assert!(!socket.is_in || known == there, "{}: {known:?} of {there:?}", socket.id);
    }
    events.len() as u64
}

#[test]
fn members_of_presence_channels_agree_on_who_is_there() {
    if let Some(events) = for_each_seed(64, simulate) {
        assert!(events > 100, "hardly anything was heard: {events}");
    }
}
