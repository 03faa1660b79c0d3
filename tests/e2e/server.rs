//! Starts the real binary, finds its addresses in its log, and ends it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; it is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The address for TLS beside that of clients.
    #[allow(dead_code, reason = "only the tests of TLS connect there")]
    pub(crate) tls: Option<SocketAddr>,
    lines: mpsc::Receiver<String>,
    /// The log up to the line that says that it is ready.
    start: Vec<String>,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(flags);
        Self::spawn(command, "127.0.0.1:0", "127.0.0.1:0")
    }

    /// Starts on a given address, as after a restart.
    pub(crate) fn start_on(address: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(flags);
        Self::spawn(command, &address.to_string(), "127.0.0.1:0")
    }

    /// Starts by a command that begins with something else.
    pub(crate) fn start_as(command: Command) -> Self {
        Self::start_as_on(command, "127.0.0.1:0")
    }

    /// The same on a given address.
    pub(crate) fn start_as_on(command: Command, address: &str) -> Self {
        Self::spawn(command, address, "127.0.0.1:0")
    }

    /// Starts on both addresses of a server that still runs.
    #[allow(dead_code, reason = "only the tests of faults take over")]
    pub(crate) fn start_beside(other: &Self, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(flags);
        Self::spawn(command, &other.address.to_string(), &other.admin.to_string())
    }

    /// Starts under a limit of descriptors.
    pub(crate) fn start_with_nofile(nofile: u32, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {nofile}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_stentor")]).args(flags);
        Self::spawn(command, "127.0.0.1:0", "127.0.0.1:0")
    }

    #[expect(
        clippy::zombie_processes,
        reason = "dropping the server reaps it; a panic ends the test"
    )]
    fn spawn(mut command: Command, listen: &str, admin: &str) -> Self {
        command.args(["--listen", listen, "--admin", admin]);
        if command.get_args().all(|arg| arg != "--log-format") {
            command.args(["--log-format", "json"]);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STENTOR_")) {
            command.env_remove(name);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                panic!("the server is not ready: {seen:?}");
            };
            if let Some((address, admin)) = ready(&line) {
                let tls = tls_address(&line);
                return Self { child, address, admin, tls, lines, start: seen };
            }
            seen.push(line);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// The log since the last call.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The log of the start, up to the line that says that it is ready.
    #[allow(dead_code, reason = "only the tests of the host's limits read it")]
    pub(crate) fn start_log(&self) -> &[String] {
        &self.start
    }

    /// A number of `/api/stats` for each shard.
    pub(crate) fn by_shard(&self, name: &str) -> Vec<u64> {
        let (_, body) = get(self.admin, "/api/stats");
        let stats: serde_json::Value = serde_json::from_str(&body).unwrap();
        let shards = stats["shards"].as_array().unwrap();
        shards.iter().map(|shard| shard[name].as_u64().unwrap()).collect()
    }

    /// Opens clients until every shard has at least `least`; the kernel spreads them.
    pub(crate) fn on_all_shards<T>(&self, least: u64, mut open: impl FnMut() -> T) -> Vec<T> {
        let mut opened = Vec::new();
        while self.by_shard("clients").into_iter().any(|clients| clients < least) {
            assert!(opened.len() < 200, "the kernel spreads no connections");
            opened.push(open());
        }
        opened
    }

    /// A number of `/api/stats`, summed over the shards.
    pub(crate) fn total(&self, name: &str) -> u64 {
        let (status, body) = get(self.admin, "/api/stats");
        assert_eq!(status, 200, "{body}");
        let stats: serde_json::Value = serde_json::from_str(&body).unwrap();
        stats["total"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {body}"))
    }

    /// A number of `/api/stats` by reason, summed over the shards.
    pub(crate) fn by_reason(&self, what: &str, reason: &str) -> u64 {
        let (_, body) = get(self.admin, "/api/stats");
        let stats: serde_json::Value = serde_json::from_str(&body).unwrap();
        let shards = stats["shards"].as_array().unwrap();
        shards.iter().map(|shard| shard[what][reason].as_u64().unwrap()).sum()
    }

    /// User and system time of the process so far.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let ns: u64 = tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        Duration::from_nanos(ns)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else {
        // A person's format: `… ready url="http://ADDRESS/" admin="http://ADDRESS/"`.
        let mut fields = line.split_once(" ready url=\"http://")?.1.split("/\"");
        let address = fields.next()?.parse().ok()?;
        return Some((address, fields.next()?.rsplit_once("http://")?.1.parse().ok()?));
    };
    let fields = &record["fields"];
    let address = |name: &str| {
        if fields[name].as_str()?.starts_with("unix:") {
            // A Unix socket has none: its tests connect by its name.
            return Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        }
        address_in(fields[name].as_str()?)
    };
    (fields["message"] == "ready").then(|| Some((address("url")?, address("admin")?)))?
}

/// The address in a URL of the log.
fn address_in(url: &str) -> Option<SocketAddr> {
    url.split_once("://")?.1.trim_end_matches('/').parse().ok()
}

/// The address for TLS in the line that says that the server is ready.
fn tls_address(line: &str) -> Option<SocketAddr> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    address_in(record["fields"]["tls"].as_str()?)
}

/// Polls until something is true, for as long as anything may take.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// One HTTP request; gives status and body.
pub(crate) fn request(to: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head = format!(
        "{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}

pub(crate) fn get(to: SocketAddr, path: &str) -> (u16, String) {
    request(to, &format!("GET {path} HTTP/1.1"), "")
}

pub(crate) fn post(to: SocketAddr, path: &str, body: &str) -> (u16, String) {
    request(to, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json"), body)
}
