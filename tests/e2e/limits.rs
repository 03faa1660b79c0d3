//! Every limit answers in its own way and loses nobody else's data.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, post};

#[test]
fn a_message_that_is_too_large_ends_with_1009() {
    let server = Server::start(&["--message-bytes", "1000"]);
    let mut other = Client::plain(server.address, "/ws");
    let mut client = Client::plain(server.address, "/ws");
    client.send(&"x".repeat(1000));
    assert_eq!(other.next_text().len(), 1000);
    client.send(&"x".repeat(1001));
    assert_eq!(client.close_code(), Some(1009));
    other.hears_nothing_before("own");
}

#[test]
fn broken_frames_and_texts_end_with_1002_and_1007() {
    let server = Server::start(&[]);
    for (frame, code) in [
        (vec![0x81, 0x01, b'x'], 1002),             // not masked
        (vec![0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002), // a reserved bit
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),       // a reserved opcode
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002),       // a ping in fragments
        (vec![0x81, 0x81, 0, 0, 0, 0, 0xff], 1007), // no UTF-8
        (vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], 1009),
    ] {
        let mut client = Client::plain(server.address, "/ws");
        std::io::Write::write_all(client.stream(), &frame).unwrap();
        assert_eq!(client.close_code(), Some(code), "{frame:?}");
    }
}

/// On one shard a client's own last words come back to it as well, before it learns its mistake.
#[test]
fn messages_before_a_broken_rule_are_delivered_and_the_connection_ends_at_once() {
    let server = Server::start(&["--shards", "1", "--close-timeout", "1h"]);
    let began = Instant::now();
    for _ in 0..10 {
        let mut client = Client::plain(server.address, "/ws");
        let frames = [0x81, 0x81, 0, 0, 0, 0, b'x', 0x83, 0x80, 0, 0, 0, 0, 0x81, 0x81];
        std::io::Write::write_all(client.stream(), &frames).unwrap();
        // Raw reads: nobody answers the close frame.
        let mut heard = Vec::new();
        std::io::Read::read_to_end(client.stream(), &mut heard).unwrap();
        let close = [0x88, 16, 0x03, 0xea];
        assert_eq!(heard, [&[0x81, 1, b'x'][..], &close, b"protocol error"].concat());
    }
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for an answer");
    eventually("all are gone", || server.total("handshakes") == 0);
    assert_eq!(server.by_reason("disconnects", "protocol"), 10);
}

/// The time that a client has for its goodbye is not what is left of its handshake's.
#[test]
fn a_closing_client_has_the_time_it_was_promised() {
    let server = Server::start(&["--handshake-timeout", "1s", "--close-timeout", "2500ms"]);
    let silent = Client::plain(server.address, "/ws?user=bob");
    let began = Instant::now();
    assert_eq!(post(server.admin, "/api/disconnect", r#"{"user":"bob"}"#).0, 200);
    // The request is answered before the client's shard begins to close it: until then the client
    // is among the open ones.
    eventually("it closes", || server.total("clients") == 0);
    eventually("it is let go", || server.total("handshakes") == 0);
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn too_many_messages_end_a_plain_client_and_are_errors_to_a_json_client() {
    let server = Server::start(&["--messages-per-second", "10", "--errors-max", "1000"]);
    let mut plain = Client::plain(server.address, "/ws?channel=a");
    for _ in 0..50 {
        if plain.try_send("x").is_err() {
            break;
        }
    }
    assert_eq!(plain.close_code(), Some(1008));
    let (mut json, _) = Client::json(server.address, "/ws");
    for _ in 0..12 {
        json.send(r#"{"type":"ping"}"#);
    }
    let answers: Vec<String> = (0..12).map(|_| json.next_json()["type"].to_string()).collect();
    assert!(answers[..10].iter().all(|kind| kind == "\"pong\""), "{answers:?}");
    assert!(answers[10..].contains(&"\"error\"".to_owned()), "{answers:?}");
}

#[test]
fn clients_of_one_address_and_of_all() {
    let server = Server::start(&["--shards", "2", "--max-clients-per-ip", "5"]);
    let mut there: Vec<Client> = (0..5).map(|_| Client::plain(server.address, "/ws")).collect();
    for _ in 0..4 {
        assert_eq!(Client::try_plain(server.address, "/ws").err().unwrap().0, 429);
    }
    there.pop().unwrap().goodbye();
    eventually("there is room again", || Client::try_plain(server.address, "/ws").is_ok());

    let server = Server::start(&["--shards", "2", "--max-clients", "3"]);
    let there: Vec<Client> = (0..3).map(|_| Client::plain(server.address, "/ws")).collect();
    let (status, reason) = Client::try_plain(server.address, "/ws").err().unwrap();
    assert_eq!((status, reason.as_str()), (503, "no room for another client"));
    assert_eq!(server.total("clients"), 3);
    drop(there);
}

#[test]
fn channels_of_one_client_and_of_a_shard() {
    let server = Server::start(&["--channels-per-client", "3"]);
    let (mut client, _) = Client::json(server.address, "/ws");
    for channel in 0..4 {
        client.send(&format!(r#"{{"type":"join","channel":"c{channel}","id":{channel}}}"#));
        let answer = client.next_json();
        let expected = if channel < 3 { "joined" } else { "error" };
        assert_eq!(answer["type"], expected, "{answer}");
    }
    let server = Server::start(&["--shards", "1", "--channels-per-shard", "2"]);
    let mut one = Client::plain(server.address, "/ws?channel=one");
    let refused = Client::try_plain(server.address, "/ws?channel=two").err().unwrap();
    assert_eq!(refused, (503, "no room for another channel".to_owned()));
    one.send("still here");
    assert_eq!(one.next_text(), "still here");
}
