//! Requests that are slow, silent, too large, malformed, or come from where they should not.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::{connect, head, status, status_on};
use crate::siege::Siege;

/// How many attackers hold a connection at once.
const ATTACKERS: usize = 400;

#[test]
fn slow_and_silent_handshakes_end_in_time() {
    let siege = Siege::begin(&["--handshake-timeout", "1s"]);
    // Each may hold as much of a head as a head may have.
    let memory = (ATTACKERS * 2 * (8 << 10)) as u64 + (1 << 20);
    siege.withstand("silent and slow handshakes", memory, |server| {
        let began = Instant::now();
        let connections = || (0..ATTACKERS).map(|_| connect(server.address)).collect();
        let (mut silent, mut slow): (Vec<TcpStream>, Vec<TcpStream>) =
            (connections(), connections());
        let request = head("/ws", &format!("X: {}\r\n", "x".repeat(7_000)));
        let (most, rest) = request.split_at(7_000);
        for stream in &mut slow {
            stream.write_all(most.as_bytes()).unwrap();
        }
        // A byte now and then does not buy more time: the deadline is for the whole head.
        for byte in rest.as_bytes().iter().take(12) {
            for stream in &mut slow {
                let _ = stream.write_all(&[*byte]);
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let statuses: Vec<u16> = slow.iter_mut().map(status_on).collect();
        assert!(statuses.iter().all(|status| *status == 408), "{statuses:?}");
        let statuses: Vec<u16> = silent.iter_mut().map(status_on).collect();
        assert!(statuses.iter().all(|status| *status == 0), "nothing was asked: {statuses:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
    // An attack that came too late for the good clients has come twice more.
    let slow = siege.server.by_reason("refusals", "slow");
    assert!([1, 3].map(|times| times * ATTACKERS as u64).contains(&slow), "{slow}");
    let silent = siege.server.by_reason("refusals", "no_request");
    assert!([1, 3].map(|times| times * ATTACKERS as u64).contains(&silent), "{silent}");
}

#[test]
fn heads_that_are_wrong_are_refused_one_by_one() {
    let siege = Siege::begin(&[]);
    let good = head("/ws", "");
    let many = "X: x\r\n".repeat(65);
    let long = format!("X: {}\r\n", "x".repeat(9_000));
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("too large a header", head("/ws", &long).into(), 431),
        ("too long a target", head(&format!("/ws?x={}", "x".repeat(9_000)), "").into(), 431),
        ("a head without an end", "GET /ws HTTP/1.1\r\n".repeat(600).into(), 400),
        ("too many headers", head("/ws", &many).into(), 431),
        ("a header without a name", head("/ws", ": x\r\n").into(), 400),
        ("a header without a colon", head("/ws", "nonsense\r\n").into(), 400),
        ("a folded header", head("/ws", "X: a\r\n b\r\n").into(), 400),
        ("a zero byte", head("/ws", "X: a\0b\r\n").into(), 400),
        ("a bare line end in a value", head("/ws", "X: a\rb\r\n").into(), 400),
        ("two hosts", head("/ws", "Host: other\r\n").into(), 400),
        ("a body", head("/ws", "Content-Length: 5\r\n").into(), 400),
        ("a chunked body", head("/ws", "Transfer-Encoding: chunked\r\n").into(), 400),
        ("no HTTP", b"\0\x01\x02\x03\r\n\r\n".to_vec(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        ("the older TLS", b"\x80\x2e\x01\x03\x01".to_vec(), 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0").into(), 400),
        ("another method", good.replace("GET", "POST").into(), 405),
        ("a method of its own", good.replace("GET", "get").into(), 405),
        ("an older version", good.replace("Version: 13", "Version: 8").into(), 426),
        ("no version", good.replace("Version: 13", "Version:").into(), 426),
        ("two versions", head("/ws", "Sec-WebSocket-Version: 13\r\n").into(), 400),
        ("a short key", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNh").into(), 400),
        ("a key that is no base64", good.replace("dGhl", "d*hl").into(), 400),
        ("two keys", head("/ws", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").into(), 400),
        ("no key", good.replace("Sec-WebSocket-Key", "X-Key").into(), 400),
    ];
    siege.withstand("heads that are wrong", 1 << 20, |server| {
        for round in 0..20 {
            for (name, request, expected) in &cases {
                assert_eq!(status(server.address, request), *expected, "{name}, round {round}");
            }
        }
    });
}

#[test]
fn pages_of_other_sites_are_refused_before_the_101() {
    let siege = Siege::begin(&[]);
    let others = [
        "http://evil.example",
        "https://h.evil.example",
        "http://hh",
        "http://h:81",
        "http://h@evil.example",
        "ftp://h",
        "null",
        "h",
        "",
        "http://",
    ];
    siege.withstand("cross-site origins", 1 << 20, |server| {
        for _ in 0..50 {
            for origin in others {
                let request = head("/ws", &format!("Origin: {origin}\r\n"));
                assert_eq!(status(server.address, request.as_bytes()), 403, "{origin:?}");
            }
        }
    });
    let own = |origin: &str| head("/ws", &format!("Origin: {origin}\r\n"));
    for origin in ["http://h", "https://h", "HTTP://H", "https://h:443"] {
        assert_eq!(status(siege.server.address, own(origin).as_bytes()), 101, "{origin}");
    }
    let twice = head("/ws", "Origin: http://h\r\nOrigin: http://h\r\n");
    assert_eq!(status(siege.server.address, twice.as_bytes()), 400);
    assert_eq!(siege.server.by_reason("refusals", "origin"), 500);
}

#[test]
fn floods_of_wrong_tokens_are_refused_and_harm_nobody() {
    // Of all keys, those of this kind cost the server the most for each wrong signature.
    let vectors = include_str!("../../src/auth/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let tokens = vectors["tokens"].as_array().unwrap();
    let vector = tokens.iter().find(|vector| vector["algorithm"] == "ES384").unwrap();
    let (pem, token) = (vector["pem"].as_str().unwrap(), vector["token"].as_str().unwrap());
    let siege = Siege::begin(&["--token-public-key", pem, "--user-from", "url"]);
    let other = tokens.iter().find(|vector| vector["algorithm"] == "ES256").unwrap();
    let (_, signature) = token.rsplit_once('.').unwrap();
    let (message, _) = token.rsplit_once('.').unwrap();
    let wrong: String = signature.chars().rev().collect();
    let cases = [
        format!("{message}.{wrong}"),
        other["token"].as_str().unwrap().to_owned(),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "x".repeat(7_000),
        format!("{}.{}.{}", "A".repeat(2_000), "A".repeat(2_000), "A".repeat(2_000)),
        String::new(),
    ];
    siege.withstand("wrong tokens", 1 << 20, |server| {
        for _ in 0..40 {
            for token in &cases {
                let request = head(&format!("/ws?token={token}"), "");
                assert_eq!(status(server.address, request.as_bytes()), 401, "{token:.80}");
            }
        }
    });
    let good = head(&format!("/ws?token={token}"), "");
    assert_eq!(status(siege.server.address, good.as_bytes()), 101);
    assert_eq!(siege.server.by_reason("refusals", "token") % 240, 0);
}
