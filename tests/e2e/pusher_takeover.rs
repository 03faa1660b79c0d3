//! Apps while a newer process takes over: their backends are told what happens to the clients of
//! both processes, and nothing of their way from one to the other.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Backend, Reply};
use crate::client::Client;
use crate::passage::come_to_newer;
use crate::pusher::Socket;
use crate::server::{Server, eventually};

const FLAGS: [&str; 6] = ["--take-over-settle", "0s", "--drain-spread", "60s", "--shards", "2"];

/// The older server with an app whose backend is told everything, and the flags of both.
fn start(backend: &Backend) -> (tempfile::TempDir, Server, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    let text = format!(
        "events_delay = '10ms'\nevents_url = '{}'\nevents = 'channel_occupied,channel_vacated'\n\
         events_debounce = '3s'\n[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\n\
         [[app.webhook]]\nurl = '{}'\n\
         events = 'channel_occupied,channel_vacated,member_added,member_removed'\n",
        backend.url("/events"),
        backend.url("/hook"),
    );
    fs::write(&file, text).unwrap();
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
    flags.extend(["--config".into(), file.to_str().unwrap().to_owned()]);
    let server = Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    (folder, server, flags)
}

/// All that a backend has been told, by channel: the names of events, and those of users.
#[derive(Default)]
struct Told(BTreeMap<String, Vec<String>>);

impl Told {
    fn take(&mut self, path: &str, body: &Value) {
        for event in body["events"].as_array().unwrap() {
            let name = event["name"].as_str().or(event["event"].as_str()).unwrap();
            let user = event["user_id"].as_str().map(|user| format!(" {user}"));
            let channel = format!("{path} {}", event["channel"].as_str().unwrap());
            let entry = self.0.entry(channel).or_default();
            entry.push(format!("{name}{}", user.unwrap_or_default()));
        }
    }

    /// Takes what is told until that holds enough.
    fn until(&mut self, backend: &Backend, is_enough: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_enough(self) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", self.0);
            let asked = backend.next();
            self.take(&asked.path, &asked.body);
        }
    }

    fn has(&self, channel: &str, name: &str) -> bool {
        self.0.get(channel).is_some_and(|told| told.iter().any(|told| told == name))
    }
}

fn subscribe(socket: &mut Socket, user: &str) {
    socket.join("news");
    let data = json!({ "user_id": user }).to_string();
    let answer = socket.subscribe("presence-a", Some(&data));
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
}

#[test]
fn pusher_backends_hear_nothing_of_a_take_over() {
    let backend = Backend::start(|_| Reply::Json(json!({})));
    let (_folder, mut older, flags) = start(&backend);
    let mut ana = Socket::open(older.address);
    subscribe(&mut ana, "ana");
    let mut bob = Socket::open(older.address);
    bob.join("old");
    let mut told = Told::default();
    told.until(&backend, |told| {
        told.has("/hook presence-a", "member_added ana")
            && told.has("/hook news", "channel_occupied")
            && told.has("/hook old", "channel_occupied")
            && told.has("/events app-1:old", "channel_occupied")
    });
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let newer = Server::start_beside(&older, &flags);
    drop(come_to_newer(&newer, "/ws"));
    // She is at both for a while, goes on at the newer one, and leaves from there. Meanwhile a
    // channel comes into use at the older one.
    bob.join("late");
    let mut again = Socket::open(newer.address);
    subscribe(&mut again, "ana");
    drop(ana);
    told.until(&backend, |told| told.has("/hook late", "channel_occupied"));
    eventually("she has left the older one", || older.total("clients") == 1);
    // The older process ends with a client that does not come back.
    older.signal("KILL");
    let _ = older.wait();
    drop(bob);
    told.until(&backend, |told| {
        told.has("/hook old", "channel_vacated") && told.has("/hook late", "channel_vacated")
    });
    drop(again);
    told.until(&backend, |told| {
        told.has("/hook news", "channel_vacated")
            && told.has("/hook presence-a", "channel_vacated")
            && told.has("/hook presence-a", "member_removed ana")
            && told.has("/events app-1:presence-a", "channel_vacated")
    });
    let both = ["channel_occupied", "channel_vacated"];
    for channel in ["news", "old", "late"] {
        assert_eq!(told.0[&format!("/hook {channel}")], both, "{channel}");
        assert_eq!(told.0[&format!("/events app-1:{channel}")], both, "{channel}");
    }
    let mut members = told.0.remove("/hook presence-a").unwrap();
    members.sort();
    assert_eq!(members, [both[0], both[1], "member_added ana", "member_removed ana"]);
}

#[test]
fn pusher_watchers_hear_of_users_in_both_processes() {
    let backend = Backend::start(|_| Reply::Json(json!({})));
    let (_folder, older, flags) = start(&backend);
    let watch = json!({ "id": "wes", "watchlist": ["ana"] }).to_string();
    let mut before = Socket::open(older.address);
    before.sign_in(&watch);
    assert_eq!(before.watched(), "offline ana");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let newer = Server::start_beside(&older, &flags);
    drop::<Client>(come_to_newer(&newer, "/ws"));
    let mut after = Socket::open(newer.address);
    after.sign_in(&watch);
    assert_eq!(after.watched(), "offline ana");
    let mut ana = Socket::open(newer.address);
    ana.sign_in(r#"{"id":"ana"}"#);
    assert_eq!([before.watched(), after.watched()], ["online ana", "online ana"]);
    // A moment without her is no news.
    drop(ana);
    let mut ana = Socket::open(newer.address);
    ana.sign_in(r#"{"id":"ana"}"#);
    drop(ana);
    assert_eq!([before.watched(), after.watched()], ["offline ana", "offline ana"]);
}
