//! What a host does not allow is found before anything starts: `serve`, `check` and `doctor` say
//! the same, and where `io_uring` is blocked shards sleep in epoll.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::filter::{ENOSYS, EPERM, RING_CALLS, block, under};
use crate::server::{Server, eventually};

fn stentor(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STENTOR_")) {
        command.env_remove(name);
    }
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Facts as `stentor doctor --json` tells them.
fn facts(args: &[&str]) -> Value {
    let output = stentor(&[&["doctor", "--json"], args].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Clients of all shards hear one of them.
fn is_heard_everywhere(server: &Server) {
    let mut clients = server.on_all_shards(1, || Client::plain(server.address, "/ws"));
    clients[0].send("from one shard to all");
    for client in &mut clients {
        assert_eq!(client.next_text(), "from one shard to all");
    }
}

fn messages(log: &[String]) -> Vec<String> {
    let records = log.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    records.map(|record| record["fields"]["message"].as_str().unwrap_or("").to_owned()).collect()
}

#[test]
fn where_the_ring_is_blocked_shards_sleep_in_epoll() {
    let cases: [(&[&str], u64, &str); 4] = [
        (&RING_CALLS, EPERM, "a seccomp filter answers io_uring_setup with EPERM"),
        (&RING_CALLS, ENOSYS, "a seccomp filter answers io_uring_setup with ENOSYS"),
        (&RING_CALLS[1..2], EPERM, "a seccomp filter answers io_uring_enter with EPERM"),
        (&RING_CALLS[2..], EPERM, "a seccomp filter answers io_uring_register with EPERM"),
    ];
    for (calls, errno, cause) in cases {
        let filter = [block(calls, errno)];
        let server = under(&filter, || Server::start(&["--shards", "2"]));
        is_heard_everywhere(&server);
        let log = messages(server.start_log());
        let told: Vec<&String> = log.iter().filter(|line| line.contains("io_uring")).collect();
        assert_eq!(told.len(), 1, "{log:?}");
        assert!(told[0].contains(cause) && told[0].contains("seccomp.json"), "{}", told[0]);
        for args in [["check"], ["doctor"]] {
            let output = under(&filter, || stentor(&[&args[..], &["--shards", "2"]].concat()));
            assert_eq!(output.status.code(), Some(0), "{args:?}");
            assert!(text(&output.stdout).contains(told[0]), "{}", text(&output.stdout));
        }
    }
}

#[test]
fn a_required_ring_that_is_blocked_is_refused_in_one_line() {
    for (errno, word) in [(EPERM, "EPERM"), (ENOSYS, "ENOSYS")] {
        for shards in ["1", "2"] {
            let said = ["serve", "check", "doctor"].map(|task| {
                let args = [task, "--ring", "required", "--shards", shards, "--listen"];
                let args = [&args[..], &["127.0.0.1:0", "--admin", "off"]].concat();
                let output = under(&[block(&RING_CALLS, errno)], || stentor(&args));
                assert_eq!(output.status.code(), Some(78), "{task}: {}", text(&output.stderr));
                text(&output.stderr)
            });
            assert_eq!(said[0].lines().count(), 1, "{}", said[0]);
            let begin = "stentor: io_uring is required, and a seccomp filter answers";
            assert!(said[0].starts_with(begin) && said[0].contains(word), "{}", said[0]);
            assert!(said.iter().all(|other| *other == said[0]), "{said:?}");
        }
    }
}

fn open_descriptors(server: &Server) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let links = folder.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// `doctor` tells what a process really holds open, in both ways of sleeping.
#[test]
fn descriptors_are_counted_as_they_are() {
    for ring in ["required", "off"] {
        let servers = ["1", "2"].map(|shards| Server::start(&["--ring", ring, "--shards", shards]));
        let needs = &facts(&["--ring", ring, "--shards", "2"])["needs"];
        let each = needs["shard_descriptors"].as_u64().unwrap();
        let mut open = [0; 2];
        eventually("a shard holds as many as doctor says, once it has parked", || {
            open = [0, 1].map(|index| open_descriptors(&servers[index]).len() as u64);
            open[1] - open[0] == each
        });
        let process = needs["process_descriptors"].as_u64().unwrap();
        assert!(open[0] - each <= process, "{open:?}: {:?}", open_descriptors(&servers[0]));
        let rings =
            open_descriptors(&servers[1]).iter().filter(|one| one.contains("io_uring")).count();
        assert_eq!(rings, if ring == "off" { 0 } else { 6 });
    }
}

/// A shard without work takes no CPU time, wherever it sleeps.
#[test]
fn idle_shards_take_no_cpu_time() {
    for ring in ["required", "off"] {
        let server = Server::start(&["--ring", ring, "--shards", "2", "--ping-interval", "0"]);
        is_heard_everywhere(&server);
        // The goodbyes of the clients above are over when nobody is left.
        eventually("nobody is left", || server.total("clients") == 0);
        let mut spent = Duration::MAX;
        eventually("a second without work takes no CPU time", || {
            let (cpu, began) = (server.cpu(), Instant::now());
            while began.elapsed() < Duration::from_secs(1) {
                std::thread::park_timeout(Duration::from_millis(200));
            }
            spent = server.cpu().saturating_sub(cpu);
            spent < Duration::from_millis(2)
        });
        is_heard_everywhere(&server);
    }
}

/// A command as a user of its own with so much memory to lock, where that can be had.
fn limited(user: u32, memlock: u64, program: &Path) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--memlock={memlock}:{memlock}"));
    if rustix::process::geteuid().is_root() {
        let user = user.to_string();
        command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.arg(program);
    command
}

/// A copy of the program in a folder, which every user may run.
fn program_for_all(folder: &Path) -> PathBuf {
    let program = folder.join("stentor");
    std::fs::copy(env!("CARGO_BIN_EXE_stentor"), &program).unwrap();
    for path in [folder, &program] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    program
}

#[test]
fn a_port_that_only_root_may_have_is_refused_with_the_cure() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim() == "0" {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = program_for_all(folder.path());
    let user = 40_000 + std::process::id() % 10_000;
    for flags in [["--listen", "127.0.0.1:1", "off"], ["--listen", "127.0.0.1:0", "127.0.0.1:1"]] {
        let mut command = limited(user, 700 << 10, &program);
        command.args(["--shards", "1", flags[0], flags[1], "--admin", flags[2]]);
        let output = command.output().unwrap();
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{line}");
        assert!(line.contains("127.0.0.1:1:") && line.contains("CAP_NET_BIND_SERVICE"), "{line}");
    }
}

#[test]
fn locked_memory_is_counted_for_all_shards_and_for_the_whole_user() {
    let folder = tempfile::tempdir().unwrap();
    let program = program_for_all(folder.path());
    let user = 50_000 + std::process::id() % 10_000;
    let check = |memlock: u64| {
        let mut command = limited(user, memlock, &program);
        command.args(["check", "--shards", "2", "--ring", "required"]);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, line) = check(400 << 10);
    assert_eq!(code, Some(78), "{line}");
    assert!(line.contains("memlock is 400KiB") && line.contains("LimitMEMLOCK=524288"), "{line}");
    let enough = 700 << 10;
    assert_eq!(check(enough), (Some(0), String::new()));

    is_foretold_by_all(user + 10_000, &program);
    let mut command = limited(user, enough, &program);
    command.args(["--shards", "2", "--ring", "required"]);
    let server = Server::start_as(command);
    is_heard_everywhere(&server);
    if rustix::process::geteuid().is_root() {
        let (code, line) = check(enough);
        assert_eq!(code, Some(78), "{line}");
        assert!(line.contains("beside what this user's other processes have locked"), "{line}");
    }
}

/// All three commands tell of a take-over for which the memory to lock does not suffice.
fn is_foretold_by_all(user: u32, program: &Path) {
    let told = |task: &str, memlock: u64| {
        let mut command = limited(user, memlock, program);
        command.args([task, "--shards", "2", "--ring", "required"]);
        let text = text(&command.output().unwrap().stdout);
        text.lines().find(|line| line.contains("takes over")).map(str::to_owned)
    };
    let line = told("check", 700 << 10).expect("check tells of it");
    let finding = &line[line.find("memlock is").unwrap()..];
    let cure = "LimitMEMLOCK=1048576";
    assert!(finding.contains("takes over could not start") && finding.contains(cure), "{line}");
    assert!(told("doctor", 700 << 10).is_some_and(|line| line.ends_with(finding)));
    let mut command = limited(user, 700 << 10, program);
    command.args(["--shards", "2", "--ring", "required"]);
    let server = Server::start_as(command);
    let log = messages(server.start_log());
    assert!(log.iter().any(|line| line == finding), "{log:?}");
    for task in ["check", "doctor"] {
        assert_eq!(told(task, 1 << 20), None, "{task} beside a server, with room for two");
    }
}

/// The documents name the figures that the binary tells.
#[test]
fn the_documents_agree_with_the_binary() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let needs = &facts(&["--ring", "required"])["needs"];
    let nap = format!("naps on its sockets for {} ms", needs["nap_ms"]);
    assert!(read("ARCHITECTURE.md").contains(&nap), "{nap}");
    let locked = needs["shard_locked_bytes"].as_u64().unwrap() / 1024;
    let locked = format!("limit of locked memory ({locked} KiB a shard");
    assert!(read("docs/OPERATION.md").contains(&locked), "{locked}");
}
