//! A thousand good clients in one thread: each pings on time and measures its own round trips, and
//! hears the numbered messages of its channel.
//!
//! A round trip counts from the moment at which its ping was due, so that a stall cannot hide
//! itself by keeping the pings back.

use std::fmt::{Display, Formatter};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::raw;

/// How many there are.
pub(crate) const CLIENTS: usize = 1_000;

/// How many channels they are spread over; the first client of each is its speaker.
const CHANNELS: usize = 50;

/// Each client pings this often.
const PING_EVERY: Duration = Duration::from_millis(200);

/// Each speaker says its next number this often, one after the other.
const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// A thread that waited so long for a core was not there when the answers came.
const BLIND_FROM: Duration = Duration::from_millis(2);

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long many waited.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Microseconds, sorted where somebody looks.
    us: Vec<u64>,
    /// How many more ended while this thread itself waited for a core: they say nothing of the
    /// server.
    unseen: usize,
}

impl Waits {
    fn add(&mut self, us: u64, blind: bool) {
        if blind {
            self.unseen += 1;
        } else {
            self.us.push(us);
        }
    }

    fn take(&mut self) -> Self {
        self.us.sort_unstable();
        std::mem::take(self)
    }

    pub(crate) fn p99(&self) -> Duration {
        let index = self.us.len() * 99 / 100;
        Duration::from_micros(self.us.get(index).copied().unwrap_or(u64::MAX))
    }

    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.us.last().copied().unwrap_or(u64::MAX))
    }

    pub(crate) fn count(&self) -> usize {
        self.us.len()
    }
}

impl Display for Waits {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        let (count, unseen) = (self.count(), self.unseen);
        write!(out, "p99 {:?} worst {:?} of {count} + {unseen}", self.p99(), self.worst())
    }
}

/// The observations of the crowd between two moments.
#[derive(Debug)]
pub(crate) struct Window {
    /// The pings' round trips.
    pub(crate) trips: Waits,
    /// From the moment at which a number was due to each receipt of it.
    pub(crate) messages: Waits,
    /// The faults, if there were any.
    pub(crate) wrong: Option<String>,
}

impl Display for Window {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}, messages {}", self.trips, self.messages)
    }
}

/// The thread of the crowd.
pub(crate) struct Crowd {
    asks: Option<Sender<Sender<Window>>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Connects everybody and begins.
    pub(crate) fn gather(server: SocketAddr) -> Self {
        let mut clients = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            let channel = number % CHANNELS;
            let stream = raw::upgraded(server, &format!("/ws?channel=good{channel}"));
            stream.set_nonblocking(true).unwrap();
            clients.push(GoodClient { stream, unread: Vec::new(), sent: 0, answered: 0, heard: 0 });
        }
        let (asks, asked) = channel();
        let thread = std::thread::spawn(move || Loop::new(clients).run(&asked));
        Self { asks: Some(asks), thread: Some(thread) }
    }

    /// What was seen since the last call. Waits until every ping is answered and every message is
    /// heard.
    pub(crate) fn window(&self) -> Window {
        let (answer, answered) = channel();
        self.asks.as_ref().unwrap().send(answer).unwrap();
        answered.recv().expect("the crowd lives as long as its test")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct GoodClient {
    stream: TcpStream,
    unread: Vec<u8>,
    sent: u64,
    answered: u64,
    /// The last number that it heard.
    heard: usize,
}

struct Loop {
    clients: Vec<GoodClient>,
    set: OwnedFd,
    began: Instant,
    /// How many pings and how many numbers all of them together have sent.
    pings: u32,
    spoken: usize,
    trips: Waits,
    messages: Waits,
    /// How long this thread had waited for a core at its last look.
    waited: Duration,
    blind: bool,
    wrong: Option<String>,
}

impl Loop {
    fn new(clients: Vec<GoodClient>) -> Self {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (number, client) in clients.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&set, &client.stream, data, epoll::EventFlags::IN).unwrap();
        }
        Self {
            clients,
            set,
            began: Instant::now(),
            pings: 0,
            spoken: 0,
            trips: Waits::default(),
            messages: Waits::default(),
            waited: Duration::ZERO,
            blind: false,
            wrong: None,
        }
    }

    fn run(mut self, asked: &Receiver<Sender<Window>>) {
        // The measuring thread goes first, where that is allowed: the machine has other work to do.
        let _ = rustix::process::setpriority_process(None, -10);
        loop {
            match asked.try_recv() {
                Ok(answer) => {
                    self.settle();
                    let (trips, messages) = (self.trips.take(), self.messages.take());
                    let _ = answer.send(Window { trips, messages, wrong: self.wrong.clone() });
                    // The clock of the pings stood still meanwhile.
                    self.began = Instant::now().checked_sub(self.ping_due()).unwrap();
                }
                Err(TryRecvError::Empty) => self.turn(true),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn ping_due(&self) -> Duration {
        PING_EVERY * self.pings / u32::try_from(CLIENTS).unwrap()
    }

    /// When so many numbers have been said.
    fn due(spoken: usize) -> Duration {
        SPEAK_EVERY * u32::try_from(spoken).unwrap() / u32::try_from(CHANNELS).unwrap()
    }

    fn speech_due(&self) -> Duration {
        Self::due(self.spoken)
    }

    /// How many numbers a channel has been told.
    fn told(&self, channel: usize) -> usize {
        self.spoken / CHANNELS + usize::from(channel < self.spoken % CHANNELS)
    }

    fn turn(&mut self, speak: bool) {
        let now = self.began.elapsed();
        while speak && self.ping_due() <= now {
            self.ping();
        }
        while speak && self.speech_due() <= now {
            let (round, speaker) = (self.spoken / CHANNELS, self.spoken % CHANNELS);
            self.spoken += 1;
            self.send(speaker, &raw::text(&(round + 1).to_string()));
        }
        let mut events = Vec::with_capacity(CLIENTS);
        let patience = self.ping_due().saturating_sub(now).min(Duration::from_millis(1));
        let patience = Timespec::try_from(patience).unwrap();
        let room = rustix::buffer::spare_capacity(&mut events);
        let _ = epoll::wait(&self.set, room, Some(&patience));
        let waited = raw::waited("/proc/thread-self");
        self.blind = waited.saturating_sub(self.waited) > BLIND_FROM;
        self.waited = waited;
        for event in events {
            self.read(usize::try_from(event.data.u64()).unwrap());
        }
    }

    fn ping(&mut self) {
        let number = usize::try_from(self.pings).unwrap() % CLIENTS;
        let due_us = u64::try_from(self.ping_due().as_micros()).unwrap();
        self.pings += 1;
        self.clients[number].sent += 1;
        self.send(number, &raw::frame(0x89, &due_us.to_be_bytes()));
    }

    fn send(&mut self, number: usize, frame: &[u8]) {
        match self.clients[number].stream.write(frame) {
            Ok(sent) if sent == frame.len() => {}
            other => self.blame(format!("good client {number} cannot send: {other:?}")),
        }
    }

    fn blame(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn read(&mut self, number: usize) {
        let mut buffer = [0; 4096];
        match self.clients[number].stream.read(&mut buffer) {
            Ok(count @ 1..) => self.clients[number].unread.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            other => {
                let _ = epoll::delete(&self.set, &self.clients[number].stream);
                return self.blame(format!("good client {number} lost its connection: {other:?}"));
            }
        }
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap();
        let mut unread = std::mem::take(&mut self.clients[number].unread);
        let mut start = 0;
        while let Some((&[first, len], rest)) = unread[start..].split_first_chunk() {
            let Some(payload) = rest.get(..usize::from(len)) else { break };
            match (first, <[u8; 8]>::try_from(payload)) {
                (0x8a, Ok(due)) => {
                    self.clients[number].answered += 1;
                    self.trips.add(now_us.saturating_sub(u64::from_be_bytes(due)), self.blind);
                }
                // It was kept waiting for so long that it did not ping itself.
                (0x89, _) => self.send(number, &raw::frame(0x8a, payload)),
                (0x81, _) => self.hear(number, &String::from_utf8_lossy(payload), now_us),
                _ => self.blame(format!("good client {number} got {first:#x} {payload:?}")),
            }
            start += 2 + payload.len();
        }
        unread.drain(..start);
        self.clients[number].unread = unread;
    }

    fn hear(&mut self, number: usize, text: &str, now_us: u64) {
        let heard = self.clients[number].heard;
        let next = heard + 1;
        if text == next.to_string() {
            self.clients[number].heard = next;
            let due = Self::due(heard * CHANNELS + number % CHANNELS);
            let due_us = u64::try_from(due.as_micros()).unwrap();
            self.messages.add(now_us.saturating_sub(due_us), self.blind);
        } else {
            self.blame(format!("good client {number} heard {text:?} instead of {next}"));
        }
    }

    /// Waits until nothing is under way.
    fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.wrong.is_none() {
            let open = |(number, one): (usize, &GoodClient)| {
                one.answered < one.sent || one.heard < self.told(number % CHANNELS)
            };
            let Some(number) = self.clients.iter().enumerate().position(open) else { return };
            if Instant::now() > deadline {
                self.blame(format!("good client {number} waits for an answer or a message"));
            }
            self.turn(false);
        }
    }
}
