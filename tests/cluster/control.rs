//! The API of any node speaks for the clients of all, and says which nodes there are.

use serde_json::{Value, json};

use crate::client::Client;
use crate::nats::Nats;
use crate::node::{join, next, start};
use crate::server::{Server, eventually, get, post};

fn nodes_of(node: &Server) -> Vec<Value> {
    let (_, body) = get(node.admin, "/api/nodes");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["nodes"].as_array().unwrap().clone()
}

fn api(node: &Server, method: &str, params: Value) -> Value {
    let (status, body) = post(node.admin, &format!("/api/{method}"), &params.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["result"].clone()
}

#[test]
fn calls_reach_the_clients_of_all_nodes() {
    let nats = Nats::start();
    let nodes = [0, 1, 2].map(|_| start(&nats, &[]));
    for node in &nodes {
        eventually("all know each other", || nodes_of(node).len() == 3);
        assert_eq!(nodes_of(node).iter().filter(|one| one["own"] == true).count(), 1);
    }
    let mut clients: Vec<Client> = nodes
        .iter()
        .map(|node| {
            let (mut client, _) = Client::json(node.address, "/ws?user=ana");
            join(&mut client, "room", None);
            client
        })
        .collect();
    let channels = api(&nodes[0], "channels", json!({}));
    assert_eq!(channels["channels"]["room"]["num_clients"], 3, "{channels}");
    let sent = api(&nodes[1], "direct", json!({ "user": "ana", "data": "psst" }));
    assert_eq!(sent["clients"], 3);
    for client in &mut clients {
        assert_eq!(next(client).unwrap()["body"], "psst");
    }
    let gone = api(&nodes[2], "disconnect", json!({ "user": "ana" }));
    assert!(gone["partial"].is_null(), "{gone}");
    for client in &mut clients {
        assert!(std::iter::from_fn(|| next(client)).all(|message| message["type"] != "message"));
    }
}

#[test]
fn a_node_that_dies_is_gone_from_the_list() {
    let nats = Nats::start();
    let lives = start(&nats, &[]);
    let dies = start(&nats, &[]);
    eventually("both are there", || nodes_of(&lives).len() == 2);
    let (mut client, _) = Client::json(dies.address, "/ws");
    join(&mut client, "room", None);
    let began = std::time::Instant::now();
    drop(dies);
    eventually("one has gone", || nodes_of(&lives).len() == 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
    let channels = api(&lives, "channels", json!({}));
    assert!(channels["channels"]["room"].is_null(), "{channels}");
}

#[test]
fn a_removed_history_is_removed_for_all_nodes() {
    let nats = Nats::start();
    let nodes = [0, 1].map(|_| start(&nats, &[]));
    eventually("both are there", || nodes_of(&nodes[0]).len() == 2);
    let count = |node: usize| {
        let page = api(&nodes[node], "history", json!({ "channel": "room", "limit": 100 }));
        page["publications"].as_array().unwrap().len()
    };
    for text in ["a", "b"] {
        api(&nodes[0], "publish", json!({ "channel": "room", "data": text }));
    }
    assert_eq!((count(0), count(1)), (2, 2));
    api(&nodes[1], "history_remove", json!({ "channel": "room" }));
    eventually("it is gone", || (count(0), count(1)) == (0, 0));
    api(&nodes[0], "publish", json!({ "channel": "room", "data": "c" }));
    assert_eq!((count(0), count(1)), (1, 1));
}
