//! A reader that stops costs the others nothing, and is dealt with as the policy says.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually};
use crate::streams::Listener;

const SMALL: [&str; 4] = ["--outbox-bytes", "64KiB", "--message-bytes", "32KiB"];

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    // Small socket buffers, so that a stopped reader is noticed soon.
    let buffers = ["--send-buffer-bytes", "16KiB", "--receive-buffer-bytes", "64KiB"];
    SMALL.iter().chain(&buffers).chain(more).copied().collect()
}

/// Talks until `enough`, while a second client reads everything.
fn talk_until(server: &Server, mut enough: impl FnMut() -> bool) -> usize {
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    let mut reader = Client::plain(server.address, "/ws");
    let body = "x".repeat(8_000);
    let mut said = 0;
    while !enough() && said < 5_000 {
        for _ in 0..50 {
            talker.send(&format!("{said} {body}"));
            assert!(reader.next_text().starts_with(&format!("{said} ")));
            said += 1;
        }
    }
    said
}

#[test]
fn chat_service_a_full_queue_closes_the_client() {
    let server = Server::start(&flags(&[]));
    let mut stopped = Client::plain(server.address, "/ws");
    talk_until(&server, || server.by_reason("disconnects", "slow") == 1);
    assert_eq!(server.by_reason("disconnects", "slow"), 1);
    // When it reads again it finds whole messages, then the reason.
    let (frame, texts) = stopped.closed();
    assert!(texts > 0);
    assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(3008));
    eventually("nothing is kept for it", || server.total("outbox_bytes") == 0);
}

#[test]
fn drop_loses_the_newest_and_keeps_the_client() {
    let server = Server::start(&flags(&["--slow-clients", "drop"]));
    let mut stopped = Client::plain(server.address, "/ws");
    let said = talk_until(&server, || server.total("dropped_total") > 10);
    // It reads what was kept, in order, and then what comes from now on.
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    let mut heard: Vec<usize> = Vec::new();
    loop {
        if heard.len().is_multiple_of(10) {
            talker.send("end");
        }
        let text = stopped.next_text();
        if text == "end" {
            break;
        }
        heard.push(text.split_once(' ').unwrap().0.parse().unwrap());
    }
    assert!(heard.len() < said, "{} of {said}", heard.len());
    assert!(heard.is_sorted(), "{heard:?}");
    // The oldest messages were kept: the newest was lost, so it begins without a gap.
    let kept = heard.iter().zip(0..).take_while(|(number, place)| *number == place).count();
    assert!(kept >= 8, "only {kept} of the first were kept: {heard:?}");
    assert_eq!(server.by_reason("disconnects", "slow"), 0);
}

#[test]
fn conflate_keeps_only_the_newest() {
    let server = Server::start(&flags(&["--slow-clients", "conflate"]));
    let mut stopped = Client::plain(server.address, "/ws");
    let said = talk_until(&server, || server.total("conflated_total") > 50);
    // The newest of all is the last that it hears.
    let newest = format!("{} ", said - 1);
    let mut heard = 1;
    while !stopped.next_text().starts_with(&newest) {
        heard += 1;
    }
    assert!(heard < said - 50, "{heard} of {said}");
}

#[test]
fn a_slow_client_is_told_what_it_has_lost_and_reads_it_in_the_history() {
    for policy in ["drop", "conflate"] {
        let kept = ["--slow-clients", policy, "--history", "5000", "--history-bytes", "256MiB"];
        let server = Server::start(&flags(&kept));
        let (mut stopped, welcome) = Client::json(server.address, "/ws?channel=lobby");
        let lost = || server.total("dropped_total") + server.total("conflated_total");
        let said = talk_until(&server, || lost() > 10);
        let (mut next, mut gaps) = (1, Vec::new());
        while next <= said as u64 {
            let told = stopped.next_json();
            let field = |name: &str| told[name].as_u64().unwrap();
            let (from, to) = match told["type"].as_str() {
                Some("gap") => (field("from"), field("to")),
                _ => (field("offset"), field("offset")),
            };
            assert_eq!(from, next, "{policy}");
            gaps.extend((told["type"] == "gap").then_some((from, to)));
            next = to + 1;
        }
        let (from, _) = gaps[0];
        let since = format!(r#"{{"epoch":{},"offset":{}}}"#, welcome["epoch"], from - 1);
        stopped.send(&format!(r#"{{"type":"history","id":1,"limit":1,"since":{since}}}"#));
        let page = stopped.next_json();
        assert_eq!(page["publications"][0]["offset"], from, "{policy}");
    }
}

/// The offsets in the ids of events, behind the first one, which is the position before them.
fn offsets(events: &str) -> Vec<usize> {
    let ids = events.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.filter_map(|id| id.split_once(':')?.1.parse().ok()).skip(1).collect()
}

/// An `EventSource` does not compare ids: behind a lost event it may hear no other.
#[test]
fn a_slow_event_source_is_closed_and_recovers_what_it_would_have_lost() {
    for policy in ["drop", "conflate"] {
        let kept = ["--slow-clients", policy, "--history", "9999", "--history-bytes", "256MiB"];
        let server = Server::start(&[&flags(&kept)[..], &["--recovery"]].concat());
        let mut stopped = Listener::events(server.address, "/sse?channel=lobby", "");
        let closed = || server.by_reason("disconnects", "overtaken") == 1;
        talk_until(&server, closed);
        assert!(closed(), "{policy}");
        let said = talk_until(&server, || true) as u64;
        let newest = server.total("publications_total");
        let told = stopped.ends();
        let end = "event: close\ndata: {\"code\":3010,\"reason\":\"history overtaken\"}\n\n";
        assert!(told.ends_with(end), "{policy}: {}", &told[told.len() - 100..]);
        let mut heard = offsets(&told);
        let id = told.lines().rfind(|line| line.starts_with("id: ")).unwrap();
        let last = format!("Last-{}\r\n", id.replace("id", "Event-ID"));
        let mut again = Listener::events(server.address, "/sse?channel=lobby", &last);
        again.hears("event: recovered\ndata: true\n\n");
        again.hears(&format!(":{newest}\n"));
        heard.extend(offsets(&again.text()));
        let all: Vec<usize> = (1..=usize::try_from(newest).unwrap()).collect();
        assert_eq!(heard, all, "{policy}");
        assert!(said < newest);
    }
}

#[test]
fn chat_service_write_deadline_an_outbox_that_does_not_move_ends_the_client() {
    let flags = flags(&["--slow-clients", "drop", "--write-timeout", "300ms"]);
    let server = Server::start(&flags);
    let stopped = Client::plain(server.address, "/ws");
    // The talk fills the outbox; how long it lasts says nothing about the deadline.
    talk_until(&server, || server.total("dropped_total") > 0);
    eventually("the outbox has stood still for too long", || {
        server.by_reason("disconnects", "stalled") == 1
    });
    drop(stopped);
}

#[test]
fn over_the_cap_of_all_outboxes_the_slowest_go() {
    // On one shard, and no more for all than for each: it comes first, however unevenly they stop.
    let server = Server::start(&flags(&["--shards", "1", "--outbox-total-bytes", "64KiB"]));
    let stopped: Vec<Client> = (0..8).map(|_| Client::plain(server.address, "/ws")).collect();
    talk_until(&server, || server.by_reason("disconnects", "shard_full") > 0);
    assert!(server.by_reason("disconnects", "shard_full") > 0);
    assert!(server.total("outbox_bytes") <= 64 << 10);
    drop(stopped);
}

#[test]
fn a_stopped_reader_costs_the_others_nothing() {
    let server = Server::start(&flags(&["--slow-clients", "drop"]));
    let round_trips = |server: &Server| {
        let mut talker = Client::plain(server.address, "/ws?channel=measured");
        let mut times: Vec<Duration> = (0..500)
            .map(|_| {
                let began = Instant::now();
                talker.send(&"x".repeat(1000));
                talker.next_text();
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        (times[250], times[494])
    };
    let before = round_trips(&server);
    let stopped = Client::plain(server.address, "/ws?channel=measured");
    // Its socket is full, and its outbox as well, before anything is measured.
    let mut talker = Client::plain(server.address, "/ws?channel=measured&echo=false");
    while server.total("dropped_total") == 0 {
        for _ in 0..20 {
            talker.send(&"x".repeat(8_000));
        }
    }
    assert!(server.total("outbox_bytes") > 0 && server.total("blocked_clients") == 1);
    let after = round_trips(&server);
    assert!(server.total("outbox_bytes") > 0, "it was blocked all the time");
    drop(stopped);
    // A wait for the stopped one would cost its write deadline, which is seconds.
    let bound = |before: Duration| before * 3 + Duration::from_millis(5);
    assert!(
        after.0 < bound(before.0) && after.1 < bound(before.1),
        "p50 and p99 {before:?}, then {after:?}"
    );
}
