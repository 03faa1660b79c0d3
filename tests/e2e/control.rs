//! The control plane: health, metrics, statistics and the API, and what a key keeps out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, get, post, request};

fn api(server: &Server, path: &str, body: &str) -> Value {
    let (status, text) = post(server.admin, path, body);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_page_and_its_files() {
    let server = Server::start(&[]);
    let (status, page) = get(server.address, "/");
    assert_eq!(status, 200);
    assert!(page.contains("<html"), "{page:.100}");
    for file in ["/stentor.js", "/stentor.d.ts", "/chat.js", "/style.css"] {
        assert_eq!(get(server.address, file).0, 200, "{file}");
    }
    assert_eq!(get(server.address, "/health").0, 200);
    assert_eq!(get(server.address, "/../Cargo.toml").0, 404);
    assert_eq!(get(server.address, "/api/stats").0, 404, "the API is not public");
    assert_eq!(post(server.address, "/", "x").0, 405);
    assert_eq!(get(server.admin, "/ready").0, 200);
}

#[test]
fn publishing_through_the_api() {
    let server = Server::start(&["--shards", "2"]);
    let (mut json, _) = Client::json(server.address, "/ws?channel=news&user=bob");
    let mut plain = Client::plain(server.address, "/ws?channel=news");
    let answer = api(&server, "/api/publish", r#"{"channel":"news","data":{"a" : 1}}"#);
    assert_eq!(answer["result"]["offset"], 1);
    assert_eq!(plain.next_text(), r#"{"a" : 1}"#);
    let message = json.next_json();
    assert_eq!((&message["from"], &message["offset"]), (&Value::Null, &1.into()));

    let answer = api(&server, "/api/broadcast", r#"{"channels":["news","else"],"data":2}"#);
    assert_eq!(answer["result"]["responses"][0]["result"]["offset"], 2);
    assert_eq!(plain.next_text(), "2");
    assert_eq!(json.next_json()["body"], 2);

    let answer = api(&server, "/api/direct", r#"{"user":"bob","data":"psst"}"#);
    assert_eq!(answer, json!({"result": {"clients": 1}}));
    assert_eq!(json.next_json()["direct"], true);
    assert_eq!(api(&server, "/api/direct", r#"{"user":"x","data":1}"#)["error"]["code"], 107);

    let channels = api(&server, "/api/channels", "{}");
    assert_eq!(channels["result"]["channels"]["news"]["num_clients"], 2);
    let info = api(&server, "/api/info", "");
    assert_eq!(info["result"]["nodes"][0]["num_clients"], 2);
    assert_eq!(info["result"]["nodes"][0]["num_users"], 1);

    let answer = api(&server, "/api/disconnect", r#"{"user":"bob"}"#);
    assert_eq!(answer, json!({"result": {"clients": 1}}));
    assert_eq!(json.close_code(), Some(3501));
}

#[test]
fn requests_that_make_no_sense() {
    let server = Server::start(&["--message-bytes", "1000"]);
    assert_eq!(post(server.admin, "/api/publish", "nonsense").0, 400);
    assert_eq!(api(&server, "/api/publish", r#"{"channel":"","data":1}"#)["error"]["code"], 107);
    let large = format!(r#"{{"channel":"x","data":"{}"}}"#, "x".repeat(2000));
    assert_eq!(api(&server, "/api/publish", &large)["error"]["code"], 107);
    let huge = format!(r#"{{"channel":"x","data":"{}"}}"#, "x".repeat(200_000));
    assert_eq!(post(server.admin, "/api/publish", &huge).0, 413);
    assert_eq!(api(&server, "/api/disconnect", "{}")["error"]["code"], 107);
    let endless = format!(r#"{{"pattern":"{}"}}"#, "*a".repeat(1000));
    assert_eq!(api(&server, "/api/channels", &endless)["error"]["code"], 107);
    assert_eq!(get(server.admin, "/api/nothing").0, 404);
}

#[test]
fn a_key_is_asked_for() {
    let server = Server::start(&["--api-key", "secret"]);
    let with = |key: &str| {
        let head = format!("POST /api/publish HTTP/1.1\r\nX-API-Key: {key}");
        request(server.admin, &head, r#"{"channel":"x","data":1}"#).0
    };
    assert_eq!((with("secret"), with("secreT"), with("")), (200, 401, 401));
    assert_eq!(get(server.admin, "/api/stats").0, 401);
    assert_eq!(get(server.admin, "/metrics").0, 200);
    assert!(server.log().iter().all(|line| !line.contains("secret")));
}

#[test]
fn a_page_of_another_origin_publishes_nothing() {
    let server = Server::start(&[]);
    let with = |origin: &str| {
        let head = format!("POST /api/publish HTTP/1.1\r\nOrigin: {origin}");
        request(server.admin, &head, r#"{"channel":"x","data":1}"#).0
    };
    let own = with("http://127.0.0.1");
    assert_eq!((with("http://evil.example"), with("null"), own), (403, 403, 200));
    assert_eq!(server.total("publications_total"), 1);
}

#[test]
fn a_shard_that_panics_takes_the_process_with_it() {
    for shard in 0..2 {
        let mut server = Server::start(&["--shards", "2"]);
        let mut clients: Vec<Client> =
            (0..8).map(|_| Client::plain(server.address, "/ws")).collect();
        let began = Instant::now();
        // The process may be gone before the answer is.
        let _ = post(server.admin, &format!("/api/break/{shard}"), "");
        assert_eq!(server.wait().code(), Some(70));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        // Nobody is left on a server of which a part is dead.
        for client in &mut clients {
            client.closed();
        }
        let log = server.log();
        assert!(log.iter().any(|line| line.contains("a fault on purpose")), "{log:?}");
        assert!(log.iter().any(|line| line.contains(&format!("shard-{shard}"))), "{log:?}");
    }
}

#[test]
fn statistics_metrics_and_latency() {
    let server = Server::start(&["--shards", "2"]);
    let mut client = Client::plain(server.address, "/ws?user=bob");
    client.send("x");
    client.next_text();
    let (_, metrics) = get(server.admin, "/metrics");
    for name in [
        "stentor_clients{shard=\"0\"}",
        "stentor_deliveries_total",
        "stentor_refusals_total",
        "stentor_disconnects_total",
        "stentor_sends_total",
        "stentor_outbox_bytes",
        "stentor_rings_total",
        "stentor_publish_lane_depth",
        "stentor_fanout_seconds_bucket",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    let (_, listed) = get(server.admin, "/api/connections?sort=queued&limit=5");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["connections"][0]["user"], "bob");
    assert_eq!(listed["connections"][0]["queued_bytes"], 0);
    let (status, hgrm) = get(server.admin, "/api/latency.hgrm");
    assert_eq!(status, 200);
    assert!(hgrm.contains("Percentile") && hgrm.contains("#[Max"), "{hgrm}");
}
