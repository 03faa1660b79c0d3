//! The bare server that every figure is held against: accept, a 101, and a send for each client,
//! with nothing around it.
//!
//! It answers every handshake alike, with the accept value of the one key that the generator sends.
//! The memory of the loops is dense: one slot of eight bytes a client, and buffers that are made
//! once.

mod way;
mod ring;
mod wake;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};

use crate::frame::{self, Reader};
use crate::host;
use ring::Ring;
pub(crate) use wake::Wake;
use way::{Slot, Way, send_rest};

/// The one answer: to the example key of RFC 6455.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The descriptor number in events that means the listener.
const LISTENER: u64 = u64::MAX;

/// Events taken in one round: what a joining round can bring.
const EVENTS_MAX: usize = 1024;

/// How often the next share of the clients is pinged.
const PING_SLICE: Duration = Duration::from_millis(50);

/// How the bare server runs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9201")]
    pub(crate) listen: SocketAddr,
    /// Join what one round brought into one send for each client.
    #[arg(long)]
    pub(crate) joined: bool,
    /// Send each message only to the client that it came from, as a server does whose channels have
    /// one client each.
    #[arg(long, conflicts_with = "joined")]
    pub(crate) alone: bool,
    /// Send through `io_uring`: what one message says to all clients is one batch of it.
    #[arg(long, conflicts_with = "joined")]
    pub(crate) uring: bool,
    /// Ping every client this often, in seconds; 0 for never.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) ping_interval: f64,
    /// Run on this core only.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// Serves until it is ended from outside.
pub(crate) fn serve(args: Args) -> io::Result<Infallible> {
    if args.uring {
        forever(Server::with(args, Ring::new()?)?)
    } else {
        forever(Server::bind(args)?)
    }
}

fn forever<W: Way>(mut server: Server<W>) -> io::Result<Infallible> {
    loop {
        server.turn(None)?;
    }
}

/// One send(2) for each client.
pub(crate) struct Calls;

/// The bare server: a listener, its clients, and what one round brought.
pub(crate) struct Server<W: Way> {
    way: W,
    listener: Socket,
    epoll: OwnedFd,
    slots: Vec<Option<Slot<W::Socket>>>,
    /// Slots that are free again.
    free: Vec<usize>,
    /// Partial frames, beside the slots: only reading touches them.
    readers: Vec<Reader>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// The frames to be sent, and where each of them ends.
    out: Vec<u8>,
    ends: Vec<usize>,
    joined: bool,
    alone: bool,
    pings: Option<Pings>,
}

/// The walk over all clients that pings each once an interval.
struct Pings {
    interval: Duration,
    sliced: Instant,
    next: usize,
}

impl Server<Calls> {
    pub(crate) fn bind(args: Args) -> io::Result<Self> {
        Self::with(args, Calls)
    }
}

impl<W: Way> Server<W> {
    fn with(args: Args, way: W) -> io::Result<Self> {
        let domain = Domain::for_address(args.listen);
        let listener = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        listener.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        listener.set_tcp_nodelay(true)?;
        listener.bind(&args.listen.into())?;
        listener.listen(4096)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let interval = Duration::try_from_secs_f64(args.ping_interval).map_err(io::Error::other)?;
        let pings = Pings { interval, sliced: Instant::now(), next: 0 };
        Ok(Self {
            way,
            listener,
            epoll,
            slots: Vec::new(),
            free: Vec::new(),
            readers: Vec::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; 64 << 10],
            out: Vec::new(),
            ends: Vec::new(),
            joined: args.joined,
            alone: args.alone,
            pings: (!interval.is_zero()).then_some(pings),
        })
    }

    /// One round: waits, for at most `longest`, then accepts, reads, and sends on what came.
    pub(crate) fn turn(&mut self, longest: Option<Duration>) -> io::Result<()> {
        let longest = if self.pings.is_some() { Some(PING_SLICE) } else { longest };
        host::wait(&self.epoll, &mut self.events, longest)?;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match usize::try_from(event.data.u64()) {
                Ok(index) if index < self.slots.len() => {
                    self.read(index);
                    match (self.joined, self.alone) {
                        (true, _) => {}
                        (_, true) => self.send_each(index..index + 1)?,
                        _ => self.send_each(0..self.slots.len())?,
                    }
                }
                _ => self.accept()?,
            }
        }
        self.events = events;
        if self.joined && !self.out.is_empty() {
            self.way.send_to_all(&self.slots, &self.out)?;
            self.clear();
        }
        self.ping_slice();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match rustix::net::accept(&self.listener) {
                Ok(socket) => socket,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let index = self.free.pop().unwrap_or(self.slots.len());
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
            let slot = Some(Slot { socket: W::Socket::from(socket), open: false });
            if index == self.slots.len() {
                self.slots.push(slot);
                self.readers.push(Reader::default());
            } else {
                self.slots[index] = slot;
            }
        }
    }

    /// Reads one client. Its first bytes are the request, as the generator's all are: whole, in one
    /// segment.
    fn read(&mut self, index: usize) {
        let Some(slot) = self.slots[index].as_mut() else { return };
        let room = &mut self.buffer[..];
        let count = match rustix::net::recv(&slot.socket, room, RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => count,
            Err(rustix::io::Errno::AGAIN) => return,
            _ => return self.close(index),
        };
        if !slot.open {
            slot.open = true;
            let _ = rustix::net::send(&slot.socket, SWITCHING, SendFlags::NOSIGNAL);
            return;
        }
        let (out, ends) = (&mut self.out, &mut self.ends);
        let read = self.readers[index].feed(&mut self.buffer[..count], |opcode, payload| {
            if opcode == frame::TEXT {
                frame::put_unmasked(out, opcode, payload);
                ends.push(out.len());
            }
        });
        if read.is_err() {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        self.slots[index] = None;
        self.readers[index] = Reader::default();
        self.free.push(index);
    }

    /// The bare loop: one send for each message and each of these clients.
    fn send_each(&mut self, slots: Range<usize>) -> io::Result<()> {
        let mut begin = 0;
        for end in &self.ends {
            self.way.send_to_all(&self.slots[slots.clone()], &self.out[begin..*end])?;
            begin = *end;
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.out.clear();
        self.ends.clear();
    }

    fn ping_slice(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        let elapsed = pings.sliced.elapsed();
        if elapsed < PING_SLICE || self.slots.is_empty() {
            return;
        }
        pings.sliced += elapsed;
        let share = elapsed.as_secs_f64() / pings.interval.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count"
        )]
        let count = (self.slots.len() as f64 * share).round() as usize;
        let ping = [0x80 | frame::PING, 0];
        for _ in 0..count.clamp(1, self.slots.len()) {
            pings.next = (pings.next + 1) % self.slots.len();
            if let Some(slot) = self.slots[pings.next].as_ref().filter(|slot| slot.open) {
                send(slot, &ping);
            }
        }
    }
}

impl Way for Calls {
    type Socket = OwnedFd;

    /// The loop that everything is held against.
    fn send_to_all(&mut self, slots: &[Option<Slot<OwnedFd>>], bytes: &[u8]) -> io::Result<()> {
        for slot in slots.iter().flatten() {
            if slot.open {
                send(slot, bytes);
            }
        }
        Ok(())
    }
}

#[inline]
fn send<S: AsFd>(slot: &Slot<S>, bytes: &[u8]) {
    match rustix::net::send(&slot.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => {}
        Ok(sent) => send_rest(slot, &bytes[sent..]),
        Err(rustix::io::Errno::AGAIN) => send_rest(slot, bytes),
        // Reading will find it closed.
        Err(_) => {}
    }
}
