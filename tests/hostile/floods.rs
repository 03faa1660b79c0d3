//! Floods: as many small things as the sockets take, from several attackers at once, read or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::raw::{connect, frame, head, header, json, text, upgraded};
use crate::siege::Siege;

/// How many flood at once.
pub(crate) const ATTACKERS: usize = 16;

/// How many are told of what the attackers do, where others are.
const WATCHERS: usize = 100;

/// For how long.
pub(crate) const FLOOD: Duration = Duration::from_millis(1_500);

/// What an attacker may make the server hold: what was read of it and waits for its turn, its
/// outbox, and a message under way.
pub(crate) const EACH_BYTES: u64 = (64 << 10) + (1 << 20) + (64 << 10);

/// A flood of one kind.
pub(crate) struct Flood<'a> {
    /// The bytes that are sent once, at first.
    pub(crate) first: &'a [u8],
    /// The bytes that are sent again and again.
    pub(crate) unit: &'a [u8],
    pub(crate) open: &'a dyn Fn(usize) -> TcpStream,
    pub(crate) reads: bool,
}

struct Attacker {
    stream: TcpStream,
    waiting: Vec<u8>,
    sent: usize,
}

impl Attacker {
    fn read_all(&mut self) -> std::io::Result<()> {
        let mut heard = vec![0; 256 << 10];
        loop {
            match self.stream.read(&mut heard) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) if count == heard.len() => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => return Ok(()),
            }
        }
    }
}

impl Flood<'_> {
    /// Floods until time is up; gives how many units were sent. An attacker that is thrown out
    /// comes back at once.
    pub(crate) fn run(&self) -> usize {
        // The server and the good clients are what is looked at, not how fast this thread is.
        let _ = rustix::process::setpriority_process(None, 10);
        let mut attackers: Vec<Attacker> = (0..ATTACKERS).map(|at| self.attacker(at)).collect();
        let until = Instant::now() + FLOOD;
        let mut written = 0;
        while Instant::now() < until {
            let round = Instant::now();
            for (at, attacker) in attackers.iter_mut().enumerate() {
                match self.push(attacker) {
                    Ok(count) => written += count,
                    Err(_) => *attacker = self.attacker(at),
                }
            }
            // The shards have the cores of this machine, and work enough: half of one will do.
            std::thread::park_timeout(round.elapsed().max(Duration::from_micros(200)));
        }
        written / self.unit.len()
    }

    fn attacker(&self, at: usize) -> Attacker {
        let stream = (self.open)(at);
        stream.set_nonblocking(true).unwrap();
        let units = (64 << 10) / self.unit.len();
        let waiting = [self.first, &self.unit.repeat(units)].concat();
        Attacker { stream, waiting, sent: 0 }
    }

    fn push(&self, attacker: &mut Attacker) -> std::io::Result<usize> {
        if self.reads {
            attacker.read_all()?;
        }
        match attacker.stream.write(&attacker.waiting[attacker.sent..]) {
            Ok(count) => {
                attacker.sent += count;
                if attacker.sent == attacker.waiting.len() {
                    // From now on only the unit.
                    attacker.sent = self.first.len();
                }
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Floods from plain clients, each alone in its channel.
fn plain(siege: &Siege, name: &str, first: &[u8], unit: &[u8], reads: bool) {
    siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
        let to = server.address;
        let open = |at: usize| upgraded(to, &format!("/ws?channel=flood{at}"));
        let units = Flood { first, unit, open: &open, reads }.run();
        assert!(units > 1_000, "{name}: only {units}");
        eprintln!("{name}: {units}");
    });
}

#[test]
fn floods_of_fragments() {
    let siege = Siege::begin(&[]);
    plain(&siege, "empty fragments", &frame(0x01, b""), &frame(0x00, b""), false);
    let mut one = frame(0x02, b"x");
    for _ in 0..1_000 {
        one.extend(frame(0x00, b"x"));
    }
    one.extend(frame(0x80, b"x"));
    plain(&siege, "fragments of a byte", b"", &one, true);
    let (first, unit) = (frame(0x01, b"x"), frame(0x00, b"x"));
    plain(&siege, "fragments of a byte without an end", &first, &unit, false);
}

#[test]
fn floods_of_pings() {
    let siege = Siege::begin(&[]);
    plain(&siege, "pings, answers read", b"", &frame(0x89, b""), true);
    plain(&siege, "pings, answers not read", b"", &frame(0x89, &[b'x'; 125]), false);
    plain(&siege, "text pings, answers read", b"", &text("ping"), true);
    plain(&siege, "text pings, answers not read", b"", &text("ping"), false);
    plain(&siege, "pongs for no ping", b"", &frame(0x8a, b"x"), false);
}

#[test]
fn floods_of_tiny_messages() {
    let siege = Siege::begin(&[]);
    plain(&siege, "empty messages, read", b"", &text(""), true);
    plain(&siege, "tiny messages, not read", b"", &text("x"), false);
    siege.withstand("tiny messages to one channel", ATTACKERS as u64 * EACH_BYTES, |server| {
        let open = |_| upgraded(server.address, "/ws?channel=flood");
        Flood { first: b"", unit: &text("x"), open: &open, reads: true }.run();
    });
    siege.withstand("messages of the greatest size", ATTACKERS as u64 * 2 * EACH_BYTES, |server| {
        let open = |at| upgraded(server.address, &format!("/ws?channel=flood{at}"));
        let unit = frame(0x82, &vec![b'x'; 64 << 10]);
        Flood { first: b"", unit: &unit, open: &open, reads: true }.run();
    });
}

/// Clients that hear who comes and goes in the attackers' channel, and do not read it.
fn watchers(to: SocketAddr) -> Vec<TcpStream> {
    let watch = text(r#"{"type":"join","channel":"flood","presence":true}"#);
    let open = |number| {
        let mut watcher = json(to, &format!("/ws?user=watcher{number}"));
        watcher.write_all(&watch).unwrap();
        watcher
    };
    (0..WATCHERS).map(open).collect()
}

#[test]
fn floods_of_requests() {
    let siege = Siege::begin(&["--errors-max", "65536"]);
    let flood = |name: &str, watched: bool, requests: &[&str]| {
        let clients = ATTACKERS + if watched { WATCHERS } else { 0 };
        siege.withstand(name, clients as u64 * EACH_BYTES, |server| {
            let open = |at| json(server.address, &format!("/ws?channel=flood&user=flood{at}"));
            let watchers = if watched { watchers(server.address) } else { Vec::new() };
            let unit: Vec<u8> = requests.iter().flat_map(|request| text(request)).collect();
            let units = Flood { first: b"", unit: &unit, open: &open, reads: true }.run();
            eprintln!("{name}: {units}");
            drop(watchers);
        });
    };
    flood("JSON pings", false, &[r#"{"type":"ping","id":1}"#]);
    flood("publications to one channel", false, &[r#"{"type":"publish","body":1}"#]);
    flood("messages to oneself", false, &[r#"{"type":"direct","user":"flood0","body":1}"#]);
    flood("mistakes", false, &["{"]);
    flood("who", true, &[r#"{"type":"who"}"#]);
    let (leave, join) =
        (r#"{"type":"leave","channel":"flood"}"#, r#"{"type":"join","channel":"flood"}"#);
    flood("joins and leaves that others watch", true, &[leave, join]);
}

/// Members of a channel that the attackers ask about: more than an answer names.
const MEMBERS: usize = 3_000;

#[test]
fn floods_of_questions_about_a_large_channel() {
    let siege = Siege::begin(&["--on-duplicate-user", "allow"]);
    let bytes = ATTACKERS as u64 * EACH_BYTES + MEMBERS as u64 * (4 << 10);
    for question in ["presence", "presence_stats"] {
        siege.withstand(question, bytes, |server| {
            let to = server.address;
            let member = |number| upgraded(to, &format!("/ws?channel=large&user=m{}", number / 2));
            let members: Vec<TcpStream> = (0..MEMBERS).map(member).collect();
            let open = |at| json(to, &format!("/ws?channel=large&user=flood{at}"));
            let unit = text(&format!(r#"{{"type":"{question}","id":1}}"#));
            let units = Flood { first: b"", unit: &unit, open: &open, reads: true }.run();
            assert!(units > 100, "{question}: only {units}");
            eprintln!("{question}: {units}");
            drop(members);
        });
    }
}

#[test]
fn floods_over_a_rate_limit_end() {
    let siege = Siege::begin(&["--messages-per-second", "20"]);
    siege.withstand("floods over a limit", ATTACKERS as u64 * EACH_BYTES, |server| {
        let listeners: Vec<TcpStream> =
            (0..WATCHERS).map(|_| upgraded(server.address, "/ws?channel=flood")).collect();
        let open = |_| upgraded(server.address, "/ws?channel=flood");
        Flood { first: b"", unit: &text("x"), open: &open, reads: true }.run();
        drop(listeners);
    });
    assert!(siege.server.by_reason("disconnects", "rate") >= ATTACKERS as u64);
    // The good clients ping five times a second, and pings are no messages.
}

/// Connects again and again, says something, and ends each connection with a reset. Returns the
/// number of connections.
pub(crate) fn storm_of_connects(to: SocketAddr, said: &[u8]) -> usize {
    let _ = rustix::process::setpriority_process(None, 10);
    let until = Instant::now() + FLOOD;
    let mut count = 0;
    while Instant::now() < until {
        let batch: Vec<TcpStream> = (0..50).map(|_| connect(to)).collect();
        for mut stream in batch {
            let _ = stream.write_all(said);
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        count += 50;
    }
    count
}

#[test]
fn floods_of_connects_with_reset() {
    let siege = Siege::begin(&[]);
    let storm = |name: &str, memory: u64, said: &[u8]| {
        siege.withstand(name, memory, |server| {
            let count = storm_of_connects(server.address, said);
            assert!(count > 500, "{name}: only {count}");
            eprintln!("{name}: {count}");
        });
    };
    storm("connects with reset", 4 << 20, b"");
    storm("half a head and reset", 4 << 20, b"GET /ws HTTP/1.1\r\nHost: h\r\n");
    let all = [head("/ws?channel=storm", "").as_bytes(), &header(0x82, 60_000)].concat();
    // What two turns may accept, each with a claim of nearly a whole message.
    storm("an upgrade, half a message and reset", 512 * (64 << 10), &all);
    // Those who are served and those who wait.
    storm("visits and reset", (512 + 256) * (16 << 10), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}
