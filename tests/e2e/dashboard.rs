//! The dashboard: its files, its stream of snapshots, its keys, and Chromium on it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::real_clients::{node, run};
use crate::server::{Server, eventually, get, request};

/// A stream of snapshots.
struct Live {
    status: u16,
    lines: BufReader<TcpStream>,
}

impl Live {
    fn open(admin: SocketAddr, key: &str) -> Self {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!("GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, lines }
    }

    /// The data of the next event of a name; `None` if the stream is over.
    fn next(&mut self, name: &str) -> Option<Value> {
        let mut is_wanted = false;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                is_wanted = event.trim() == name;
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| is_wanted) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn dashboard_files_are_at_the_admin_address_only() {
    let server = Server::start(&[]);
    let (status, page) = get(server.admin, "/dashboard/");
    assert_eq!(status, 200);
    assert!(page.contains("Stentor dashboard"), "{page:.100}");
    for file in ["app.js", "style.css", "icon.svg"] {
        assert_eq!(get(server.admin, &format!("/dashboard/{file}")).0, 200, "{file}");
        assert_eq!(get(server.address, &format!("/dashboard/{file}")).0, 404, "{file}");
    }
    for (path, status) in [("/", 303), ("/dashboard", 308), ("/dashboard/../Cargo.toml", 404)] {
        assert_eq!(get(server.admin, path).0, status, "{path}");
    }
    assert_eq!(get(server.address, "/api/live").0, 404, "the stream is not public");
}

#[test]
fn dashboard_snapshots_tell_what_the_statistics_tell() {
    let server = Server::start(&["--shards", "2"]);
    let mut live = Live::open(server.admin, "");
    assert_eq!(live.status, 200);
    let hello = live.next("hello").unwrap();
    assert_eq!(hello["may_act"], true);
    let mut clients: Vec<Client> =
        (0..6).map(|_| Client::plain(server.address, "/ws?channel=seen")).collect();
    clients[0].send("one");
    let mut snapshot = Value::Null;
    eventually("the snapshot has all clients and deliveries", || {
        snapshot = live.next("snapshot").unwrap();
        snapshot["total"]["clients"] == 6 && snapshot["total"]["deliveries_total"] == 6
    });
    assert_eq!(snapshot["shards"].as_array().unwrap().len(), 2);
    assert_eq!(snapshot["channel_lists"]["by_clients"][0]["channel"], "seen");
    assert_eq!(snapshot["channel_lists"]["by_clients"][0]["clients"], 6);
    let heard = snapshot["latency"]["all"]["count"].as_u64().unwrap();
    assert!((1..=2).contains(&heard), "each shard counts a publication once: {heard}");
    let limits = snapshot["limits"].as_array().unwrap();
    assert!(limits.iter().all(|limit| limit["used"].as_f64() <= limit["max"].as_f64()));

    drop(clients);
    eventually("the ends are told with their reason", || {
        let ends = live.next("snapshot").unwrap()["ends"].clone();
        ends["count"] == 6 && ends["reasons"]["gone"] == 6
    });
    // Somebody who comes later is told of the last minute.
    let hello = Live::open(server.admin, "").next("hello").unwrap();
    assert!(!hello["columns"].as_array().unwrap().is_empty());
}

#[test]
fn dashboard_lists_clients_that_do_not_keep_up_and_no_others() {
    // The outbox has room for several seconds of what does not fit into the kernel's buffers.
    let server = Server::start(&["--send-buffer-bytes", "16KiB", "--outbox-bytes", "64MiB"]);
    let _stopped = Client::plain(server.address, "/ws?user=stopped");
    let mut talker = Client::plain(server.address, "/ws?user=talker&echo=false");
    let mut live = Live::open(server.admin, "");
    assert_eq!(live.next("snapshot").unwrap()["connections"], serde_json::json!([]));
    let body = "x".repeat(32 << 10);
    let mut listed = Value::Null;
    eventually("the client that does not read is listed", || {
        (0..100).for_each(|_| talker.send(&body));
        listed = live.next("snapshot").unwrap()["connections"].clone();
        listed != serde_json::json!([])
    });
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["user"], "stopped");
    assert!(listed[0]["queued_bytes"].as_u64().unwrap() > 0, "{listed}");
}

#[test]
fn dashboard_key_that_reads_changes_nothing() {
    let server = Server::start(&["--api-key", "full-key", "--api-read-key", "read-key"]);
    let status = |method: &str, key: &str, path: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nX-API-Key: {key}");
        request(server.admin, &head, r#"{"channel":"x","data":1}"#).0
    };
    for path in ["/api/stats", "/api/connections", "/api/info", "/api/latency.hgrm"] {
        let got = ["full-key", "read-key", "other", ""].map(|key| status("GET", key, path));
        assert_eq!(got, [200, 200, 401, 401], "{path}");
    }
    for path in ["/api/publish", "/api/drain", "/api/reload", "/api/batch", "/api"] {
        assert_eq!(status("POST", "read-key", path), 403, "{path}");
    }
    assert_eq!(status("POST", "full-key", "/api/publish"), 200);
    let mut live = Live::open(server.admin, "read-key");
    assert_eq!(live.next("hello").unwrap()["may_act"], false);
    assert_eq!(Live::open(server.admin, "").status, 401);
    assert!(server.log().iter().all(|line| !line.contains("read-key")));
}

#[test]
fn dashboard_viewers_are_bounded_and_a_slow_one_delays_nobody() {
    let server = Server::start(&[]);
    // None of them reads.
    let mut viewers: Vec<Live> = (0..16).map(|_| Live::open(server.admin, "")).collect();
    assert!(viewers.iter().all(|viewer| viewer.status == 200));
    assert_eq!(Live::open(server.admin, "").status, 503);
    assert_eq!(get(server.admin, "/health").0, 200);
    drop(viewers.pop());
    eventually("a place is free again", || Live::open(server.admin, "").status == 200);
}

#[test]
fn dashboard_drain_ends_the_server_and_its_streams() {
    let mut server = Server::start(&["--drain-spread", "0"]);
    let mut live = Live::open(server.admin, "");
    assert!(live.next("hello").is_some());
    let mut client = Client::plain(server.address, "/ws");
    let began = Instant::now();
    assert_eq!(crate::server::post(server.admin, "/api/drain", "").0, 200);
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(server.wait().code(), Some(0));
    while live.next("snapshot").is_some() {}
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn browser_dashboard_shows_acts_and_can_be_read_by_all() {
    let (key, read_key) = ("the key of the dashboard", "the key that reads");
    // Room for what a client that stops reading is sent until the next snapshot.
    let outboxes = ["--send-buffer-bytes", "16KiB", "--outbox-bytes", "32MiB"];
    let flags = ["--shards", "2", "--drain-spread", "0"];
    let keys = ["--api-key", key, "--api-read-key", read_key];
    let server = Server::start(&[&flags[..], &outboxes[..], &keys[..]].concat());
    let mut command = node("dashboard.mjs");
    command.arg(format!("http://{}/", server.admin)).arg(format!("ws://{}", server.address));
    run({
        command.args([key, read_key]);
        command
    });
}
