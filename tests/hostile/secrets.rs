//! Texts of clients never reach the log unescaped, and the key reaches nobody.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::raw::{frame, head, json, next_frame, status, text, upgraded};
use crate::server::{Server, eventually, request};
use crate::siege::Siege;

const KEY: &str = "k3y-that-nobody-may-see";

/// Texts that would be a line of the log, or a command to a terminal, if written unescaped.
const FORGED: &str = "x\r\nforged \u{1b}[31mred\u{1b}]0;title\u{7}\u{202e}";

/// Says hostile things in every place where something can be said.
fn say_everything(address: SocketAddr, admin: SocketAddr) {
    let escaped = "x%0d%0aforged%20%1b%5b31mred";
    for target in [format!("/ws?channel={escaped}"), format!("/ws?user={escaped}")] {
        assert_eq!(status(address, head(&target, "").as_bytes()), 400);
    }
    for header in ["Origin", "User-Agent", "X-Forwarded-For", "Cookie", "Sec-WebSocket-Protocol"] {
        let line = format!("{header}: forged \x1b[31mred\r\n");
        let refused = status(address, head("/ws", &line).as_bytes());
        assert!(matches!(refused, 400 | 403), "{header}: {refused}");
    }
    status(address, b"GET /forged\x1b[31m HTTP/1.1\r\n\r\n");
    status(address, b"forged \x1b[31mred\r\n\r\n");
    status(address, b"GET /%1b%5b31mforged HTTP/1.1\r\nHost: \x7f\r\n\r\n");

    let mut plain = upgraded(address, "/ws?channel=odd&user=forged%20user");
    plain.write_all(&text(FORGED)).unwrap();
    assert_eq!(next_frame(&mut plain), Some((0x81, FORGED.into())));
    plain.write_all(&frame(0x89, b"forged \x1b[31m")).unwrap();
    assert_eq!(next_frame(&mut plain), Some((0x8a, b"forged \x1b[31m".to_vec())));
    let goodbye = [&1000_u16.to_be_bytes()[..], b"forged \x1b[31mred\n"].concat();
    plain.write_all(&frame(0x88, &goodbye)).unwrap();
    let mut talker = json(address, "/ws");
    let name = serde_json::to_string(FORGED).unwrap();
    for kind in ["join", "publish", "who", "leave", FORGED] {
        let kind = serde_json::to_string(kind).unwrap();
        let said = format!(r#"{{"type":{kind},"channel":{name},"body":{name},"id":{name}}}"#);
        talker.write_all(&text(&said)).unwrap();
    }
    talker.write_all(&text("{\"\u{1b}[31mforged\r\n\":")).unwrap();
    talker.write_all(&frame(0x83, b"forged")).unwrap();
    while next_frame(&mut talker).is_some() {}

    for key in [KEY, "wrong forged key", ""] {
        let head = format!("POST /api/publish HTTP/1.1\r\nX-API-Key: {key}");
        request(admin, &head, &format!(r#"{{"channel":{name},"data":{name}}}"#));
        request(admin, &head, "forged \u{1b}[31m\r\n");
    }
    request(admin, "GET /forged%1b%5b31m HTTP/1.1", "");
    request(admin, "forged \u{1b}[31m HTTP/1.1", "");
}

/// Nothing of what was said stands in a line of the log, and each line is one of its own.
fn check_line(line: &str) {
    let control = line.chars().find(|char| char.is_control() || *char == '\u{202e}');
    assert_eq!(control, None, "{line:?}");
    for word in ["forged", KEY, "wrong"] {
        assert!(!line.contains(word), "{line:?}");
    }
}

#[test]
fn clients_cannot_write_a_line_of_the_json_log() {
    let siege = Siege::begin(&["--log-level", "trace"]);
    siege.withstand("words for the log", 4 << 20, |server| {
        for _ in 0..10 {
            say_everything(server.address, server.admin);
        }
        for line in server.log() {
            check_line(&line);
        }
    });
    siege.server.signal("TERM");
    let mut server = siege.end();
    server.wait();
    let last: Vec<String> = server.log();
    assert!(last.iter().any(|line| line.contains("draining")), "the log is read: {last:?}");
    for line in &last {
        check_line(line);
    }
}

#[test]
fn clients_cannot_write_a_line_of_the_human_log() {
    let (mut child, address, admin) = for_people();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    say_everything(address, admin);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let lines: Vec<String> = stderr.lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success());
    assert!(lines.iter().any(|line| line.contains("draining")), "the log is read: {lines:?}");
    for line in &lines {
        check_line(line);
        // Every line begins with its time.
        assert!(line.starts_with("20") && line.as_bytes()[10] == b'T', "{line:?}");
    }
}

/// A server that logs for people, with its addresses.
fn for_people() -> (Child, SocketAddr, SocketAddr) {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, admin) = (free(), free());
    let child = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
        .args(["--log-format", "human", "--log-level", "trace", "--drain-spread", "0"])
        .env("STENTOR_API_KEY", KEY)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the server is there", || std::net::TcpStream::connect(admin).is_ok());
    (child, address, admin)
}

#[test]
fn the_key_is_shown_to_nobody() {
    let server = Server::start(&["--api-key", KEY, "--log-level", "trace"]);
    let _client = upgraded(server.address, "/ws?user=bob");
    for path in
        ["/api/stats", "/api/connections", "/api/info", "/api/channels", "/api/latency.hgrm"]
    {
        let with = |key: &str| {
            request(server.admin, &format!("GET {path} HTTP/1.1\r\nX-API-Key: {key}"), "")
        };
        assert_eq!(with("").0, 401, "{path}");
        assert_eq!(with(&KEY[1..]).0, 401, "{path}");
        assert_eq!(with(&format!("{KEY}x")).0, 401, "{path}");
        let (status, body) = with(KEY);
        assert_eq!(status, 200, "{path}");
        assert!(!body.contains(KEY), "{path}: {body}");
    }
    let (status, metrics) = crate::server::get(server.admin, "/metrics");
    assert!(status == 200 && !metrics.contains(KEY) && !metrics.contains("bob"), "{metrics}");
    // The public port has none of it.
    assert_eq!(crate::server::get(server.address, "/api/stats").0, 404);
    assert_eq!(crate::server::get(server.address, "/metrics").0, 404);
    assert!(server.log().iter().all(|line| !line.contains(KEY)));
    let shown = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["config", "show"])
        .env("STENTOR_API_KEY", KEY)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("api_key = \"***\" # environment") && !shown.contains(KEY), "{shown}");
}
