//! Apps whose channels other dialects share, or that a reload changes: members without a user,
//! events that the backend rejects, clients that lose their app, and a page with Laravel Echo.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Asked, Backend, Reply};
use crate::client::Client;
use crate::pusher::{ONE_APP, Socket};
use crate::real_clients::{node, run};
use crate::server::{Server, eventually, post};

fn start(text: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    fs::write(&file, text).unwrap();
    let server = Server::start(&["--shards", "2", "--config", file.to_str().unwrap()]);
    (folder, server)
}

fn shared(more: &str) -> String {
    format!(
        "{more}[[namespace]]\nname = 'shop'\n\
         [[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\nnamespace = 'shop'\n\
         presence_members = 2\n"
    )
}

/// Puts a native client into a channel by the server's own API.
fn put_into(server: &Server, client: &str, channel: &str) -> Value {
    let body = json!({ "client": client, "channel": channel }).to_string();
    let (status, answer) = post(server.admin, "/api/subscribe", &body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

/// A native client that hears nothing of the default channel, and its id.
fn native(server: &Server, user: &str) -> (Client, String) {
    let (client, welcome) = Client::json(server.address, &format!("/ws{user}"));
    (client, welcome["client"].as_str().unwrap().to_owned())
}

/// The names of the events that a client hears until the answer to a ping.
fn heard(socket: &mut Socket) -> Vec<String> {
    socket.say("pusher:ping", json!({}));
    let each = std::iter::repeat_with(|| socket.client.next_json());
    let each = each.take_while(|told| told["event"] != "pusher:pong");
    each.map(|told| format!("{} {}", told["event"].as_str().unwrap(), told["data"])).collect()
}

#[test]
fn browser_page_with_laravel_echo_hears_all_kinds_of_channels() {
    let server = Server::start(&ONE_APP);
    let mut command = node("echo_page.mjs");
    command.arg(server.address.to_string());
    run(command);
}

#[test]
fn pusher_members_of_other_dialects_count_if_they_have_a_user() {
    let (_folder, server) = start(&shared(""));
    let room = "presence-room";
    let mut ann = Socket::open(server.address);
    ann.subscribe(room, Some(r#"{"user_id":"ann"}"#));
    let mut strangers: Vec<(Client, String)> = (0..3).map(|_| native(&server, "")).collect();
    for (_, id) in &strangers {
        put_into(&server, id, "shop:presence-room");
    }
    assert!(heard(&mut ann).is_empty(), "nobody that has a name has come");
    // The third user finds no room, and is told to nobody.
    let named = ["?user=bob", "?user=cid"].map(|user| native(&server, user));
    for (_, id) in &named {
        put_into(&server, id, "shop:presence-room");
    }
    let mut told = Vec::new();
    eventually("the first of them is told", || {
        told.extend(heard(&mut ann));
        !told.is_empty()
    });
    let added = r#"pusher_internal:member_added "{\"user_id\":\"bob\"}""#;
    assert_eq!(told, [added]);
    let mut dee = Socket::open(server.address);
    let answer = dee.subscribe(room, Some(r#"{"user_id":"dee"}"#));
    assert_eq!(answer["event"], "pusher:subscription_error", "{answer}");
    // All others go: of them one is a member.
    strangers.clear();
    drop(named);
    let mut told = Vec::new();
    eventually("it is told to have left", || {
        told.extend(heard(&mut ann));
        !told.is_empty()
    });
    eventually("all have gone", || server.total("clients") == 2);
    told.extend(heard(&mut ann));
    let removed = r#"pusher_internal:member_removed "{\"user_id\":\"bob\"}""#;
    assert_eq!(told, [removed]);
    // There is room again.
    let answer = dee.subscribe(room, Some(r#"{"user_id":"dee"}"#));
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
}

#[test]
fn pusher_clients_are_put_into_no_channel_of_others() {
    let (_folder, server) = start(&shared("[[namespace]]\nname = 'shop2'\n"));
    let mut socket = Socket::open(server.address);
    let (_, listed) = crate::server::get(server.admin, "/api/connections");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let id = listed["connections"][0]["client"].as_str().unwrap_or_else(|| panic!("{listed}"));
    for channel in ["shop2:private-x", "shop:presence-x", "lobby"] {
        let answer = put_into(&server, id, channel);
        assert_eq!(answer["error"]["code"], 107, "{channel}: {answer}");
    }
    let answer = put_into(&server, id, "shop:private-x");
    assert_eq!(answer["result"]["clients"], 1, "{answer}");
    let told = socket.client.next_json();
    assert_eq!(told["event"], "pusher_internal:subscription_succeeded", "{told}");
    assert_eq!(told["channel"], "private-x");
}

#[test]
fn pusher_webhooks_tell_the_client_events_that_were_sent() {
    let backend = Backend::start(|asked: &Asked| match asked.path.as_str() {
        "/publish" if asked.body["data"] == "bad" => {
            Reply::Json(json!({ "error": { "code": 7, "message": "bad" } }))
        }
        "/publish" => Reply::Json(json!({ "result": { "data": { "polite": true } } })),
        _ => Reply::Json(json!({})),
    });
    let text = format!(
        "events_delay = '10ms'\nhook_publish = '{}'\n[[namespace]]\nname = 'shop'\n\
         publish_hook = 'on'\n[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\n\
         namespace = 'shop'\n[[app.webhook]]\nurl = '{}'\nevents = 'client_event'\n",
        backend.url("/publish"),
        backend.url("/hook")
    );
    let (_folder, server) = start(&text);
    let mut socket = Socket::open(server.address);
    socket.join("private-a");
    for data in ["bad", "rude"] {
        let event = json!({ "event": "client-x", "channel": "private-a", "data": data });
        socket.client.send(&event.to_string());
    }
    let told = std::iter::repeat_with(|| backend.next()).find(|asked| asked.path == "/hook");
    let told = told.unwrap().body;
    let events = told["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{told}");
    assert_eq!(
        (&events[0]["event"], &events[0]["channel"]),
        (&json!("client-x"), &json!("private-a"))
    );
    let data: Value = serde_json::from_str(events[0]["data"].as_str().unwrap()).unwrap();
    assert_eq!(data, json!({ "polite": true }), "as it was sent");
}

#[test]
fn pusher_clients_that_lose_their_app_go_a_few_at_a_time() {
    let text = "drain_spread = '2s'\n[[app]]\nid = 1\nkey = 'key'\nsecret = 'secret'\n";
    let (folder, server) = start(text);
    let mut sockets: Vec<Socket> = (0..40).map(|_| Socket::open(server.address)).collect();
    let moved = format!("{text}namespace = 'shop'\n[[namespace]]\nname = 'shop'\n");
    fs::write(folder.path().join("stentor.toml"), moved).unwrap();
    let begin = Instant::now();
    assert_eq!(post(server.admin, "/api/reload", "{}").0, 200);
    let mut ends = Vec::new();
    for socket in &mut sockets {
        assert_eq!(socket.client.close_code(), Some(4200), "it comes back");
        ends.push(begin.elapsed());
    }
    ends.sort();
    assert!(ends[39] >= Duration::from_millis(1500), "all went at once: {ends:?}");
    let mut again = Socket::open(server.address);
    again.join("news");
}
