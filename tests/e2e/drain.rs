//! SIGTERM: no new clients, 1001 spread over time, outboxes flushed, exit 0; a second signal ends
//! at once.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, get};

#[test]
fn a_drain_is_announced_paced_and_clean() {
    let mut server = Server::start(&["--shards", "2", "--drain-spread", "1500ms"]);
    let clients: Vec<Client> = (0..60).map(|_| Client::plain(server.address, "/ws")).collect();
    assert_eq!(get(server.address, "/ready").0, 200);
    let began = Instant::now();
    server.signal("TERM");
    eventually("the server says that it drains", || get(server.admin, "/ready").0 == 503);
    assert_eq!(get(server.address, "/ready").0, 503);
    assert_eq!(get(server.address, "/health").0, 200);
    let refused = Client::try_plain(server.address, "/ws").err();
    assert_eq!(refused.map(|refused| refused.0), Some(503));

    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || (client.close_code(), Instant::now())))
        .collect();
    let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(ends.iter().all(|(code, _)| *code == Some(1001)), "{ends:?}");
    let mut times: Vec<Duration> = ends.iter().map(|(_, at)| *at - began).collect();
    times.sort_unstable();
    let (early, late) = (times[5], times[55]);
    assert!(
        late.saturating_sub(early) > Duration::from_millis(600),
        "not spread: {early:?} to {late:?}"
    );
    assert!(server.wait().success());
    assert!(server.log().iter().any(|line| line.contains("drained")));
}

#[test]
fn a_shard_without_clients_serves_until_the_others_are_done() {
    let mut server = Server::start(&["--shards", "2", "--drain-spread", "3s"]);
    // One client is on one shard, and eight channels have homes on both.
    let (mut client, _) = Client::json(server.address, "/ws");
    server.signal("TERM");
    eventually("it drains", || get(server.admin, "/ready").0 == 503);
    for _ in 0..8 {
        assert_eq!(get(server.address, "/ready").0, 503);
    }
    for number in 0..8 {
        client
            .send(&format!(r#"{{"type":"publish","channel":"c{number}","body":1,"id":{number}}}"#));
    }
    for _ in 0..8 {
        assert_eq!(client.next_json()["type"], "ack");
    }
    assert_eq!(client.close_code(), Some(1001));
    assert!(server.wait().success());
}

#[test]
fn an_idle_server_ends_at_once() {
    let mut server = Server::start(&["--shards", "2"]);
    let began = Instant::now();
    server.signal("INT");
    assert!(server.wait().success());
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut server = Server::start(&["--drain-spread", "60s"]);
    let client = Client::plain(server.address, "/ws");
    server.signal("TERM");
    eventually("it drains", || get(server.admin, "/ready").0 == 503);
    server.signal("TERM");
    let status = server.wait();
    assert_eq!(status.code(), Some(128 + 15));
    drop(client);
}

#[test]
fn a_drain_flushes_outboxes() {
    let flags =
        ["--drain-spread", "0", "--send-buffer-bytes", "16KiB", "--receive-buffer-bytes", "64KiB"];
    let mut server = Server::start(&flags);
    let mut slow = Client::plain(server.address, "/ws");
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    let mut said = 0;
    while server.total("outbox_bytes") == 0 {
        for _ in 0..20 {
            talker.send(&"x".repeat(8_000));
            said += 1;
        }
    }
    eventually("all is read", || server.total("publications_total") == said);
    server.signal("TERM");
    let (frame, texts) = slow.closed();
    assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1001));
    assert_eq!(texts as u64, said, "nothing is lost");
    assert!(server.wait().success());
}
