//! Storms: the clients that come, those that do not, and the times at which they come.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{CLIENTS, answer, answered, by_second, command_of, found, hold, ms, run};

#[test]
fn storms_count_clients_that_came_and_that_did_not() {
    let output = run(answer(2 * CLIENTS), "connect", "--rounds 2 --hold 0 --threads 2");
    let whole = found(&output);
    assert_eq!(whole["totals"]["connected"], 2 * CLIENTS);
    assert_eq!(whole["latencies"]["handshake"]["count"], 2 * CLIENTS);
    assert_eq!(by_second(&whole, "connects"), 2 * CLIENTS as u64);
    assert_eq!(output.status.code(), Some(0), "{}", whole["faults"]);
    let output = run(answer(CLIENTS + 3), "connect", "--rounds 2 --hold 0");
    let part = found(&output);
    assert_eq!(part["totals"]["connected"], CLIENTS + 3);
    let failed: u64 =
        part["totals"]["failures"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(failed, (CLIENTS - 3) as u64);
    assert_eq!(output.status.code(), Some(4), "not all of it was measured");
}

/// A pace of ten a second takes nine tenths of a second for ten clients.
#[test]
fn a_ramp_takes_its_time() {
    let run = found(&run(answer(CLIENTS), "connect", "--rounds 1 --hold 0 --ramp 10/s"));
    let seconds = run["totals"]["seconds"].as_f64().unwrap();
    assert!((0.85..2.0).contains(&seconds), "{seconds}");
}

/// A server that answers whoever comes, once `before` has been told of the client's number, and
/// says when each had come.
fn host(mut before: impl FnMut(usize) + Send + 'static) -> (SocketAddr, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (came, seen) = channel();
    thread::spawn(move || {
        let mut guests = Vec::new();
        while came.send(Instant::now()).is_ok() {
            before(guests.len());
            guests.push(answered(&listener));
        }
    });
    (address, seen)
}

fn storm(address: SocketAddr, clients: usize, ramp: &str) -> Value {
    let flags = format!("--rounds 1 --hold 0 --ramp {ramp}");
    found(&command_of(address, "connect", clients, &flags).output().unwrap())
}

/// Not some at once every now and then: each would wait for those before it.
#[test]
fn a_ramp_is_even() {
    const CLIENTS: usize = 100;
    let (address, seen) = host(|_| {});
    let run = storm(address, CLIENTS, "200/s");
    assert_eq!(run["totals"]["connected"], CLIENTS);
    // The first of them is when the server began to wait.
    let came: Vec<Instant> = seen.iter().take(CLIENTS + 1).skip(1).collect();
    let mut gaps: Vec<Duration> = came.windows(2).map(|two| two[1] - two[0]).collect();
    gaps.sort_unstable();
    let median = gaps[gaps.len() / 2].as_secs_f64() * 1e3;
    assert!((3.0..7.0).contains(&median), "{median} ms: {gaps:?}");
}

/// Nine tenths are due while the server stands still; only so many of them fit on the way there.
#[test]
fn a_stalled_server_cannot_keep_a_ramp_back() {
    const CLIENTS: usize = 1_000;
    let (address, _seen) = host(|number| {
        if number == CLIENTS / 10 {
            hold(Duration::from_secs(2));
        }
    });
    let run = storm(address, CLIENTS, "1k/s");
    assert_eq!(run["totals"]["connected"], CLIENTS);
    let (p50, max) = (ms(&run, "handshake", "p50_ns"), ms(&run, "handshake", "max_ns"));
    assert!(p50 > 1_000.0 && max > 1_900.0, "p50 {p50} ms, max {max} ms");
}
