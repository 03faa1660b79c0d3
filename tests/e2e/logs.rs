//! The log's reader goes away, is full or reads nothing: lines are lost and counted, and the server
//! serves and drains as ever.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::server::{eventually, get};

/// A server whose addresses are known beforehand, as its log cannot be read.
struct Unheard {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Unheard {
    fn start(stderr: impl Into<Stdio>) -> Self {
        let [address, admin] = [(); 2].map(|()| free_address());
        let child = Command::new(env!("CARGO_BIN_EXE_stentor"))
            .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
            .args(["--shards", "2", "--drain-spread", "100ms", "--log-level", "debug"])
            .stderr(stderr)
            .spawn()
            .unwrap();
        eventually("it serves", || std::net::TcpStream::connect(admin).is_ok());
        Self { child, address, admin }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn lines_lost(&self) -> u64 {
        let (status, text) = get(self.admin, "/metrics");
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix("stentor_log_lines_lost_total "));
        line.unwrap_or_else(|| panic!("no such counter in {text}")).trim().parse().unwrap()
    }

    /// SIGTERM drains as ever.
    fn ends_cleanly(mut self) {
        let mut client = Client::plain(self.address, "/ws");
        self.signal("TERM");
        assert_eq!(client.close_code(), Some(1001));
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_reader_that_goes_away_costs_lines_only() {
    let (reader, writer) = std::io::pipe().unwrap();
    let server = Unheard::start(writer);
    drop(reader);
    let before = server.lines_lost();
    server.signal("HUP");
    eventually("a line is lost", || server.lines_lost() > before);
    assert_eq!(get(server.address, "/ready").0, 200);
    server.ends_cleanly();
}

#[test]
fn a_full_disk_costs_lines_only() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Unheard::start(full);
    eventually("the lines of the start are lost", || server.lines_lost() >= 2);
    server.ends_cleanly();
}

#[test]
fn a_file_that_may_not_grow_costs_lines_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("log")).unwrap();
    let [address, admin] = [(); 2].map(|()| free_address());
    // In blocks of 512 bytes or of 1 KiB, as the shell has it.
    let script = "ulimit -f 1; exec \"$0\" \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_stentor"), "--log-format", "json"])
        .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
        .args(["--drain-spread", "100ms"])
        .stderr(file)
        .spawn()
        .unwrap();
    let server = Unheard { child, address, admin };
    eventually("it serves", || std::net::TcpStream::connect(admin).is_ok());
    for _ in 0..20 {
        server.signal("HUP");
        // Signals of one kind that come together are one.
        get(server.admin, "/ready");
    }
    eventually("lines are lost", || {
        server.signal("HUP");
        server.lines_lost() > 0
    });
    server.ends_cleanly();
}

#[test]
fn a_reader_that_reads_nothing_holds_up_nobody() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let filler = writer.try_clone().unwrap();
    // The pipe is full before the server writes to it.
    let fill = std::thread::spawn(move || {
        let _ = writer.write_all(&vec![b'x'; 1 << 20]);
    });
    let server = Unheard::start(filler);
    let pid = rustix::process::Pid::from_child(&server.child);
    eventually("more lines than may wait are lost", || {
        for _ in 0..50 {
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
            // Signals of one kind that come together are one.
            std::thread::park_timeout(Duration::from_millis(2));
        }
        server.lines_lost() > 0
    });
    assert_eq!(get(server.address, "/ready").0, 200);
    // And when the reader comes back it is told.
    let mut seen = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !String::from_utf8_lossy(&seen).contains("lines of this log were lost") {
        let count = reader.read(&mut buffer).unwrap();
        assert!(count > 0 && seen.len() < 16 << 20, "the log ended");
        seen.extend_from_slice(&buffer[..count]);
    }
    let rest = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    server.ends_cleanly();
    fill.join().unwrap();
    rest.join().unwrap().unwrap();
}

#[test]
fn standard_output_that_is_closed_is_no_failure_and_a_full_one_is() {
    let show = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["config", "show"]).stdout(stdout).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = show(writer.into());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = show(File::options().write(true).open("/dev/full").unwrap().into());
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("stentor: standard output: No space left"), "{stderr}");
}
