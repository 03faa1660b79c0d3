//! The sweep: a silent client is closed in time, one that talks is not even pinged, and browsers'
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
fn a_client_that_pongs_stays_and_one_that_talks_is_not_pinged() {
    let server = Server::start(&["--ping-interval", "400ms", "--pong-timeout", "400ms"]);
    let mut talker = Client::plain(server.address, "/ws?channel=talk");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        talker.send("word");
        assert_eq!(talker.next(), Message::text("word"), "a talker is not pinged");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let pings = server.total("pings_total");
    assert_eq!(pings, 0);

    let mut listener = Client::plain(server.address, "/ws");
    drop(talker);
    for _ in 0..4 {
        // tungstenite answers with the next read.
        assert!(matches!(listener.next(), Message::Ping(_)));
    }
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
