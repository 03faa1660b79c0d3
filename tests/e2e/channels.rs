//! Channels are apart, and a client of several gets each in its own order.

use crate::client::Client;
use crate::server::Server;

#[test]
fn a_message_in_one_channel_is_not_heard_in_another() {
    let server = Server::start(&["--shards", "2"]);
    let mut red = Client::plain(server.address, "/ws?channel=red");
    let mut blue = Client::plain(server.address, "/ws?channel=blue");
    let mut lobby = Client::plain(server.address, "/ws");
    red.send("to red");
    blue.send("to blue");
    assert_eq!(red.next_text(), "to red");
    assert_eq!(blue.next_text(), "to blue");
    lobby.hears_nothing_before("own");
    red.hears_nothing_before("own");
}

#[test]
fn a_channel_comes_and_goes_with_its_clients() {
    let server = Server::start(&["--shards", "2"]);
    for round in 0..20 {
        let mut one = Client::plain(server.address, "/ws?channel=short-lived");
        let mut other = Client::plain(server.address, "/ws?channel=short-lived");
        let text = format!("round {round}");
        one.send(&text);
        assert_eq!((one.next_text(), other.next_text()), (text.clone(), text));
    }
}

#[test]
fn a_client_of_many_channels_hears_all_of_them() {
    let server = Server::start(&["--shards", "2"]);
    let (mut all, _) = Client::json(server.address, "/ws");
    for channel in 0..20 {
        all.send(&format!(r#"{{"type":"join","channel":"c{channel}","id":{channel}}}"#));
        let joined = all.next_json();
        assert_eq!((&joined["type"], &joined["id"]), (&"joined".into(), &channel.into()));
    }
    let (mut talker, _) = Client::json(server.address, "/ws");
    for round in 0..10 {
        for channel in 0..20 {
            let body = format!(r#"{{"type":"publish","channel":"c{channel}","body":{round}}}"#);
            talker.send(&body);
        }
    }
    let mut next = [1; 20];
    for _ in 0..200 {
        let message = all.next_json();
        let channel: usize = message["channel"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(message["offset"], next[channel], "{message}");
        assert_eq!(message["body"], next[channel] - 1);
        next[channel] += 1;
    }
}
