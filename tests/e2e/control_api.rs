//! The API says what it does: parameters are honoured or refused by name, a key publishes once, a
//! batch is answered command by command, and a method that is not there says so.

use std::net::SocketAddr;

use async_tungstenite::tungstenite::Message;
use serde_json::{Value, json};

use crate::client::{Client, raw};
use crate::server::{Server, get, post};

fn api(server: &Server, path: &str, body: &str) -> Value {
    let (status, text) = post(server.admin, path, body);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn code_of(server: &Server, path: &str, body: &str) -> (u64, String) {
    let answer = api(server, path, body);
    let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    (answer["error"]["code"].as_u64().unwrap_or_else(|| panic!("{answer}")), message)
}

/// A whole response, with its head; small letters only.
fn response(to: SocketAddr, head: &str) -> String {
    let rest = "\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    raw(to, format!("{head}{rest}").as_bytes()).to_ascii_lowercase()
}

#[test]
fn a_key_publishes_once_in_each_channel() {
    let server = Server::start(&["--shards", "2"]);
    let mut client = Client::plain(server.address, "/ws?channel=a");
    let publish = |channel: &str, data: u32| {
        let body = format!(r#"{{"channel":"{channel}","data":{data},"idempotency_key":"k"}}"#);
        api(&server, "/api/publish", &body)["result"].clone()
    };
    let first = publish("a", 1);
    assert_eq!((&first["offset"], publish("a", 2)), (&json!(1), first.clone()));
    let body = r#"{"channels":["a","b"],"data":3,"idempotency_key":"k"}"#;
    let responses = api(&server, "/api/broadcast", body)["result"]["responses"].clone();
    assert_eq!(responses[0]["result"], first);
    assert_eq!(responses[1]["result"], publish("b", 4));
    let other = api(&server, "/api/publish", r#"{"channel":"a","data":5}"#);
    assert_eq!(other["result"]["offset"], 2);
    assert_eq!((client.next_text(), client.next_text()), ("1".into(), "5".into()));
    let (_, metrics) = get(server.admin, "/metrics");
    assert!(metrics.contains("stentor_idempotency_replays_total 3"), "{metrics}");
    assert!(metrics.contains("stentor_idempotency_keys 2"), "{metrics}");
}

#[test]
fn requests_of_one_key_at_the_same_time_publish_once() {
    let server = Server::start(&["--shards", "2"]);
    let admin = server.admin;
    let threads: Vec<_> = (0..16)
        .map(|number| {
            let body = format!(r#"{{"channel":"a","data":{number},"idempotency_key":"k"}}"#);
            std::thread::spawn(move || post(admin, "/api/publish", &body))
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(server.total("publications_total"), 1);
}

/// A number with more digits than a double has, keys out of order, and a line end between tokens.
#[test]
fn kept_json_is_handed_on_byte_for_byte() {
    let server = Server::start(&["--history", "5"]);
    let data = "{\"z\":12345678901234567890123.4500,\n \"a\":[1e400,\"\\u00e9\"]}";
    let (status, text) =
        post(server.admin, "/api/publish", &format!(r#"{{"channel":"a","data":{data}}}"#));
    assert_eq!(status, 200, "{text}");
    let asked = r#"{"channel":"a","limit":5}"#;
    let (_, page) = post(server.admin, "/api/history", asked);
    assert!(page.contains(&format!("\"data\":{data},")), "{page}");
    let batch = format!(r#"{{"commands":[{{"history":{asked}}}]}}"#);
    let (_, replies) = post(server.admin, "/api/batch", &batch);
    assert!(replies.contains(&format!("\"data\":{data},")), "{replies}");
    let command = format!(r#"{{"id":1,"method":"history","params":{asked}}}"#);
    let (_, lines) = post(server.admin, "/api", &command);
    let in_a_line = data.replace('\n', " ");
    assert!(lines.contains(&in_a_line) && lines.lines().count() == 1, "{lines}");
}

#[test]
fn base64_is_delivered_as_bytes() {
    let server = Server::start(&[]);
    let mut client = Client::plain(server.address, "/ws?channel=a&user=bob");
    api(&server, "/api/publish", r#"{"channel":"a","b64data":"AP/+"}"#);
    let mut next = || client.next();
    assert_eq!(next(), Message::binary(vec![0, 255, 254]));
    api(&server, "/api/direct", r#"{"user":"bob","b64data":"AQ=="}"#);
    assert_eq!(next(), Message::binary(vec![1]));
    api(&server, "/api/broadcast", r#"{"channels":["a"],"b64data":"Ag==","data":""}"#);
    assert_eq!(next(), Message::binary(vec![2]));
}

#[test]
fn a_parameter_is_honoured_or_refused_by_its_name() {
    let server = Server::start(&[]);
    for (path, body, name) in [
        ("publish", r#"{"channel":"a","data":1,"tags":{"a":1}}"#, "tags"),
        ("publish", r#"{"channel":"a","data":1,"version":"2"}"#, "version"),
        ("publish", r#"{"channel":"a","data":1,"ttl":2}"#, "ttl"),
        ("publish", r#"{"channel":7,"data":1}"#, "channel"),
        ("publish", r#"{"channel":"a","data":1,"skip_history":"yes"}"#, "skip_history"),
        ("publish", r#"{"channel":"a","data":1,"b64data":"AA=="}"#, "b64data"),
        ("publish", r#"{"channel":"a","b64data":"?"}"#, "b64data"),
        ("publish", r#"{"channel":"a"}"#, "data"),
        ("publish", r#"{"data":1}"#, "channel"),
        ("publish", r#"{"channels":["a"],"data":1}"#, "channel"),
        ("publish", r#"["a",1]"#, "object"),
        ("publish", r#"{"channel":"","data":1}"#, "channel"),
        ("direct", r#"{"user":"","data":1}"#, "user"),
        ("disconnect", r#"{"client":"nobody"}"#, "client"),
        ("publish?ttl=1", r#"{"channel":"a","data":1}"#, "address"),
        ("broadcast", r#"{"channels":[],"data":1}"#, "channels"),
        ("broadcast", r#"{"channels":["a"],"data":1,"tags":["a"]}"#, "tags"),
        ("direct", r#"{"user":"bob","data":1,"idempotency_key":"k"}"#, "idempotency_key"),
        ("disconnect", r#"{"user":"bob","client":"0-1"}"#, "client"),
        ("disconnect", r#"{"user":"bob","whitelist":["0-1"]}"#, "whitelist"),
        ("disconnect", r#"{"user":"bob","disconnect":{"code":4000}}"#, "disconnect"),
        ("channels", r#"{"pattern":"*","limit":5}"#, "limit"),
        ("info", r#"{"verbose":true}"#, "verbose"),
        ("batch", r#"{"commands":[],"atomic":true}"#, "atomic"),
    ] {
        let (code, message) = code_of(&server, &format!("/api/{path}"), body);
        assert!(code == 107 && message.contains(name), "{path} {body}: {message}");
    }
    assert_eq!(server.total("publications_total"), 0);
    let lenient = r#"{"channel":"a","data":1,"skip_history":true,"tags":{},"delta":true,
                      "version":0,"b64data":"","idempotency_key":""}"#;
    assert_eq!(api(&server, "/api/publish", lenient)["result"]["offset"], 1);
    for query in ["limit=10001", "limit=x", "sort=newest", "order=oldest"] {
        let (status, text) = get(server.admin, &format!("/api/connections?{query}"));
        assert_eq!(status, 400, "{query}: {text}");
    }
}

#[test]
fn a_position_has_an_epoch_that_a_restart_changes() {
    let epoch = || {
        let server = Server::start(&[]);
        let publish = || api(&server, "/api/publish", r#"{"channel":"a","data":1}"#);
        let epoch = publish()["result"]["epoch"].as_str().unwrap().to_owned();
        assert_eq!(publish()["result"]["epoch"], epoch.as_str());
        epoch
    };
    let (first, second) = (epoch(), epoch());
    assert!(first.len() == 8 && first != second, "{first} {second}");
}

#[test]
fn a_method_that_is_not_there_says_so_in_its_shape() {
    let server = Server::start(&[]);
    let page = include_str!("../../src/control/API.md");
    for method in ["rpc", "connections", "block_user", "cancel_push"] {
        let (code, message) = code_of(&server, &format!("/api/{method}"), "{}");
        assert!(code == 108 && message.contains(method), "{method}: {message}");
        assert!(page.contains(&format!("`{method}`")), "{method} is not in API.md");
    }
    for (verb, path, status, expected) in [
        ("POST", "/api/nothing", 404, 104),
        ("GET", "/api/nothing/at/all", 404, 104),
        ("GET", "/api/publish", 405, 107),
        ("POST", "/api/stats", 405, 107),
        ("GET", "/api", 405, 107),
    ] {
        let answer = response(server.admin, &format!("{verb} {path} HTTP/1.1"));
        assert_eq!(answer[9..12].parse(), Ok(status), "{path}: {answer}");
        assert!(answer.contains("content-type: application/json"), "{path}: {answer}");
        assert!(answer.contains(&format!("\"code\":{expected}")), "{path}: {answer}");
        assert_eq!(answer.contains("\nallow: "), status == 405, "{path}: {answer}");
    }
    let transport = "POST /api/rpc HTTP/1.1\r\nX-Centrifugo-Error-Mode: transport";
    let answer = response(server.admin, transport);
    assert!(answer.starts_with("http/1.1 501") && answer.contains("{\"code\":108"), "{answer}");
}

#[test]
fn a_batch_is_answered_command_by_command() {
    let server = Server::start(&["--shards", "2"]);
    let commands = r#""commands":[{"publish":{"channel":"a","data":1}},{"rpc":{"method":"a"}},
        {"publish":{"channel":"a","data":2,"version_epoch":"x"}},{"nothing":{}},{},
        {"broadcast":{"channels":["a","b"],"data":3}},{"publish":{"channel":"a","data":4}}]"#;
    for (parallel, before) in [(false, 0), (true, 3)] {
        let body = format!(r#"{{{commands},"parallel":{parallel}}}"#);
        let replies = api(&server, "/api/batch", &body)["replies"].clone();
        let codes: Vec<&Value> = (1..5).map(|place| &replies[place]["error"]["code"]).collect();
        assert_eq!(codes, [108, 107, 104, 107], "{replies}");
        let mut offsets = [
            &replies[0]["publish"]["offset"],
            &replies[5]["broadcast"]["responses"][0]["result"]["offset"],
            &replies[6]["publish"]["offset"],
        ]
        .map(|offset| offset.as_u64().unwrap());
        if parallel {
            offsets.sort_unstable();
        }
        assert_eq!(offsets, [before + 1, before + 2, before + 3], "{replies}");
    }
    let many = vec!["{}"; 1001].join(",");
    let (code, _) = code_of(&server, "/api/batch", &format!(r#"{{"commands":[{many}]}}"#));
    assert_eq!(code, 107);
}

#[test]
fn commands_of_the_older_form_are_answered_line_by_line() {
    let server = Server::start(&[]);
    let body = r#"{"id":1,"method":"publish","params":{"channel":"a","data":1}}
        {"method":"rpc","params":{"method":"a"}}{"id":3,"method":9}"#;
    let (status, text) = post(server.admin, "/api", body);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, lines.len()), (200, 3), "{text}");
    assert_eq!((&lines[0]["id"], &lines[0]["result"]["offset"]), (&json!(1), &json!(1)));
    assert_eq!((lines[1].get("id"), &lines[1]["error"]["code"]), (None, &json!(108)));
    assert_eq!(
        (&lines[2]["id"], &lines[2]["result"]["nodes"][0]["name"]),
        (&json!(3), &json!("stentor"))
    );
    for nonsense in ["", "x", r#"{"method":"info","version":1}"#] {
        assert_eq!(post(server.admin, "/api", nonsense).0, 400, "{nonsense}");
    }
}

#[test]
fn unauthorized_requests_are_told_the_scheme() {
    let server = Server::start(&["--api-key", "secret"]);
    for path in ["/api/info", "/api/nothing", "/api"] {
        let answer = response(server.admin, &format!("POST {path} HTTP/1.1"));
        assert!(answer.starts_with("http/1.1 401"), "{answer}");
        assert!(answer.contains("www-authenticate: apikey realm=\"stentor\""), "{answer}");
    }
    for (authorization, status) in
        [("apikey secret", "200"), ("ApiKey secret", "200"), ("Bearer secret", "401")]
    {
        let head = format!("POST /api/info HTTP/1.1\r\nAuthorization: {authorization}");
        assert_eq!(&response(server.admin, &head)[9..12], status, "{authorization}");
    }
    let open = Server::start(&["--require-user"]);
    let head = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade";
    let answer = raw(open.address, format!("{head}\r\nHost: 127.0.0.1\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("\r\nWWW-Authenticate: "), "{answer}");
}

#[test]
fn the_api_stands_at_the_clients_address_with_a_key() {
    let flags = ["--public-api", "true", "--api-key", "secret", "--path-prefix", "/chat"];
    let server = Server::start(&flags);
    let key = "X-API-Key: secret";
    let status = |head: &str| response(server.address, head)[9..12].to_owned();
    for path in ["/api/info", "/chat/api/info", "/api", "/api/x/y"] {
        assert_eq!(status(&format!("POST {path} HTTP/1.1")), "401", "{path}");
    }
    let mut client = Client::plain(server.address, "/ws?channel=news");
    for path in ["/api/publish", "/chat/api/publish"] {
        let body = r#"{"channel":"news","data":"hi"}"#;
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{key}");
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw(server.address, request.as_bytes());
        assert!(answer.contains("\"offset\":"), "{answer}");
        assert_eq!(client.next_text(), "hi", "{path}");
    }
    assert_eq!(status("GET /chat/api/openapi.json HTTP/1.1"), "200");
    let other = format!("POST /api/info HTTP/1.1\r\n{key}\r\nOrigin: http://evil.example");
    assert_eq!(status(&other), "403");
    // Counters and connections are for the admin address alone.
    assert_eq!(status(&format!("GET /api/connections HTTP/1.1\r\n{key}")), "405");
    assert_eq!(status("GET /metrics HTTP/1.1"), "404");
}

#[test]
fn presence_stats_count_clients_and_users_of_all_shards() {
    let server = Server::start(&["--shards", "2", "--on-duplicate-user", "allow"]);
    let url = "/ws?channel=news&user=bob";
    let mut both = server.on_all_shards(2, || Client::json(server.address, url).0);
    both.push(Client::json(server.address, "/ws?channel=news").0);
    let answer = api(&server, "/api/presence_stats", r#"{"channel":"news"}"#);
    let expected = json!({"num_clients": both.len(), "num_users": 1});
    assert_eq!(answer["result"], expected, "{answer}");
    let answer = api(&server, "/api/presence_stats", r#"{"channel":"empty"}"#);
    assert_eq!(answer["result"], json!({"num_clients": 0, "num_users": 0}), "{answer}");
    let (code, message) = code_of(&server, "/api/presence_stats", r#"{"channel":""}"#);
    assert!(code == 107 && message.contains("channel"), "{message}");
}
