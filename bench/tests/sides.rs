//! Two servers in turn, and the bare loops: the tool starts them itself and sets them side by side.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_stentor-bench");

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"))
}

fn runs(path: &PathBuf) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn tool(flags: &[&str]) -> Output {
    Command::new(TOOL).args(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first one changes from repeat to repeat, each server is looked at while it runs, and the
/// joining loop needs far less of its CPU where many publish at once.
#[test]
fn a_pair_is_two_servers_in_turn() {
    let address = free_address();
    let (url, json) = (format!("ws://{address}/ws"), kept("pair"));
    let plain = format!("{TOOL} raw --listen {address}");
    let joined = format!("echo starting; {TOOL} raw --joined --listen {address}; true");
    let flags = ["-c", "50", "-P", "50", "-w", "4", "-d", "500ms", "--warmup", "200ms"];
    let pair = ["--pair", &plain, &joined, "--pair-repeats", "3", "--pair-labels", "plain,joined"];
    let json_flags = ["--json", json.to_str().unwrap(), "--threshold", "server.cpu_share<0"];
    let output = tool(&[&["fanout", &url][..], &flags, &pair, &json_flags].concat());
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    let runs = runs(&json);
    let labels: Vec<&str> = runs.iter().map(|run| run["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["plain", "joined", "joined", "plain", "plain", "joined"], "{progress}");
    let mut pids: Vec<u64> =
        runs.iter().map(|run| run["server"]["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6, "a process for each run");
    let cost = |label: &str| {
        let of = runs.iter().filter(|run| run["label"] == label);
        let cost = of.map(|run| run["server"]["cpu_ns_per_delivery"].as_f64().unwrap());
        cost.fold(f64::INFINITY, f64::min)
    };
    assert!(cost("joined") > 0.0 && cost("joined") < cost("plain") / 2.0, "{table}");
    assert!(table.contains("plain: 3 runs") && table.contains("joined: 3 runs"), "{table}");
    assert!(table.contains("server.cpu_per_delivery") && table.contains(" to "), "{table}");
    assert_eq!(progress.lines().filter(|line| line.contains(" of 3  ")).count(), 6, "{progress}");
    // Half of the runs may prove nothing on a busy machine, which weighs more than a threshold.
    assert!(table.contains("plain: server.cpu_share<0 is missed"), "{table}");
    assert!([Some(99), Some(4)].contains(&output.status.code()), "{table}");
    let compared = tool(&["compare", json.to_str().unwrap()]);
    assert_eq!(compared.status.code(), Some(0));
    assert!(table.starts_with(&text(&compared.stdout)), "kept runs are compared alike: {table}");
}

#[test]
fn storms_and_idle_clients_have_pairs_too() {
    let address = free_address();
    let url = format!("ws://{address}/ws");
    let raw = format!("{TOOL} raw --listen {address}");
    for (command, flags) in [("connect", "--rounds 1 --hold 0"), ("idle", "-d 200ms")] {
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let pair = ["--pair", &raw, &raw, "--pair-repeats", "1", "-q", "-c", "20"];
        let output = tool(&[&[command, &url][..], &flags, &pair].concat());
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
        assert!(
            table.contains("1: stentor-bench") && table.contains("2: stentor-bench"),
            "{table}"
        );
        assert!(output.stderr.is_empty(), "it was to be quiet");
    }
}

#[test]
fn a_server_that_does_not_start_is_quoted() {
    let address = free_address();
    let url = format!("ws://{address}/ws");
    let raw = format!("{TOOL} raw --listen {address}");
    let pair = |first: &str, second: &str, more: &[&str]| {
        let flags = ["fanout", &url, "-d", "200ms", "--warmup", "0", "-c", "20", "-q", "--pair"];
        let output = tool(&[&flags[..], &[first, second], more].concat());
        (output.status.code(), text(&output.stderr))
    };
    let (code, told) = pair("echo no such thing >&2; exit 9", &raw, &[]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("exit status: 9") && told.contains("no such thing"), "{told}");
    let (code, told) = pair(&raw, &raw, &["--hgrm", "x.hgrm"]);
    assert_eq!(code, Some(2), "{told}");
    let (code, told) = pair(&raw, &raw, &["--against-limit"]);
    assert_eq!(code, Some(2), "{told}");
    let _other = TcpListener::bind(address).unwrap();
    let (code, told) = pair(&raw, &raw, &[]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("somebody listens there already"), "{told}");
}

/// Sixteen messages at once are what the joining loop joins; the others send each by itself.
#[test]
fn the_bare_loops_are_held_against_each_other() {
    let json = kept("limit");
    let flags = "limit -c 50 -P 50 -w 4 -d 400ms --warmup 200ms --repeats 2 --size 64 --json";
    let flags: Vec<&str> = flags.split_whitespace().chain(json.to_str()).collect();
    let output = tool(&flags);
    let table = text(&output.stdout);
    let runs = runs(&json);
    let labels: Vec<&str> = runs.iter().map(|run| run["label"].as_str().unwrap()).collect();
    let right = ["plain", "plain", "plain", "plain", "joined", "joined", "joined", "joined"];
    assert_eq!(labels, [&right[..], &["uring"; 4]].concat(), "{}", text(&output.stderr));
    let costs = |label: &str, command: &str, figure: &str| -> Vec<f64> {
        let of = runs.iter().filter(|run| run["label"] == label && run["command"] == command);
        of.map(|run| run["server"][figure].as_f64().unwrap()).collect()
    };
    let least = |costs: Vec<f64>| costs.into_iter().fold(f64::INFINITY, f64::min);
    let each = |label| least(costs(label, "fanout", "cpu_ns_per_delivery"));
    assert!(
        each("joined") < each("plain") / 2.0 && each("joined") < each("uring") / 2.0,
        "{table}"
    );
    for label in ["plain", "joined", "uring"] {
        // Of a storm of milliseconds the kernel's clock may not tell.
        assert!(costs(label, "connect", "cpu_share").iter().any(|share| *share > 0.0), "{table}");
        let of = runs.iter().filter(|run| run["label"] == label);
        assert_eq!(of.map(|run| run["totals"]["lost"].as_u64().unwrap()).sum::<u64>(), 0);
    }
    assert!(table.contains("server.cpu_per_connect  plain"), "{table}");
    assert!(!table.contains("the loads differ"), "{table}");
    let output = tool(&["limit", "ws://127.0.0.1:9/ws"]);
    assert_eq!(output.status.code(), Some(2), "it needs no server");
}

#[test]
fn a_run_is_held_against_the_kind_that_was_asked_for() {
    let address = free_address();
    let (url, json) = (format!("ws://{address}/ws"), kept("kind"));
    let raw = format!("exec {TOOL} raw --listen {address}");
    let mut server = Command::new("sh").args(["-c", &raw]).spawn().unwrap();
    let flags = "-c 20 -r 200/s -d 500ms --warmup 0 -q --against-limit --limit-kind uring --json";
    let flags: Vec<&str> = flags.split_whitespace().chain(json.to_str()).collect();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(std::time::Instant::now() < deadline, "the bare loop does not listen");
    }
    let output = tool(&[&["fanout", &url][..], &flags].concat());
    server.kill().unwrap();
    server.wait().unwrap();
    let run: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(run["limit"]["label"], "bare loop, uring", "{}", text(&output.stderr));
    assert_eq!(run["limit"]["totals"]["deliveries"], run["totals"]["deliveries"]);
}
