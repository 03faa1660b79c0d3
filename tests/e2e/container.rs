//! The container image's parts, without an engine: its profile, its variables, its health check.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::filter::{RING_CALLS, of_profile, under};
use crate::server::Server;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn profile() -> Value {
    let text = std::fs::read_to_string(file("scripts/docker/seccomp.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn allowed(profile: &Value) -> BTreeSet<&str> {
    let groups = profile["syscalls"].as_array().unwrap().iter();
    let names = groups.flat_map(|group| group["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn the_profile_has_the_engines_form_and_lets_nobody_out() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let names = allowed(&profile);
    let all: usize = profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            assert!(group["comment"].is_string() && group["action"].is_string(), "{group}");
            group["names"].as_array().unwrap().len()
        })
        .sum();
    assert_eq!(names.len(), all, "a call is named twice");
    assert!(RING_CALLS.iter().all(|call| names.contains(call)));
    for call in [
        "bpf",
        "add_key",
        "keyctl",
        "kexec_load",
        "init_module",
        "mount",
        "open_by_handle_at",
        "perf_event_open",
        "pivot_root",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "setns",
        "swapon",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!names.contains(call), "{call}");
    }
}

/// The calls that this machine's kernel headers name, out of the profile's.
fn known<'a>(names: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let knows = |name: &&str| {
        let rule = crate::filter::block(&[name], 1);
        let text = serde_json::json!({"main": rule}).to_string();
        seccompiler::compile_from_json(text.as_bytes(), machine).is_ok()
    };
    names.iter().copied().filter(knows).collect()
}

/// The whole profile is in force, and everything the server does is in it: it has its ring, its
/// shards, its admin address, and ends as it should.
#[test]
fn the_server_runs_under_the_profile_with_its_ring() {
    let profile = profile();
    let filters = of_profile(&profile, &known(&allowed(&profile)));
    let mut server = under(&filters, || Server::start(&["--shards", "2", "--ring", "required"]));
    let mut clients = server.on_all_shards(1, || Client::plain(server.address, "/ws"));
    clients[0].send("x");
    for client in &mut clients {
        assert_eq!(client.next_text(), "x");
    }
    drop(clients);
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn the_address_is_a_variable_that_arguments_leave_alone() {
    let image = std::fs::read_to_string(file("Dockerfile")).unwrap();
    assert!(image.contains("\nENV STENTOR_LISTEN=0.0.0.0:9001\n"), "{image}");
    assert!(!image.contains("--listen") && image.contains("\nHEALTHCHECK "), "{image}");
    assert!(image.contains("\nUSER 65534:65534\n"), "it runs as nobody");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = || {
        let mut check = Command::new("bash");
        check.arg(file("scripts/docker/health.sh")).env("STENTOR_LISTEN", free.to_string());
        check.status().unwrap().code()
    };
    assert_eq!(health(), Some(1), "nobody is there yet");
    let mut child = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--ping-interval", "10s", "--admin", "off", "--log-format", "json"])
        .env("STENTOR_LISTEN", free.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"ready\"")));
    assert_eq!(health(), Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(health(), Some(1));
}
