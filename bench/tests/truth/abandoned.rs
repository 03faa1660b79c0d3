//! Agents obey their coordinator alone, strangers do no harm, and a run that loses a process fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{CLIENTS, Rule, bench, found};
use crate::several::{BENCH, agent, fan, published, same, until};

/// Processes that a process has started and that still run.
fn children(parent: u32) -> Vec<u32> {
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let Some(stat) = status(*pid) else { return false };
            let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
            let (state, ppid) = (fields.next().unwrap(), fields.next().unwrap());
            state != "Z" && ppid == parent.to_string()
        })
        .collect()
}

fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn signal(whom: &str, name: &str) {
    assert!(Command::new("kill").args([name, "--", whom]).status().unwrap().success());
}

/// A run of three local agents in the middle, and their processes.
fn under_way() -> (Child, Vec<u32>) {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let rule: Rule = Box::new(move |number, frame| {
        count.store(number, Ordering::Relaxed);
        vec![frame]
    });
    let address = fan(CLIENTS, Duration::ZERO, rule);
    let run = Command::new(BENCH)
        .args(["fanout", &format!("ws://{address}/ws"), "-c", "10", "--quiet", "--agents", "3"])
        .args(["-P", "3", "--size", "64", "--warmup", "0", "-r", "300/s", "-d", "3m"])
        .args(["--json", "/dev/stderr"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    until("messages", || heard.load(Ordering::Relaxed) > 100);
    let agents = children(run.id());
    assert_eq!(agents.len(), 3);
    (run, agents)
}

/// One line, the one that is expected.
fn one_line(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("stentor-bench: ") && text.lines().count() == 1, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(output.status.code(), Some(3), "{text}");
}

#[test]
fn a_run_fails_loudly_when_an_agent_is_killed() {
    let (run, agents) = under_way();
    signal(&agents[1].to_string(), "-KILL");
    one_line(&run.wait_with_output().unwrap(), &["agent ", "gone"]);
    until("the others end too", || !agents.iter().any(|agent| is_there(*agent)));
}

#[test]
fn agents_end_with_their_coordinator() {
    let (mut run, agents) = under_way();
    run.kill().unwrap();
    run.wait().unwrap();
    until("all agents end", || !agents.iter().any(|agent| is_there(*agent)));
}

#[test]
fn an_interrupted_run_of_agents_reports_its_receipts_so_far() {
    let (run, agents) = under_way();
    // As a terminal does: to all processes of the group.
    signal(&format!("-{}", run.id()), "-INT");
    let run = found(&run.wait_with_output().unwrap());
    let totals = &run["totals"];
    let (seconds, published) =
        (totals["seconds"].as_f64().unwrap(), totals["published"].as_f64().unwrap());
    assert!((0.3..60.0).contains(&seconds), "{seconds}");
    assert!((published / seconds - 300.0).abs() < 30.0, "{published} in {seconds} s");
    assert_eq!(totals["lost"], 0, "{totals}");
    assert!(!agents.iter().any(|agent| is_there(*agent)));
}

#[test]
fn only_a_coordinator_with_the_token_orders_load() {
    let token = "a token of the test";
    let (_one, first) = agent(&["--token", token]);
    let (_two, second) = agent(&["--token", token]);
    let both = format!("--agents {first},{second} -r 500/s -d 1s");
    let refused = |given: Option<&str>| {
        let mut command = Command::new(BENCH);
        command.args(["fanout", "ws://127.0.0.1:1/ws"]).args(both.split_whitespace());
        command.env_remove("STENTOR_BENCH_TOKEN");
        if let Some(given) = given {
            command.env("STENTOR_BENCH_TOKEN", given);
        }
        one_line(&command.output().unwrap(), &[&first, "the token is not right"]);
    };
    refused(None);
    refused(Some("another token, not it"));
    // An agent serves one run after the other.
    for _ in 0..2 {
        let address = fan(CLIENTS, Duration::ZERO, same());
        let output = Command::new(BENCH)
            .args(["fanout", &format!("ws://{address}/ws"), "-c", "10", "-P", "2", "--quiet"])
            .args(["--size", "64", "--warmup", "0", "--json", "/dev/stderr"])
            .args(["--agents-token", token])
            .args(both.split_whitespace())
            .output()
            .unwrap();
        let run = found(&output);
        assert_eq!((&run["totals"]["lost"], published(&run, 500) > 0), (&0.into(), true));
        assert_eq!(run["agents"][1]["name"], format!("agent 2 ({second})"));
        assert!(!run.to_string().contains(token), "the record does not have it");
    }
    let open = Command::new(BENCH).args(["agent", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(open.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&open.stderr).contains("--token"));
}

/// Returns the answer of an agent to a stranger's words.
fn answer_to(address: &str, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // It may hang up before all is said.
    let _ = stream.write_all(words);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8(heard).unwrap()
}

#[test]
fn garbage_harms_nobody() {
    let (mut process, address) = agent(&[]);
    let hello = |version: &str| {
        format!("{{\"hello\":{{\"version\":\"{version}\",\"protocol\":2,\"token\":null}}}}\n")
    };
    let version = env!("CARGO_PKG_VERSION");
    for garbage in [
        &vec![0xff; 1 << 20][..],
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:7000\r\n\r\n",
        b"{\"load\":{}}\n",
        b"\n\n\n",
        "[".repeat(100_000).as_bytes(),
    ] {
        assert_eq!(answer_to(&address, garbage), "");
    }
    let refused = answer_to(&address, hello("0.0.0").as_bytes());
    assert!(refused.contains("refused") && refused.contains("0.0.0"), "{refused}");
    // Greeted, and then nonsense.
    let greeted = answer_to(&address, (hello(version) + "{\"load\":{\"share\":3}}\n").as_bytes());
    assert!(greeted.contains("welcome") && greeted.contains("not understood"), "{greeted}");
    assert_eq!(greeted.lines().count(), 2, "{greeted}");
    // Some that say nothing at all take no place from those that do.
    let _silent: Vec<_> = (0..5).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let run = found(&bench_with(&address));
    assert_eq!(run["totals"]["lost"], 0);
    assert!(process.0.try_wait().unwrap().is_none(), "it still listens");
    // One that has a coordinator has no time for another.
    let mut first = TcpStream::connect(&address).unwrap();
    first.write_all(hello(version).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(&first).read_line(&mut line).unwrap();
    assert!(line.contains("welcome"), "{line}");
    one_line(&bench_with(&address), &[&address, "another run under way"]);
    drop(first);
    until("it is free again", || bench_with(&address).status.code() != Some(3));
}

fn bench_with(agent: &str) -> Output {
    let address = fan(CLIENTS, Duration::ZERO, same());
    bench(address, &format!("-r 500/s -d 1s --agents {agent}"))
}

/// A coordinator is not led astray by what is no agent.
#[test]
fn an_address_without_an_agent_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J");
        }
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    one_line(&bench(address, &format!("-d 1s --agents {web}")), &[&web, "not understood"]);
    one_line(&bench(address, "-d 1s --agents 127.0.0.1:1"), &["agent 1", "refused"]);
    // Nobody is there to measure: that is the server's fault, not the agents'.
    one_line(&bench(address, "-d 1s --agents 2"), &["ws://127.0.0.1:1/ws", "refused"]);
    let usage = |flags: &str| bench(address, flags).status.code();
    assert_eq!(usage("--agents 0"), Some(2));
    assert_eq!(usage("--agents 11"), Some(2), "more processes than clients");
    assert_eq!(usage("--agents far:7000 --against-limit"), Some(2));
}
