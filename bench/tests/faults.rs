//! Runs over a path that is late, held back, cut, ended or damaged meanwhile: the tool ends in
//! time, and counts what it did not hear.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/faults/proxy.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod proxy;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proxy::{Proxy, Way};
use serde_json::Value;

const CLIENTS: u64 = 20;
const RATE: u64 = 100;
const SECONDS: u64 = 3;

/// The tool's own bare server, which is ended when dropped.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start() -> Self {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
            .args(["raw", "--listen", &address.to_string()])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the bare server does not listen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Self { child, address }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run through the proxy, struck by `faults` at its moments; gives its record and exit code.
fn run(faults: impl FnOnce(&Proxy, Instant)) -> (Value, i32) {
    let server = Bare::start();
    let proxy = Proxy::start(server.address);
    let child = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["fanout", &format!("ws://{}/ws", proxy.address), "--quiet", "--warmup", "0"])
        .args([
            "-c",
            &CLIENTS.to_string(),
            "-r",
            &format!("{RATE}/s"),
            "-d",
            &format!("{SECONDS}s"),
        ])
        .args(["--threshold", "lost==0", "--json", "/dev/stderr"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    faults(&proxy, began);
    let output = child.wait_with_output().unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(SECONDS + 20), "it ends in time: {took:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let record = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (record, output.status.code().unwrap())
}

fn at(began: Instant, moment: Duration) {
    while let Some(left) = (began + moment).checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn ms(run: &Value, figure: &str) -> f64 {
    run["latencies"]["delivery"][figure].as_f64().unwrap() / 1e6
}

fn disconnects(run: &Value) -> u64 {
    run["totals"]["disconnects"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

#[test]
fn a_late_path_is_in_every_latency() {
    let delay = Duration::from_millis(60);
    let (run, _) = run(|proxy, _| proxy.set(Way::Late(delay), Way::Late(delay)));
    assert_eq!((&run["totals"]["lost"], disconnects(&run)), (&0.into(), 0), "{}", run["totals"]);
    let (least, median) = (ms(&run, "min_ns"), ms(&run, "p50_ns"));
    assert!(least >= 119.0 && median < 500.0, "{least} {median}");
}

/// Held for a second of three, at 100 messages a second: a third of them waits, up to a second.
#[test]
fn a_path_that_holds_back_for_a_second_is_seen_and_loses_nothing() {
    let (run, _) = run(|proxy, began| {
        at(began, Duration::from_millis(1_200));
        proxy.set(Way::Held, Way::Held);
        at(began, Duration::from_millis(2_200));
        proxy.clear();
    });
    assert_eq!((&run["totals"]["lost"], disconnects(&run)), (&0.into(), 0), "{}", run["totals"]);
    let (p90, max) = (ms(&run, "p90_ns"), ms(&run, "max_ns"));
    assert!(p90 > 400.0 && max > 800.0, "p90 {p90}, max {max}");
}

#[test]
fn a_cut_and_an_end_are_counted_for_every_client() {
    let strikes: [fn(&Proxy); 2] = [Proxy::cut, Proxy::end_of_server];
    for strike in strikes {
        let (run, code) = run(|proxy, began| {
            at(began, Duration::from_millis(1_500));
            strike(proxy);
        });
        assert_eq!(disconnects(&run), CLIENTS, "{}", run["totals"]);
        assert_eq!(code, 4, "half a run is no success: {}", run["faults"]);
        let published = run["totals"]["published"].as_u64().unwrap();
        assert!(published < RATE * SECONDS, "nobody is left to publish: {published}");
    }
}

#[test]
fn damaged_messages_are_counted_as_lost() {
    let (run, code) = run(|proxy, began| {
        at(began, Duration::from_secs(1));
        proxy.set(Way::Clear, Way::Corrupt(997));
    });
    let totals = &run["totals"];
    assert!([4, 99].contains(&code), "{code}: {totals}");
    let (lost, deliveries) = (totals["lost"].as_u64().unwrap(), totals["deliveries"].as_u64());
    assert!(lost > 0 && deliveries.unwrap() > 0, "{totals}");
}
