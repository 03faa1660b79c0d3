//! Clients of apps under schedules: members of a presence channel on all shards know who else is
//! there, each user once and no more of them than its app allows, and hear the events of all others
//! and never their own, nor those of the backend that are not for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::members::enlist;
use super::run::Shards;
use crate::config::Config;
use crate::mesh::parcel::Ask;
use crate::mesh::reply::ReplyTo;
use crate::model::id::ClientId;
use crate::model::message::{Details, Payload, Publication};
use crate::rules::{App, ChannelRules, Marks, Rules};
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

    /// Follows the members of the room as its library does. Returns those that it knows at the end,
    /// unless it was refused.
    fn follow(&self, events: &mut BTreeMap<u64, String>) -> Option<BTreeSet<String>> {
        let (mut members, mut is_refused) = (BTreeSet::new(), false);
        let mut last = BTreeMap::new();
        for (event, data, user) in self.told() {
            let name = || data["user_id"].as_str().unwrap().to_owned();
            match event.as_str() {
                "pusher_internal:subscription_succeeded" => {
                    let ids = data["presence"]["ids"].as_array().unwrap();
                    members = ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
                    assert_eq!(members.len(), ids.len(), "a user stands twice in {data}");
                    assert!(members.contains(self.user), "it is there itself: {data}");
                    is_refused = false;
                }
                "pusher:subscription_error" => {
                    assert_eq!(data["type"], "LimitReached", "{data}");
                    is_refused = true;
                }
                "backend-says" => {
                    assert_ne!(data["but"], self.id, "the backend has left it out");
                    events.insert(data["n"].as_u64().unwrap(), String::new());
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
        (!is_refused).then_some(members)
    }
}

/// An app whose namespace others share.
fn app(users_max: usize) -> App {
    let mut app = App::new("1", "key", "secret");
    app.namespace = "shop".into();
    app.limits.presence_members = users_max;
    app
}

/// Sends an event of the backend to all members of the room but one.
fn send(shards: &mut Shards, but: &str, number: u64) {
    let channel: Arc<str> = format!("shop:{ROOM}").into();
    let home = shards.all[0].port.mesh.home_of(&*channel);
    if shards.all[home.index()].port.is_stalled() {
        return;
    }
    let publication = Arc::new(Publication {
        channel,
        offset: 0,
        time_ms: 0,
        ingress_ns: 0,
        details: Some(Arc::new(Details::of_event("backend-says", but.parse().ok()))),
        from: None,
        payload: Payload::Json(json!({ "n": number, "but": but }).to_string().into()),
    });
    shards.all[home.index()].take_ask(Ask::Publish { publication, reply: ReplyTo::Nobody });
    shards.all[home.index()].settle();
}

/// Members of the room that speak another dialect and have no user.
fn strangers(shards: &mut Shards) -> Vec<Client> {
    let count = shards.all.len();
    let come = |shard: usize| {
        let (stream, client) = Client::connect(Wish { json: true, ..Wish::default() }, usize::MAX);
        let ids = |shards: &Shards| -> BTreeSet<ClientId> {
            let roster = &shards.all[shard].clients.roster;
            roster.iter().map(|(slot, _)| roster.id(slot)).collect()
        };
        let before = ids(shards);
        shards.accept(shard, stream);
        shards.come_to_rest(|| {});
        let id = *ids(shards).difference(&before).next().unwrap();
        let _ = enlist(shards, id, &format!("shop:{ROOM}"), None, false);
        client
    };
    (0..count).map(come).collect()
}

fn shards(dice: &mut Dice, seed: u64, app: App) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    config.lane_parcels = 1 + dice.below(4);
    config.read_buffer_bytes = 512;
    let rules = vec![ChannelRules::open("shop")];
    let rules = Rules::new(Marks::default(), ChannelRules::open(""), rules).unwrap();
    config.rules = Arc::new(rules.with_apps(vec![app]).unwrap());
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
    // Now and then there is no room for all of the users.
    let users_max = 3 + dice.below(3);
    let app = app(users_max);
    let mut shards = shards(&mut dice, seed, app.clone());
    let mut sockets: Vec<Socket> = Vec::new();
    for number in 0..10 {
        let shard = dice.below(shards.all.len());
        sockets.push(connect(&mut shards, shard, USERS[number % USERS.len()]));
    }
    let (mut said, mut others) = (0_u64, Vec::new());
    for _ in 0..200 {
        let shard = dice.below(shards.all.len());
        let at = dice.below(sockets.len());
        let socket = &mut sockets[at];
        match dice.below(14) {
            0..3 if !socket.is_cut => socket.subscribe(&app),
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
            10 => {
                said += 1;
                let but = socket.id.clone();
                send(&mut shards, &but, said);
            }
            11 if others.len() < 4 && dice.below(4) == 0 => others.extend(strangers(&mut shards)),
            _ => shards.turn(shard),
        }
    }
    settle(&mut shards, &mut sockets);
    check_books(&shards.all);
    let mut events = BTreeMap::new();
    let known: Vec<_> = sockets.iter().map(|socket| socket.follow(&mut events)).collect();
    let members = || sockets.iter().zip(&known).filter(|(one, known)| one.is_in && known.is_some());
    let there: BTreeSet<String> = members().map(|(one, _)| one.user.to_owned()).collect();
    assert!(there.len() <= users_max, "{there:?} are more than {users_max}");
    for (socket, known) in members() {
        assert_eq!(known.as_ref(), Some(&there), "{}", socket.id);
    }
    events.len() as u64
}

#[test]
fn members_of_presence_channels_agree_on_who_is_there() {
    if let Some(events) = for_each_seed(64, simulate) {
        assert!(events > 100, "hardly anything was heard: {events}");
    }
}
