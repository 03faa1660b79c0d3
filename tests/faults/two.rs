//! Two servers of one address: one takes over from the other, or it does not start and says who is
//! there. Supervisors that restart both for ever, processes that hang and namespaces change nothing
//! about it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, get};

const BINARY: &str = env!("CARGO_BIN_EXE_stentor");

fn start_at(address: &str, flags: &[&str]) -> Output {
    let common = ["--listen", address, "--admin", "off", "--shards", "1"];
    Command::new(BINARY).args(common).args(flags).output().unwrap()
}

/// The code and the line with which a process ends that cannot have the address.
fn refusal(address: &str, flags: &[&str]) -> (Option<i32>, String) {
    let output = start_at(address, flags);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let own: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("stentor: ")).collect();
    assert_eq!(own.len(), 1, "{text}");
    (output.status.code(), own[0].to_owned())
}

#[test]
fn another_form_of_the_address_is_the_same_address() {
    let server = Server::start(&["--shards", "1"]);
    let port = server.address.port();
    for form in ["0.0.0.0", "[::]", "[::ffff:127.0.0.1]"] {
        let (code, line) = refusal(&format!("{form}:{port}"), &[]);
        assert_eq!(code, Some(1), "{form}: {line}");
        let who = format!("address in use by process {} (stentor)", server.pid());
        assert!(line.contains(&who), "{form}: {line}");
    }
    // And a server that is asked to share is no predecessor.
    let shares = Server::start(&["--shards", "1", "--take-over=false"]);
    let (code, line) = refusal(&shares.address.to_string(), &[]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains(&format!("process {} (stentor)", shares.pid())), "{line}");
    assert_eq!(get(server.address, "/ready").0, 200);
}

#[test]
fn many_that_start_at_once_are_one_server() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let forms = [format!("127.0.0.1:{}", free.port()), format!("0.0.0.0:{}", free.port())];
    let start = |form: &String| {
        let common = ["--listen", form, "--admin", "off", "--shards", "1"];
        Command::new(BINARY).args(common).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut all: Vec<Child> = (0..3).flat_map(|_| forms.iter().map(start)).collect();
    let mut running = all.len();
    // The first wins; the second of its form takes over from it, and the others are refused.
    eventually("one is left", || {
        running = all.iter_mut().filter_map(|one| one.try_wait().unwrap()).count();
        running == all.len() - 1
    });
    assert_eq!(get(free, "/ready").0, 200);
    for mut one in all {
        let _ = one.kill();
        let _ = one.wait();
    }
}

#[test]
fn a_process_that_hangs_is_not_served_beside() {
    let server = Server::start(&["--shards", "1"]);
    server.signal("STOP");
    let began = Instant::now();
    let (code, line) = refusal(&server.address.to_string(), &[]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains(&format!("process {}, which does not answer", server.pid())), "{line}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.signal("CONT");
    assert_eq!(get(server.address, "/ready").0, 200);
}

/// A client that waits at a process which hangs is reset when that process is ended, and finds the
/// newer one when it comes again.
#[test]
fn a_process_that_hangs_is_ended_where_that_is_asked_for() {
    let mut hung = Server::start(&["--shards", "1"]);
    hung.signal("STOP");
    let tasks = format!("/proc/{}/task", hung.pid());
    // The signal reaches one thread after the other; until then they still answer.
    eventually("it stands still", || {
        let mut tasks = std::fs::read_dir(&tasks).unwrap().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        })
    });
    let mut waits = TcpStream::connect(hung.address).unwrap();
    waits.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    waits.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let began = Instant::now();
    let newer = Server::start_beside(&hung, &["--shards", "1", "--take-over", "force"]);
    assert!(began.elapsed() > Duration::from_secs(4), "it has the time to answer");
    assert_eq!(hung.wait().code(), None, "it was killed");
    let reset = waits.read(&mut [0; 64]).unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    let log = newer.start_log().join("\n");
    assert!(log.contains("ended a process that did not answer"), "{log}");
    Client::plain(newer.address, "/ws").goodbye();
    // A process that answers is taken over from as ever.
    let mut newer = newer;
    let _next = Server::start_beside(&newer, &["--shards", "1", "--take-over", "force"]);
    assert_eq!(newer.wait().code(), Some(3));
}

#[test]
fn a_process_that_has_just_taken_over_is_left_alone() {
    let mut first = Server::start(&["--shards", "1", "--drain-spread", "100ms"]);
    let second = Server::start_beside(&first, &["--shards", "1"]);
    assert_eq!(first.wait().code(), Some(3));
    let began = Instant::now();
    let (code, line) = refusal(&second.address.to_string(), &[]);
    assert_eq!(code, Some(4), "{line}");
    assert!(line.contains(&format!("process {}, which has taken over", second.pid())), "{line}");
    assert!(began.elapsed() > Duration::from_secs(4), "a restart loop must be slow");
    assert_eq!(get(second.address, "/ready").0, 200);
    let zero = Server::start(&["--shards", "1", "--relieved-exit-code", "0"]);
    let mut zero = zero;
    let _next = Server::start_beside(&zero, &["--shards", "1"]);
    assert_eq!(zero.wait().code(), Some(0), "as the setting says");
}

/// Starts a server again whenever it ends, as `restart: always` does.
fn supervise(address: SocketAddr, over: &AtomicBool, starts: &AtomicU32) {
    while !over.load(Ordering::Relaxed) {
        starts.fetch_add(1, Ordering::Relaxed);
        let mut server = Command::new(BINARY)
            .args(["--listen", &address.to_string(), "--admin", "off", "--shards", "1"])
            .args(["--drain-spread", "100ms"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !over.load(Ordering::Relaxed) && server.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = server.kill();
        let _ = server.wait();
    }
}

#[test]
fn two_copies_that_are_always_restarted_do_not_fight() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let copy = || {
        let (over, starts) = (Arc::clone(&over), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&starts);
        (starts, std::thread::spawn(move || supervise(address, &over, &counted)))
    };
    let (blue, first) = copy();
    eventually("the first serves", || TcpStream::connect(address).is_ok());
    let mut thrown_off = Client::plain(address, "/ws");
    let (green, second) = copy();
    assert_eq!(thrown_off.close_code(), Some(1001), "the second takes over");
    let mut stays = Client::plain(address, "/ws");
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        stays.send("here");
        assert_eq!(stays.next_text(), "here", "nobody is thrown off again");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    over.store(true, Ordering::Relaxed);
    first.join().unwrap();
    second.join().unwrap();
    let [blue, green] = [blue, green].map(|starts| starts.load(Ordering::Relaxed));
    assert!(blue <= 4 && green == 1, "{blue} and {green} starts");
}

/// A command that runs in a PID namespace of its own, where this user may have one.
fn in_a_pid_namespace() -> Option<Command> {
    for kind in [["--pid"].as_slice(), &["--user", "--map-root-user", "--pid"]] {
        let with = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(kind).args(["--fork", "--kill-child", program]);
            command
        };
        if with("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some(with(BINARY));
        }
    }
    None
}

#[test]
fn a_newer_process_takes_over_from_one_of_another_pid_namespace() {
    let (Some(first), Some(second)) = (in_a_pid_namespace(), in_a_pid_namespace()) else {
        eprintln!("skipped: no PID namespaces for this user");
        return;
    };
    let start = |mut command: Command, address: &str| {
        command.args(["--shards", "1", "--drain-spread", "100ms"]);
        Server::start_as_on(command, address)
    };
    let mut old = start(first, "127.0.0.1:0");
    let mut client = Client::plain(old.address, "/ws");
    let new = start(second, &old.address.to_string());
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(old.wait().code(), Some(3));
    let clients: Vec<Client> = (0..20).map(|_| Client::plain(new.address, "/ws")).collect();
    assert_eq!(new.total("clients"), 20, "all are the newer one's");
    drop(clients);
}

#[test]
fn the_first_signal_to_a_relieved_process_does_not_cut_its_drain() {
    let mut first = Server::start(&["--shards", "1", "--drain-spread", "2s"]);
    let mut client = Client::plain(first.address, "/ws");
    let _second = Server::start_beside(&first, &["--shards", "1"]);
    eventually("the first one drains", || {
        first.log().iter().any(|line| line.contains("another process has taken over"))
    });
    first.signal("TERM");
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(first.wait().code(), Some(3));
}

#[test]
fn a_process_that_goes_anyhow_keeps_nobody_waiting() {
    let mut first = Server::start(&["--shards", "1", "--drain-spread", "100ms"]);
    let second = Server::start_beside(&first, &["--shards", "1", "--drain-spread", "3s"]);
    assert_eq!(first.wait().code(), Some(3));
    // It has just taken over and would not yield yet; but it is told to stop.
    let _client = Client::plain(second.address, "/ws");
    second.signal("TERM");
    eventually("the second one drains", || get(second.address, "/ready").0 == 503);
    let third = Server::start_beside(&second, &["--shards", "1"]);
    assert_eq!(get(third.admin, "/health").0, 200);
    for _ in 0..20 {
        // Whoever comes now is not told by the older one that it drains.
        Client::plain(third.address, "/ws").goodbye();
    }
}

#[test]
fn a_newcomer_whose_admin_address_is_taken_resets_nobody() {
    let server = Server::start(&["--shards", "1"]);
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let over = Arc::new(AtomicBool::new(false));
    let (to, ended) = (server.address, Arc::clone(&over));
    let clients = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            // It panics if it is refused or reset.
            Client::plain(to, "/ws").goodbye();
        }
    });
    let address = server.address.to_string();
    let output = Command::new(BINARY)
        .args(["--listen", &address, "--admin", &taken, "--shards", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    over.store(true, Ordering::Relaxed);
    clients.join().unwrap();
}
