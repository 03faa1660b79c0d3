//! History: a client that comes back is told what it missed, each message once and in order.

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, post};

const KEPT: [&str; 5] = ["--shards", "2", "--history", "100", "--recovery"];

/// Joins behind a position. Returns the offsets that were missed, and the answer.
pub(crate) fn joined_since(
    client: &mut Client,
    channel: &str,
    epoch: &Value,
    offset: u64,
) -> (Vec<u64>, Value) {
    let since = format!(r#"{{"epoch":{epoch},"offset":{offset}}}"#);
    client.send(&format!(r#"{{"type":"join","channel":"{channel}","id":1,"since":{since}}}"#));
    let mut missed = Vec::new();
    loop {
        let told = client.next_json();
        match told["type"].as_str() {
            Some("message") => missed.push(told["offset"].as_u64().unwrap()),
            _ => return (missed, told),
        }
    }
}

fn publish(server: &Server, channel: &str, data: &str) -> Value {
    let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
    let (status, answer) = post(server.admin, "/api/publish", &body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["result"].clone()
}

fn history(server: &Server, params: &str) -> Value {
    let (_, answer) = post(server.admin, "/api/history", params);
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_client_that_comes_back_is_told_what_it_missed_from_any_shard() {
    let server = Server::start(&KEPT);
    for number in 1..150 {
        publish(&server, "room", &number.to_string());
    }
    let epoch = publish(&server, "room", "150")["epoch"].clone();
    let clients = server.on_all_shards(1, || Client::json(server.address, "/ws").0);
    for mut client in clients {
        let (missed, joined) = joined_since(&mut client, "room", &epoch, 140);
        assert_eq!(missed, (141..=150).collect::<Vec<_>>());
        assert_eq!((&joined["recovered"], &joined["offset"]), (&true.into(), &150.into()));
        client.send(r#"{"type":"leave","channel":"room"}"#);
        assert_eq!(client.next_json()["type"], "left");
        let (missed, joined) = joined_since(&mut client, "room", &epoch, 49);
        assert_eq!((missed.len(), &joined["recovered"]), (0, &false.into()), "100 are kept");
        client.send(r#"{"type":"leave","channel":"room"}"#);
        assert_eq!(client.next_json()["type"], "left");
        let (missed, joined) = joined_since(&mut client, "room", &json!("00000000"), 150);
        assert_eq!((missed.len(), &joined["recovered"]), (0, &false.into()), "another epoch");
        client.send(r#"{"type":"leave","channel":"room"}"#);
        assert_eq!(client.next_json()["type"], "left");
        let (missed, joined) = joined_since(&mut client, "room", &epoch, 50);
        assert_eq!((missed.len(), &joined["recovered"]), (100, &true.into()));
    }
}

#[test]
fn live_messages_follow_what_was_missed() {
    let server = Server::start(&KEPT);
    let (mut ann, welcome) = Client::json(server.address, "/ws?channel=room");
    for _ in 0..20 {
        ann.send(r#"{"type":"publish","body":1}"#);
        ann.next_json();
    }
    let mut clients = server.on_all_shards(1, || Client::json(server.address, "/ws").0);
    for client in &mut clients {
        client.send(&format!(
            r#"{{"type":"join","channel":"room","since":{{"epoch":{},"offset":10}}}}"#,
            welcome["epoch"]
        ));
    }
    for _ in 0..20 {
        ann.send(r#"{"type":"publish","body":2}"#);
    }
    for client in &mut clients {
        let mut offsets = Vec::new();
        while offsets.last() != Some(&40) {
            let told = client.next_json();
            if told["type"] == "message" {
                offsets.push(told["offset"].as_u64().unwrap());
            } else {
                assert_eq!(told["recovered"], true);
            }
        }
        assert_eq!(offsets, (11..=40).collect::<Vec<_>>());
    }
}

#[test]
fn a_replay_larger_than_a_page_and_an_outbox_comes_whole() {
    let server = Server::start(&[
        "--history",
        "1000",
        "--recovery",
        "--history-bytes",
        "16MiB",
        "--outbox-bytes",
        "64KiB",
    ]);
    let data = format!("\"{}\"", "x".repeat(16 << 10));
    let first = publish(&server, "room", &data);
    for _ in 1..200 {
        publish(&server, "room", &data);
    }
    let (mut client, _) = Client::json(server.address, "/ws");
    let (missed, joined) = joined_since(&mut client, "room", &first["epoch"], 0);
    assert_eq!((missed, &joined["recovered"]), ((1..=200).collect(), &true.into()));
}

#[test]
fn history_is_read_in_pages_and_removed() {
    let server = Server::start(&KEPT);
    for number in 1..=20 {
        publish(&server, "room", &number.to_string());
    }
    let (mut client, _) = Client::json(server.address, "/ws");
    client.send(r#"{"type":"history","channel":"room","limit":3,"id":1}"#);
    let page = client.next_json();
    let bodies = |page: &Value| -> Vec<u64> {
        let publications = page["publications"].as_array().unwrap();
        publications.iter().map(|one| one["body"].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (bodies(&page), &page["more"], &page["offset"]),
        (vec![1, 2, 3], &true.into(), &20.into())
    );
    let since = format!(r#"{{"epoch":{},"offset":10}}"#, page["epoch"]);
    let asked = r#""type":"history","channel":"room","limit":2,"reverse":true,"id":2"#;
    client.send(&format!(r#"{{{asked},"since":{since}}}"#));
    assert_eq!(bodies(&client.next_json()), [9, 8]);
    client.send(
        r#"{"type":"history","channel":"room","id":3,"since":{"epoch":"0badc0de","offset":1}}"#,
    );
    assert_eq!(client.next_json()["code"], "wrong_epoch");

    let answer = history(&server, r#"{"channel":"room","limit":2}"#);
    let publications = answer["result"]["publications"].as_array().unwrap();
    assert_eq!((publications.len(), &publications[1]["data"]), (2, &2.into()), "{answer}");
    let all = history(&server, r#"{"channel":"room","limit":-1,"reverse":true}"#);
    assert_eq!(all["result"]["publications"][0]["offset"], 20);
    assert_eq!(history(&server, r#"{"channel":"room"}"#)["result"]["publications"], json!([]));
    let wrong =
        history(&server, r#"{"channel":"room","limit":1,"since":{"epoch":"x","offset":1}}"#);
    assert_eq!(wrong["error"]["code"], 112);
    post(server.admin, "/api/history_remove", r#"{"channel":"room"}"#);
    let removed = history(&server, r#"{"channel":"room","limit":-1}"#);
    assert_eq!(
        (&removed["result"]["publications"], &removed["result"]["offset"]),
        (&json!([]), &20.into())
    );
}

#[test]
fn publications_may_skip_the_history_and_tell_a_version() {
    let server = Server::start(&KEPT);
    let (mut ann, _) = Client::json(server.address, "/ws?channel=room");
    for params in [
        r#"{"channel":"room","data":1,"version":5,"tags":{"kind":"news"}}"#,
        r#"{"channel":"room","data":2,"version":5}"#,
        r#"{"channel":"room","data":3,"skip_history":true}"#,
        r#"{"channel":"room","data":4,"version":4,"version_epoch":"later"}"#,
    ] {
        post(server.admin, "/api/publish", params);
    }
    let told: Vec<Value> = (0..3).map(|_| ann.next_json()).collect();
    let bodies: Vec<&Value> = told.iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, [&json!(1), &json!(3), &json!(4)], "version 5 was there already");
    assert_eq!(told[0]["tags"], json!({"kind": "news"}));
    let kept = history(&server, r#"{"channel":"room","limit":-1}"#);
    let data: Vec<&Value> =
        kept["result"]["publications"].as_array().unwrap().iter().map(|one| &one["data"]).collect();
    assert_eq!(data, [&json!(1), &json!(4)]);
    assert_eq!(kept["result"]["publications"][0]["tags"], json!({"kind": "news"}));
}

#[test]
fn without_history_nothing_is_kept() {
    let server = Server::start(&[]);
    let position = publish(&server, "room", "1");
    let (mut client, _) = Client::json(server.address, "/ws");
    client.send(r#"{"type":"history","channel":"room","id":1}"#);
    assert_eq!(client.next_json()["code"], "no_history");
    assert_eq!(history(&server, r#"{"channel":"room","limit":1}"#)["error"]["code"], 108);
    let (missed, joined) = joined_since(&mut client, "room", &position["epoch"], 0);
    assert_eq!((missed.len(), &joined["recovered"]), (0, &false.into()));
    client.send(r#"{"type":"leave","channel":"room"}"#);
    client.next_json();
    let (_, joined) = joined_since(&mut client, "room", &position["epoch"], 1);
    assert_eq!(joined["recovered"], true, "nothing was missed");
}

#[test]
fn a_file_keeps_history_over_a_restart_and_a_take_over() {
    let folder = std::env::temp_dir().join(format!("stentor-e2e-{}", std::process::id()));
    let folder_text = folder.to_str().unwrap().to_owned();
    let mut flags = KEPT.to_vec();
    flags.extend(["--history-file", &folder_text, "--take-over-settle", "0s"]);
    let mut server = Server::start(&flags);
    let epoch = publish(&server, "room", "1")["epoch"].clone();
    publish(&server, "room", "2");
    let address = server.address;
    server.signal("TERM");
    assert!(server.wait().success());

    let server = Server::start_on(address, &flags);
    let (mut client, _) = Client::json(server.address, "/ws");
    let (missed, joined) = joined_since(&mut client, "room", &epoch, 1);
    assert_eq!((missed, &joined["recovered"]), (vec![2], &true.into()));
    assert_ne!(joined["epoch"], epoch, "offsets go on in an epoch of this process");
    assert_eq!(publish(&server, "room", "3")["offset"], 3);
    assert_eq!(client.next_json()["offset"], 3);

    let newer = Server::start_beside(&server, &flags);
    let (mut client, _) = Client::json(newer.address, "/ws");
    let (missed, joined_again) = joined_since(&mut client, "room", &joined["epoch"], 2);
    assert_eq!((missed, &joined_again["recovered"]), (vec![3], &true.into()));
    client.send(r#"{"type":"leave","channel":"room"}"#);
    client.next_json();
    let (missed, joined) = joined_since(&mut client, "room", &epoch, 1);
    assert_eq!((missed, &joined["recovered"]), (vec![2, 3], &true.into()), "two processes ago");
    client.send(r#"{"type":"leave","channel":"room"}"#);
    client.next_json();
    let (_, joined) = joined_since(&mut client, "room", &epoch, 3);
    assert_eq!(joined["recovered"], false, "that epoch ended with 2");
    drop((server, newer));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nobody_goes_on_from_a_file_behind_which_more_was_said() {
    let folder = std::env::temp_dir().join(format!("stentor-e2e-killed-{}", std::process::id()));
    let folder_text = folder.to_str().unwrap().to_owned();
    let mut flags = KEPT.to_vec();
    flags.extend(["--history-file", &folder_text]);
    let mut server = Server::start(&flags);
    let epoch = publish(&server, "room", "1")["epoch"].clone();
    let address = server.address;
    server.signal("TERM");
    assert!(server.wait().success());
    let server = Server::start_on(address, &flags);
    publish(&server, "room", "2");
    // It is killed, and the file is the one of the process before.
    drop(server);

    let mut server = Server::start_on(address, &flags);
    let (mut client, _) = Client::json(server.address, "/ws");
    let (missed, joined) = joined_since(&mut client, "room", &epoch, 1);
    assert_eq!((missed.len(), &joined["recovered"]), (0, &false.into()), "2 is lost");
    let kept = history(&server, r#"{"channel":"room","limit":-1}"#);
    assert_eq!(kept["result"]["publications"].as_array().unwrap().len(), 1, "{kept}");
    let epoch = publish(&server, "room", "3")["epoch"].clone();
    server.signal("TERM");
    assert!(server.wait().success());
    let server = Server::start_on(address, &flags);
    let (mut client, _) = Client::json(server.address, "/ws");
    let (missed, joined) = joined_since(&mut client, "room", &epoch, 1);
    assert_eq!((missed, &joined["recovered"]), (vec![2], &true.into()), "it ended in order");
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}
