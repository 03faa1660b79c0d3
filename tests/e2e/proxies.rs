//! Clients behind proxies: a trusted one is believed when it says for whom it speaks, and nobody
//! else.

use std::io::Write;
use std::net::TcpStream;

use crate::server::{Server, eventually, get};

fn head(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Connects, says this, and returns the connection with the status that it got.
fn ask(server: &Server, bytes: &[u8]) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    (stream, String::from_utf8_lossy(&answer[9..]).parse().unwrap())
}

fn forwarded(server: &Server, header: &str) -> (TcpStream, u16) {
    ask(server, head(&format!("{header}\r\n")).as_bytes())
}

/// Where the clients come from, and through which proxies, as the operator's list shows it.
fn listed(server: &Server) -> Vec<(String, bool)> {
    let (_, body) = get(server.admin, "/api/connections");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let all = body["connections"].as_array().unwrap().iter();
    let mut peers: Vec<(String, bool)> = all
        .map(|one| {
            let peer = one["peer"].as_str().unwrap().to_owned();
            (peer, one["proxy"].as_str().is_some_and(|proxy| proxy.starts_with("127.0.0.1:")))
        })
        .collect();
    peers.sort();
    peers
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    [&header, body].concat()
}

#[test]
fn a_trusted_proxy_is_believed_from_right_to_left() {
    let flags = [
        "--shards",
        "2",
        "--max-clients-per-ip",
        "1",
        "--trusted-proxies",
        "127.0.0.0/8,10.0.0.0/8",
    ];
    let server = Server::start(&flags);
    let first = forwarded(&server, "X-Forwarded-For: 192.0.2.1");
    let second = forwarded(&server, "X-Forwarded-For: 198.51.100.9, 192.0.2.2, 10.0.0.1");
    let third = forwarded(&server, "X-Forwarded-For: 2001:db8::1");
    assert_eq!([first.1, second.1, third.1], [101; 3]);
    assert_eq!(
        listed(&server),
        ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|peer| (peer.to_owned(), true))
    );
    // A claim further left is the client's own, and the other header is not read.
    for again in [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-For: 203.0.113.5, 192.0.2.1",
        "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=203.0.113.5",
        "X-Forwarded-For: 2001:db8::2",
    ] {
        assert_eq!(forwarded(&server, again).1, 429, "{again}");
    }
    drop(first);
    eventually("the address is free again", || {
        forwarded(&server, "X-Forwarded-For: 192.0.2.1").1 == 101
    });
}

#[test]
fn an_untrusted_proxy_is_not_believed_and_the_log_names_the_setting() {
    let server = Server::start(&["--max-clients-per-ip", "1"]);
    let first = forwarded(&server, "X-Forwarded-For: 192.0.2.1");
    let second = forwarded(&server, "X-Forwarded-For: 192.0.2.2");
    assert_eq!([first.1, second.1], [101, 429]);
    let mut lines = Vec::new();
    eventually("the log says so", || {
        lines.extend(server.log().into_iter().filter(|line| line.contains("trusted-proxies")));
        !lines.is_empty()
    });
    assert_eq!(forwarded(&server, "X-Forwarded-For: 192.0.2.3").1, 429);
    lines.extend(server.log().into_iter().filter(|line| line.contains("trusted-proxies")));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(listed(&server).len(), 1);
    assert!(listed(&server)[0].0.starts_with("127.0.0.1:"), "{:?}", listed(&server));
}

#[test]
fn the_standard_header_is_read_where_it_is_asked_for() {
    let server =
        Server::start(&["--trusted-proxies", "127.0.0.1", "--forwarded-header", "forwarded"]);
    let header =
        "X-Forwarded-For: 203.0.113.5\r\nForwarded: for=\"[2001:db8::7]:51000\";proto=https";
    let (_client, status) = forwarded(&server, header);
    assert_eq!(status, 101);
    assert_eq!(listed(&server), [("2001:db8::7".to_owned(), true)]);
}

#[test]
fn a_proxy_may_show_the_server_under_another_host() {
    let server = Server::start(&["--trusted-proxies", "127.0.0.1"]);
    let origin = "Origin: https://chat.example\r\nX-Forwarded-Host: chat.example";
    assert_eq!(forwarded(&server, origin).1, 101);
    let server = Server::start(&[]);
    assert_eq!(forwarded(&server, origin).1, 403);
}

#[test]
fn both_versions_of_the_proxy_protocol_tell_the_client() {
    let flags = [
        "--proxy-protocol",
        "required",
        "--trusted-proxies",
        "127.0.0.1",
        "--max-clients-per-ip",
        "1",
    ];
    let server = Server::start(&flags);
    let after = |introduction: &[u8]| [introduction, head("").as_bytes()].concat();
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 51000 9001\r\n";
    let binary = v2(0x21, 0x11, &[192, 0, 2, 2, 10, 0, 0, 1, 0xc7, 0x38, 0x23, 0x29, 4, 0, 1, 0]);
    let six = b"PROXY TCP6 2001:db8::1 ::1 51000 9001\r\n";
    let clients = [&line[..], &binary, six].map(|header| ask(&server, &after(header)));
    assert_eq!(clients.each_ref().map(|(_, status)| *status), [101; 3]);
    assert_eq!(
        listed(&server),
        ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|peer| (peer.to_owned(), true))
    );
    // One more of an address, and one of the same network of 64 bits.
    let neighbour = b"PROXY TCP6 2001:db8::ffff:1 ::1 51000 9001\r\n";
    for header in [&line[..], neighbour] {
        assert_eq!(ask(&server, &after(header)).1, 429);
    }
    // The proxy itself, as its health checks come: its own address counts.
    let local = v2(0x20, 0, &[]);
    let probe = [&local[..], b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    assert_eq!(ask(&server, &probe).1, 200);
    for (wrong, why) in [
        (head("").into_bytes(), "no header at all"),
        (after(b"PROXY TCP4 192.0.2.1\r\n"), "half a line"),
        (after(&v2(0x21, 0x11, &[1, 2, 3])), "too short for its addresses"),
        (after(&v2(0x31, 0x11, &[0; 12])), "an unknown version"),
    ] {
        assert_eq!(ask(&server, &wrong).1, 400, "{why}");
    }
}

#[test]
fn an_introduction_comes_in_pieces_or_not_at_all() {
    let server = Server::start(&["--proxy-protocol", "optional", "--trusted-proxies", "127.0.0.1"]);
    let binary = v2(0x21, 0x11, &[192, 0, 2, 2, 10, 0, 0, 1, 0xc7, 0x38, 0x23, 0x29]);
    let bytes = [&binary[..], head("").as_bytes()].concat();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in bytes.chunks(5) {
        stream.write_all(piece).unwrap();
        std::thread::yield_now();
    }
    eventually("it is in", || server.total("clients") == 1);
    assert_eq!(listed(&server), [("192.0.2.2".to_owned(), true)]);
    assert_eq!(ask(&server, head("").as_bytes()).1, 101);
    assert_eq!(ask(&server, b"PROXY SCTP\r\n").1, 400);

    let stranger =
        Server::start(&["--proxy-protocol", "optional", "--trusted-proxies", "10.0.0.1"]);
    assert_eq!(ask(&stranger, &bytes).1, 400, "who is not trusted says so in vain");
    assert_eq!(ask(&stranger, head("").as_bytes()).1, 101);
    let off = Server::start(&[]);
    assert_eq!(ask(&off, b"PROXY TCP4 192.0.2.1 10.0.0.1 51000 9001\r\n").1, 400);
}

#[test]
fn a_silent_client_behind_a_proxy_header_is_not_answered() {
    let flags = [
        "--proxy-protocol",
        "required",
        "--trusted-proxies",
        "127.0.0.1",
        "--handshake-timeout",
        "300ms",
    ];
    let server = Server::start(&flags);
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 51000 9001\r\n";
    assert_eq!(crate::client::raw(server.address, line), "");
    assert_eq!(server.by_reason("refusals", "no_request"), 1);
    let asked = [&line[..], b"GET /ws"].concat();
    assert!(crate::client::raw(server.address, &asked).starts_with("HTTP/1.1 408"));
}
