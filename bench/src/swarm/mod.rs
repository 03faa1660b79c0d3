//! Many clients on one thread: connects them, answers their pings, and tells what each of them
//! hears.

mod arrive;

pub(crate) use arrive::Arrived;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};
use stentor_shards::rt::RingPoll;

use crate::frame::{self, Reader};
use crate::host;

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Most bytes that wait for one client's socket.
const OUT_BYTES_MAX: usize = 64 << 20;

/// An event that is no client's: the alarm that ends a wait.
const ALARM: u64 = u64::MAX;

/// What a client in use is watched for: each change once.
const READS: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// Events that tell of an end.
const ENDS: epoll::EventFlags =
    epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// How long a nap lasts before a thread parks in the ring.
const NAP: Duration = Duration::from_millis(10);

/// What a client asks for when it connects.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) server: SocketAddr,
    /// What the Host header says.
    pub(crate) host: String,
    /// Path with query.
    pub(crate) target: String,
    /// Further header lines, each with its line end.
    pub(crate) headers: String,
    /// Frames to be sent as soon as the client is open.
    pub(crate) hello: Vec<u8>,
    /// The number of the first client among all of a run, for the address it comes from.
    pub(crate) first: usize,
    /// Addresses to connect from, in turn; none: the kernel's choice, and several on loopback.
    pub(crate) sources: Vec<Ipv4Addr>,
}

impl Request {
    /// The plainest one.
    pub(crate) fn plain(server: SocketAddr, target: &str) -> Self {
        Self {
            server,
            host: server.to_string(),
            target: target.to_owned(),
            headers: String::new(),
            hello: Vec::new(),
            first: 0,
            sources: Vec::new(),
        }
    }

    fn head(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
            self.target, self.host, self.headers
        )
    }
}

struct Client {
    socket: OwnedFd,
    open: bool,
    /// When its connect began.
    began: Instant,
    reader: Reader,
    /// Before it is open: the answer so far. After: what came behind it, until it is looked at.
    head: Vec<u8>,
    /// What its socket has not taken yet.
    out: Vec<u8>,
    close_code: Option<u16>,
}

/// All clients of a run.
pub(crate) struct Swarm {
    epoll: OwnedFd,
    alarm: OwnedFd,
    ring: RingPoll,
    clients: Vec<Option<Client>>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pongs: Vec<u8>,
    /// Bytes that came behind the handshakes have not been looked at.
    heads: bool,
    /// Pings that were heard and answered.
    pub(crate) pings: u64,
    /// Bytes that came after the handshakes.
    pub(crate) bytes_in: u64,
    /// Clients that the server closed.
    pub(crate) gone: u64,
    /// The same by close code, or what else ended them.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Who has gone since the last look at this list.
    pub(crate) left: Vec<usize>,
}

impl Swarm {
    /// No clients yet.
    pub(crate) fn empty() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = host::alarm()?;
        let data = epoll::EventData::new_u64(ALARM);
        epoll::add(&epoll, &alarm, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Self {
            epoll,
            alarm,
            ring: RingPoll::default(),
            clients: Vec::new(),
            events: Vec::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            pongs: Vec::new(),
            heads: true,
            pings: 0,
            bytes_in: 0,
            gone: 0,
            endings: BTreeMap::new(),
            left: Vec::new(),
        })
    }

    /// From now on takes no more than `count` clients' bytes in one turn.
    pub(crate) fn take_at_once(&mut self, count: usize) {
        self.events = Vec::with_capacity(count);
    }

    /// Sends whole frames from one client; what its socket does not take leaves when it does.
    pub(crate) fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<()> {
        match &mut self.clients[client] {
            Some(other) => send(&self.epoll, client, other, bytes),
            None => Err(io::Error::other("the server closed a client that publishes")),
        }
    }

    /// Whether a client is there.
    pub(crate) fn is_open(&self, client: usize) -> bool {
        self.clients.get(client).is_some_and(Option::is_some)
    }

    /// Waits for at most `longest` and calls `each` with the client and the text of every message
    /// that came.
    pub(crate) fn receive(
        &mut self,
        longest: Duration,
        mut each: impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        self.converse(longest, |client, payload| {
            each(client, payload);
            None
        })
    }

    /// Like [`Swarm::receive`]; the frame that `each` returns is sent by the client that heard the
    /// message.
    pub(crate) fn converse<'a>(
        &mut self,
        longest: Duration,
        each: impl FnMut(usize, &[u8]) -> Option<&'a [u8]>,
    ) -> io::Result<()> {
        self.nap(longest)?;
        self.take(each)
    }

    /// Waits for at most `longest` until something comes: a nap on the sockets themselves, and if
    /// that was in vain, parked in the runtime's ring, as a shard of the server sleeps.
    pub(crate) async fn rest(&mut self, longest: Duration) -> io::Result<()> {
        self.nap(longest.min(NAP))?;
        if !self.events.is_empty() || longest <= NAP || self.heads {
            return Ok(());
        }
        host::set_alarm(&self.alarm, longest.saturating_sub(NAP))?;
        if self.ring.begin(&self.epoll) {
            let ring = &mut self.ring;
            std::future::poll_fn(|cx| if ring.poll(cx) { Poll::Ready(()) } else { Poll::Pending })
                .await;
        }
        host::set_alarm(&self.alarm, Duration::ZERO)?;
        host::wait(&self.epoll, &mut self.events, Some(Duration::ZERO))
    }

    /// Takes what the last wait brought: see [`Swarm::converse`].
    pub(crate) fn take<'a>(
        &mut self,
        mut each: impl FnMut(usize, &[u8]) -> Option<&'a [u8]>,
    ) -> io::Result<()> {
        if std::mem::take(&mut self.heads) {
            for index in 0..self.clients.len() {
                let Some(client) = self.clients[index].as_mut() else { continue };
                let mut head = std::mem::take(&mut client.head);
                self.hear(index, &mut head, &mut each)?;
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
            if flags.contains(epoll::EventFlags::OUT) {
                flush(&self.epoll, index, client)?;
            }
            // An event comes once: an end that it tells of is behind what is to be read first.
            let ends = flags.intersects(ENDS);
            while let Some(client) = self.clients[index].as_mut() {
                match rustix::net::recv(&client.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((count, _)) if count > 0 => {
                        self.bytes_in += count as u64;
                        self.hear(index, &mut buffer[..count], &mut each)?;
                        if count == buffer.len() || ends {
                            continue;
                        }
                    }
                    Err(rustix::io::Errno::AGAIN) => {}
                    Ok(_) => self.part_with(index, None),
                    Err(error) => self.part_with(index, Some(error)),
                }
                break;
            }
        }
        (self.events, self.buffer) = (events, buffer);
        Ok(())
    }

    fn hear<'a>(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        each: &mut impl FnMut(usize, &[u8]) -> Option<&'a [u8]>,
    ) -> io::Result<()> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        let (pings, pongs) = (&mut self.pings, &mut self.pongs);
        let close_code = &mut client.close_code;
        let mut answer = None;
        let read = client.reader.feed(bytes, |opcode, payload| match opcode {
            frame::TEXT | frame::BINARY => answer = each(index, payload).or(answer),
            frame::PING => {
                *pings += 1;
                frame::put_masked(pongs, frame::PONG, payload);
            }
            frame::CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                *close_code = code.or(Some(1005));
            }
            _ => {}
        });
        read.map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        if !self.pongs.is_empty() {
            send(&self.epoll, index, client, &self.pongs)?;
            self.pongs.clear();
        }
        answer.map_or(Ok(()), |answer| send(&self.epoll, index, client, answer))
    }

    /// The server has closed a client.
    fn part_with(&mut self, index: usize, error: Option<rustix::io::Errno>) {
        let Some(client) = self.clients[index].take() else { return };
        self.gone += 1;
        self.left.push(index);
        let ending = match (client.close_code, error) {
            (Some(code), _) => code.to_string(),
            (None, Some(rustix::io::Errno::CONNRESET)) => "reset".to_owned(),
            (None, Some(error)) => error.to_string(),
            (None, None) => "none".to_owned(),
        };
        *self.endings.entry(ending).or_default() += 1;
    }

    /// Waits for at most `longest`, to the microsecond: epoll alone rounds up to milliseconds.
    fn nap(&mut self, longest: Duration) -> io::Result<()> {
        let longest = if self.heads { Duration::ZERO } else { longest };
        let whole = Duration::from_millis(longest.as_millis().try_into().unwrap_or(u64::MAX));
        if longest == whole {
            return host::wait(&self.epoll, &mut self.events, Some(whole));
        }
        host::set_alarm(&self.alarm, longest)?;
        let result = host::wait(&self.epoll, &mut self.events, Some(longest));
        host::set_alarm(&self.alarm, Duration::ZERO)?;
        result
    }
}

fn send(set: &OwnedFd, index: usize, client: &mut Client, bytes: &[u8]) -> io::Result<()> {
    if !client.out.is_empty() {
        if client.out.len() > OUT_BYTES_MAX {
            let why = "the server does not read what its clients say";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, why));
        }
        client.out.extend_from_slice(bytes);
        return Ok(());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(&client.socket, bytes, flags) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(sent) => keep(set, index, client, &bytes[sent..]),
        Err(rustix::io::Errno::AGAIN) => keep(set, index, client, bytes),
        // Closed by the server: reading counts it.
        Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn keep(set: &OwnedFd, index: usize, client: &mut Client, rest: &[u8]) -> io::Result<()> {
    client.out.extend_from_slice(rest);
    watch(set, index, client, READS | epoll::EventFlags::OUT)
}

fn flush(set: &OwnedFd, index: usize, client: &mut Client) -> io::Result<()> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(&client.socket, &client.out, flags) {
        Ok(sent) => {
            client.out.drain(..sent);
        }
        Err(rustix::io::Errno::AGAIN) => {}
        // Reading counts it.
        Err(_) => client.out.clear(),
    }
    if client.out.is_empty() {
        client.out = Vec::new();
        watch(set, index, client, READS)?;
    }
    Ok(())
}

fn watch(set: &OwnedFd, index: usize, client: &Client, flags: epoll::EventFlags) -> io::Result<()> {
    let data = epoll::EventData::new_u64(index as u64);
    Ok(epoll::modify(set, &client.socket, data, flags)?)
}
