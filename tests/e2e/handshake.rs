//! A faulty request is refused with the status that fits and a reason.

use std::io::Write;

use crate::client::{Client, raw};
use crate::server::{Server, eventually, get};

fn head(first: &str, more: &str) -> String {
    format!(
        "{first}\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

#[test]
fn refusals_with_their_reasons() {
    let server = Server::start(&["--handshake-timeout", "300ms", "--head-bytes", "1024"]);
    let good = "GET /ws HTTP/1.1";
    for (request, status, reason) in [
        (head("GET /ws?channel= HTTP/1.1", ""), 400, "a name is empty"),
        (head("GET /ws?user=a%00b HTTP/1.1", ""), 400, "control characters"),
        (head("GET /ws?echo=2 HTTP/1.1", ""), 400, "echo is true or false"),
        (head(&format!("GET /ws?channel={} HTTP/1.1", "x".repeat(65)), ""), 400, "too long"),
        (head("GET /other HTTP/1.1", ""), 404, "no WebSocket at /other: try /ws"),
        (head("POST /ws HTTP/1.1", ""), 405, "GET"),
        (head(good, "").replace("Version: 13", "Version: 8"), 426, "version 13"),
        (head(good, "").replace("dGhl", "??"), 400, "Sec-WebSocket-Key"),
        (head(good, &format!("X: {}\r\n", "x".repeat(2000))), 431, "too large"),
        (head(good, "Origin: http://evil.example\r\n"), 403, "origin"),
        ("\x16\x03\x01\x02".to_owned(), 400, "not TLS"),
        ("GET /ws HTTP/1.1\r\nHost".to_owned(), 408, "too slowly"),
    ] {
        let answer = raw(server.address, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains(reason), "{request}: {answer}");
    }
    assert_eq!(server.by_reason("refusals", "slow"), 1);
    // A connection that was opened ahead, as browsers and pools do, has asked for nothing.
    for nothing in ["", "\r\n", "\r\n\r\n"] {
        assert_eq!(raw(server.address, nothing.as_bytes()), "", "{nothing:?} is not answered");
    }
    assert_eq!(server.by_reason("refusals", "slow"), 1);
    assert_eq!(server.by_reason("refusals", "no_request"), 3);
    let (status, body) = get(server.address, "/ws");
    assert_eq!((status, body.contains("WebSocket")), (426, true));
}

#[test]
fn cures_for_frequent_disconnects_origin_check() {
    let allowed = "https://app.example:443,https://*.wild.example,null,file://";
    let server = Server::start(&["--allowed-origins", allowed]);
    let upgrade = |origin: &str| {
        let request = head("GET /ws HTTP/1.1", &format!("Origin: {origin}\r\n"));
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    assert_eq!(upgrade("https://app.example"), "101", "browsers leave the default port out");
    assert_eq!(upgrade("http://h"), "101", "the same host is always allowed");
    assert_eq!(upgrade("https://a.b.wild.example"), "101");
    assert_eq!(upgrade("null"), "101");
    assert_eq!(upgrade("file://"), "101");
    assert_eq!(upgrade("https://app.example.evil.example"), "403");
    assert_eq!(upgrade("https://wild.example"), "403");
    assert_eq!(upgrade("https://evilwild.example"), "403");

    // One line for each of them, however often they come.
    for _ in 0..20 {
        upgrade("https://evil.example\u{202e}");
    }
    let mut lines = Vec::new();
    eventually("the refusals are in the log", || {
        lines.extend(server.log().into_iter().filter(|line| line.contains("refused an origin")));
        lines.iter().any(|line| line.contains("evil.example\\\\u{202e}"))
    });
    assert_eq!(lines.len(), 4, "{lines:?}");
    let named = |origin: &str| {
        let field = format!("\"origin\":\"{origin}");
        lines.iter().filter(|line| line.contains(&field)).count()
    };
    assert_eq!(named("https://app.example.evil.example"), 1, "{lines:?}");
    assert_eq!(named("https://wild.example"), 1, "{lines:?}");
    assert_eq!(server.by_reason("refusals", "origin"), 23);
}

#[test]
fn a_head_in_pieces_and_frames_behind_it() {
    let server = Server::start(&[]);
    let mut other = Client::plain(server.address, "/ws");
    let mut bytes = head("GET /ws HTTP/1.1", "").into_bytes();
    bytes.extend([0x81, 0x81, 0, 0, 0, 0, b'x']);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in bytes.chunks(40) {
        stream.write_all(piece).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(other.next_text(), "x");
    eventually("both are there", || server.total("clients") == 2);
}
