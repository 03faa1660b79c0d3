//! All clients of one generator thread: their messages are taken, and their pings answered.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use rustix::event::epoll;
use rustix::net::RecvFlags;
use stentor_shards::rt::RingPoll;

use super::answer::Answer;
use super::back::Returning;
use super::client::{Client, ENDS, Step};
use super::sender::FrameSender;
use crate::dialect::Dialect;
use crate::host;

/// An event that is no client's: the alarm that ends a wait.
const ALARM: u64 = u64::MAX;

/// How long a nap lasts before a thread parks in the ring: longer than a turn of any load with
/// messages, as whoever is woken out of the ring is later than out of a nap, and that is counted as
/// a message's latency.
const NAP: Duration = Duration::from_millis(25);

/// All clients of a run.
pub(crate) struct Swarm {
    pub(super) sender: FrameSender,
    pub(super) alarm: OwnedFd,
    pub(super) ring: RingPoll,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) events: Vec<epoll::Event>,
    pub(super) buffer: Vec<u8>,
    /// The decrypted bytes of one read.
    pub(super) plain: Vec<u8>,
    pub(super) pongs: Vec<u8>,
    pub(super) answers: Vec<Answer>,
    /// Of the clients that hear frames.
    pub(super) dialect: Dialect,
    /// Bytes that came behind the handshakes have not been looked at.
    pub(super) heads: bool,
    /// Pings that were heard and answered, those of the server's own kind among them.
    pub(crate) pings: u64,
    /// Bytes that came after the handshakes, sealed as they are.
    pub(crate) bytes_in: u64,
    /// Clients that the server closed, by close code, or what else ended them.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Publications that the server refused, by its error.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Clients that have gone since the list was last taken.
    pub(crate) left: Vec<usize>,
    /// Where clients come back by themselves.
    pub(super) returning: Option<Box<Returning>>,
}

impl Swarm {
    /// No clients yet.
    pub(crate) fn empty() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = host::alarm()?;
        let data = epoll::EventData::new_u64(ALARM);
        epoll::add(&epoll, &alarm, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Self {
            sender: FrameSender { epoll, sealed: Vec::new() },
            alarm,
            ring: RingPoll::default(),
            clients: Vec::new(),
            events: Vec::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            plain: Vec::new(),
            pongs: Vec::new(),
            answers: Vec::new(),
            dialect: Dialect::default(),
            heads: true,
            pings: 0,
            bytes_in: 0,
            endings: BTreeMap::new(),
            refused: BTreeMap::new(),
            left: Vec::new(),
            returning: None,
        })
    }

    /// From now on takes no more than `count` clients' bytes in one turn.
    pub(crate) fn take_at_once(&mut self, count: usize) {
        self.events = Vec::with_capacity(count);
    }

    /// Returns the connections that are there. Nothing is heard of them any more.
    pub(crate) fn into_sockets(self) -> Vec<OwnedFd> {
        self.clients.into_iter().flatten().map(|client| client.socket).collect()
    }

    /// Sends whole frames from one client; what its socket does not take leaves when it does.
    pub(crate) fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<()> {
        match &mut self.clients[client] {
            Some(other) => self.sender.send(client, other, bytes),
            None => Err(io::Error::other("the server closed a client that publishes")),
        }
    }

    /// Returns `true` if a client is connected.
    pub(crate) fn is_open(&self, client: usize) -> bool {
        let client = self.clients.get(client).and_then(Option::as_ref);
        client.is_some_and(|client| client.step == Step::Open)
    }

    /// Waits for at most `longest` until something comes: a nap on the sockets themselves, and if
    /// that was in vain, parked in the runtime's ring, as a shard of the server sleeps.
    pub(crate) async fn rest(&mut self, longest: Duration) -> io::Result<()> {
        let longest = self.until_due(longest);
        self.nap(longest.min(NAP))?;
        if !self.events.is_empty() || longest <= NAP || self.heads {
            return Ok(());
        }
        host::set_alarm(&self.alarm, longest.saturating_sub(NAP))?;
        if self.ring.begin(&self.sender.epoll) {
            let ring = &mut self.ring;
            std::future::poll_fn(|cx| if ring.poll(cx) { Poll::Ready(()) } else { Poll::Pending })
                .await;
        }
        host::set_alarm(&self.alarm, Duration::ZERO)?;
        host::wait(&self.sender.epoll, &mut self.events, Some(Duration::ZERO))
    }

    /// Returns `true` if the last wait brought nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes the bytes that the last wait brought, and calls `each` with the client and the payload
    /// of every message.
    pub(crate) fn take(&mut self, mut each: impl FnMut(usize, &[u8])) -> io::Result<()> {
        if std::mem::take(&mut self.heads) {
            for index in 0..self.clients.len() {
                self.hear_first(index, &mut each)?;
            }
        }
        let events = std::mem::take(&mut self.events);
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let (data, flags) = (event.data.u64(), event.flags);
            if data == ALARM {
                continue;
            }
            let index = usize::try_from(data).map_err(io::Error::other)?;
            let Some(client) = self.clients[index].as_mut() else { continue };
            if client.step != Step::Open {
                std::mem::swap(&mut self.buffer, &mut buffer);
                let came = self.come_near(index, flags, &mut each);
                std::mem::swap(&mut self.buffer, &mut buffer);
                came?;
                continue;
            }
            if flags.contains(epoll::EventFlags::OUT) {
                self.sender.flush(index, client)?;
            }
            // An event comes once: an end that it tells of is behind what is to be read first.
            let ends = flags.intersects(ENDS);
            while let Some(client) = self.clients[index].as_mut() {
                match rustix::net::recv(&client.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((count, _)) if count > 0 => {
                        self.bytes_in += count as u64;
                        let bytes = &mut buffer[..count];
                        if client.tls.is_none() {
                            self.hear(index, bytes, &mut each)?;
                        } else {
                            self.hear_sealed(index, bytes, &mut each)?;
                        }
                        if count == buffer.len() || ends {
                            continue;
                        }
                    }
                    Err(rustix::io::Errno::AGAIN) => {}
                    Ok(_) => self.part_with(index, None),
                    Err(error) => self.part_with(index, Some(error.into())),
                }
                break;
            }
        }
        (self.events, self.buffer) = (events, buffer);
        self.set_out();
        Ok(())
    }

    /// A client on its way back goes on, and once it is there hears what came with its answer.
    fn come_near(
        &mut self,
        index: usize,
        flags: epoll::EventFlags,
        each: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        if !self.near(index, flags)? {
            return Ok(());
        }
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        // The event of bytes that came meanwhile is used up: watched anew, the socket tells it
        // again.
        self.sender.watch(index, client)?;
        self.hear_first(index, each)
    }

    /// The server has closed a client.
    pub(super) fn part_with(&mut self, index: usize, error: Option<io::Error>) {
        let Some(client) = self.clients[index].take() else { return };
        self.left.push(index);
        let cut = client.tls.as_ref().is_some_and(|tls| !tls.said_goodbye());
        let ending = match (client.close_code, error) {
            (Some(code), _) => code.to_string(),
            (None, Some(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                "reset".to_owned()
            }
            (None, Some(error)) => error.to_string(),
            (None, None) if cut => "no close_notify".to_owned(),
            (None, None) => "none".to_owned(),
        };
        *self.endings.entry(ending).or_default() += 1;
        if let Some(returning) = &mut self.returning {
            let place = client.track.and_then(|track| track.position);
            returning.lost(index, place, host::now_ns());
        }
    }

    /// Waits for at most `longest`, to the microsecond: epoll alone rounds up to milliseconds.
    fn nap(&mut self, longest: Duration) -> io::Result<()> {
        self.doze(if self.heads { Duration::ZERO } else { longest })
    }

    /// The same, whatever has come already.
    pub(super) fn doze(&mut self, longest: Duration) -> io::Result<()> {
        let whole = Duration::from_millis(longest.as_millis().try_into().unwrap_or(u64::MAX));
        if longest == whole {
            return host::wait(&self.sender.epoll, &mut self.events, Some(whole));
        }
        host::set_alarm(&self.alarm, longest)?;
        let result = host::wait(&self.sender.epoll, &mut self.events, Some(longest));
        host::set_alarm(&self.alarm, Duration::ZERO)?;
        result
    }
}
