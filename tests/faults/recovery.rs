//! The server is killed and another starts: thousands of clients come back by themselves, soon, and
//! hear nothing twice.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::server::{Server, eventually};

/// Clients of the load generator, and clients of the page's library.
const BENCH: usize = 4_000;
const LIBRARY: usize = 1_000;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The output of a process, line by line.
struct Told {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Told {
    /// Reads the lines of `out`, which is an output of the process.
    fn of(process: Child, out: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    /// The next line that is meant.
    fn until(&self, is_meant: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("it said {seen:#?}") };
            if is_meant(&line) {
                return line;
            }
            seen.push(line);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The load generator of this workspace, built like the server.
fn bench() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_stentor")).with_file_name("stentor-bench");
    assert!(path.exists(), "{} is missing: build the whole workspace", path.display());
    path
}

#[test]
fn five_thousand_clients_come_back_after_a_kill() {
    let mut server = Server::start(&["--shards", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/crowd.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .args([&format!("ws://{}", server.address), &LIBRARY.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = node.stdout.take().unwrap();
    let mut library = Told::of(node, out);

    let record = std::env::temp_dir().join(format!("stentor-recovery-{}.json", std::process::id()));
    let mut load = Command::new(bench())
        .args(["fanout", &format!("ws://{}/ws?channel=bench", server.address)])
        .args(["-c", &BENCH.to_string(), "-P", "4", "-r", "20/s", "--warmup", "0", "-d", "10m"])
        .args(["--ramp", "4k/s", "--reconnect", "--backoff", "500ms..4s", "--no-tui", "--json"])
        .arg(&record)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = load.stderr.take().unwrap();
    let mut load = Told::of(load, out);
    let is_second = |line: &str| line.contains("deliveries/s");
    let is_away = |line: &str| line.contains("away");
    load.until(|line| is_second(line) && !is_away(line));
    assert_eq!(library.until(|_| true), "in");

    server.signal("KILL");
    server.wait();
    let _server = Server::start_on(server.address, &["--shards", "2"]);
    // First they must notice, and then be back.
    load.until(is_away);
    load.until(|line| is_second(line) && !is_away(line));
    let back = library.until(|_| true);
    let library_took: u64 = back.strip_prefix("back ").unwrap().parse().unwrap();
    assert_eq!(library.until(|_| true), "done");
    assert!(library.process.wait().unwrap().success());
    // Two seconds more in which nobody is away.
    for _ in 0..2 {
        load.until(is_second);
    }

    // Interrupted, it says what it has.
    let pid = load.process.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    eventually("the record is there", || load.process.try_wait().unwrap().is_some());
    let run: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
    std::fs::remove_file(&record).unwrap();
    let (returns, totals) = (&run["returns"], &run["totals"]);
    let recovery = returns["recovery_s"].as_f64().unwrap();
    eprintln!(
        "all back: {BENCH} of the bench {recovery} s, {LIBRARY} of the library {library_took} ms"
    );
    assert!(recovery < 30.0 && library_took < 30_000, "{recovery} s, {library_took} ms");
    assert_eq!((&returns["returned"], &returns["away"]), (&BENCH.into(), &0.into()));
    assert_eq!((&totals["duplicated"], &totals["lost"]), (&0.into(), &0.into()), "{totals}");
    // From the last whole second to the end everybody hears everything; what was under way where it
    // began is more.
    let last = run["series"].as_array().unwrap().iter().rev().take(2);
    let sum = |name: &str| last.clone().map(|second| second[name].as_u64().unwrap()).sum::<u64>();
    let (heard, said) = (sum("deliveries"), sum("published"));
    assert!(heard >= said * BENCH as u64, "{heard} of {said} messages");
    assert!(said > 10, "{said} messages");
}
