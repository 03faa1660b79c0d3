//! The client library of the page behind the fault proxy, in Node and in Chromium: it notices, it
//! comes back by itself, and nothing comes twice. What it must do is said in
//! `tests/clients/fault_scenarios.mjs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::proxy::{Proxy, Way};
use crate::server::Server;

fn strike(proxy: &Proxy, fault: &str) {
    let late = Way::Late(Duration::from_millis(150));
    match fault {
        "clear" => proxy.clear(),
        "cut" => proxy.cut(),
        "held" => proxy.set(Way::Held, Way::Held),
        "end of server" => proxy.end_of_server(),
        "end of client" => proxy.end_of_client(),
        "late" => proxy.set(late, late),
        "slow" => proxy.set(Way::Clear, Way::Slow(20_000)),
        "damaged" => proxy.set(Way::Clear, Way::Corrupt(31)),
        other => panic!("no such fault: {other}"),
    }
}

fn run_in(place: &str) {
    let server = Server::start(&["--shards", "2", "--allowed-origins", "*"]);
    let proxy = Proxy::start(server.address);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/faults.mjs");
    let mut command = Command::new("node");
    command.arg(script).args([proxy.address.to_string(), server.address.to_string()]).arg(place);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut done = child.stdin.take().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        strike(&proxy, line.unwrap().strip_prefix("fault ").unwrap());
        done.write_all(b"done\n").unwrap();
    }
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    eprint!("{told}");
    assert!(child.wait().unwrap().success(), "{told}");
}

#[test]
fn page_library_in_node() {
    run_in("node");
}

#[test]
fn page_library_in_chromium() {
    run_in("chromium");
}
