//! A newer process takes the place of the older one on the same address: of a steady stream of
//! connects nobody is refused, reset or turned away, and who was connected is told to go.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, get};

/// Connects a second, by so many threads.
const RATE: u32 = 2_000;
const THREADS: u32 = 4;

/// The exit code of a process that another one has taken over from.
const RELIEVED: i32 = 3;

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const READY: &str = "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// The outcome of the connects: their number, and the slowest.
#[derive(Debug, Default)]
struct Outcome {
    by_answer: BTreeMap<String, u64>,
    slowest: Duration,
}

/// A steady stream of connects, from its start until its outcome is asked for.
struct Stream {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Outcome>>,
}

impl Stream {
    fn start(to: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = |number| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || knock(to, number, &over))
        };
        let threads = (0..THREADS).map(thread).collect();
        Self { over, threads }
    }

    fn outcome(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for thread in self.threads {
            let one = thread.join().unwrap();
            all.slowest = all.slowest.max(one.slowest);
            for (answer, count) in one.by_answer {
                *all.by_answer.entry(answer).or_default() += count;
            }
        }
        all
    }
}

/// Connects at its share of the rate until it is over; what is late is made up for.
fn knock(to: SocketAddr, number: u32, over: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    let pause = Duration::from_secs(1) * THREADS / RATE;
    let mut due = Instant::now() + pause * number / THREADS;
    while !over.load(Ordering::Relaxed) {
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        due += pause;
        let began = Instant::now();
        let answer = try_once(to).unwrap_or_else(|error| format!("{:?}", error.kind()));
        outcome.slowest = outcome.slowest.max(began.elapsed());
        *outcome.by_answer.entry(answer).or_default() += 1;
    }
    outcome
}

/// One connect, one request, and the first line of the answer.
fn try_once(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    // So that no port waits for stragglers.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(REQUEST.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..count]);
        // A close frame may stand behind the answer already.
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            answer.truncate(end + 4);
        }
    }
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split_once("\r\n").map_or("", |(line, _)| line).to_owned())
}

#[test]
fn no_connect_is_refused_or_reset_while_processes_take_over_from_one_another() {
    // As many shards, more, fewer: sockets find a shard, and shards a socket.
    let flags = |shards| ["--shards", shards, "--drain-spread", "400ms", "--take-over-settle", "0"];
    let mut server = Server::start(&flags("2"));
    let stream = Stream::start(server.address);
    for shards in ["2", "1", "2", "1", "1", "2", "2", "2", "2", "2"] {
        // With someone to send away the older one lives on beside the newer.
        let residents: Vec<Client> =
            (0..20).map(|_| Client::plain(server.address, "/ws")).collect();
        let next = Server::start_beside(&server, &flags(shards));
        for mut resident in residents {
            assert_eq!(resident.close_code(), Some(1001));
        }
        assert_eq!(server.wait().code(), Some(RELIEVED), "the older one goes by itself");
        assert!(server.log().iter().any(|line| line.contains("another process has taken over")));
        server = next;
    }
    let outcome = stream.outcome();
    let connects: u64 = outcome.by_answer.values().sum();
    eprintln!("{connects} connects over ten restarts: {outcome:?}");
    assert_eq!(outcome.by_answer.keys().collect::<Vec<_>>(), ["HTTP/1.1 101 Switching Protocols"]);
    assert!(connects > 1_000, "the stream was not steady: {connects}");
    assert!(outcome.slowest < Duration::from_secs(5), "{outcome:?}");
}

#[test]
fn connected_clients_are_sent_away_and_handshakes_under_way_finish_first() {
    let flags = ["--shards", "2", "--drain-spread", "400ms"];
    let mut server = Server::start(&flags);
    let clients: Vec<Client> = (0..40).map(|_| Client::plain(server.address, "/ws")).collect();
    let half_in = HalfIn::begin(server.address, REQUEST, 40);
    let visitor = HalfIn::begin(server.address, READY, 20);
    eventually("both are accepted", || server.total("handshakes") == 2);

    let next = Server::start_beside(&server, &flags);
    let newcomers: Vec<Client> = (0..40).map(|_| Client::plain(server.address, "/ws")).collect();
    let here = next.total("clients");
    assert!(here >= 38, "of 40 clients {here} met the newer process");
    let visit = visitor.end();
    assert!(visit.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&visit));
    let answer = half_in.end();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    let close = answer.iter().position(|byte| *byte == 0x88).unwrap();
    assert_eq!(answer[close + 2..][..2], 1001_u16.to_be_bytes(), "and a close frame: {text}");
    for mut client in clients {
        assert_eq!(client.close_code(), Some(1001));
    }
    assert_eq!(server.wait().code(), Some(RELIEVED));
    let mut last = newcomers.into_iter().next_back().unwrap();
    last.hears_nothing_before("here");
}

/// A request of which a part has been sent.
struct HalfIn {
    stream: TcpStream,
    rest: &'static str,
}

impl HalfIn {
    fn begin(to: SocketAddr, request: &'static str, sent: usize) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (first, rest) = request.split_at(sent);
        stream.write_all(first.as_bytes()).unwrap();
        Self { stream, rest }
    }

    /// Sends the rest; gives all that comes.
    fn end(mut self) -> Vec<u8> {
        self.stream.write_all(self.rest.as_bytes()).unwrap();
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

#[test]
fn the_admin_address_passes_on_as_well() {
    let flags = ["--drain-spread", "200ms", "--take-over-settle", "0"];
    let mut server = Server::start(&flags);
    let (address, admin) = (server.address, server.admin);
    let over = Arc::new(AtomicBool::new(false));
    let asker = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut answers = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                for (which, to) in [("admin", admin), ("public", address)] {
                    *answers.entry((which, get(to, "/ready").0)).or_insert(0) += 1;
                }
            }
            answers
        }
    });
    for _ in 0..3 {
        let next = Server::start_beside(&server, &flags);
        assert_eq!(server.wait().code(), Some(RELIEVED));
        server = next;
    }
    over.store(true, Ordering::Relaxed);
    let answers = asker.join().unwrap();
    let kinds: Vec<_> = answers.keys().copied().collect();
    assert_eq!(kinds, [("admin", 200), ("public", 200)], "{answers:?}");
    assert_eq!(server.total("clients"), 0);
}

#[test]
fn a_process_without_clients_still_answers_accepted_connections() {
    let mut server = Server::start(&[]);
    let askers = [0, 20].map(|sent| HalfIn::begin(server.admin, READY, sent));
    // Answered behind them, so they have been accepted.
    assert_eq!(get(server.admin, "/ready").0, 200);
    let next = Server::start_beside(&server, &[]);
    eventually("its shards have ended", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid()));
        let names = tasks.into_iter().flatten().flatten();
        let mut names = names.map(|task| std::fs::read_to_string(task.path().join("comm")));
        !names.any(|name| name.is_ok_and(|name| name.starts_with("shard-")))
    });
    for asker in askers {
        let answer = asker.end();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.wait().code(), Some(RELIEVED));
    assert_eq!(get(next.admin, "/ready").0, 200);
}

#[test]
fn a_newcomer_that_fails_to_start_leaves_everything_as_it_was() {
    let server = Server::start(&["--shards", "1"]);
    let mut client = Client::plain(server.address, "/ws");
    // It takes the sockets, and then finds that its admin address is another's.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--listen", &server.address.to_string()])
        .args(["--admin", &taken.local_addr().unwrap().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = std::process::id();
    assert!(said.contains(&format!("address in use by process {own} ")), "{said}");
    client.send("still here");
    assert_eq!(client.next_text(), "still here");
    assert_eq!(get(server.address, "/ready").0, 200);
    assert!(Client::try_plain(server.address, "/ws").is_ok());
}

#[test]
fn without_taking_over_two_processes_share_the_port() {
    let flags = ["--shards", "1", "--take-over=false"];
    let first = Server::start(&flags);
    let second = Server::start_on(first.address, &flags);
    let mut clients = Vec::new();
    while first.total("clients") == 0 || second.total("clients") == 0 {
        assert!(clients.len() < 200, "the kernel spreads no connections");
        clients.push(Client::plain(first.address, "/ws"));
    }
}
