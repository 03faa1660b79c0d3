//! The application's backend decides: who connects, subscribes, publishes and calls, in every
//! dialect; and what holds where it is slow, broken or gone.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Asked, Backend, Reply};
use crate::client::Client;
use crate::real_clients::{node, run};
use crate::server::{Server, eventually};

/// A server whose settings stand in a file, with a namespace `chat` that asks the backend.
pub(crate) fn server(backend: &Backend, more: &str, chat: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    write_settings(&file, backend, more, chat);
    Server::start(&["--shards", "2", "--config", file.to_str().unwrap()])
}

fn write_settings(file: &Path, backend: &Backend, more: &str, chat: &str) {
    let [connect, subscribe, publish, rpc] =
        ["connect", "subscribe", "publish", "rpc"].map(|kind| backend.url(&format!("/{kind}")));
    let text = format!(
        "hook_subscribe = '{subscribe}'\nhook_publish = '{publish}'\n{}\n\
         [[namespace]]\nname = 'chat'\n{chat}\n",
        more.replace("CONNECT", &connect).replace("RPC", &rpc)
    );
    std::fs::write(file, text).unwrap();
}

pub(crate) const ALL: &str = "hook_connect = 'CONNECT'\nhook_rpc = 'RPC'\n\
    hook_headers = ['Cookie']\nhook_static_headers = 'X-Key: secret-of-the-backend'\n\
    hook_meta = true\n";
pub(crate) const ASKS: &str = "subscribe_hook = 'on'\npublish_hook = 'on'\n";

/// Lets `ana` in by her cookie, and nobody into channels with `secret` in their names.
fn strict(asked: &Asked) -> Reply {
    let channel = asked.body["channel"].as_str().unwrap_or_default();
    Reply::Json(match asked.path.as_str() {
        "/connect" if asked.headers.get("cookie").is_some_and(|cookie| cookie == "who=ana") => {
            json!({"result": {"user": "ana", "meta": {"plan": "gold"}, "data": {"hello": "ana"}}})
        }
        "/connect" => json!({"error": {"code": 1001, "message": "who are you?"}}),
        "/subscribe" if channel.contains("secret") => {
            json!({"error": {"code": 403, "message": "not \"you\""}})
        }
        "/subscribe" if channel.contains("banned") => {
            json!({"disconnect": {"code": 4700, "reason": "banned"}})
        }
        "/subscribe" => json!({"result": {"info": {"colour": "red"}, "data": {"topic": "hooks"}}}),
        "/publish" if asked.body["data"] == "bad" => {
            json!({"error": {"code": 7, "message": "bad"}})
        }
        "/publish" if asked.body["data"] == "rude" => {
            json!({"result": {"data": "polite", "tags": {"by": "backend"}}})
        }
        "/publish" => json!({"result": {}}),
        "/rpc" => {
            json!({"result": {"data": {"method": asked.body["method"], "got": asked.body["data"]}}})
        }
        other => json!({"error": {"code": 404, "message": other}}),
    })
}

#[test]
fn a_json_client_is_asked_about_at_each_step() {
    let backend = Backend::start(strict);
    let server = server(&backend, ALL, ASKS);
    let refused = Client::try_json(server.address, "/ws", &[]).map(|_| ()).unwrap_err();
    assert_eq!(refused, (403, "who are you?".to_owned()));
    assert_eq!(backend.next().path, "/connect");

    let (mut client, welcome) =
        Client::try_json(server.address, "/ws", &[("Cookie", "who=ana"), ("X-Other", "1")])
            .unwrap();
    assert_eq!((&welcome["user"], &welcome["data"]), (&json!("ana"), &json!({"hello": "ana"})));
    let asked = backend.next();
    assert_eq!(asked.headers["x-key"], "secret-of-the-backend");
    assert!(!asked.headers.contains_key("x-other"), "only listed headers pass");
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(
        asked.body,
        json!({"client": welcome["client"], "transport": "websocket", "protocol": "json",
            "encoding": "json"})
    );

    client.send(r#"{"type":"join","channel":"chat:a","data":{"n" : 1},"id":1}"#);
    let joined = client.next_json();
    assert_eq!((&joined["type"], &joined["data"]), (&json!("joined"), &json!({"topic": "hooks"})));
    let asked = backend.next();
    let expected = json!({"client": welcome["client"], "transport": "websocket",
        "protocol": "json", "encoding": "json", "user": "ana", "channel": "chat:a",
        "data": {"n": 1}, "meta": {"plan": "gold"}});
    assert_eq!((asked.path.as_str(), asked.body), ("/subscribe", expected));
    assert!(asked.text.contains(r#"{"n" : 1}"#), "data pass byte for byte: {}", asked.text);
    assert_eq!(asked.headers["cookie"], "who=ana", "as when it came");

    client.send(r#"{"type":"join","channel":"chat:secret","id":2}"#);
    assert_eq!(
        client.next_json(),
        json!({"type": "error", "code": "rejected", "status": 403, "temporary": false,
            "text": "not \"you\"", "id": 2})
    );
    for (body, said) in [("bad", None), ("rude", Some("polite")), ("fine", Some("fine"))] {
        client.send(
            &json!({"type": "publish", "channel": "chat:a", "body": body, "id": body}).to_string(),
        );
        let mut answers = vec![client.next_json()];
        if said.is_some() {
            answers.push(client.next_json());
        }
        let kinds: Vec<&str> = answers.iter().map(|one| one["type"].as_str().unwrap()).collect();
        let Some(said) = said else {
            assert_eq!(
                (&answers[0]["code"], &answers[0]["status"]),
                (&json!("rejected"), &json!(7))
            );
            continue;
        };
        assert!(kinds.contains(&"ack") && kinds.contains(&"message"), "{answers:?}");
        let message = answers.iter().find(|one| one["type"] == "message").unwrap();
        assert_eq!(message["body"], said);
        assert_eq!(message["from"]["user"], "ana");
        assert_eq!(message["tags"]["by"] == "backend", body == "rude");
    }
    client.send(r#"{"type":"rpc","method":"sum","body":[1,2],"id":9}"#);
    assert_eq!(
        client.next_json(),
        json!({"type": "rpc", "body": {"method": "sum", "got": [1, 2]}, "id": 9})
    );
    client.send(r#"{"type":"join","channel":"chat:banned","id":10}"#);
    let (frame, _) = client.closed();
    let frame = frame.unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4700, "banned"));
    eventually("it is counted", || server.by_reason("disconnects", "dismissed") == 1);
    assert_eq!(server.total("hook_denials_total"), 4);
}

#[test]
fn real_clients_npm_centrifuge_meets_the_backend() {
    let backend = Backend::start(|asked| {
        let data = asked.body["data"].clone();
        match asked.path.as_str() {
            "/connect" if data["who"] == "ana" => Reply::Json(json!({"result": {
                "user": "ana", "info": {"name": "Ana"},
                "data": {"hello": "ana", "name": asked.body["name"],
                    "version": asked.body["version"]}}})),
            "/subscribe" if asked.body["channel"] == "chat:a" => Reply::Json(json!({"result": {
                "info": {"colour": "red"}, "data": {"topic": "hooks", "got": data}}})),
            _ => strict(asked),
        }
    });
    let server = server(&backend, ALL, &format!("{ASKS}presence = true\n"));
    let mut command = node("hooks.mjs");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn requests_behind_a_question_wait_for_its_answer() {
    let backend = Backend::start(|asked| match asked.body["method"].as_str() {
        Some("slow") => Reply::Late(Duration::from_millis(200), json!({"result": {}})),
        _ => strict(asked),
    });
    let server = server(&backend, "hook_rpc = 'RPC'\n", ASKS);
    let (mut client, _) = Client::json(server.address, "/ws");
    for (method, id) in [("slow", 1), ("fast", 2)] {
        client.send(&json!({"type": "rpc", "method": method, "id": id}).to_string());
    }
    for n in 0..50 {
        client.send(&json!({"type": "ping", "id": 10 + n}).to_string());
    }
    let ids: Vec<u64> = (0..52).map(|_| client.next_json()["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2].into_iter().chain(10..60).collect::<Vec<_>>());
}

#[test]
fn a_plain_client_is_asked_about_when_it_comes_and_when_it_speaks() {
    let backend = Backend::start(strict);
    let server = server(&backend, ALL, ASKS);
    let cookie = [("Cookie", "who=ana")];
    let refused = |target: &str, headers: &[(&str, &str)]| {
        Client::try_plain_with(server.address, target, headers).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused("/ws?channel=chat:a", &[]), (403, "who are you?".to_owned()));
    assert_eq!(refused("/ws?channel=chat:secret", &cookie), (403, "not \"you\"".to_owned()));
    assert_eq!(refused("/ws?channel=chat:banned", &cookie), (403, "banned".to_owned()));
    let target = "/ws?channel=chat:a";
    let mut client = Client::try_plain_with(server.address, target, &cookie).unwrap();
    client.send("rude");
    assert_eq!(client.next_text(), "polite");
    client.send("bad");
    assert_eq!(client.close_code(), Some(3507));
    let paths: Vec<String> = backend.rest().into_iter().map(|asked| asked.path).collect();
    let expected = [
        "connect",
        "connect",
        "subscribe",
        "connect",
        "subscribe",
        "connect",
        "subscribe",
        "publish",
        "publish",
    ];
    assert_eq!(paths, expected.map(|kind| format!("/{kind}")));
    let mut other = Client::try_plain_with(server.address, target, &cookie).unwrap();
    other.send_binary(&[0, 255]);
    assert_eq!(other.next().into_data()[..], [0, 255]);
    let asked = backend.rest().pop().unwrap();
    assert_eq!(
        (&asked.body["encoding"], &asked.body["b64data"]),
        (&json!("binary"), &json!("AP8="))
    );
}

/// A backend's way to fail.
type Fault = Box<dyn Fn() -> Reply + Send + Sync>;

#[test]
fn without_an_answer_requests_are_refused_for_now_or_the_rules_decide() {
    let huge = "x".repeat(1 << 20);
    let faults: [(&str, Fault); 6] = [
        ("500", Box::new(|| Reply::Other(500, "{}".into()))),
        ("garbage", Box::new(|| Reply::Other(200, "<html>".into()))),
        ("huge", Box::new(move || Reply::Other(200, huge.clone()))),
        ("hangup", Box::new(|| Reply::Hangup)),
        ("late", Box::new(|| Reply::Late(Duration::from_secs(3), json!({"result": {}})))),
        ("unsound", Box::new(|| Reply::Json(json!({"result": {"info": 1, "expire_at": "x"}})))),
    ];
    let backend = Backend::start(move |asked: &Asked| {
        let name = asked.body["channel"].as_str().unwrap_or_default().trim_start_matches("chat:");
        let found = faults.iter().find(|(fault, _)| *fault == name);
        found.map_or_else(|| strict(asked), |(_, reply)| reply())
    });
    let names = ["500", "garbage", "huge", "hangup", "late", "unsound"];
    for on_failure in ["deny", "allow"] {
        let more = format!("hook_timeout = '500ms'\nhook_on_failure = '{on_failure}'\n");
        let server = server(&backend, &more, ASKS);
        let (mut client, _) = Client::json(server.address, "/ws");
        for name in names {
            let channel = format!("chat:{name}");
            client.send(&json!({"type": "join", "channel": channel, "id": 1}).to_string());
            let answer = client.next_json();
            if on_failure == "deny" {
                assert_eq!(
                    (&answer["status"], &answer["temporary"]),
                    (&json!(100), &json!(true)),
                    "{name}: {answer}"
                );
            } else {
                assert_eq!(answer["type"], "joined", "{name}: {answer}");
            }
            client.send(
                &json!({"type": "publish", "channel": channel, "body": 1, "id": 2}).to_string(),
            );
            let answer = client.next_json();
            let is_refused = answer["type"] == "error";
            assert_eq!(is_refused, on_failure == "deny", "{name}: {answer}");
            if !is_refused {
                client.next_json();
            }
        }
        assert_eq!(server.total("hook_unanswered_total"), 12);
        let refused = metric(&server, "stentor_hook_failures_total{hook=\"subscribe\"}");
        assert!((refused - 6.0).abs() < 0.1, "{refused}");
    }
    // Rules that need more than nothing hold where nobody answers.
    let more = "hook_timeout = '500ms'\nhook_on_failure = 'allow'\n";
    let server = server(&backend, more, &format!("{ASKS}subscribe = 'users'\n"));
    let (mut client, _) = Client::json(server.address, "/ws");
    client.send(r#"{"type":"join","channel":"chat:500","id":1}"#);
    assert_eq!(client.next_json()["code"], "denied");
}

pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    let (_, text) = crate::server::get(server.admin, "/metrics");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_backend_that_fails_is_left_alone_for_a_while_and_tried_again() {
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&is_up);
    let backend = Backend::start(move |_| {
        let up = seen.load(std::sync::atomic::Ordering::Relaxed);
        if up { Reply::Json(json!({"result": {}})) } else { Reply::Other(503, String::new()) }
    });
    let more = "hook_breaker_failures = 3\nhook_breaker_pause = '2s'\n";
    let server = server(&backend, more, ASKS);
    let (mut client, _) = Client::json(server.address, "/ws");
    let mut join = |n: u64| -> Value {
        client.send(&json!({"type": "join", "channel": format!("chat:{n}"), "id": n}).to_string());
        client.next_json()
    };
    for n in 0..6 {
        assert_eq!(join(n)["status"], 100);
    }
    let asked = backend.rest().len();
    assert!((3..=4).contains(&asked), "{asked} of 6 went out");
    assert!(metric(&server, "stentor_hook_breaker_openings_total{hook=\"subscribe\"}") >= 1.0);
    assert!(metric(&server, "stentor_hook_held_back_total{hook=\"subscribe\"}") >= 2.0);
    is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut n = 10;
    eventually("the backend is asked again", || {
        n += 1;
        join(n)["type"] == "joined"
    });
    assert_eq!(join(9)["type"], "joined");
}

#[test]
fn a_client_whose_time_is_nearly_over_is_asked_about() {
    let end = unix_s() + 2;
    let backend = Backend::start(move |asked| {
        Reply::Json(match (asked.path.as_str(), asked.headers.get("cookie").map(String::as_str)) {
            ("/connect", who) => json!({"result": {"user": who, "expire_at": end}}),
            (_, Some("stays")) => json!({"result": {"expire_at": end + 3600}}),
            _ => json!({"result": {"expired": true}}),
        })
    });
    let refresh = format!("hook_refresh = '{}'\n{ALL}", backend.url("/refresh"));
    let server = server(&backend, &refresh, ASKS);
    let (mut stays, _) = Client::try_json(server.address, "/ws", &[("Cookie", "stays")]).unwrap();
    let (mut goes, _) = Client::try_json(server.address, "/ws", &[("Cookie", "goes")]).unwrap();
    let mut plain = Client::try_plain_with(server.address, "/ws", &[("Cookie", "plain")]).unwrap();
    let path = "/connection/websocket";
    let mut other = Client::try_plain_with(server.address, path, &[("Cookie", "other")]).unwrap();
    other.send(r#"{"id":1,"connect":{}}"#);
    let reply = other.next_json();
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    assert!(reply["connect"].get("ttl").is_none(), "it has no token to refresh: {reply}");
    for client in [&mut goes, &mut plain, &mut other] {
        assert_eq!(client.close_code(), Some(3005));
    }
    eventually("the first end has passed", || {
        stays.send(r#"{"type":"ping"}"#);
        assert_eq!(stays.next_json()["type"], "pong");
        unix_s() > end + 1
    });
    let asked = backend.rest();
    let refreshed = asked.iter().find(|asked| asked.path == "/refresh").unwrap();
    assert!(refreshed.body["user"].is_string(), "{refreshed:?}");
}

fn unix_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn a_reload_puts_other_hooks_in_force() {
    let backend = Backend::start(strict);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    write_settings(&file, &backend, "", "");
    let server = Server::start(&["--shards", "2", "--config", file.to_str().unwrap()]);
    let (mut client, _) = Client::json(server.address, "/ws");
    client.send(r#"{"type":"join","channel":"chat:secret","id":1}"#);
    assert_eq!(client.next_json()["type"], "joined", "nobody is asked");
    write_settings(
        &file,
        &backend,
        ALL,
        &format!("subscribe_hook = '{}'\n", backend.url("/subscribe")),
    );
    server.signal("HUP");
    eventually("the backend is asked about clients", || {
        Client::try_json(server.address, "/ws", &[]).is_err()
    });
    client.send(r#"{"type":"join","channel":"chat:secret2","id":2}"#);
    assert_eq!(client.next_json()["status"], 403, "at the endpoint of the namespace");
    assert!(server.log().iter().all(|line| !line.contains("read at start only")));
}

#[test]
fn secrets_and_headers_stand_in_no_log_and_no_page() {
    let backend = Backend::start(|_| Reply::Other(500, String::new()));
    let server = server(&backend, &format!("log_level = 'trace'\n{ALL}"), ASKS);
    let headers = [("Cookie", "who=ana-and-her-password")];
    assert!(Client::try_json(server.address, "/ws", &headers).is_err());
    assert_eq!(backend.next().headers["cookie"], "who=ana-and-her-password");
    let mut log = Vec::new();
    eventually("the failure is logged", || {
        log.extend(server.log());
        log.iter().any(|line| line.contains("the backend did not answer"))
    });
    for line in &log {
        assert!(!line.contains("secret-of-the-backend") && !line.contains("password"), "{line}");
    }
}
