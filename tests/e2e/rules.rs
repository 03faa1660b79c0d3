//! Rules of channels in the real server: namespaces, who is let in and who may publish, bounds of a
//! namespace's own, and a reload while clients are connected.

use std::fs;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually, get, post};

const RULES: &str = "[channels]\npublish = 'users'\n\
    [[namespace]]\nname = 'news'\npublish = 'nobody'\n\
    [[namespace]]\nname = 'staff'\nsubscribe = 'users'\npublish = 'subscribers'\npresence = false\n\
    join_leave = false\n\
    [[namespace]]\nname = 'small'\nmessage_bytes = 10\nmessages_per_second = 2\n";

/// A folder with a file of settings, and a server that was started with it.
fn start(text: &str, flags: &[&str]) -> (tempfile::TempDir, String, Server) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml").to_string_lossy().into_owned();
    fs::write(&file, text).unwrap();
    let mut all = vec!["--config", &*file];
    all.extend(flags);
    let server = Server::start(&all);
    (folder, file, server)
}

fn refused(server: &Server, target: &str) -> (u16, String) {
    Client::try_plain(server.address, target).err().unwrap_or_else(|| panic!("{target} is let in"))
}

/// The answer to a request that has an id.
fn asked(client: &mut Client, request: Value) -> Value {
    client.send(&request.to_string());
    loop {
        let answer = client.next_json();
        if answer["id"] == request["id"] {
            return answer;
        }
    }
}

fn code(client: &mut Client, request: Value) -> String {
    asked(client, request)["code"].as_str().unwrap_or("none").to_owned()
}

fn api(server: &Server, method: &str, body: &Value) -> Value {
    let (_, text) = post(server.admin, &format!("/api/{method}"), &body.to_string());
    serde_json::from_str(&text).unwrap()
}

#[test]
fn plain_clients_are_refused_and_closed_with_a_reason() {
    let (_folder, _, server) = start(RULES, &["--shards", "2"]);
    for (target, why) in [
        ("/ws?channel=other:1", "other:1: unknown namespace"),
        ("/ws?channel=staff:1", "staff:1: only clients with a user may do this here"),
        ("/ws?channel=%24room", "$room: a token that allows this is needed here"),
        (
            "/ws?channel=news:%23ann&user=bob",
            "news:#ann: this channel is for the users in its name",
        ),
    ] {
        assert_eq!(refused(&server, target), (403, why.to_owned()));
    }
    for target in ["/ws?channel=staff:1&user=ann", "/ws?channel=news:%23ann,bob&user=bob"] {
        Client::plain(server.address, target);
    }
    for (channel, text, end) in [
        ("news:1", "x", (3507, "permission denied")),
        ("lobby", "x", (3507, "permission denied")),
        ("small:1", "more than 10 bytes", (1009, "message too large")),
    ] {
        let mut client = Client::plain(server.address, &format!("/ws?channel={channel}"));
        client.send(text);
        let (frame, _) = client.closed();
        let frame = frame.unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), end, "{channel}");
    }
    let mut client = Client::plain(server.address, "/ws?channel=small:1");
    for _ in 0..2 {
        client.send("few");
        assert_eq!(client.next_text(), "few");
    }
    client.send("few");
    client.send("few");
    assert_eq!(client.close_code(), Some(1008));
    let (_, metrics) = get(server.admin, "/metrics");
    let refusals = metrics.lines().filter(|line| line.contains("reason=\"denied\""));
    let sum: u64 = refusals.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(sum, 4 + 2, "four handshakes and two closes");
}

#[test]
fn json_clients_are_told_what_rules_do_not_allow() {
    let (_folder, _, server) = start(RULES, &["--shards", "2"]);
    let (mut ann, _) = Client::json(server.address, "/ws?user=ann");
    let (mut nobody, _) = Client::json(server.address, "/ws?channel=lobby");
    let join = |channel: &str| json!({"type": "join", "channel": channel, "id": 1});
    let publish = |channel: &str, body: &str| {
        let kind = "publish";
        json!({"type": kind, "channel": channel, "body": body, "id": 2})
    };
    assert_eq!(code(&mut ann, join("other:1")), "unknown_namespace");
    assert_eq!(code(&mut ann, publish("other:1", "x")), "unknown_namespace");
    assert_eq!(
        code(&mut ann, json!({"type": "who", "channel": "other:1", "id": 3})),
        "unknown_namespace"
    );
    assert_eq!(code(&mut ann, join("$room")), "denied");
    assert_eq!(code(&mut ann, publish("$room", "x")), "denied");
    assert_eq!(code(&mut ann, publish("news:1", "x")), "denied");
    // A publisher need not be a member, unless the rules say so.
    assert_eq!(code(&mut ann, publish("lobby", "x")), "none");
    assert_eq!(code(&mut nobody, publish("lobby", "x")), "denied");
    assert_eq!(code(&mut nobody, json!({"type": "publish", "body": "x", "id": 4})), "denied");
    assert_eq!(code(&mut nobody, join("staff:1")), "denied");
    assert_eq!(code(&mut ann, publish("staff:1", "x")), "denied");
    let watch = json!({"type": "join", "channel": "staff:1", "presence": true, "id": 5});
    assert_eq!(code(&mut ann, watch), "not_available");
    assert_eq!(asked(&mut ann, join("staff:1"))["type"], "joined");
    assert_eq!(code(&mut ann, publish("staff:1", "x")), "none");
    let who = |channel: &str| json!({"type": "who", "channel": channel, "id": 6});
    assert_eq!(code(&mut ann, who("staff:1")), "not_available");
    assert_eq!(code(&mut nobody, who("news:#ann")), "denied");
    assert_eq!(asked(&mut ann, who("lobby"))["clients"], 1);
    assert_eq!(code(&mut ann, publish("small:1", "more than 10 bytes")), "too_large");
    assert_eq!(code(&mut ann, publish("small:1", "a")), "none");
    assert_eq!(code(&mut ann, publish("small:2", "b")), "none");
    let third = asked(&mut ann, publish("small:3", "c"));
    assert_eq!(
        (&third["code"], &third["text"]),
        (&json!("rate"), &json!("too many messages in this namespace"))
    );
}

#[test]
fn the_api_publishes_wherever_a_namespace_exists() {
    let (_folder, _, server) = start(RULES, &["--shards", "2"]);
    for channel in ["news:1", "lobby", "$room", "staff:1"] {
        let answer = api(&server, "publish", &json!({"channel": channel, "data": 1}));
        assert_eq!(answer["result"]["offset"], 1, "{channel}: {answer}");
    }
    let answer = api(&server, "publish", &json!({"channel": "other:1", "data": 1}));
    assert_eq!(answer["error"]["code"], 102, "{answer}");
    let answer = api(&server, "broadcast", &json!({"channels": ["news:1", "other:1"], "data": 1}));
    let responses = &answer["result"]["responses"];
    assert_eq!(
        (&responses[0]["result"]["offset"], &responses[1]["error"]["code"]),
        (&json!(2), &json!(102))
    );
}

#[test]
fn a_reload_puts_other_rules_in_force_and_keeps_members() {
    let (_folder, file, server) = start(RULES, &["--shards", "2"]);
    let (mut ann, _) = Client::json(server.address, "/ws?channel=news:1&user=ann");
    let mut plain = Client::plain(server.address, "/ws?channel=lobby&user=bob");
    let publish = json!({"type": "publish", "body": "x", "id": 1});
    assert_eq!(code(&mut ann, publish.clone()), "denied");

    fs::write(&file, "publish = 'nobody'\n[[namespace]]\nname = 'news'\n").unwrap();
    server.signal("HUP");
    eventually("the metric counts it", || {
        get(server.admin, "/metrics").1.contains("stentor_reloads_total 1")
    });
    assert_eq!(code(&mut ann, publish.clone()), "none");
    plain.send("x");
    assert_eq!(plain.close_code(), Some(3507));
    assert_eq!(refused(&server, "/ws?channel=staff:1&user=ann").0, 403);

    // The namespace goes: its member stays, hears nothing, and may do nothing.
    fs::write(&file, "[[namespace]]\nname = 'chat'\n").unwrap();
    assert_eq!(api(&server, "reload", &json!({})), json!({"result": {"namespaces": 1}}));
    assert_eq!(code(&mut ann, publish.clone()), "unknown_namespace");
    let answer = api(&server, "publish", &json!({"channel": "news:1", "data": 1}));
    assert_eq!(answer["error"]["code"], 102);

    // A broken file changes nothing and is named.
    fs::write(&file, "[channels]\npublish = 'all'\n").unwrap();
    let answer = api(&server, "reload", &json!({}));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("stentor.toml:2:11: channels: publish: \"all\" is none of"),
        "{answer}"
    );
    assert_eq!(answer["error"]["code"], 107);
    assert!(Client::try_plain(server.address, "/ws?channel=chat:1").is_ok());
    assert!(get(server.admin, "/metrics").1.contains("stentor_reload_failures_total 1"));
    eventually("the log says why", || {
        server.log().iter().any(|line| line.contains("reload failed") && line.contains(":2:11"))
    });

    // And the namespace comes back, with its member in it.
    fs::write(&file, RULES.replace("publish = 'nobody'", "publish = 'subscribers'")).unwrap();
    assert_eq!(api(&server, "reload", &json!({}))["result"]["namespaces"], 3);
    assert_eq!(code(&mut ann, publish), "none");
}

#[test]
fn a_start_where_others_can_listen_says_that_anyone_may_publish() {
    let run = |flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stentor"));
        let output = command.args(["check", "--shards", "1"]).args(flags).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let open = run(&["--listen", ":0"]);
    assert!(open.contains("ANYONE MAY PUBLISH") && open.lines().count() == 1, "{open}");
    assert_eq!(run(&["--listen", ":0", "--publish", "users"]), "");
    assert_eq!(run(&["--listen", "127.0.0.1:0"]), "");
}
