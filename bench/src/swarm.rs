//! Many clients on one thread: connects them, answers their pings, and tells what each of them
//! hears.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};

use crate::frame::{self, Reader};
use crate::host;

/// How many connects are under way at once: far below any accept queue, so that no SYN is lost.
const CONNECTING_MAX: usize = 256;

/// How many clients share one source address: fewer than it has ephemeral ports.
const CLIENTS_PER_SOURCE: usize = 4_000;

/// How long all clients together may take to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_mins(1);

/// What a connect that goes on by itself returns.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The accept value of the example key of RFC 6455, which every client sends.
const ACCEPT_VALUE: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

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
    reader: Reader,
    /// Before it is open: the answer so far. After: what came behind it, until it is looked at.
    head: Vec<u8>,
}

/// All clients of a run.
pub(crate) struct Swarm {
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pongs: Vec<u8>,
    /// Bytes that came behind the handshakes have not been looked at.
    heads: bool,
    /// Pings that were heard and answered.
    pub(crate) pings: u64,
    /// Clients that the server closed.
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
            pongs: Vec::new(),
            heads: true,
            pings: 0,
            gone: 0,
        };
        let head = request.head();
        let mut open = 0;
        let deadline = Instant::now() + CONNECT_TIME_MAX;
        while open < count {
            while swarm.clients.len() < count && swarm.clients.len() - open < CONNECTING_MAX {
                swarm.begin(request.server)?;
            }
            open += swarm.shake_hands(&head)?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "{open} of {count} clients connected in time"
                )));
            }
        }
        Ok(swarm)
    }

    fn begin(&mut self, server: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        // A run that ends leaves no ports in TIME-WAIT for the next one.
        socket.set_linger(Some(Duration::ZERO))?;
        if server.ip().is_loopback() && server.is_ipv4() {
            let place = u8::try_from(2 + self.clients.len() / CLIENTS_PER_SOURCE);
            let source = Ipv4Addr::new(127, 0, 0, place.map_err(io::Error::other)?);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let index = self.clients.len() as u64;
        let socket = OwnedFd::from(socket);
        let flags = epoll::EventFlags::OUT;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index), flags)?;
        let reader = Reader::default();
        self.clients.push(Some(Client { socket, open: false, reader, head: Vec::new() }));
        Ok(())
    }

    fn shake_hands(&mut self, head: &str) -> io::Result<usize> {
        host::wait(&self.epoll, &mut self.events, Some(Duration::from_millis(100)))?;
        let mut opened = 0;
        for event in &self.events {
            let (data, flags) = (event.data, event.flags);
            let index = usize::try_from(data.u64()).map_err(io::Error::other)?;
            let Some(client) = self.clients[index].as_mut() else { continue };
            if flags.contains(epoll::EventFlags::OUT) {
                rustix::net::send(&client.socket, head.as_bytes(), SendFlags::NOSIGNAL)?;
                epoll::modify(&self.epoll, &client.socket, data, epoll::EventFlags::IN)?;
                continue;
            }
            if client.open && client.head.len() > HEAD_BYTES_MAX {
                // It waits in its socket until the scenario begins.
                continue;
            }
            match rustix::net::recv(&client.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => client.head.extend_from_slice(&self.buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => continue,
                _ => return Err(io::Error::other("the server closed a connection at its start")),
            }
            if !client.open
                && let Some(end) = accepted(&client.head)?
            {
                client.head.drain(..end);
                client.open = true;
                opened += 1;
            }
        }
        Ok(opened)
    }

    /// Sends whole frames from one client. Its socket is never full in these loops: windows are
    /// small.
    pub(crate) fn send(&self, client: usize, bytes: &[u8]) -> io::Result<()> {
        match &self.clients[client] {
            Some(client) => send(client, bytes),
            None => Err(io::Error::other("the server closed a client that publishes")),
        }
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
        mut each: impl FnMut(usize, &[u8]) -> Option<&'a [u8]>,
    ) -> io::Result<()> {
        if std::mem::take(&mut self.heads) {
            for index in 0..self.clients.len() {
                let Some(client) = self.clients[index].as_mut() else { continue };
                let mut head = std::mem::take(&mut client.head);
                self.hear(index, &mut head, &mut each)?;
            }
        }
        host::wait(&self.epoll, &mut self.events, Some(longest))?;
        let events = std::mem::take(&mut self.events);
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let index = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let Some(client) = &self.clients[index] else { continue };
            match rustix::net::recv(&client.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => self.hear(index, &mut buffer[..count], &mut each)?,
                Err(rustix::io::Errno::AGAIN) => {}
                _ => {
                    self.gone += 1;
                    self.clients[index] = None;
                }
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
        let mut answer = None;
        let read = client.reader.feed(bytes, |opcode, payload| match opcode {
            frame::TEXT => answer = each(index, payload).or(answer),
            frame::PING => {
                *pings += 1;
                frame::put_masked(pongs, frame::PONG, payload);
            }
            _ => {}
        });
        read.map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        if !self.pongs.is_empty() {
            send(client, &self.pongs)?;
            self.pongs.clear();
        }
        answer.map_or(Ok(()), |answer| send(client, answer))
    }
}

/// Where the answer's head ends, once it is whole and a 101 to our key.
fn accepted(head: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        let bound = head.len() <= HEAD_BYTES_MAX;
        return if bound { Ok(None) } else { Err(io::Error::other("the answer has no end")) };
    };
    let text = String::from_utf8_lossy(&head[..end]);
    if text.starts_with("HTTP/1.1 101") && text.contains(ACCEPT_VALUE) {
        Ok(Some(end + 4))
    } else {
        Err(io::Error::other(text))
    }
}

fn send(client: &Client, bytes: &[u8]) -> io::Result<()> {
    let sent = rustix::net::send(&client.socket, bytes, SendFlags::NOSIGNAL);
    match sent {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Err(io::Error::other("a client's socket is full")),
        // Closed by the server: reading counts it.
        Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_101_to_our_key_is_accepted() {
        let good = format!("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {ACCEPT_VALUE}\r\n\r\nrest");
        assert_eq!(accepted(good.as_bytes()).unwrap(), Some(good.len() - 4));
        assert_eq!(accepted(&good.as_bytes()[..good.len() - 5]).unwrap(), None);
        let wrong = "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: other\r\n\r\n";
        assert_eq!(accepted(wrong.as_bytes()).unwrap_err().to_string(), wrong.trim_end());
        assert!(accepted(b"HTTP/1.1 503 no room\r\n\r\n").is_err());
        assert!(accepted(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
