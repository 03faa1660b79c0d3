//! The API puts clients into channels and takes them out: whoever it is, on whichever core, is told
//! so, and hears what is published behind the answer.

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, post};

fn api(server: &Server, method: &str, params: &Value) -> Value {
    let (status, text) = post(server.admin, &format!("/api/{method}"), &params.to_string());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Clients of one user, on both shards in all likelihood.
fn crowd(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::json(server.address, "/ws?user=ana").0).collect()
}

#[test]
fn every_client_of_a_user_hears_what_follows_the_answer() {
    let server = Server::start(&["--shards", "2", "--on-duplicate-user", "allow"]);
    // More than one part.
    let mut clients = crowd(&server, 70);
    for number in 0..4 {
        let channel = format!("room{number}");
        let about = json!({ "user": "ana", "channel": channel });
        assert_eq!(api(&server, "subscribe", &about)["result"], json!({ "clients": 70 }));
        api(&server, "publish", &json!({ "channel": channel, "data": number }));
        for client in &mut clients {
            let joined = client.next_json();
            assert_eq!((&joined["type"], &joined["reason"]), (&json!("joined"), &json!("server")));
            assert_eq!(client.next_json()["body"], number);
        }
        assert_eq!(api(&server, "unsubscribe", &about)["result"], json!({ "clients": 70 }));
        assert_eq!(api(&server, "unsubscribe", &about)["result"], json!({ "clients": 0 }));
        for client in &mut clients {
            let left = client.next_json();
            assert_eq!(left, json!({ "type": "left", "channel": channel, "reason": "server" }));
        }
    }
}

#[test]
fn one_client_is_chosen_and_recovers() {
    let server = Server::start(&[
        "--shards",
        "2",
        "--on-duplicate-user",
        "allow",
        "--history",
        "9",
        "--recovery",
    ]);
    let come = || Client::json(server.address, "/ws?user=ana");
    let ((mut one, first_welcome), (mut other, welcome)) = (come(), come());
    let ids = [&first_welcome["client"], &welcome["client"]];
    let first = api(&server, "publish", &json!({ "channel": "a", "data": 1 }))["result"].clone();
    api(&server, "publish", &json!({ "channel": "a", "data": 2 }));
    let chosen = json!({ "user": "ana", "client": ids[1], "channel": "a", "recover_since": first });
    assert_eq!(api(&server, "subscribe", &chosen)["result"]["clients"], 1);
    assert_eq!(other.next_json()["body"], 2);
    let joined = other.next_json();
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(true), &json!(2)));
    let wrong = json!({ "user": "bob", "client": ids[0], "channel": "a" });
    assert_eq!(api(&server, "subscribe", &wrong)["result"]["clients"], 0, "it is not bob's");
    let alone = json!({ "client": ids[0], "channel": "b", "session": "", "info": null });
    assert_eq!(api(&server, "subscribe", &alone)["result"]["clients"], 1);
    assert_eq!(one.next_json()["channel"], "b");
}

#[test]
fn what_cannot_be_done_is_said() {
    let server = Server::start(&["--channels-per-client", "1"]);
    let _client = Client::json(server.address, "/ws?channel=a&user=ana");
    for (method, params, code, part) in [
        ("subscribe", json!({ "user": "ana", "channel": "b" }), 106, "limit"),
        ("subscribe", json!({ "channel": "b" }), 107, "user"),
        ("subscribe", json!({ "user": "ana" }), 107, "channel"),
        ("subscribe", json!({ "user": "ana", "channel": "" }), 107, "channel"),
        ("subscribe", json!({ "client": "x", "channel": "b" }), 107, "client"),
        ("subscribe", json!({ "user": "ana", "channel": "b", "session": "s" }), 107, "session"),
        ("subscribe", json!({ "user": "ana", "channel": "b", "b64data": "=" }), 107, "data"),
        ("subscribe", json!({ "user": "ana", "channel": "b", "expire_at": 1 }), 107, "expire_at"),
        ("unsubscribe", json!({ "channel": "b" }), 107, "user"),
        ("unsubscribe", json!({ "user": "ana", "channel": "b", "code": 1 }), 107, "code"),
    ] {
        let error = api(&server, method, &params)["error"].clone();
        let text = error["message"].as_str().unwrap_or_default();
        assert!(error["code"] == code && text.contains(part), "{method} {params}: {error}");
    }
    let nobody = json!({ "user": "nobody", "channel": "b" });
    assert_eq!(api(&server, "subscribe", &nobody)["result"]["clients"], 0);
    let far = json!({ "client": "63-1-1", "channel": "b" });
    assert_eq!(api(&server, "subscribe", &far)["result"]["clients"], 0);
}
