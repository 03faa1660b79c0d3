//! The figures of the README: each preset runs once, with few clients, against the bare loop.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_stentor-bench");

/// The run is not valid: so few clients say nothing about percentiles.
const INVALID: i32 = 4;

/// A bare loop that ends with the test.
struct Bare {
    address: SocketAddr,
    child: Child,
}

impl Bare {
    fn start(flags: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(TOOL);
        let child = command.args(["raw", "--listen", &address.to_string()]).args(flags).spawn();
        let bare = Self { address, child: child.unwrap() };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the bare loop does not listen");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        bare
    }

    /// Returns the record of a preset, some of whose flags are replaced.
    fn figure(&self, name: &str, flags: &[&str]) -> Value {
        let mut file = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        file.push(format!("preset-{name}-{}.json", self.address.port()));
        let query = if name.contains("channels") { "?channel=c$C" } else { "" };
        let url = format!("ws://{}/ws{query}", self.address);
        let (json, pid) = (file.to_str().unwrap(), self.child.id().to_string());
        let all = ["figure", name, &url, "--quiet", "--json", json, "--server-pid", &pid];
        let output = Command::new(TOOL).args(all).args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!([Some(0), Some(INVALID)].contains(&output.status.code()), "{name}: {said}");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn message_presets_reach_all_clients() {
    let tiny = ["-c", "10", "-d", "300ms", "--warmup", "100ms"];
    for raw_flags in [&[][..], &["--joined"]] {
        let bare = Bare::start(raw_flags);
        for name in ["one-1k", "one-15k", "joined-1k", "joined-15k", "large-16", "json-1k-16"] {
            let run = bare.figure(name, &tiny);
            let (totals, load) = (&run["totals"], &run["load"]);
            assert_eq!((&totals["lost"], &totals["duplicated"]), (&0.into(), &0.into()), "{name}");
            assert!(totals["deliveries"].as_u64() >= Some(10), "{name}: {totals}");
            let window = if name.starts_with("one") { 1 } else { 16 };
            assert_eq!((&load["window"], &load["clients"]), (&window.into(), &10.into()), "{name}");
            assert!(run["server"]["cpu_ns_per_delivery"].as_f64() > Some(0.0), "{name}");
        }
        let all = bare.figure("all-200", &[&tiny[..], &["-P", "10"]].concat());
        assert_eq!((&all["load"]["publishers"], &all["totals"]["lost"]), (&10.into(), &0.into()));
        let paced = bare.figure("latency", &[&tiny[..], &["-r", "100/s"]].concat());
        let published = paced["totals"]["published"].as_u64().unwrap();
        assert!((29..=31).contains(&published), "{published} at 100/s in 300 ms");
        assert!(paced["latencies"]["last"]["p99_ns"].as_u64() > Some(0));
    }
}

/// Each client has a channel of its own: it alone receives its messages.
#[test]
fn presets_of_many_channels_have_a_bare_loop() {
    let tiny = ["--channels", "10", "-r", "200/s", "-d", "300ms", "--warmup", "100ms"];
    let bare = Bare::start(&["--alone"]);
    for name in ["channels-10k", "channels-40k", "json-channels-10k", "json-channels-40k"] {
        let run = bare.figure(name, &tiny);
        let totals = &run["totals"];
        let (published, lost) = (totals["published"].as_u64().unwrap(), &totals["lost"]);
        assert!((55..=65).contains(&published), "{name}: {totals}");
        assert_eq!((totals["deliveries"].as_u64(), lost), (Some(published), &0.into()), "{name}");
        assert_eq!(run["load"]["clients"], 10, "{name}");
    }
}

#[test]
fn connects_and_idle_clients_are_counted() {
    let bare = Bare::start(&[]);
    let accept = bare.figure("accept", &["-c", "10"]);
    assert_eq!(accept["totals"]["connected"], 10);
    assert!(accept["server"]["cpu_share"].as_f64() > Some(0.0));
    for name in ["idle-15k", "idle-json"] {
        let idle = bare.figure(name, &["-c", "10", "-d", "300ms", "--warmup", "0s"]);
        assert_eq!(
            (&idle["totals"]["connected"], &idle["totals"]["pings"]),
            (&10.into(), &0.into())
        );
    }
}

#[test]
fn pings_of_the_warm_up_do_not_count() {
    let bare = Bare::start(&["--ping-interval", "0.2"]);
    let flags = ["-c", "10", "-d", "400ms", "--warmup", "2s"];
    let pings = bare.figure("ping", &flags)["totals"]["pings"].as_u64().unwrap();
    // Two intervals, and as much again where this machine is slow; twelve would be all of them.
    assert!((10..=40).contains(&pings), "{pings} pings");
}
