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

/// For how long: some turns of the server fill every buffer, and the good clients measure thousands
/// of round trips.
pub(crate) const FLOOD: Duration = Duration::from_secs(1);

/// What an attacker may make the server hold: what was read of it and waits for its turn, its
/// outbox, and a message under way.
pub(crate) const EACH_BYTES: u64 = (64 << 10) + (1 << 20) + (64 << 10);

/// What some of the attackers of a flood do.
#[derive(Clone, Copy)]
pub(crate) struct Kind<'a> {
    /// The bytes that are sent once, at first.
    pub(crate) first: &'a [u8],
    /// The bytes that are sent again and again.
    pub(crate) unit: &'a [u8],
    pub(crate) reads: bool,
}

impl<'a> Kind<'a> {
    pub(crate) fn read(unit: &'a [u8]) -> Self {
        Self { first: b"", unit, reads: true }
    }

    pub(crate) fn unread(unit: &'a [u8]) -> Self {
        Self { reads: false, ..Self::read(unit) }
    }
}

/// A flood: the attackers are of its kinds in turn.
pub(crate) struct Flood<'a> {
    pub(crate) kinds: &'a [Kind<'a>],
    pub(crate) open: &'a dyn Fn(usize) -> TcpStream,
}

struct Attacker<'a> {
    kind: Kind<'a>,
    stream: TcpStream,
    waiting: Vec<u8>,
    sent: usize,
}

impl Attacker<'_> {
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

    fn push(&mut self) -> std::io::Result<usize> {
        if self.kind.reads {
            self.read_all()?;
        }
        match self.stream.write(&self.waiting[self.sent..]) {
            Ok(count) => {
                self.sent += count;
                if self.sent == self.waiting.len() {
                    // From now on only the unit.
                    self.sent = self.kind.first.len();
                }
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl<'a> Flood<'a> {
    /// Floods until time is up. Returns the number of units that were sent, of the kind of which
    /// there were the fewest. An attacker that is thrown out comes back at once.
    pub(crate) fn run(&self) -> usize {
        // The server and the good clients are what is looked at, not how fast this thread is.
        let _ = rustix::process::setpriority_process(None, 10);
        let mut attackers: Vec<Attacker<'_>> = (0..ATTACKERS).map(|at| self.attacker(at)).collect();
        let until = Instant::now() + FLOOD;
        let mut written = vec![0; self.kinds.len()];
        while Instant::now() < until {
            let round = Instant::now();
            for (at, attacker) in attackers.iter_mut().enumerate() {
                match attacker.push() {
                    Ok(count) => written[at % self.kinds.len()] += count,
                    Err(_) => *attacker = self.attacker(at),
                }
            }
            // The shards have the cores of this machine, and work enough: half of one will do.
            std::thread::park_timeout(round.elapsed().max(Duration::from_micros(200)));
        }
        let units = self.kinds.iter().zip(written).map(|(kind, bytes)| bytes / kind.unit.len());
        units.min().unwrap_or_default()
    }

    fn attacker(&self, at: usize) -> Attacker<'a> {
        let kind = self.kinds[at % self.kinds.len()];
        let stream = (self.open)(at);
        stream.set_nonblocking(true).unwrap();
        let units = (64 << 10) / kind.unit.len();
        let waiting = [kind.first, &kind.unit.repeat(units)].concat();
        Attacker { kind, stream, waiting, sent: 0 }
    }
}

/// Floods from plain clients, each alone in its channel.
fn plain(siege: &Siege, name: &str, kinds: &[Kind<'_>]) {
    siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
        let to = server.address;
        let open = |at: usize| upgraded(to, &format!("/ws?channel=flood{at}"));
        let units = Flood { kinds, open: &open }.run();
        assert!(units > 500, "{name}: only {units}");
        eprintln!("{name}: {units}");
    });
}

#[test]
fn floods_of_fragments_and_pings() {
    let siege = Siege::begin(&[]);
    let mut one = frame(0x02, b"x");
    for _ in 0..1_000 {
        one.extend(frame(0x00, b"x"));
    }
    one.extend(frame(0x80, b"x"));
    plain(&siege, "fragments of a byte", &[Kind::read(&one)]);
    let endless = |first, unit| Kind { first, unit, reads: false };
    let [empty, byte] = [&b""[..], b"x"].map(|part| (frame(0x01, part), frame(0x00, part)));
    let both = [endless(&empty.0, &empty.1), endless(&byte.0, &byte.1)];
    plain(&siege, "fragments without an end, empty and of a byte", &both);
    let [ping, full, pong] = [frame(0x89, b""), frame(0x89, &[b'x'; 125]), frame(0x8a, b"x")];
    let pings = [Kind::read(&ping), Kind::unread(&full), Kind::unread(&pong)];
    plain(&siege, "pings, their answers read and not, and pongs for no ping", &pings);
    let ping = text("ping");
    let pings = [Kind::read(&ping), Kind::unread(&ping)];
    plain(&siege, "text pings, their answers read and not", &pings);
}

#[test]
fn floods_of_tiny_messages() {
    let siege = Siege::begin(&[]);
    let (empty, tiny) = (text(""), text("x"));
    plain(
        &siege,
        "empty messages, read, and tiny ones, not",
        &[Kind::read(&empty), Kind::unread(&tiny)],
    );
    siege.withstand("tiny messages to one channel", ATTACKERS as u64 * EACH_BYTES, |server| {
        let open = |_| upgraded(server.address, "/ws?channel=flood");
        Flood { kinds: &[Kind::read(&tiny)], open: &open }.run();
    });
    siege.withstand("messages of the greatest size", ATTACKERS as u64 * 2 * EACH_BYTES, |server| {
        let open = |at| upgraded(server.address, &format!("/ws?channel=flood{at}"));
        let unit = frame(0x82, &vec![b'x'; 64 << 10]);
        Flood { kinds: &[Kind::read(&unit)], open: &open }.run();
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
    let flood = |name: &str, watched: bool, requests: &[&[&str]]| {
        let clients = ATTACKERS + if watched { WATCHERS } else { 0 };
        siege.withstand(name, clients as u64 * EACH_BYTES, |server| {
            let open = |at| json(server.address, &format!("/ws?channel=flood&user=flood{at}"));
            let watchers = if watched { watchers(server.address) } else { Vec::new() };
            let texts = |all: &&[&str]| all.iter().flat_map(|one| text(one)).collect::<Vec<u8>>();
            let units: Vec<Vec<u8>> = requests.iter().map(texts).collect();
            let kinds: Vec<Kind<'_>> = units.iter().map(|unit| Kind::read(unit)).collect();
            eprintln!("{name}: {}", Flood { kinds: &kinds, open: &open }.run());
            drop(watchers);
        });
    };
    flood("JSON pings, and mistakes", false, &[&[r#"{"type":"ping","id":1}"#], &["{"]]);
    let publication = r#"{"type":"publish","body":1}"#;
    let direct = r#"{"type":"direct","user":"flood0","body":1}"#;
    flood("publications to one channel, messages to one user", false, &[&[publication], &[direct]]);
    flood("who", true, &[&[r#"{"type":"who"}"#]]);
    let (leave, join) =
        (r#"{"type":"leave","channel":"flood"}"#, r#"{"type":"join","channel":"flood"}"#);
    flood("joins and leaves that others watch", true, &[&[leave, join]]);
}

/// Members of a channel that the attackers ask about: more than an answer names.
const MEMBERS: usize = 3_000;

#[test]
fn floods_of_questions_about_a_large_channel() {
    let siege = Siege::begin(&["--on-duplicate-user", "allow"]);
    let bytes = ATTACKERS as u64 * EACH_BYTES + MEMBERS as u64 * (4 << 10);
    siege.withstand("presence and presence_stats", bytes, |server| {
        let to = server.address;
        let member = |number| upgraded(to, &format!("/ws?channel=large&user=m{}", number / 2));
        let members: Vec<TcpStream> = (0..MEMBERS).map(member).collect();
        let open = |at| json(to, &format!("/ws?channel=large&user=flood{at}"));
        let units = ["presence", "presence_stats"]
            .map(|question| text(&format!(r#"{{"type":"{question}","id":1}}"#)));
        let kinds = [Kind::read(&units[0]), Kind::read(&units[1])];
        let units = Flood { kinds: &kinds, open: &open }.run();
        assert!(units > 50, "only {units}");
        eprintln!("presence and presence_stats: {units}");
        drop(members);
    });
}

#[test]
fn floods_over_a_rate_limit_end() {
    let siege = Siege::begin(&["--messages-per-second", "20"]);
    siege.withstand("floods over a limit", ATTACKERS as u64 * EACH_BYTES, |server| {
        let listeners: Vec<TcpStream> =
            (0..WATCHERS).map(|_| upgraded(server.address, "/ws?channel=flood")).collect();
        let open = |_| upgraded(server.address, "/ws?channel=flood");
        Flood { kinds: &[Kind::read(&text("x"))], open: &open }.run();
        drop(listeners);
    });
    assert!(siege.server.by_reason("disconnects", "rate") >= ATTACKERS as u64);
    // The good clients ping five times a second, and pings are no messages.
}

/// Connects again and again, says one thing after the other, and ends each connection with a reset.
/// Returns the number of connections.
pub(crate) fn storm_of_connects(to: SocketAddr, said: &[&[u8]]) -> usize {
    let _ = rustix::process::setpriority_process(None, 10);
    let until = Instant::now() + FLOOD;
    let mut count = 0;
    while Instant::now() < until {
        let batch: Vec<TcpStream> = (0..50).map(|_| connect(to)).collect();
        for mut stream in batch {
            let _ = stream.write_all(said[count % said.len()]);
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            count += 1;
        }
    }
    count
}

#[test]
fn floods_of_connects_with_reset() {
    let siege = Siege::begin(&[]);
    let storm = |name: &str, memory: u64, said: &[u8]| {
        siege.withstand(name, memory, |server| {
            let count = storm_of_connects(server.address, &[said]);
            assert!(count > 300, "{name}: only {count}");
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
