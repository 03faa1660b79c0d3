//! Thousands of clients on one thread: they answer pings, tell what they hear, and come back by
//! themselves when they lose the server, each after a time of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use socket2::{Domain, Socket, Type};

use crate::raw::{PONG, head};

/// How many clients share one source address, so that its ports suffice for other tests as well.
const CLIENTS_PER_SOURCE: usize = 2_000;

/// The longest wait before another attempt, and that before the first.
const BACKOFF_MAX: Duration = Duration::from_secs(4);
const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// How long an attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

enum State {
    /// Not before then.
    Away(Instant),
    /// Connecting, or waiting for the 101, since then.
    Coming(TcpStream, Instant),
    Open(TcpStream),
}

struct Member {
    state: State,
    attempts: u32,
    /// Bytes that came and are not a whole frame.
    rest: Vec<u8>,
}

/// An event of a member.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// It is in, after so long since it began to connect.
    Open(Duration),
    Heard(&'a [u8]),
    /// The server said goodbye with this code.
    Closed(u16),
}

pub(crate) struct Swarm {
    server: SocketAddr,
    request: String,
    /// The first byte but two of source addresses: swarms do not share ports.
    network: u8,
    epoll: std::os::fd::OwnedFd,
    members: Vec<Member>,
    open: usize,
    dice: u64,
}

impl Swarm {
    /// `count` clients of `target` that are about to connect, within `spread`.
    pub(crate) fn new(
        server: SocketAddr,
        target: &str,
        count: usize,
        network: u8,
        spread: Duration,
    ) -> Self {
        let now = Instant::now();
        let share =
            |number: usize| spread * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
        let away = |number| Member {
            state: State::Away(now + share(number)),
            attempts: 0,
            rest: Vec::new(),
        };
        Self {
            server,
            request: head(target, ""),
            network,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            members: (0..count).map(away).collect(),
            open: 0,
            dice: 1,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Sends as one of the members.
    pub(crate) fn say(&mut self, index: usize, text: &str) {
        let State::Open(stream) = &mut self.members[index].state else { return };
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
        let _ = stream.write_all(&frame);
    }

    /// Turns until `is_enough`, and no longer than `most`; says whether it was.
    pub(crate) fn run(
        &mut self,
        most: Duration,
        mut tell: impl FnMut(usize, Event<'_>),
        mut is_enough: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = Instant::now() + most;
        while !is_enough(self) {
            if Instant::now() > end {
                return false;
            }
            self.turn(&mut tell);
        }
        true
    }

    /// Takes what is there, and waits for it no longer than two milliseconds.
    pub(crate) fn turn(&mut self, tell: &mut impl FnMut(usize, Event<'_>)) {
        if self.open < self.members.len() {
            self.connect_who_is_due();
        }
        let mut events = Vec::with_capacity(1024);
        let patience = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let room = rustix::buffer::spare_capacity(&mut events);
        let _ = epoll::wait(&self.epoll, room, Some(&patience));
        for event in &events {
            let index = usize::try_from(event.data.u64()).unwrap();
            self.serve(index, tell);
        }
    }

    fn connect_who_is_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.members.len() {
            match &self.members[index].state {
                State::Away(due) if *due <= now => self.connect(index, now),
                State::Coming(_, since) if now - *since > ATTEMPT_TIMEOUT => self.lose(index, now),
                _ => {}
            }
        }
    }

    fn connect(&mut self, index: usize, now: Instant) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        let source = 1 + u8::try_from(index / CLIENTS_PER_SOURCE).unwrap();
        let source = Ipv4Addr::new(127, 0, self.network, source);
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        // No port waits for stragglers afterwards.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        let begun = socket.connect(&self.server.into());
        let in_progress = Some(rustix::io::Errno::INPROGRESS.raw_os_error());
        if begun.as_ref().is_err_and(|error| error.raw_os_error() != in_progress) {
            return self.lose(index, now);
        }
        let data = epoll::EventData::new_u64(index as u64);
        let wants = epoll::EventFlags::OUT | epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, data, wants).unwrap();
        self.members[index].state = State::Coming(socket.into(), now);
    }

    /// Away for a time that is its own: those that fell together do not return together.
    fn lose(&mut self, index: usize, now: Instant) {
        let member = &mut self.members[index];
        self.open -= usize::from(matches!(member.state, State::Open(_)));
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let most = BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.pow(member.attempts.min(3)));
        let share = u32::try_from(self.dice >> 44).unwrap();
        member.state = State::Away(now + most * share / (1 << 20));
        member.attempts += 1;
        member.rest.clear();
    }

    fn serve(&mut self, index: usize, tell: &mut impl FnMut(usize, Event<'_>)) {
        let now = Instant::now();
        let member = &mut self.members[index];
        let mut buffer = [0; 16 << 10];
        let lost = loop {
            let (stream, coming) = match &mut member.state {
                State::Away(_) => return,
                State::Coming(stream, since) => (stream, Some(*since)),
                State::Open(stream) => (stream, None),
            };
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => member.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // The first event says that it is connected: now it may ask.
                    if coming.is_some() && member.rest.is_empty() && stream.peer_addr().is_ok() {
                        let _ = stream.write_all(self.request.as_bytes());
                    }
                    break false;
                }
                Err(_) => break true,
            }
            if let Some(since) = coming {
                let Some(end) = member.rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                if !member.rest.starts_with(b"HTTP/1.1 101") {
                    break true;
                }
                member.rest.drain(..end + 4);
                member.attempts = 0;
                let coming = std::mem::replace(&mut member.state, State::Away(now));
                if let State::Coming(stream, _) = coming {
                    member.state = State::Open(stream);
                }
                self.open += 1;
                tell(index, Event::Open(now - since));
            }
            member.take_frames(|event| tell(index, event));
        };
        if lost {
            self.lose(index, now);
        }
    }
}

impl Member {
    fn take_frames(&mut self, mut tell: impl FnMut(Event<'_>)) {
        let mut taken = 0;
        while let Some((kind, payload, length)) = frame(&self.rest[taken..]) {
            match kind {
                0x89 => {
                    if let State::Open(stream) = &mut self.state {
                        let _ = stream.write_all(&PONG);
                    }
                }
                0x88 => tell(Event::Closed(u16::from_be_bytes([payload[0], payload[1]]))),
                _ => tell(Event::Heard(payload)),
            }
            taken += length;
        }
        self.rest.drain(..taken);
    }
}

/// The first whole frame: its first byte, its payload, its length in all.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (head, length) = match *bytes {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, short, ..] if short < 126 => (2, usize::from(short)),
        _ => return None,
    };
    Some((bytes[0], bytes.get(head..head + length)?, head + length))
}
