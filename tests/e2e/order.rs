//! Every client of a channel sees the same publications in the same order, whatever shards it and
//! the publishers are on; a publisher that outruns the mesh is held back and loses nothing.

use std::net::SocketAddr;
use std::thread;

use crate::client::Client;
use crate::server::Server;

/// So many that all on one of two shards is out of the question.
const PUBLISHERS: usize = 24;
const EACH: usize = 70;

fn publish_all(address: SocketAddr) -> Vec<thread::JoinHandle<()>> {
    (0..PUBLISHERS)
        .map(|publisher| {
            thread::spawn(move || {
                let mut client = Client::plain(address, "/ws?channel=order&echo=false");
                for number in 0..EACH {
                    client.send(&format!("{publisher} {number}"));
                }
                client.goodbye();
            })
        })
        .collect()
}

#[test]
fn every_subscriber_sees_the_one_order() {
    let server = Server::start(&["--shards", "2"]);
    let mut plain: Vec<Client> =
        server.on_all_shards(3, || Client::plain(server.address, "/ws?channel=order"));
    let (mut json, welcome) = Client::json(server.address, "/ws?channel=order");
    assert_eq!(welcome["channel"], "order");
    let publishers = publish_all(server.address);

    let mut first: Option<Vec<String>> = None;
    for client in &mut plain {
        let seen: Vec<String> = (0..PUBLISHERS * EACH).map(|_| client.next_text()).collect();
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen);
    }
    let order = first.unwrap();
    for (index, text) in order.iter().enumerate() {
        let message = json.next_json();
        assert_eq!(message["offset"], index + 1, "{message}");
        assert_eq!(message["body"], *text);
    }
    // Each publisher's own messages keep their order in it.
    for publisher in 0..PUBLISHERS {
        let own: Vec<usize> = order
            .iter()
            .filter_map(|text| text.strip_prefix(&format!("{publisher} "))?.parse().ok())
            .collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>());
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let said = server.by_shard("messages_in_total");
    assert!(said.iter().all(|count| *count > 0), "publishers were on one shard only: {said:?}");
}

#[test]
fn a_flood_is_held_back_and_not_dropped() {
    // Lanes of two parcels: full nearly all the time.
    let server =
        Server::start(&["--shards", "2", "--lane-parcels", "2", "--outbox-bytes", "16MiB"]);
    let mut subscribers: Vec<Client> =
        server.on_all_shards(2, || Client::plain(server.address, "/ws?channel=order"));
    let mut numbered =
        server.on_all_shards(3, || Client::json(server.address, "/ws?channel=order").0);
    let publishers = publish_all(server.address);
    for client in &mut subscribers {
        for _ in 0..PUBLISHERS * EACH {
            client.next_text();
        }
    }
    // No number is missing, on whatever shard.
    for client in &mut numbered {
        for offset in 1..=PUBLISHERS * EACH {
            assert_eq!(client.next_json()["offset"], offset);
        }
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    assert_eq!(server.total("publications_total"), (PUBLISHERS * EACH) as u64);
    assert_eq!(server.total("dropped_total"), 0);
    let held = server.total("holds_total") + server.total("stalls_total");
    assert!(held > 0, "the lanes were never full: the test proves nothing");
}
