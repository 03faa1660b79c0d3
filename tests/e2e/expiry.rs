//! Subscriptions that end with their token or at the wish of the API or the backend, channels that
//! only a token opens, and what the API says about the subscriptions that it gives.

use serde_json::{Value, json};

use crate::backend::{Backend, Reply};
use crate::client::Client;
use crate::hooks::{ALL, ASKS, server as asking};
use crate::server::{Server, post};
use crate::tokens::{SECRET, token};

fn with_secret(flags: &[&str]) -> Server {
    let keys = ["--token-hmac-secret", SECRET, "--token-leeway", "0", "--ping-interval", "0"];
    Server::start(&[&keys, flags].concat())
}

fn api(server: &Server, method: &str, params: &Value) -> Value {
    let (status, text) = post(server.admin, &format!("/api/{method}"), &params.to_string());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn publish(server: &Server, channel: &str, data: u64) {
    let answer = api(server, "publish", &json!({ "channel": channel, "data": data }));
    assert!(answer["result"]["offset"].is_number(), "{answer}");
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(&request.to_string());
    client.next_json()
}

fn unix_s() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

#[test]
fn a_subscription_ends_with_its_token_and_goes_on_with_a_newer_one() {
    let server = with_secret(&["--shards", "2", "--history", "9", "--recovery"]);
    let of = |user: &str, lasts: &str| {
        token(&["--user", user, "--subscription", "$room", "--expires", lasts])
    };
    let come = |user: &str| {
        let connection = token(&["--user", user]);
        let (mut client, _) = Client::json(server.address, &format!("/ws?token={connection}"));
        let join = json!({ "type": "join", "channel": "$room", "token": of(user, "6s") });
        let joined = ask(&mut client, &join);
        assert!((1..=6).contains(&joined["expires"].as_u64().unwrap()), "{joined}");
        let expiring = client.next_json();
        assert_eq!(
            (&expiring["type"], &expiring["channel"]),
            (&json!("expiring"), &json!("$room"))
        );
        assert!(expiring["in"].as_u64().unwrap() <= 6, "{expiring}");
        client
    };
    let (mut ends, mut stays) = (come("ana"), come("bob"));
    let newer = |user: &str, lasts: &str| {
        let token = of(user, lasts);
        json!({ "type": "refresh", "channel": "$room", "token": token, "id": 1 })
    };
    let refreshed = ask(&mut stays, &newer("bob", "1h"));
    assert_eq!((&refreshed["type"], &refreshed["channel"]), (&json!("refreshed"), &json!("$room")));
    assert!(refreshed["expires"].as_u64().unwrap() > 3590, "{refreshed}");
    assert_eq!(ask(&mut ends, &newer("bob", "1h"))["code"], "bad_token", "it is bob's");
    publish(&server, "$room", 1);
    assert_eq!((&ends.next_json()["body"], &stays.next_json()["body"]), (&json!(1), &json!(1)));
    let left = ends.next_json();
    assert_eq!(left, json!({ "type": "left", "channel": "$room", "reason": "expired" }));
    publish(&server, "$room", 2);
    assert_eq!(stays.next_json()["body"], 2);
    assert_eq!(ask(&mut ends, &newer("ana", "1h"))["code"], "not_joined", "and heard nothing");
    // With another token it comes back, and has missed nothing.
    let since = json!({ "epoch": history_epoch(&server), "offset": 1 });
    let rejoin = json!({ "type": "join", "channel": "$room", "token": of("ana", "1h"),
        "since": since });
    assert_eq!(ask(&mut ends, &rejoin)["body"], 2);
    assert_eq!(ends.next_json()["recovered"], true);
    assert_eq!(server.total("expired_subscriptions_total"), 1);
    assert_eq!(server.total("refreshed_subscriptions_total"), 1);
    assert_eq!(server.total("limited_subscriptions"), 2);
}

fn history_epoch(server: &Server) -> Value {
    let found = api(server, "history", &json!({ "channel": "$room" }));
    found["result"]["epoch"].clone()
}

#[test]
fn the_api_gives_subscriptions_that_end() {
    // On one shard both clients are out at once.
    let server = Server::start(&["--shards", "1", "--on-duplicate-user", "allow"]);
    let mut plain = Client::plain(server.address, "/ws?channel=own&user=ana");
    let (mut json, _) = Client::json(server.address, "/ws?user=ana");
    let about = json!({ "user": "ana", "channel": "room", "expire_at": unix_s() + 3 });
    assert_eq!(api(&server, "subscribe", &about)["result"]["clients"], 2);
    assert_eq!(json.next_json()["reason"], "server");
    // Once more, and without an end: the first one counts.
    let again = json!({ "user": "ana", "channel": "room" });
    assert_eq!(api(&server, "subscribe", &again)["result"]["clients"], 2);
    publish(&server, "room", 1);
    assert_eq!((json.next_json()["body"].clone(), plain.next_text()), (json!(1), "1".into()));
    let left = json.next_json();
    assert_eq!(left, json!({ "type": "left", "channel": "room", "reason": "expired" }));
    publish(&server, "room", 2);
    plain.hears_nothing_before("it goes on in its own channel");
    assert_eq!(api(&server, "unsubscribe", &again)["result"]["clients"], 0);
    let past = json!({ "user": "ana", "channel": "room", "expire_at": 1 });
    assert_eq!(api(&server, "subscribe", &past)["error"]["code"], 107);
}

#[test]
fn the_api_says_something_about_the_subscriptions_that_it_gives() {
    let server = Server::start(&["--on-duplicate-user", "allow"]);
    let (mut client, welcome) = Client::json(server.address, "/ws?user=ana");
    let about = json!({ "user": "ana", "channel": "room", "info": { "seat": 7 }, "data": [1, 2],
        "override": { "force_push_join_leave": { "value": true } } });
    assert_eq!(api(&server, "subscribe", &about)["result"]["clients"], 1);
    let joined = client.next_json();
    assert_eq!((&joined["data"], &joined["reason"]), (&json!([1, 2]), &json!("server")));
    let presence = api(&server, "presence", &json!({ "channel": "room" }));
    let id = welcome["client"].as_str().unwrap();
    assert_eq!(presence["result"]["presence"][id]["chan_info"], json!({ "seat": 7 }));
    let _other = Client::plain(server.address, "/ws?channel=room&user=bob");
    let news = client.next_json();
    assert_eq!((&news["type"], &news["user"]), (&json!("joined"), &json!("bob")), "it is told");
}

#[test]
fn a_disconnect_spares_clients() {
    let server = Server::start(&["--shards", "2", "--on-duplicate-user", "allow"]);
    let come = || Client::json(server.address, "/ws?user=ana");
    let ((mut stays, welcome), (mut goes, _)) = (come(), come());
    let about = json!({ "user": "ana", "whitelist": [welcome["client"], "9-9-9"] });
    assert_eq!(api(&server, "disconnect", &about)["result"]["clients"], 1);
    assert_eq!(goes.close_code(), Some(3501));
    assert_eq!(ask(&mut stays, &json!({ "type": "ping" }))["type"], "pong");
}

#[test]
fn a_token_opens_the_channels_that_it_names_whatever_their_rules() {
    let server = with_secret(&["--subscribe", "nobody"]);
    let with = |wishes: &[&str]| {
        let target = format!("/ws?token={}", token(wishes));
        Client::json(server.address, &target)
    };
    let named = ["--user", "ana", "--join", "news", "--join", "$vip", "--join", "plans#bob,ana"];
    let (mut ana, welcome) = with(&named);
    let mut channels = vec![welcome["channel"].clone()];
    channels.extend((0..2).map(|_| ana.next_json()["channel"].clone()));
    channels.sort_by_key(ToString::to_string);
    assert_eq!(channels, [json!("$vip"), json!("news"), json!("plans#bob,ana")]);
    for channel in ["news", "$vip"] {
        assert_eq!(ask(&mut ana, &json!({ "type": "leave", "channel": channel }))["type"], "left");
        let joined = ask(&mut ana, &json!({ "type": "join", "channel": channel }));
        assert_eq!(joined["type"], "joined", "it may come back: {joined}");
    }
    assert_eq!(ask(&mut ana, &json!({ "type": "join", "channel": "other" }))["code"], "denied");
    let theirs = token(&["--user", "cid", "--join", "plans#bob,ana"]);
    let refused = Client::try_plain(server.address, &format!("/ws?token={theirs}"));
    assert_eq!(refused.map(|_| ()).unwrap_err().0, 403, "it is for these users only");
    let (mut bob, _) = with(&["--user", "bob"]);
    for channel in ["news", "$vip"] {
        let refused = ask(&mut bob, &json!({ "type": "join", "channel": channel }));
        assert_eq!(refused["code"], "denied");
    }
}

#[test]
fn a_subscription_whose_time_is_nearly_over_is_asked_about() {
    let end = unix_s() + 4;
    let backend = Backend::start(move |asked| {
        let channel = asked.body["channel"].as_str().unwrap_or_default();
        Reply::Json(match (asked.path.as_str(), channel) {
            ("/subscribe", _) => json!({"result": {"expire_at": end, "info": 1,
                "override": {"force_push_join_leave": {"value": true}}}}),
            (_, "chat:stays") => json!({"result": {"expire_at": end + 3600, "info": 2}}),
            (_, "chat:mute") => return Reply::Other(500, String::new()),
            (_, "chat:fault") => json!({"error": {"code": 7, "message": "not now"}}),
            _ => json!({"result": {"expired": true}}),
        })
    });
    let more = format!(
        "hook_on_failure = 'allow'\nhook_sub_refresh = '{}'\n",
        backend.url("/sub_refresh")
    );
    let chat = format!(
        "{ASKS}sub_refresh_hook = 'on'\n[[namespace]]\nname = 'talk'\nsubscribe_hook = 'on'\n"
    );
    let server = asking(&backend, &more, &chat);
    let (mut client, welcome) = Client::json(server.address, "/ws");
    for channel in ["chat:stays", "chat:mute", "chat:fault", "chat:goes", "talk:a"] {
        client.send(&json!({"type": "join", "channel": channel, "id": 1}).to_string());
        let joined = client.next_json();
        assert_eq!((&joined["type"], &joined["channel"]), (&json!("joined"), &json!(channel)));
        let is_told = joined["expires"].as_u64().is_some_and(|left_s| left_s <= 4);
        assert_eq!(is_told, channel == "talk:a", "the backend sees to the others: {joined}");
    }
    let mut plain = Client::plain(server.address, "/ws?channel=talk:b");
    let mut other = Client::plain(server.address, "/connection/websocket");
    other.send(r#"{"id":1,"connect":{}}"#);
    other.next_json();
    other.send(r#"{"id":2,"subscribe":{"channel":"chat:goes"}}"#);
    let reply = other.next_json();
    assert_eq!((&reply["id"], reply["subscribe"].get("ttl")), (&json!(2), None), "{reply}");
    let news = client.next_json();
    assert_eq!((&news["type"], &news["channel"]), (&json!("joined"), &json!("chat:goes")));

    let mut lost = Vec::new();
    while lost.len() < 3 {
        let told = client.next_json();
        if told["reason"] == "expired" {
            lost.push(told["channel"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(told["type"], "left", "the other one goes: {told}");
        }
    }
    lost.sort();
    assert_eq!(lost, ["chat:fault", "chat:goes", "talk:a"]);
    let mut push = other.next_json();
    if push["push"]["leave"].is_object() {
        push = other.next_json(); // The first client went before it.
    }
    assert_eq!(push["push"]["unsubscribe"]["code"], 2501, "{push}");
    assert_eq!(plain.close_code(), Some(3005), "it can join nothing else");
    let asked = backend.rest().into_iter().find(|asked| asked.path == "/sub_refresh").unwrap();
    assert_eq!((&asked.body["user"], &asked.body["encoding"]), (&json!(""), &json!("json")));
    assert!(asked.body["channel"].as_str().unwrap().starts_with("chat:"), "{}", asked.body);
    assert!(unix_s() + 1 >= end, "the others have ended in time: clocks count whole seconds");
    for channel in ["chat:stays", "chat:mute"] {
        let about = json!({"channel": channel}).to_string();
        let (_, found) = post(server.admin, "/api/presence", &about);
        let found: Value = serde_json::from_str(&found).unwrap();
        let member = &found["result"]["presence"][welcome["client"].as_str().unwrap()];
        assert_eq!(member["chan_info"], if channel == "chat:stays" { 2 } else { 1 }, "{found}");
    }
}

#[test]
fn the_answer_to_connect_speaks_about_its_channels() {
    let backend = Backend::start(|_| {
        Reply::Json(json!({"result": {"user": "ana",
            "subs": {"news": {"info": {"seat": 7}, "data": [1]}}}}))
    });
    let server = asking(&backend, ALL, "");
    let (_client, welcome) = Client::json(server.address, "/ws");
    assert_eq!((&welcome["channel"], &welcome["data"]), (&json!("news"), &json!([1])));
    let (_, found) = post(server.admin, "/api/presence", r#"{"channel":"news"}"#);
    let found: Value = serde_json::from_str(&found).unwrap();
    let member = &found["result"]["presence"][welcome["client"].as_str().unwrap()];
    assert_eq!(member["chan_info"], json!({"seat": 7}), "{found}");
}
