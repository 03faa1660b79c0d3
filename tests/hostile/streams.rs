//! Streams over HTTP, and requests that speak for their clients: made up, too large, too slow, and
//! never read.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::{answer, connect, status, status_on};
use crate::server::{eventually, post};
use crate::siege::Siege;

/// How many attackers hold a connection at once.
const ATTACKERS: usize = 400;

/// The requests whose bodies a shard waits for at once, and what each may hold.
const BODIES: u64 = 256;
const BODY_BYTES: u64 = 64 << 10;

fn posted(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    (head + body).into_bytes()
}

#[test]
fn requests_that_speak_for_clients_that_there_are_not_reach_nobody() {
    let siege = Siege::begin(&[]);
    let mut stream = connect(siege.server.address);
    let connecting = posted("/connection/http_stream", r#"{"id":1,"connect":{}}"#);
    stream.write_all(&connecting).unwrap();
    let head = answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut reply = vec![0; 4096];
    let count = std::io::Read::read(&mut stream, &mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply[..count]).into_owned();
    let node = reply.split("\"node\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    drop(stream);
    siege.withstand("made-up sessions", 1 << 20, |server| {
        let began = Instant::now();
        let mut count = 0_u64;
        let before = server.total("emulations_lost_total");
        while began.elapsed() < Duration::from_millis(1_500) {
            let shard = count % 3;
            let session = format!("{shard}-0-{count}.{}", "A".repeat(43));
            let body = format!(r#"{{"session":"{session}","node":"{node}","data":"{{}}"}}"#);
            assert_eq!(status(server.address, &posted("/emulation", &body)), 204);
            count += 1;
        }
        assert_eq!(server.total("emulations_lost_total") - before, count);
    });
    assert_eq!(siege.server.total("emulations_total"), 0);
}

#[test]
fn bodies_that_are_too_large_or_too_slow_are_refused() {
    let siege = Siege::begin(&["--handshake-timeout", "1s"]);
    let large = posted("/emulation", &"x".repeat((64 << 10) + 1));
    let mut chunks =
        b"POST /emulation HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunks.extend(format!("2000\r\n{}\r\n", "x".repeat(0x2000)).bytes());
    }
    siege.withstand("large bodies", BODIES * BODY_BYTES, |server| {
        for _ in 0..100 {
            assert_eq!(status(server.address, &large), 413);
            assert_eq!(status(server.address, &chunks), 413);
        }
    });
    siege.withstand("slow bodies", 2 * BODIES * BODY_BYTES, |server| {
        let request = posted("/connection/http_stream", &"x".repeat(60 << 10));
        let (most, rest) = request.split_at(50 << 10);
        let mut slow: Vec<TcpStream> =
            (0..2 * ATTACKERS).map(|_| connect(server.address)).collect();
        for stream in &mut slow {
            // Those for whom there is no room are refused before they have said it.
            let _ = stream.write_all(most);
        }
        for byte in rest.iter().take(12) {
            for stream in &mut slow {
                let _ = stream.write_all(&[*byte]);
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let statuses: Vec<u16> = slow.iter_mut().map(status_on).collect();
        let expected = |status: &u16| matches!(*status, 408 | 503 | 0);
        assert!(statuses.iter().all(expected), "{statuses:?}");
        let waited = statuses.iter().filter(|status| **status == 408).count();
        assert!((1..=2 * 256).contains(&waited), "{waited} have waited");
        assert!(statuses.contains(&503), "there is no room for all");
    });
}

#[test]
fn streams_that_are_never_read_end() {
    let siege = Siege::begin(&["--send-buffer-bytes", "16KiB", "--write-timeout", "1s"]);
    let each = (1 << 20) + (64 << 10);
    siege.withstand("streams that are never read", 50 * each, |server| {
        let deaf: Vec<TcpStream> = (0..50)
            .map(|_| {
                let mut stream = connect(server.address);
                stream.write_all(b"GET /sse?channel=loud HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                stream
            })
            .collect();
        let text = "x".repeat(32 << 10);
        let body = format!(r#"{{"channel":"loud","data":"{text}"}}"#);
        let clients = server.total("clients");
        eventually("all are closed", || {
            assert_eq!(post(server.admin, "/api/publish", &body).0, 200);
            server.total("clients") + 50 <= clients.max(1_050)
        });
        drop(deaf);
    });
}
