//! The bare server that every figure is held against: accept, a 101, and a send(2) for each client,
//! with nothing around it.
//!
//! It answers every handshake alike, with the accept value of the one key that the generator sends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};

use crate::frame::{self, Parser};

/// The one answer: to the example key of RFC 6455.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The descriptor number in events that means the listener.
const LISTENER: u64 = u64::MAX;

/// How the bare server runs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9201")]
    listen: SocketAddr,
    /// Join what one round brought into one send for each client.
    #[arg(long)]
    joined: bool,
    /// Ping every client this often, in seconds; 0 for never.
    #[arg(long, default_value_t = 0.0)]
    ping_interval: f64,
}

struct Connection {
    socket: OwnedFd,
    open: bool,
    parser: Parser,
}

/// Serves until it is ended from outside.
pub(crate) fn serve(args: Args) -> io::Result<()> {
    let listener = Socket::new(Domain::for_address(args.listen), Type::STREAM.nonblocking(), None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.bind(&args.listen.into())?;
    listener.listen(4096)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut server = Server { epoll, connections: Vec::new(), live: 0, joined: args.joined };
    let mut events = Vec::with_capacity(1024);
    let mut pinged = Instant::now();
    let mut next_ping = 0;
    let slice = Duration::from_millis(50);
    loop {
        events.clear();
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let wait = (args.ping_interval > 0.0).then_some(&timeout);
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), wait) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut out = Vec::new();
        for event in &events {
            if event.data.u64() == LISTENER {
                server.accept(&listener)?;
            } else {
                server.read(usize::try_from(event.data.u64()).unwrap_or(0), &mut out);
            }
        }
        if !out.is_empty() {
            server.send_to_all(&out);
        }
        if args.ping_interval > 0.0 && pinged.elapsed() >= slice {
            let share = pinged.elapsed().as_secs_f64() / args.ping_interval;
            pinged = Instant::now();
            server.ping_slice(&mut next_ping, share);
        }
    }
}

struct Server {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    live: usize,
    joined: bool,
}

impl Server {
    fn accept(&mut self, listener: &Socket) -> io::Result<()> {
        loop {
            match rustix::net::accept(listener) {
                Ok(socket) => {
                    let index = self.connections.len();
                    let data = epoll::EventData::new_u64(index as u64);
                    epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
                    let connection = Connection { socket, open: false, parser: Parser::new() };
                    self.connections.push(Some(connection));
                    self.live += 1;
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads one connection. What it says is sent on at once, or put into `out` where rounds are
    /// joined.
    fn read(&mut self, index: usize, out: &mut Vec<u8>) {
        let mut buffer = [0; 16 << 10];
        let Some(connection) = self.connections[index].as_mut() else { return };
        let count = match rustix::net::recv(&connection.socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => count,
            Err(rustix::io::Errno::AGAIN) => return,
            _ => {
                self.connections[index] = None;
                self.live -= 1;
                if self.live == 0 {
                    self.connections.clear();
                }
                return;
            }
        };
        if !connection.open {
            connection.open = true;
            let _ = rustix::net::send(&connection.socket, SWITCHING, SendFlags::NOSIGNAL);
            return;
        }
        let mut said: Vec<Vec<u8>> = Vec::new();
        connection.parser.feed(&buffer[..count], |opcode, payload| {
            if opcode == frame::TEXT {
                let mut message = Vec::with_capacity(payload.len() + 10);
                frame::put_unmasked(&mut message, opcode, payload);
                said.push(message);
            }
        });
        for message in said {
            if self.joined {
                out.extend_from_slice(&message);
            } else {
                self.send_to_all(&message);
            }
        }
    }

    fn send_to_all(&self, bytes: &[u8]) {
        for connection in self.connections.iter().flatten() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::send(&connection.socket, bytes, flags);
        }
    }

    fn ping_slice(&self, next: &mut usize, share: f64) {
        let mut ping = Vec::new();
        frame::put_unmasked(&mut ping, frame::PING, b"");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count"
        )]
        let count = (self.connections.len() as f64 * share).ceil() as usize;
        for _ in 0..count.min(self.connections.len()) {
            *next = (*next + 1) % self.connections.len();
            if let Some(connection) = &self.connections[*next]
                && connection.open
            {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = rustix::net::send(&connection.socket, &ping, flags);
            }
        }
    }
}
