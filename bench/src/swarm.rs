//! Many clients on one thread: connects them, and tells what each of them hears.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};

use crate::frame::{self, Parser};

/// How many connects are under way at once.
const CONNECTING_MAX: usize = 256;

/// How many clients share one source address: fewer than it has ephemeral ports.
const CLIENTS_PER_SOURCE: usize = 4_000;

/// What a client asks for when it connects.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) server: SocketAddr,
    /// Path with query.
    pub(crate) target: String,
    /// Further header lines, each with its line end.
    pub(crate) headers: String,
}

impl Request {
    fn head(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
            self.target, self.server, self.headers
        )
    }
}

struct Client {
    socket: OwnedFd,
    open: bool,
    parser: Parser,
    head: Vec<u8>,
}

/// All clients of a run.
pub(crate) struct Swarm {
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Bytes that came behind the handshakes have not been looked at.
    heads: bool,
    pub(crate) pings: u64,
    pub(crate) gone: u64,
}

impl Swarm {
    /// Connects `count` clients and shakes hands with all of them.
    pub(crate) fn connect(request: &Request, count: usize) -> io::Result<Self> {
        let mut swarm = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::with_capacity(count),
            events: Vec::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            heads: true,
            pings: 0,
            gone: 0,
        };
        let head = request.head();
        let mut open = 0;
        let deadline = Instant::now() + Duration::from_mins(1);
        while open < count {
            while swarm.clients.len() < count && swarm.clients.len() - open < CONNECTING_MAX {
                swarm.begin(request.server)?;
            }
            open += swarm.shake_hands(&head)?;
            if Instant::now() > deadline || swarm.gone > 0 {
                let text = format!("{open} of {count} clients connected, {} refused", swarm.gone);
                return Err(io::Error::other(text));
            }
        }
        Ok(swarm)
    }

    fn begin(&mut self, server: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        if server.ip().is_loopback() && server.is_ipv4() {
            // Another run begins with other addresses: the ports of the last one still wait.
            let first = std::process::id() as usize * 7;
            let place = (first + self.clients.len() / CLIENTS_PER_SOURCE) % 250;
            let source = u8::try_from(2 + place).unwrap_or(2);
            let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0));
            socket.bind(&source.into())?;
        }
        match socket.connect(&server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(115) => {}
            Err(error) => return Err(error),
        }
        let index = self.clients.len() as u64;
        let socket = OwnedFd::from(socket);
        let flags = epoll::EventFlags::OUT;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index), flags)?;
        self.clients.push(Some(Client {
            socket,
            open: false,
            parser: Parser::new(),
            head: Vec::new(),
        }));
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.events.clear();
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn shake_hands(&mut self, head: &str) -> io::Result<usize> {
        self.wait(Duration::from_millis(100))?;
        let mut opened = 0;
        for place in 0..self.events.len() {
            let event = self.events[place];
            let (index, flags) = (event.data.u64(), event.flags);
            let place = usize::try_from(index).unwrap_or(0);
            let Some(client) = self.clients[place].as_mut() else { continue };
            if flags.contains(epoll::EventFlags::OUT) {
                rustix::net::send(&client.socket, head.as_bytes(), SendFlags::NOSIGNAL)?;
                let data = epoll::EventData::new_u64(index);
                epoll::modify(&self.epoll, &client.socket, data, epoll::EventFlags::IN)?;
                continue;
            }
            match rustix::net::recv(&client.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => client.head.extend_from_slice(&self.buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => continue,
                _ => {
                    self.gone += 1;
                    self.clients[place] = None;
                    continue;
                }
            }
            if let Some(end) = client.head.windows(4).position(|four| four == b"\r\n\r\n") {
                if !client.head.starts_with(b"HTTP/1.1 101") {
                    return Err(io::Error::other(
                        String::from_utf8_lossy(&client.head[..end]).into_owned(),
                    ));
                }
                let rest = client.head.split_off(end + 4);
                client.head = rest;
                if !client.open {
                    client.open = true;
                    opened += 1;
                }
            }
        }
        Ok(opened)
    }

    /// Sends whole frames from one client. A client's own socket is never full in these loops:
    /// windows are small.
    pub(crate) fn send(&self, client: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(client) = &self.clients[client] else { return Ok(()) };
        let sent = rustix::net::send(&client.socket, bytes, SendFlags::NOSIGNAL)?;
        if sent < bytes.len() {
            return Err(io::Error::other("the publisher's socket is full"));
        }
        Ok(())
    }

    /// Takes what came behind the handshakes.
    fn feed_heads(&mut self, each: &mut impl FnMut(usize, &[u8])) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            let Some(client) = client else { continue };
            let head = std::mem::take(&mut client.head);
            client.parser.feed(&head, |opcode, payload| {
                if opcode == frame::TEXT {
                    each(index, payload);
                }
            });
        }
    }

    /// Waits for at most `timeout` and calls `each` with the client and the beginning of every
    /// message that came.
    pub(crate) fn receive(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        if std::mem::take(&mut self.heads) {
            self.feed_heads(&mut each);
        }
        self.wait(timeout)?;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let index = usize::try_from(event.data.u64()).unwrap_or(0);
            let Some(client) = self.clients[index].as_mut() else { continue };
            let mut pinged = 0;
            let mut each_frame = |opcode: u8, payload: &[u8]| match opcode {
                frame::PING => pinged += 1,
                frame::TEXT => each(index, payload),
                _ => {}
            };
            let room = &mut self.buffer[..];
            match rustix::net::recv(&client.socket, room, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => {
                    client.parser.feed(&self.buffer[..count], &mut each_frame);
                }
                Err(rustix::io::Errno::AGAIN) => {}
                _ => {
                    self.gone += 1;
                    self.clients[index] = None;
                    continue;
                }
            }
            for _ in 0..pinged {
                let mut pong = Vec::new();
                frame::put_masked(&mut pong, frame::PONG, b"");
                let _ = rustix::net::send(&client.socket, &pong, SendFlags::NOSIGNAL);
                self.pings += 1;
            }
        }
        self.events = events;
        Ok(())
    }
}
