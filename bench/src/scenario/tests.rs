//! Each scenario once, tiny, against the bare server on a thread of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::raw;

/// A bare server that ends with the test.
struct Bare {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Bare {
    fn start(joined: bool, ping_interval: f64) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let args = raw::Args { listen, joined, uring: false, ping_interval, core: None };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (says, hears) = std::sync::mpsc::channel();
        let thread = Some(std::thread::spawn(move || {
            let mut server = raw::Server::bind(args)?;
            says.send(server.address()).map_err(io::Error::other)?;
            // Nothing else travels with the flag.
            while !stopped.load(Ordering::Relaxed) {
                server.turn(Some(Duration::from_millis(10)))?;
            }
            Ok(())
        }));
        let address = hears.recv().unwrap().unwrap();
        Self { address, stop, thread }
    }

    fn target(&self, clients: usize, milliseconds: u64) -> Target {
        Target {
            server: self.address,
            pid: std::process::id(),
            clients,
            seconds: Duration::from_millis(milliseconds),
            bytes: 64,
            path: "/ws".to_owned(),
            core: None,
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
    }
}

#[test]
fn one_publisher_reaches_all_in_both_loops() {
    for (joined, in_flight) in [(false, 1), (false, 16), (true, 1), (true, 16)] {
        let bare = Bare::start(joined, 0.0);
        let cost = fanout(&bare.target(10, 100), in_flight).unwrap();
        assert_eq!((cost.lost, cost.count % 10), (0, 0), "joined {joined}, {in_flight} in flight");
        assert!(cost.count > 0);
    }
}

#[test]
fn messages_of_any_length_come_whole() {
    let bare = Bare::start(true, 0.0);
    for bytes in [DIGITS, 125, 126, 70_000] {
        let target = Target { bytes, ..bare.target(3, 50) };
        let cost = fanout(&target, 2).unwrap();
        assert!(cost.count > 0 && cost.lost == 0, "{bytes} bytes");
    }
}

#[test]
fn all_publish_and_hear_all() {
    for joined in [false, true] {
        let bare = Bare::start(joined, 0.0);
        let cost = all(&bare.target(10, 100)).unwrap();
        assert!(cost.count >= 100 && cost.lost == 0, "{cost:?}");
    }
}

#[test]
fn accepts_and_idle_clients_are_counted() {
    let bare = Bare::start(false, 0.0);
    let cost = accept(&bare.target(10, 50)).unwrap();
    assert_eq!((cost.count, cost.lost), (10, 0));
    let value = idle(&bare.target(10, 50)).unwrap();
    assert_eq!((&value["count"], &value["lost"]), (&10.into(), &0.into()));
}

#[test]
fn latency_keeps_its_rate() {
    let bare = Bare::start(false, 0.0);
    let value = latency(&bare.target(10, 200), 100.0).unwrap();
    assert_eq!((&value["count"], &value["lost"]), (&20.into(), &0.into()));
    assert!(value["last_p50_us"].as_u64() > Some(0));
}

#[test]
fn pings_are_answered() {
    let bare = Bare::start(false, 0.2);
    let cost = ping(&bare.target(10, 400)).unwrap();
    assert!(cost.count >= 10 && cost.lost == 0, "{cost:?}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let bare = Bare::start(false, 0.0);
    let target = bare.target(10, 50);
    drop(bare);
    assert!(fanout(&target, 1).is_err());
}

#[test]
fn arguments_have_bounds() {
    assert!(clients("0").is_err() && clients("15000") == Ok(15_000));
    assert!(seconds("nan").is_err() && seconds("2.5") == Ok(Duration::from_millis(2500)));
    assert!(message_bytes("19").is_err() && message_bytes("64") == Ok(64));
}

#[test]
fn a_message_says_its_number() {
    let mut bytes = Vec::new();
    put_numbered(&mut bytes, 7, 64);
    let mut heard = None;
    let mut reader = frame::Reader::default();
    reader
        .feed(&mut bytes, |_, payload| heard = number_of(payload).zip(Some(payload.len())))
        .unwrap();
    assert_eq!(heard, Some((7, 64)));
    assert_eq!(number_of(b"short"), None);
}
