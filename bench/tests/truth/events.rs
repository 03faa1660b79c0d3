//! Servers of server-sent events with known faults: an event that is none is lost, and whatever
//! pieces events come in, they are heard once and in their order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use crate::server::{CLIENTS, SWITCHING, by_second, found, read_frame};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

/// The bytes that all listeners are sent for the message of a number, piece by piece.
type Rule = Box<dyn FnMut(usize, &str) -> Vec<Vec<u8>> + Send>;

/// A connection, and the head of its request.
fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// A server for one run, whose streams begin with `more` lines of their heads.
fn serve(more: &'static str, mut rule: Rule) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut listeners = Vec::new();
        let mut publisher = loop {
            let (mut stream, head) = asked(&listener);
            if head.starts_with("GET /ws HTTP/1.1\r\n") {
                assert_eq!(listeners.len(), CLIENTS, "publishers come when all listen");
                assert!(head.contains("Sec-WebSocket-Protocol: stentor.v1\r\n"), "{head}");
                stream.write_all(SWITCHING.as_bytes()).unwrap();
                break stream;
            }
            assert!(head.starts_with("GET /sse?channel=bench HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("Accept: text/event-stream\r\n"), "{head}");
            assert!(!head.contains("Upgrade"), "{head}");
            stream.write_all(format!("{STREAM}{more}\r\n").as_bytes()).unwrap();
            listeners.push(stream);
        };
        let mut number = 0;
        while let Some(payload) = read_frame(&mut publisher) {
            let said: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!((&said["type"], &said["channel"]), (&"publish".into(), &"bench".into()));
            for piece in rule(number, said["body"].as_str().unwrap()) {
                for listener in &mut listeners {
                    let _ = listener.write_all(&piece);
                }
            }
            number += 1;
        }
    });
    address
}

fn tool(address: SocketAddr, command: &str, flags: &str) -> Output {
    let clients = CLIENTS.to_string();
    Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args([command, &format!("http://{address}"), "--dialect", "sse", "-c", &clients])
        .args(["--quiet", "--json", "/dev/stderr"])
        .args(flags.split_whitespace())
        .output()
        .unwrap()
}

fn fanout(address: SocketAddr, flags: &str) -> Value {
    found(&tool(address, "fanout", &format!("--size 48 --warmup 0 {flags}")))
}

fn event(data: &str) -> String {
    format!("id: a:1\ndata: {data}\n\n")
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Of each hundred messages one comes twice in one piece, and one is cut in its middle, with a
/// comment in front of it.
fn repetitive(is_chunked: bool) -> Rule {
    let piece = move |text: &str| {
        if is_chunked { chunk(text) } else { text.as_bytes().to_vec() }
    };
    Box::new(move |number, data| match number % 100 {
        20 => vec![piece(&event(data).repeat(2))],
        40 => {
            let text = format!(": still here\n\n{}", event(data));
            let (first, second) = text.split_at(text.len() - 30);
            vec![piece(first), piece(second)]
        }
        60 => {
            let whole = piece(&event(data));
            whole.chunks(7).map(<[u8]>::to_vec).collect()
        }
        80 => vec![piece(&event(data).replace('\n', "\r\n"))],
        _ => vec![piece(&event(data))],
    })
}

#[test]
fn events_are_counted_in_whatever_pieces_they_come() {
    for (more, is_chunked) in [("", false), ("Transfer-Encoding: chunked\r\n", true)] {
        let run = fanout(serve(more, repetitive(is_chunked)), "-r 500/s -d 2s");
        let totals = &run["totals"];
        assert_eq!(totals["published"], 1000, "{totals}");
        assert_eq!((&totals["lost"], &totals["out_of_order"]), (&0.into(), &0.into()), "{totals}");
        assert_eq!(totals["duplicated"], 10 * CLIENTS, "{totals}");
        assert_eq!(by_second(&run, "deliveries"), 1000 * CLIENTS as u64);
        assert_eq!(
            (&totals["connected"], &run["target"]["dialect"]),
            (&CLIENTS.into(), &"sse".into())
        );
        assert_eq!(run["latencies"]["handshake"]["count"], CLIENTS, "publishers do not count");
    }
}

/// An event with another name, a comment and a field that is no data: no page would hear them.
#[test]
fn events_that_no_page_hears_are_lost() {
    let rule: Rule = Box::new(|number, data| {
        let text = match number % 100 {
            20 => format!("event: other\ndata: {data}\n\n"),
            40 => format!(": {data}\n\n"),
            60 => format!("retry: {data}\n\n"),
            _ => event(data),
        };
        vec![text.into_bytes()]
    });
    let run = fanout(serve("", rule), "-r 500/s -d 2s");
    assert_eq!(run["totals"]["lost"], 30 * CLIENTS, "{}", run["totals"]);
}

/// A closed loop goes on as it does with frames.
#[test]
fn publishers_beside_a_stream_have_a_window() {
    let rule: Rule = Box::new(|_, data| vec![event(data).into_bytes()]);
    let run = fanout(serve("", rule), "-w 4 -d 1s");
    let totals = &run["totals"];
    assert!(totals["published"].as_u64().unwrap() > 100, "{totals}");
    assert_eq!((&totals["lost"], &totals["strays"]), (&0.into(), &0.into()));
}

#[test]
fn a_stream_that_says_why_it_ends_is_counted_by_code() {
    let rule: Rule = Box::new(|number, data| match number {
        20 => vec![b"event: close\ndata: {\"code\":3500,\"reason\":\"replaced\"}\n\n".to_vec()],
        _ => vec![event(data).into_bytes()],
    });
    // The server hangs up when its publisher has gone, which is when the run is over.
    let run = fanout(serve("", rule), "-r 100/s -d 1s");
    assert_eq!(run["totals"]["lost"], CLIENTS, "{}", run["totals"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut guests: Vec<_> = (0..CLIENTS).map(|_| asked(&listener).0).collect();
        for guest in &mut guests {
            let close = "event: close\ndata: {\"code\":3500}\n\n";
            guest.write_all(format!("{STREAM}\r\n{close}").as_bytes()).unwrap();
        }
    });
    let run = found(&tool(address, "idle", "-d 1s"));
    assert_eq!(run["totals"]["disconnects"], serde_json::json!({ "3500": CLIENTS }));
}

#[test]
fn an_answer_that_is_no_stream_lets_nobody_in() {
    for (answer, told) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
            "no stream of events but \"text/html\"",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut guests = Vec::new();
            loop {
                let (mut guest, _) = asked(&listener);
                let _ = guest.write_all(answer.as_bytes());
                guests.push(guest);
            }
        });
        let output = tool(address, "connect", "--rounds 1");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(told) && said.lines().count() == 1, "{told}: {said}");
    }
}
