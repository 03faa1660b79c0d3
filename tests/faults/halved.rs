//! Half of all clients are gone at once: those who stay hear as soon as before, and those who come
//! are let in as soon. `scripts/soak.sh halve` is the same with 16,000 clients and real figures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::raw;
use crate::server::{Server, eventually};
use crate::swarm::{Event, Swarm};

/// Clients that go, and clients that stay.
const HALF: usize = 2_000;

/// How long each window is: before, with the kill at its beginning, and after.
const WINDOW: Duration = Duration::from_millis(2_500);

const TALK_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// When something began, and how long it took.
type Sample = (Instant, Duration);

/// Connects again and again, until it is over.
fn connect_steadily(to: SocketAddr, over: Arc<AtomicBool>) -> JoinHandle<Vec<Sample>> {
    std::thread::spawn(move || {
        let mut samples = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let began = Instant::now();
            drop(raw::open(to, "/ws", 0));
            samples.push((began, began.elapsed()));
            std::thread::park_timeout(CONNECT_PAUSE.saturating_sub(began.elapsed()));
        }
        samples
    })
}

/// One of the swarm talks, and each message's time is that to its last receipt.
fn talk_steadily(mut swarm: Swarm, over: Arc<AtomicBool>) -> JoinHandle<(Swarm, Vec<Sample>)> {
    std::thread::spawn(move || {
        let mut samples = Vec::new();
        let mut said: HashMap<Vec<u8>, (Instant, usize)> = HashMap::new();
        let mut number = 0;
        let mut due = Instant::now();
        while !over.load(Ordering::SeqCst) || !said.is_empty() {
            if Instant::now() >= due && !over.load(Ordering::SeqCst) {
                let text = format!("message {number}");
                swarm.say(0, &text);
                said.insert(text.into_bytes(), (Instant::now(), 0));
                number += 1;
                due = Instant::now() + TALK_PAUSE;
            }
            let mut hear = |_: usize, event: Event<'_>| {
                let Event::Heard(text) = event else { panic!("{event:?} to one who stays") };
                let (began, heard) = said.get_mut(text).unwrap();
                *heard += 1;
                if *heard == HALF {
                    samples.push((*began, began.elapsed()));
                    said.remove(text);
                }
            };
            swarm.turn(&mut hear);
        }
        (swarm, samples)
    })
}

/// The 99th percentile and the longest of those that began in a window.
fn worst(samples: &[Sample], from: Instant) -> (Duration, Duration) {
    let inside = |began: &Instant| *began >= from && *began < from + WINDOW;
    let mut times: Vec<Duration> =
        samples.iter().filter(|(began, _)| inside(began)).map(|(_, took)| *took).collect();
    assert!(!times.is_empty(), "nothing was begun in {WINDOW:?}");
    times.sort_unstable();
    (times[times.len() * 99 / 100], times[times.len() - 1])
}

#[test]
fn half_of_all_clients_gone_at_once_are_not_felt_by_the_others() {
    let server = Server::start(&["--shards", "2"]);
    let enter = |network| {
        let spread = Duration::from_secs(1);
        let mut swarm = Swarm::new(server.address, "/ws", HALF, network, spread);
        assert!(swarm.run(Duration::from_mins(1), |_, _| {}, |swarm| swarm.open() == HALF));
        swarm
    };
    let (stay, go) = (enter(4), enter(5));
    let over = Arc::new(AtomicBool::new(false));
    let talk = talk_steadily(stay, Arc::clone(&over));
    let connects = connect_steadily(server.address, Arc::clone(&over));
    let wait = |until: Instant| {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    };
    let before = Instant::now() + Duration::from_millis(500);
    let killed = before + WINDOW;
    wait(killed);
    drop(go);
    let after = killed + WINDOW;
    wait(after + WINDOW);
    over.store(true, Ordering::SeqCst);
    let (stay, talk) = talk.join().unwrap();
    let connects = connects.join().unwrap();
    assert_eq!(stay.open(), HALF);
    eventually("the others have gone", || server.total("clients") == HALF as u64);

    for (what, samples) in [("connect", &connects), ("fan-out", &talk)] {
        let [before, at, after] = [before, killed, after].map(|from| worst(samples, from));
        eprintln!(
            "{what}, p99 and worst: before {before:?}, with the kill {at:?}, after {after:?}"
        );
        let usual = before.0.max(after.0);
        let most = usual * 3 + Duration::from_millis(150);
        assert!(at.0 < most, "{what}: p99 {:?} with the kill, {usual:?} without", at.0);
        assert!(at.1 < usual * 3 + Duration::from_secs(1), "{what}: {:?}", at.1);
    }
}
