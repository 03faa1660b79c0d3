//! Servers whose clients come from several processes, and those processes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Rule, answered, hold, read_frame, unmasked};

pub(crate) const BENCH: &str = env!("CARGO_BIN_EXE_stentor-bench");

/// A server for one run, whoever of its clients speaks. Between one client and the next it waits.
pub(crate) fn fan(count: usize, pause: Duration, mut rule: Rule) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..count).map(|_| answered(&listener)).collect();
        let (say, said) = crossbeam_channel::bounded(1024);
        for client in &clients {
            let (mut client, say) = (client.try_clone().unwrap(), say.clone());
            thread::spawn(move || {
                while let Some(payload) = read_frame(&mut client) {
                    say.send(payload).unwrap();
                }
            });
        }
        drop(say);
        for (number, payload) in said.iter().enumerate() {
            for frame in rule(number, unmasked(&payload)) {
                // A client that has gone hears nothing.
                clients.retain_mut(|client| {
                    let heard = client.write_all(&frame).is_ok();
                    hold(pause);
                    heard
                });
            }
        }
    });
    address
}

/// A process of this test's making, which ends with it.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A running agent, and where it listens.
pub(crate) fn agent(flags: &[&str]) -> (Process, String) {
    agent_as(Command::new(BENCH), flags)
}

/// The same, by a command that runs the tool with what follows.
pub(crate) fn agent_as(mut command: Command, flags: &[&str]) -> (Process, String) {
    let mut child = command
        .args(["agent", "--listen", "127.0.0.1:0"])
        .args(flags)
        .env_remove("STENTOR_BENCH_TOKEN")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    // Whatever it says later is read, so that it never waits to say it.
    thread::spawn(move || lines.count());
    let address = line.strip_prefix("stentor-bench agent: listening on ").unwrap().to_owned();
    (Process(child), address)
}

pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Runs the tool against a server of so many clients.
pub(crate) fn drive(address: SocketAddr, clients: usize, flags: &str) -> Output {
    let clients = clients.to_string();
    Command::new(BENCH)
        .args(["fanout", &format!("ws://{address}/ws"), "-c", &clients, "--quiet"])
        .args(["--size", "64", "--warmup", "0", "--json", "/dev/stderr"])
        .args(flags.split_whitespace())
        .output()
        .unwrap()
}

pub(crate) fn same() -> Rule {
    Box::new(|_, frame| vec![frame])
}

/// How many messages were said of those that were asked for. A process that has to wait for its
/// core at the very end says the last ones no more.
pub(crate) fn published(run: &Value, asked: u64) -> u64 {
    let published = run["totals"]["published"].as_u64().unwrap();
    assert!((asked - asked / 10..=asked).contains(&published), "{published} of {asked}");
    published
}
