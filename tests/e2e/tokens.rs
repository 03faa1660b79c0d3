//! Tokens prove users: each algorithm with tokens of `PyJWT`, in each way to show one, until they
//! end or are revoked; and the log and the answers tell nothing of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::client::{Client, raw};
use crate::real_clients::python;
use crate::server::{Server, eventually, post};

pub(crate) const SECRET: &str = "a secret of the tests, which is long enough";

fn with_secret(flags: &[&str]) -> Server {
    Server::start(&[&["--token-hmac-secret", SECRET], flags].concat())
}

/// A token that our own binary makes.
pub(crate) fn token(wishes: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(["token", "--token-hmac-secret", SECRET]).args(wishes);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Keys in a folder, and tokens of `PyJWT` by algorithm.
fn of_pyjwt(folder: &Path) -> BTreeMap<String, String> {
    let output = python("tokens.py").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answer to a request with one more header.
pub(crate) fn upgrade(to: SocketAddr, target: &str, header: &str) -> String {
    let usual = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let goodbye = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
    let head = format!("GET {target} HTTP/1.1\r\n{usual}\r\n{header}\r\n\r\n");
    raw(to, &[head.as_bytes(), &goodbye].concat())
}

fn refusal(to: SocketAddr, target: &str) -> (u16, String) {
    Client::try_plain(to, target).map(|_| ()).unwrap_err()
}

fn api(server: &Server, method: &str, params: &Value) -> Value {
    let (status, body) = post(server.admin, &format!("/api/{method}"), &params.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn tokens_of_pyjwt_prove_a_user_by_each_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = of_pyjwt(folder.path());
    assert_eq!(tokens.len(), 10);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (secret, public, jwks) = (path("secret"), path("public.pem"), path("jwks.json"));
    for keys in [["--token-public-key", &public], ["--token-jwks", &jwks]] {
        let flags = [&["--token-hmac-secret-file", &secret], &keys[..]].concat();
        let server = Server::start(&flags);
        for (algorithm, token) in &tokens {
            let target = format!("/ws?token={token}");
            if algorithm == "none" {
                let why = (401, "the token is not valid here".to_owned());
                assert_eq!(refusal(server.address, &target), why);
                continue;
            }
            let (_, welcome) = Client::json(server.address, &target);
            assert_eq!(welcome["user"], "ana", "{algorithm} with {keys:?}");
        }
        assert_eq!(server.by_reason("refusals", "token"), 1);
    }
}

#[test]
fn a_token_is_shown_in_three_ways_and_never_again() {
    let server = with_secret(&["--log-level", "trace", "--require-user"]);
    let token = token(&["--user", "ana"]);
    let bearer = format!("Authorization: Bearer {token}");
    let offer = format!("Sec-WebSocket-Protocol: stentor.v1, stentor.token.{token}");
    let alone = format!("Sec-WebSocket-Protocol: stentor.token.{token}");
    let query = format!("/ws?token={token}");
    for (target, header) in
        [("/ws", &bearer), ("/ws", &offer), ("/ws", &alone), (&*query, &"X: y".to_owned())]
    {
        let answer = upgrade(server.address, target, header);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(!answer.contains("eyJ") && !answer.contains("stentor.token"), "{answer}");
        let named = answer.contains("Sec-WebSocket-Protocol: stentor.v1");
        assert_eq!(named, header == &offer, "{answer}");
    }
    let broken = format!("Authorization: Bearer {token}x");
    let answer = upgrade(server.address, "/ws", &broken);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("WWW-Authenticate: Bearer realm=\"stentor\", error=\"invalid_token\""));
    assert!(!answer.contains("eyJ"), "{answer}");
    let twice = upgrade(server.address, &query, &bearer);
    assert!(twice.starts_with("HTTP/1.1 400 ") && twice.contains("shows one token"), "{twice}");
    let log = server.start_log().join("") + &server.log().join("");
    assert!(!log.contains("eyJ") && !log.contains(SECRET), "{log}");
}

#[test]
fn users_come_from_tokens_where_a_key_is_set() {
    let server = with_secret(&["--require-user"]);
    let good = token(&["--user", "ana"]);
    let expired = token(&["--user", "ana", "--expires", "0"]);
    let text = |text: &str| text.to_owned();
    for (target, answer) in [
        ("/ws".to_owned(), (401, text("a token is required"))),
        (format!("/ws?token={expired}"), (401, text("the token has expired"))),
        ("/ws?token=".to_owned(), (401, text("the token is not valid here"))),
        (
            format!("/ws?token={good}&user=ana"),
            (400, text("the user comes from elsewhere here: leave out ?user=")),
        ),
    ] {
        assert_eq!(refusal(server.address, &target), answer, "{target}");
    }
    let long = "n".repeat(65);
    let long = format!("/ws?token={}", token(&["--user", &long]));
    assert_eq!(refusal(server.address, &long), (401, text("the token is not valid here")));
    // With the older way beside it, a token and a name must agree.
    let server = with_secret(&["--user-from", "url"]);
    let (_, welcome) = Client::json(server.address, "/ws?user=bob");
    assert_eq!(welcome["user"], "bob");
    let (_, welcome) = Client::json(server.address, &format!("/ws?token={good}&user=ana"));
    assert_eq!(welcome["user"], "ana");
    let other = refusal(server.address, &format!("/ws?token={good}&user=bob"));
    assert_eq!(other, (400, text("the user is not the one of the token")));
    // Without a key a token is any other unknown parameter.
    let server = Server::start(&[]);
    let (_, welcome) = Client::json(server.address, &format!("/ws?token={good}"));
    assert_eq!(welcome["user"], Value::Null);
}

#[test]
fn a_trusted_proxy_names_the_user() {
    let flags =
        ["--user-from", "header:X-User", "--trusted-proxies", "127.0.0.1", "--require-user"];
    let server = Server::start(&flags);
    let answer =
        upgrade(server.address, "/ws", "Sec-WebSocket-Protocol: stentor.v1\r\nx-user: ana");
    assert!(answer.contains("\"user\":\"ana\""), "{answer}");
    let answer = upgrade(server.address, "/ws", "X: y");
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("a trusted proxy"), "{answer}");
    let flags = ["--user-from", "header:X-User", "--trusted-proxies", "10.0.0.0/8"];
    let server = Server::start(&flags);
    let answer =
        upgrade(server.address, "/ws", "Sec-WebSocket-Protocol: stentor.v1\r\nX-User: ana");
    assert!(answer.contains("\"user\":null"), "this peer is not trusted: {answer}");
}

#[test]
fn a_client_is_told_before_its_token_ends_and_goes_on_with_a_newer_one() {
    let server = with_secret(&["--ping-interval", "0"]);
    let short = |user| token(&["--user", user, "--expires", "3s"]);
    let (mut ends, _) = Client::json(server.address, &format!("/ws?token={}", short("ana")));
    let mut plain = Client::plain(server.address, &format!("/ws?token={}", short("cid")));
    let (mut stays, _) = Client::json(server.address, &format!("/ws?token={}", short("bob")));
    for client in [&mut ends, &mut stays] {
        let news = client.next_json();
        let left = news["in"].as_u64().unwrap();
        assert!(news["type"] == "expiring" && left <= 3, "{news}");
    }
    let refresh = |client: &mut Client, user: &str| {
        let token = token(&["--user", user]);
        client.send(&json!({ "type": "refresh", "token": token, "id": 1 }).to_string());
        client.next_json()
    };
    let other = refresh(&mut ends, "bob");
    assert_eq!((&other["code"], &other["id"]), (&json!("bad_token"), &json!(1)));
    assert_eq!(refresh(&mut ends, "ana")["code"], "rate", "one a second");
    let granted = refresh(&mut stays, "bob");
    assert_eq!((&granted["type"], &granted["id"]), (&json!("refreshed"), &json!(1)));
    assert!(granted["expires"].as_u64().unwrap() > 3500, "{granted}");
    for client in [&mut ends, &mut plain] {
        let (frame, _) = client.closed();
        let frame = frame.unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3005, "expired"));
    }
    stays.send(r#"{"type":"ping","id":9}"#);
    assert_eq!(stays.next_json()["type"], "pong");
    assert_eq!(server.by_reason("disconnects", "expired"), 2);
    let (mut without, _) = Client::json(server.address, "/ws");
    without.send(&json!({ "type": "refresh", "token": token(&["--user", "bob"]) }).to_string());
    assert_eq!(without.next_json()["code"], "bad_token", "it came without one");
}

#[test]
fn revoked_tokens_are_refused_and_their_clients_closed() {
    let server = with_secret(&["--shards", "2", "--on-duplicate-user", "allow"]);
    let (one, two) = (token(&["--user", "ana"]), token(&["--user", "ana", "--id", "second"]));
    let target = |token: &str| format!("/ws?token={token}");
    let open = |token: &str| Client::json(server.address, &target(token)).0;
    let mut firsts: Vec<Client> = (0..8).map(|_| open(&one)).collect();
    let mut second = open(&two);
    let mut bob = open(&token(&["--user", "bob"]));
    let closed = |clients: u64| json!({ "result": { "clients": clients } });
    assert_eq!(api(&server, "revoke", &json!({ "token": "second" })), closed(1));
    assert_eq!(second.close_code(), Some(3502));
    assert_eq!(refusal(server.address, &target(&two)), (401, "the token was revoked".into()));
    assert_eq!(api(&server, "revoke", &json!({ "user": "ana", "issued_before": 5 })), closed(0));
    let far = json!({ "user": "ana", "issued_before": 9_000_000_000_u64 });
    assert_eq!(api(&server, "revoke", &far), closed(8));
    for first in &mut firsts {
        assert_eq!(first.close_code(), Some(3502));
    }
    assert_eq!(refusal(server.address, &target(&one)), (401, "the token was revoked".into()));
    bob.send(r#"{"type":"ping"}"#);
    assert_eq!(bob.next_json()["type"], "pong");
    assert_eq!(server.by_reason("disconnects", "revoked"), 9);
    assert_eq!(server.by_shard("revocations"), [2, 2]);
}

#[test]
fn the_api_ends_clients_by_token_and_sets_their_end() {
    let server = with_secret(&["--on-duplicate-user", "allow"]);
    let open = |user: &str, id: &str| {
        let token = token(&["--user", user, "--id", id]);
        Client::json(server.address, &format!("/ws?token={token}")).0
    };
    let clients = |clients: u64| json!({ "result": { "clients": clients } });
    let (mut a, mut b, mut c) = (open("ana", "a"), open("ana", "b"), open("cid", "c"));
    assert_eq!(api(&server, "disconnect", &json!({ "token": "a" })), clients(1));
    assert_eq!(a.close_code(), Some(3501));
    assert_eq!(api(&server, "refresh", &json!({ "user": "ana", "expired": true })), clients(1));
    assert_eq!(b.close_code(), Some(3005));
    let end = json!({ "user": "cid", "expire_at": 1 });
    assert_eq!(api(&server, "refresh", &end), clients(1));
    assert_eq!(c.close_code(), Some(3005));
    let (mut anonymous, welcome) = Client::json(server.address, "/ws");
    let end = json!({ "client": welcome["client"], "expire_at": 1 });
    assert_eq!(api(&server, "refresh", &end), clients(1));
    assert_eq!(anonymous.close_code(), Some(3005));
    assert_eq!(api(&server, "refresh", &json!({ "user": "nobody" })), clients(0));

    let mut own = open("dan", "d");
    let mut other = Client::plain(server.address, "/connection/websocket");
    let connect = json!({ "token": token(&["--user", "dan"]) });
    other.send(&json!({ "id": 1, "connect": connect }).to_string());
    assert!(other.next_json()["connect"].is_object());
    let end = json!({ "user": "dan", "expire_at": 9_000_000_000_u64 });
    assert_eq!(api(&server, "refresh", &end), clients(2));
    let (told, pushed) = (own.next_json(), other.next_json());
    assert!(told["type"] == "refreshed" && told["expires"].as_u64() > Some(1 << 30), "{told}");
    let refresh = &pushed["push"]["refresh"];
    assert!(refresh["expires"] == true && refresh["ttl"].as_u64() > Some(1 << 30), "{pushed}");
    assert_eq!(api(&server, "refresh", &json!({ "user": "dan" })), clients(2));
    assert_eq!(own.next_json(), json!({ "type": "refreshed", "expires": null }));
    assert_eq!(other.next_json(), json!({ "push": { "refresh": {} } }));
}

#[test]
fn the_server_subscribes_a_client_to_the_channels_of_its_token() {
    let server = with_secret(&["--shards", "2"]);
    let joins = ["--user", "ana", "--join", "news", "--join", "lobby", "--join", "chat:1"];
    let token = token(&joins);
    let (mut json, welcome) =
        Client::json(server.address, &format!("/ws?channel=lobby&token={token}"));
    assert_eq!(welcome["channel"], "lobby");
    for channel in ["chat:1", "news"] {
        let joined = json.next_json();
        assert_eq!((&joined["type"], &joined["channel"]), (&json!("joined"), &json!(channel)));
        assert!(joined["epoch"].is_string() && joined["id"].is_null(), "{joined}");
    }
    let mut plain = Client::plain(
        server.address,
        &format!("/ws?echo=false&token={}", self::token(&["--user", "bob", "--join", "news"])),
    );
    let mut lobby = Client::plain(server.address, "/ws");
    let published = json!({ "channel": "news", "data": "hi" });
    assert!(api(&server, "publish", &published)["result"]["offset"].is_number());
    assert_eq!(json.next_json()["body"], "hi");
    assert_eq!(plain.next_text(), "hi");
    lobby.hears_nothing_before("not of the news");
    // What it says itself goes to the first of them.
    plain.send("from bob");
    let heard = json.next_json();
    let heard = if heard["channel"] == "lobby" { json.next_json() } else { heard };
    assert_eq!((&heard["channel"], &heard["body"]), (&json!("news"), &json!("from bob")));
}

/// Serves a key set, but to the first that asks for it.
fn serve_jwks(set: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let statuses = std::iter::once(500).chain(std::iter::repeat(200));
        for (mut socket, status) in listener.incoming().map_while(Result::ok).zip(statuses) {
            let mut head = [0; 4096];
            let _ = socket.read(&mut head);
            let length = set.len();
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
            let _ = socket.write_all((head + &set).as_bytes());
        }
    });
    address
}

#[test]
fn a_key_set_is_fetched_and_a_client_with_an_unknown_key_is_asked_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = of_pyjwt(folder.path());
    let set = std::fs::read_to_string(folder.path().join("jwks.json")).unwrap();
    let jwks = serve_jwks(set);
    let server = Server::start(&["--token-jwks", &format!("http://{jwks}/keys")]);
    let target = format!("/ws?token={}", tokens["ES256"]);
    let again = (503, "the key of this token is not known yet: try again".to_owned());
    assert_eq!(refusal(server.address, &target), again);
    let answer = upgrade(server.address, &target, "X: y");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    let opened = OnceLock::new();
    eventually("the key is known", || match Client::try_plain(server.address, &target) {
        Ok(client) => opened.set(client).is_ok(),
        Err(refusal) => {
            assert_eq!(refusal, again);
            false
        }
    });
    // The set is fresh, and does not know these: there is no reason to come again.
    let wrong = (401, "the token is not valid here".to_owned());
    for algorithm in ["HS256", "none"] {
        let target = format!("/ws?token={}", tokens[algorithm]);
        assert_eq!(refusal(server.address, &target), wrong, "{algorithm}");
    }
    let (_, metrics) = crate::server::get(server.admin, "/metrics");
    let count = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(count("stentor_token_key_fetches_total ") >= 2.0, "{metrics}");
    assert!(count("stentor_token_key_fetch_failures_total ") >= 1.0, "{metrics}");
}

#[test]
fn tokens_open_channels_that_are_closed_to_others() {
    let server = with_secret(&["--subscribe", "token", "--publish", "token"]);
    let with = |wishes: &[&str]| {
        let target = format!("/ws?token={}", token(wishes));
        Client::json(server.address, &target).0
    };
    let (ann, bob) = (["--user", "ann", "--channel", "news*"], ["--user", "bob"]);
    let (mut ann, mut bob) = (with(&ann), with(&bob));
    let ask = |client: &mut Client, request: &str| {
        client.send(request);
        client.next_json()
    };
    assert_eq!(ask(&mut ann, r#"{"type":"join","channel":"news"}"#)["type"], "joined");
    assert_eq!(ask(&mut ann, r#"{"type":"join","channel":"other"}"#)["code"], "denied");
    assert_eq!(ask(&mut bob, r#"{"type":"join","channel":"news"}"#)["code"], "denied");
    assert_eq!(ask(&mut bob, r#"{"type":"publish","channel":"news","body":1}"#)["code"], "denied");

    let join = |channel: &str, token: &str| {
        format!(r#"{{"type":"join","channel":"{channel}","token":"{token}"}}"#)
    };
    let for_bob = token(&["--user", "bob", "--subscription", "$secret"]);
    assert_eq!(ask(&mut bob, &join("$secret", &for_bob))["type"], "joined");
    assert_eq!(ask(&mut bob, &join("$other", &for_bob))["code"], "bad_token");
    assert_eq!(ask(&mut ann, &join("$secret", &for_bob))["code"], "bad_token", "it is bob's");
    let published = ask(&mut ann, r#"{"type":"publish","channel":"news","body":1}"#);
    assert_eq!(published["type"], "message");
    assert_eq!(refusal(server.address, "/ws?channel=news").0, 403);
}
