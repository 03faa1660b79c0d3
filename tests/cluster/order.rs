//! Clients of different nodes hear one order, and nothing is lost or doubled on the way.

use std::collections::BTreeSet;

use serde_json::json;

use crate::client::Client;
use crate::nats::Nats;
use crate::node::{LAST, Listener, join, next, publisher, start};
use crate::server::{get, post};

#[test]
fn clients_of_two_nodes_hear_one_order() {
    let nats = Nats::start();
    let nodes = [start(&nats, &[]), start(&nats, &[])];
    let listeners: Vec<Listener> =
        (0..8).map(|number| Listener::start(nodes[number % 2].address, "room")).collect();
    let publishers: Vec<_> = (0..6)
        .map(|number| publisher(nodes[number % 2].address, "room", &format!("p{number}"), 300))
        .collect();
    let places: BTreeSet<u64> = publishers.into_iter().flat_map(IntoIterator::into_iter).collect();
    assert_eq!(places.len(), 1800, "each has a place of its own");
    let last = json!({ "channel": "room", "data": LAST }).to_string();
    assert_eq!(post(nodes[0].admin, "/api/publish", &last).0, 200);
    let mut heard = listeners.into_iter().map(Listener::heard);
    let first = heard.next().unwrap();
    assert_eq!(first.len(), 1801);
    assert!(first.is_sorted_by(|a, b| a.0 < b.0), "offsets grow");
    assert!(first.iter().all(|(offset, body)| body == LAST || places.contains(offset)));
    for number in 0..6 {
        let own = first.iter().filter(|(_, body)| body.starts_with(&format!("p{number}-")));
        let numbers =
            own.map(|(_, body)| body.split_once('-').unwrap().1.parse::<usize>().unwrap());
        assert!(numbers.eq(0..300), "a publisher's messages keep their order");
    }
    for other in heard {
        assert_eq!(other, first, "all clients hear one order");
    }
}

#[test]
fn a_client_recovers_at_another_node_what_it_missed() {
    let nats = Nats::start();
    let nodes = [start(&nats, &[]), start(&nats, &[])];
    let (mut client, _) = Client::json(nodes[0].address, "/ws");
    let joined = join(&mut client, "room", None);
    let epoch = joined["epoch"].as_str().unwrap().to_owned();
    let publish = |node: usize, text: &str| {
        let body = json!({ "channel": "room", "data": text }).to_string();
        assert_eq!(post(nodes[node].admin, "/api/publish", &body).0, 200);
    };
    publish(1, "heard");
    let heard = next(&mut client).unwrap();
    assert_eq!(heard["body"], "heard");
    let offset = heard["offset"].as_u64().unwrap();
    drop(client);
    for number in 0..20 {
        publish(number % 2, &format!("missed {number}"));
    }
    for (node, since) in [(1, offset), (0, offset), (1, 0)] {
        let (mut client, _) = Client::json(nodes[node].address, "/ws");
        client.send(
            &json!({ "type": "join", "channel": "room", "id": 1,
                     "since": { "epoch": epoch, "offset": since } })
            .to_string(),
        );
        let mut bodies = Vec::new();
        let answer = loop {
            let message = next(&mut client).unwrap();
            match message["type"].as_str().unwrap() {
                "message" => bodies.push(message["body"].as_str().unwrap().to_owned()),
                "joined" => break message,
                _ => {}
            }
        };
        assert_eq!(answer["recovered"], true, "{node} {answer}");
        assert_eq!(answer["epoch"], epoch.as_str());
        let missed = (0..20).map(|number| format!("missed {number}"));
        let all = (since == 0).then(|| "heard".to_owned()).into_iter().chain(missed);
        assert!(bodies.iter().cloned().eq(all), "{bodies:?}");
    }
    let (status, body) = get(nodes[1].admin, "/ready");
    assert_eq!(status, 200, "{body}");
}
