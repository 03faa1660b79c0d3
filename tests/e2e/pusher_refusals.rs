//! Clients of Pusher's protocol that ask for what they may not have.

use serde_json::json;

use crate::pusher::{ONE_APP, Socket};
use crate::server::Server;

/// Names hold colons, and a presence channel's data stands behind one in what is signed.
#[test]
fn pusher_signatures_are_good_for_no_shorter_name() {
    let server = Server::start(&ONE_APP);
    for (channel, data) in [("private-a", "b"), ("private-encrypted-a", "b:c")] {
        let mut socket = Socket::open(server.address);
        let answer = socket.subscribe(channel, Some(data));
        assert_eq!(answer["event"], "pusher:subscription_error", "{answer}");
        socket.join(&format!("{channel}:{data}"));
        // Backends that sign all channels alike put an object behind the name.
        let answer = socket.subscribe(channel, Some(r#"{"user_id":"u"}"#));
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
        assert_eq!(answer["data"], "{}");
    }
}

#[test]
fn pusher_refusals_do_not_end_a_client() {
    let server = Server::start(&ONE_APP);
    let mut socket = Socket::open(server.address);
    for number in 0..60 {
        let channel = format!("private-{number}");
        socket.say("pusher:subscribe", json!({ "channel": channel, "auth": "key:none" }));
        assert_eq!(socket.client.next_json()["event"], "pusher:subscription_error");
    }
    socket.join("private-a");
    for number in 0..60 {
        let event = json!({ "event": "client-moved", "channel": "private-a", "data": number });
        socket.client.send(&event.to_string());
    }
    socket.say("pusher:ping", json!({}));
    let answers = std::iter::repeat_with(|| socket.client.next_json());
    let until_pong = answers.take_while(|answer| answer["event"] != "pusher:pong");
    assert!(until_pong.map(|answer| assert_eq!(answer["data"]["code"], 4301)).count() >= 40);
}
