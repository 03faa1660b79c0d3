//! Presence: who is in a channel, asked by clients and by the API, with what tokens say of each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, post};
use crate::tokens::{SECRET, token};

fn api(server: &Server, method: &str, channel: &str) -> Value {
    let params = json!({ "channel": channel }).to_string();
    let (status, body) = post(server.admin, &format!("/api/{method}"), &params);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn ask(client: &mut Client, question: &Value) -> Value {
    client.send(&question.to_string());
    client.next_json()
}

fn presence(client: &mut Client, channel: &str) -> Value {
    ask(client, &json!({"type": "presence", "channel": channel, "id": 1}))
}

/// The members in an answer, by their ids.
fn members(answer: &Value) -> BTreeMap<&str, &Value> {
    let members = answer["clients"].as_array().unwrap_or_else(|| panic!("{answer}"));
    members.iter().map(|member| (member["client"].as_str().unwrap(), member)).collect()
}

#[test]
fn members_are_told_with_what_their_tokens_say() {
    let secret = ["--token-hmac-secret", SECRET, "--shards", "2", "--on-duplicate-user", "allow"];
    let server = Server::start(&secret);
    let come = |info: &str| {
        let token = token(&["--user", "ana", "--info", info]);
        Client::json(server.address, &format!("/ws?channel=room&token={token}"))
    };
    let mut all = server.on_all_shards(2, || come(r#"{"name": "Ana"}"#));
    let (mut bob, welcome) = Client::json(server.address, "/ws");
    let of_bob = welcome["client"].as_str().unwrap();
    let room = token(&["--subscription", "room", "--info", "\"a guest\""]);
    let join = json!({"type": "join", "channel": "room", "token": room, "id": 0});
    assert_eq!(ask(&mut bob, &join)["type"], "joined");

    let answer = presence(&mut all[0].0, "room");
    assert_eq!((&answer["type"], &answer["more"]), (&json!("presence"), &json!(false)), "{answer}");
    assert_eq!((&answer["count"], &answer["id"]), (&json!(all.len() + 1), &json!(1)), "{answer}");
    let told = members(&answer);
    assert_eq!(told.len(), all.len() + 1, "{answer}");
    assert_eq!(*told[of_bob], json!({"client": of_bob, "user": null, "info": "a guest"}));
    for (_, welcome) in &all {
        let id = welcome["client"].as_str().unwrap();
        assert_eq!(*told[id], json!({"client": id, "user": "ana", "info": {"name": "Ana"}}));
    }
    let answer = &api(&server, "presence", "room")["result"];
    let (id, told) = (all[0].1["client"].as_str().unwrap(), &answer["presence"]);
    let ana = json!({"client": id, "user": "ana", "conn_info": {"name": "Ana"}});
    assert_eq!(told[id], ana, "{answer}");
    let guest = json!({"client": of_bob, "user": "", "chan_info": "a guest"});
    assert_eq!(told[of_bob], guest, "{answer}");
    assert_eq!(answer.get("truncated"), None);

    let numbers = json!({"type": "presence_stats", "channel": "room", "id": "n"});
    let expected = json!({"type": "presence_stats", "channel": "room", "clients": all.len() + 1,
                          "users": 1, "exact": true, "id": "n"});
    assert_eq!(ask(&mut bob, &numbers), expected);
    // A token for a channel says nothing about its bearer in another one, nor after a leave.
    for request in ["leave", "join"] {
        ask(&mut bob, &json!({"type": request, "channel": "room", "id": 0}));
    }
    let answer = presence(&mut bob, "room");
    assert_eq!(*members(&answer)[of_bob], json!({"client": of_bob, "user": null}));
}

#[test]
fn large_channels_are_named_in_part_and_counted_whole() {
    let server = Server::start(&["--shards", "2", "--presence-names", "3"]);
    let (mut asker, _) = Client::json(server.address, "/ws");
    let come = |number: usize| {
        let target = format!("/ws?channel=room&user=u{number}");
        Client::json(server.address, &target).0
    };
    let mut all: Vec<Client> = (0..3).map(come).collect();
    let answer = presence(&mut asker, "room");
    assert_eq!((members(&answer).len(), &answer["more"]), (3, &json!(false)), "{answer}");
    all.extend((3..9).map(come));
    let answer = presence(&mut asker, "room");
    assert_eq!((members(&answer).len(), &answer["more"]), (3, &json!(true)), "{answer}");
    assert_eq!(answer["count"], 9, "{answer}");
    let answer = ask(&mut asker, &json!({"type": "presence_stats", "channel": "room"}));
    let numbers = [&answer["clients"], &answer["users"], &answer["exact"]];
    assert_eq!(numbers, [&json!(9), &json!(9), &json!(true)], "{answer}");
    let answer = api(&server, "presence_stats", "room");
    assert_eq!(answer["result"], json!({"num_clients": 9, "num_users": 9}));
    let answer = api(&server, "presence", "room");
    assert_eq!(answer["result"]["presence"].as_object().unwrap().len(), 9, "the API has its own");
}

#[test]
fn rules_say_who_may_ask() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    let rules = "[[namespace]]\nname = 'open'\n[[namespace]]\nname = 'shut'\npresence = false\n\
                 [[namespace]]\nname = 'inner'\nsubscribe = 'nobody'\n";
    std::fs::write(&file, rules).unwrap();
    let server = Server::start(&["--config", &file.display().to_string()]);
    let (mut client, _) = Client::json(server.address, "/ws");
    for (channel, code) in [
        ("open:1", None),
        ("shut:1", Some("not_available")),
        ("inner:1", Some("denied")),
        ("none:1", Some("unknown_namespace")),
        ("", Some("bad_name")),
    ] {
        for question in ["presence", "presence_stats"] {
            let answer = ask(&mut client, &json!({"type": question, "channel": channel, "id": 7}));
            let told = answer["code"].as_str();
            assert_eq!((told, &answer["id"]), (code, &json!(7)), "{channel}: {answer}");
        }
    }
    let answer = ask(&mut client, &json!({"type": "presence", "id": 8}));
    assert_eq!(answer["code"], "missing_field", "{answer}");
    for method in ["presence", "presence_stats"] {
        assert_eq!(api(&server, method, "none:1")["error"]["code"], 102, "{method}");
        assert!(api(&server, method, "shut:1")["result"].is_object(), "the API may always ask");
    }
}

#[test]
fn a_quick_return_is_no_event() {
    let secret = ["--token-hmac-secret", SECRET, "--shards", "2"];
    let server = Server::start(&[&secret[..], &["--leave-debounce", "2s"]].concat());
    let (mut watcher, _) = Client::json(server.address, "/ws");
    ask(&mut watcher, &json!({"type": "join", "channel": "room", "presence": true}));
    let come = |user: &str| {
        let token = token(&["--user", user, "--info", "{\"as\":\"guest\"}"]);
        Client::json(server.address, &format!("/ws?channel=room&token={token}")).0
    };
    let ana = come("ana");
    let joined = watcher.next_json();
    let told = [&joined["type"], &joined["user"], &joined["info"]["as"]];
    assert_eq!(told, ["joined", "ana", "guest"], "{joined}");
    ana.goodbye();
    let listed = presence(&mut watcher, "room");
    let users = |answer: &Value| {
        let told = members(answer).into_values().filter_map(|member| member["user"].as_str());
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(users(&listed), ["ana"], "she may return");
    let ana = come("ana");
    // Another one is an event, and comes behind all that the return would have caused.
    let bob = come("bob");
    assert_eq!(watcher.next_json()["user"], "bob");
    assert_eq!(server.total("quick_returns_total"), 1);
    ana.goodbye();
    let left = watcher.next_json();
    assert_eq!([&left["type"], &left["user"]], ["left", "ana"], "she has not returned");
    assert_eq!(users(&presence(&mut watcher, "room")), ["bob"]);
    drop(bob);
}

#[test]
fn watchers_of_a_large_channel_hear_how_many_there_are() {
    let server = Server::start(&["--shards", "2", "--presence-names", "3"]);
    let (mut watcher, _) = Client::json(server.address, "/ws");
    ask(&mut watcher, &json!({"type": "join", "channel": "room", "presence": true}));
    let come = || Client::json(server.address, "/ws?channel=room").0;
    let mut all: Vec<Client> = (0..12).map(|_| come()).collect();
    let mut told = vec![watcher.next_json()];
    while told.last().unwrap()["count"] != 13 {
        told.push(watcher.next_json());
    }
    let (crowd, named): (Vec<_>, Vec<_>) = told.iter().partition(|one| one["type"] == "crowd");
    assert_eq!(
        (named.len(), &crowd[0]["count"], &crowd[0]["named"]),
        (2, &json!(4), &json!(false))
    );
    assert!(crowd.len() < 5, "once a second: {crowd:?}");
    while let Some(one) = all.pop() {
        one.goodbye();
    }
    let small = std::iter::repeat_with(|| watcher.next_json()).find(|one| one["named"] == true);
    assert_eq!(small.map(|one| one["count"].clone()), Some(json!(3)));
    assert_eq!(watcher.next_json()["type"], "left");
}
