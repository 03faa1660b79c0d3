//! The JSON dialect: every request has its answer, bodies pass byte for byte, and mistakes do not
//! disconnect at once.

use crate::client::Client;
use crate::server::Server;

#[test]
fn requests_and_their_answers() {
    let server = Server::start(&["--shards", "2", "--ping-interval", "25s"]);
    let (mut ann, welcome) = Client::json(server.address, "/ws?channel=room&user=ann");
    assert_eq!(welcome["user"], "ann");
    assert_eq!(welcome["channel"], "room");
    assert_eq!((&welcome["ping_interval"], &welcome["pong_timeout"]), (&25.into(), &10.into()));
    let (mut bob, _) = Client::json(server.address, "/ws?user=bob");

    bob.send(r#"{"type":"join","channel":"room","id":"j"}"#);
    let joined = bob.next_json();
    // Everybody is told the same epoch: it names the numbering that the offsets belong to.
    let epoch = welcome["epoch"].as_str().expect("the URL's channel has one").to_owned();
    assert_eq!((epoch.len(), &welcome["offset"]), (8, &0.into()));
    let expected =
        serde_json::json!({"type":"joined","channel":"room","offset":0,"epoch":epoch,"id":"j"});
    assert_eq!(joined, expected);

    ann.send(r#"{"type":"publish","id":7,"body":"x"}"#);
    let (first, second) = (ann.next_json(), ann.next_json());
    let ack = if first["type"] == "ack" { &first } else { &second };
    let expected =
        serde_json::json!({"type":"ack","channel":"room","offset":1,"epoch":epoch,"id":7});
    assert_eq!(*ack, expected);
    let message = bob.next_json();
    assert_eq!(message["from"], serde_json::json!({"client": welcome["client"], "user": "ann"}));
    assert!(message["time"].as_u64().unwrap() > 1_600_000_000_000);

    bob.send(r#"{"type":"who","channel":"room","id":null}"#);
    let who = bob.next_json();
    assert_eq!(who["clients"], 2);
    assert_eq!(who["users"], serde_json::json!(["ann", "bob"]));
    assert_eq!(who["more"], false);

    bob.send(r#"{"type":"ping","id":1.5e3}"#);
    assert_eq!(bob.next_text(), r#"{"type":"pong","id":1.5e3}"#);
    bob.send(r#"{"type":"leave","channel":"room"}"#);
    assert_eq!(bob.next_text(), r#"{"type":"left","channel":"room"}"#);
    bob.send(r#"{"type":"leave","channel":"room","id":2}"#);
    assert_eq!(bob.next_json()["code"], "not_joined");
}

#[test]
fn a_body_passes_byte_for_byte() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, _) = Client::json(server.address, "/ws?channel=room");
    let mut plain = Client::plain(server.address, "/ws?channel=room");
    for body in [
        r#"{"a" :  1.00e2, "b":[ ] }"#,
        "123456789012345678901234567890.5",
        r#""\u00e4\ud83d\ude00""#,
        "null",
        r#"{"a":1,"a":2}"#,
    ] {
        one.send(&format!(r#"{{"type":"publish","body":{body}}}"#));
        let text = one.next_text();
        assert!(text.ends_with(&format!(r#","body":{body}}}"#)), "{text}");
        let expected = if body.starts_with('"') { "ä😀" } else { body };
        assert_eq!(plain.next_text(), expected);
    }
    plain.send("from \"plain\"");
    assert_eq!(one.next_json()["body"], "from \"plain\"");
    plain.send_binary(&[0, 255]);
    let message = one.next_json();
    assert_eq!((&message["encoding"], &message["body"]), (&"base64".into(), &"AP8=".into()));
}

#[test]
fn mistakes_are_answered_and_too_many_end_it() {
    let server = Server::start(&["--errors-max", "5"]);
    let (mut client, _) = Client::json(server.address, "/ws");
    for (text, code) in [
        ("nonsense", "malformed"),
        (r#"{"type":"fly","id":3}"#, "unknown_type"),
        (r#"{"type":"publish","body":1}"#, "missing_field"),
        (r#"{"type":"join","channel":"\u0007"}"#, "bad_name"),
    ] {
        client.send(text);
        let error = client.next_json();
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &code.into()), "{error}");
    }
    for _ in 0..20 {
        let _ = client.try_send("{}");
    }
    assert_eq!(client.close_code(), Some(1008));
}

#[test]
fn binary_is_no_json() {
    let server = Server::start(&[]);
    let (mut client, _) = Client::json(server.address, "/ws");
    client.send_binary(b"{}");
    assert_eq!(client.next_json()["code"], "binary");
}

#[test]
fn watchers_hear_of_joins_and_leaves() {
    let server = Server::start(&["--shards", "2"]);
    let (mut watcher, _) = Client::json(server.address, "/ws?user=watcher");
    watcher.send(r#"{"type":"join","channel":"room","presence":true,"id":1}"#);
    assert_eq!(watcher.next_json()["type"], "joined");
    let (bystander, _) = Client::json(server.address, "/ws?channel=other");
    for user in ["ann", "bob", "cid", "dan"] {
        let guest = Client::plain(server.address, &format!("/ws?channel=room&user={user}"));
        let came = watcher.next_json();
        assert_eq!((&came["type"], &came["user"]), (&"joined".into(), &user.into()), "{came}");
        guest.goodbye();
        let went = watcher.next_json();
        assert_eq!((&went["type"], &went["user"]), (&"left".into(), &user.into()), "{went}");
        assert_eq!(came["client"], went["client"]);
    }
    bystander.goodbye();
    // The last member watches, and goes.
    watcher.send(r#"{"type":"leave","channel":"room"}"#);
    assert_eq!(watcher.next_text(), r#"{"type":"left","channel":"room"}"#);
    watcher.goodbye();
}

#[test]
fn another_start_has_another_epoch() {
    let epoch = || {
        let server = Server::start(&["--shards", "2"]);
        let (_, welcome) = Client::json(server.address, "/ws?channel=room");
        welcome["epoch"].as_str().expect("the URL's channel has one").to_owned()
    };
    assert_ne!(epoch(), epoch());
}
