//! The sweep: a silent client is closed in time, every other one is pinged in time, and browsers'
//! pings are answered.

use std::io::Read;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::server::Server;

#[test]
fn ping_pong_keep_alive_a_client_that_never_pongs_is_closed_in_time() {
    let server = Server::start(&["--ping-interval", "300ms", "--pong-timeout", "200ms"]);
    let mut silent = Client::plain(server.address, "/ws");
    let began = Instant::now();
    // Raw reads: tungstenite would answer the ping.
    let mut bytes = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = silent.stream().read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.contains(&0x88) {
            break;
        }
    }
    assert_eq!(bytes[..2], [0x89, 0], "first a ping");
    assert_eq!(bytes[2], 0x88, "then the close");
    assert_eq!(u16::from_be_bytes([bytes[4], bytes[5]]), 3012);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(server.by_reason("disconnects", "silent"), 1);
}

#[test]
fn a_client_that_pongs_stays() {
    let server = Server::start(&["--ping-interval", "400ms", "--pong-timeout", "400ms"]);
    let mut listener = Client::plain(server.address, "/ws");
    for _ in 0..4 {
        // tungstenite answers with the next read.
        assert!(matches!(listener.next(), Message::Ping(_)));
    }
    assert_eq!(server.by_reason("disconnects", "silent"), 0);
}

/// Many clients end a connection on which the server's pings stay away. One that publishes and has
/// asked for no echo hears nothing else.
#[test]
fn a_client_that_talks_and_hears_nothing_is_pinged_in_time() {
    let server = Server::start(&["--ping-interval", "500ms", "--pong-timeout", "500ms"]);
    let mut talker = Client::plain(server.address, "/ws?channel=talk&echo=false");
    let mut reader = talker.stream().try_clone().unwrap();
    let (until, mut last) = (Instant::now() + Duration::from_secs(3), Instant::now());
    let (mut pings, mut longest) = (0, Duration::ZERO);
    reader.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while Instant::now() < until {
        // It never answers: what it says is answer enough.
        talker.send("word");
        let mut ping = [0; 2];
        if reader.read_exact(&mut ping).is_ok() {
            assert_eq!(ping, [0x89, 0], "a ping and nothing else");
            (pings, longest) = (pings + 1, longest.max(last.elapsed()));
            last = Instant::now();
        }
    }
    assert!((3..=6).contains(&pings), "{pings} pings in 3 s");
    assert!(longest < Duration::from_millis(1500), "{longest:?} without a ping");
    assert_eq!(server.by_reason("disconnects", "silent"), 0);
}

#[test]
fn no_interval_means_no_pings() {
    let server = Server::start(&["--ping-interval", "0"]);
    let mut client = Client::plain(server.address, "/ws");
    client.stream().set_read_timeout(Some(Duration::from_millis(800))).unwrap();
    assert!(client.try_next().is_err(), "nothing comes");
    assert_eq!(server.total("pings_total"), 0);
}

#[test]
fn ping_pong_keep_alive_text_ping_is_answered_with_text_pong() {
    let server = Server::start(&[]);
    let mut client = Client::plain(server.address, "/ws");
    let mut other = Client::plain(server.address, "/ws");
    client.send("ping");
    assert_eq!(client.next_text(), "pong");
    client.send("after");
    assert_eq!(other.next_text(), "after", "a ping is not published");

    let server = Server::start(&["--text-ping=false"]);
    let mut client = Client::plain(server.address, "/ws");
    client.send("ping");
    assert_eq!(client.next_text(), "ping");
}

#[test]
fn chat_core_a_heartbeat_request_is_answered_with_a_pong_frame() {
    let server = Server::start(&[]);
    let mut plain = Client::plain(server.address, "/ws");
    plain.send("{\"heartbeat\": true}");
    assert!(matches!(plain.next(), Message::Pong(_)));
    let (mut json, _) = Client::json(server.address, "/ws");
    json.send("{\"heartbeat\":true}");
    assert!(matches!(json.next(), Message::Pong(_)));
}

/// The words of a protocol that has an answer to pings of its own.
struct Words {
    protocol: &'static str,
    connect: &'static [u8],
    ping: &'static [u8],
    /// A command, and the beginning of its reply.
    command: &'static [u8],
    reply: &'static [u8],
}

const WORDS: [Words; 2] = [
    Words {
        protocol: "centrifuge-json",
        connect: br#"{"id":1,"connect":{}}"#,
        ping: b"{}",
        command: br#"{"id":2,"ping":{}}"#,
        reply: br#"{"id":2,"#,
    },
    Words {
        protocol: "centrifuge-protobuf",
        connect: b"\x04\x08\x01\x22\x00",
        ping: b"\x00",
        command: b"\x04\x08\x02\x5a\x00",
        reply: b"\x04\x08\x02",
    },
];

impl Words {
    fn say(&self, client: &mut Client, words: &[u8]) {
        match std::str::from_utf8(words) {
            Ok(text) if self.protocol == "centrifuge-json" => client.send(text),
            _ => client.send_binary(words),
        }
    }

    fn connect(&self, server: &Server) -> Client {
        let headers = [("Sec-WebSocket-Protocol", self.protocol)];
        let mut client =
            Client::try_plain_with(server.address, "/connection/websocket", &headers).unwrap();
        self.say(&mut client, self.connect);
        assert!(client.next().len() > 20, "it is in");
        client
    }
}

/// Reads until a message begins in a certain way.
fn hear(client: &mut Client, beginning: &[u8]) {
    while !client.next().into_data().starts_with(beginning) {}
}

#[test]
fn clients_of_centrifugo_answer_each_ping_once() {
    let server = Server::start(&["--ping-interval", "1s", "--pong-timeout", "5s"]);
    let disorderly = || server.by_reason("disconnects", "disorderly");
    let mut clients = WORDS.map(|words| (words.connect(&server), words));
    for (client, words) in &mut clients {
        hear(client, words.ping);
        // Answers that are late, behind a command and the next ping.
        words.say(client, words.command);
        hear(client, words.reply);
    }
    for (client, words) in &mut clients {
        hear(client, words.ping);
        (0..2).for_each(|_| words.say(client, words.ping));
        words.say(client, words.command);
        hear(client, words.reply);
    }
    assert_eq!(disorderly(), 0);
    for (client, words) in &mut clients {
        // One more ping may have come meanwhile.
        (0..2).for_each(|_| words.say(client, words.ping));
        assert_eq!(client.close_code(), Some(3501), "{}", words.protocol);
        let mut hasty = words.connect(&server);
        words.say(&mut hasty, words.ping);
        assert_eq!(hasty.close_code(), Some(3501), "{}: no ping was out", words.protocol);
    }
    assert_eq!(disorderly(), 4);
}
