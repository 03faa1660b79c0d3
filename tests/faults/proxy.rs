//! A proxy between clients and a server that does to their bytes what networks do: late, slow,
//! damaged, held back, cut, or ended in one direction.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// How long the proxy rests when nothing moves: what it adds to every byte's time.
const REST: Duration = Duration::from_micros(500);

/// Bytes of one direction that are on their way: a link holds no more, and then TCP waits.
const UNDER_WAY_MAX: usize = 64 << 10;

/// The treatment of the bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Clear,
    /// Each comes so much later.
    Late(Duration),
    /// So many come in a second.
    Slow(u32),
    /// Of every so-manieth one bit is turned.
    Corrupt(u64),
    /// None comes, and nobody is told.
    Held,
}

/// A fault of all connections at once.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Ways { up: Way, down: Way },
    Cut,
    EndOfServer,
    EndOfClient,
}

/// A running proxy; it ends when dropped, and cuts what it carries.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    orders: Sender<(Blow, Sender<()>)>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, taken) = channel();
        std::thread::spawn(move || carry(&listener, server, &taken));
        Self { address, orders }
    }

    /// How bytes go from now on, to the server and from it, on open and on new connections.
    pub(crate) fn set(&self, up: Way, down: Way) {
        self.strike(Blow::Ways { up, down });
    }

    pub(crate) fn clear(&self) {
        self.set(Way::Clear, Way::Clear);
    }

    /// Resets every connection on both sides, with whatever is on its way.
    pub(crate) fn cut(&self) {
        self.strike(Blow::Cut);
    }

    /// To the clients it looks as if the server had ended its direction; the other stays open.
    pub(crate) fn end_of_server(&self) {
        self.strike(Blow::EndOfServer);
    }

    /// To the server it looks as if the clients had ended theirs.
    pub(crate) fn end_of_client(&self) {
        self.strike(Blow::EndOfClient);
    }

    /// Returns when it has happened.
    fn strike(&self, blow: Blow) {
        let (done, wait) = channel();
        self.orders.send((blow, done)).unwrap();
        wait.recv().unwrap();
    }
}

fn carry(listener: &TcpListener, server: SocketAddr, orders: &Receiver<(Blow, Sender<()>)>) {
    let (mut up, mut down) = (Way::Clear, Way::Clear);
    let mut links: Vec<Link> = Vec::new();
    loop {
        loop {
            match orders.try_recv() {
                Ok((blow, done)) => {
                    if let Blow::Ways { up: new_up, down: new_down } = blow {
                        (up, down) = (new_up, new_down);
                    }
                    links.retain_mut(|link| link.take(blow));
                    let _ = done.send(());
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
        }
        let mut moved = false;
        while let Ok((client, _)) = listener.accept() {
            // A server that is away takes the client with it, as a broken path would.
            let Ok(server) = TcpStream::connect(server) else {
                reset(&client);
                continue;
            };
            links.push(Link::new(client, server, up, down));
            moved = true;
        }
        links.retain_mut(|link| {
            let Ok(more) = link.turn() else {
                // One side is broken: the other is told as roughly.
                link.cut();
                return false;
            };
            moved |= more;
            !link.is_over()
        });
        if !moved {
            std::thread::park_timeout(REST);
        }
    }
}

/// One client's connection, both ways.
struct Link {
    client: TcpStream,
    server: TcpStream,
    up: Pipe,
    down: Pipe,
}

impl Link {
    fn new(client: TcpStream, server: TcpStream, up: Way, down: Way) -> Self {
        for socket in [&client, &server] {
            socket.set_nonblocking(true).unwrap();
            socket.set_nodelay(true).unwrap();
            // Small, so that a slow link is felt at its other end.
            SockRef::from(socket).set_recv_buffer_size(32 << 10).unwrap();
            SockRef::from(socket).set_send_buffer_size(32 << 10).unwrap();
        }
        Self { client, server, up: Pipe::new(up), down: Pipe::new(down) }
    }

    /// Takes a blow; says whether it is still there.
    fn take(&mut self, blow: Blow) -> bool {
        match blow {
            Blow::Ways { up, down } => (self.up.way, self.down.way) = (up, down),
            Blow::EndOfServer => self.down.end(&self.client),
            Blow::EndOfClient => self.up.end(&self.server),
            Blow::Cut => {
                self.cut();
                return false;
            }
        }
        true
    }

    fn cut(&self) {
        reset(&self.client);
        reset(&self.server);
    }

    fn turn(&mut self) -> std::io::Result<bool> {
        let up = self.up.turn(&mut self.client, &mut self.server)?;
        Ok(self.down.turn(&mut self.server, &mut self.client)? | up)
    }

    fn is_over(&self) -> bool {
        self.up.is_over && self.down.is_over
    }
}

/// One direction of a connection.
struct Pipe {
    way: Way,
    /// Bytes on their way, with the moment at which they are due.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// How many bytes have been read since the start.
    read: u64,
    /// When a slow link may send again.
    free_at: Instant,
    has_ended: bool,
    is_over: bool,
}

impl Pipe {
    fn new(way: Way) -> Self {
        Self {
            way,
            under_way: VecDeque::new(),
            bytes: 0,
            read: 0,
            free_at: Instant::now(),
            has_ended: false,
            is_over: false,
        }
    }

    fn end(&mut self, to: &TcpStream) {
        self.is_over = true;
        self.under_way.clear();
        let _ = to.shutdown(Shutdown::Write);
    }

    fn turn(&mut self, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<bool> {
        let now = Instant::now();
        if matches!(self.way, Way::Held) {
            return Ok(false);
        }
        if self.is_over {
            // Bytes that still come are dropped; the other direction notices the end.
            let _ = from.read(&mut [0; 1024]);
            return Ok(false);
        }
        let mut moved = false;
        let mut buffer = [0; 4096];
        if !self.has_ended && self.bytes < UNDER_WAY_MAX {
            match from.read(&mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    self.put(&mut buffer[..count], now);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        moved |= self.send(to, now)?;
        if self.has_ended && self.under_way.is_empty() {
            self.end(to);
        }
        Ok(moved)
    }

    fn put(&mut self, bytes: &mut [u8], now: Instant) {
        let due = if let Way::Late(by) = self.way { now + by } else { now };
        if let Way::Corrupt(every) = self.way {
            for (offset, byte) in bytes.iter_mut().enumerate() {
                let place = self.read + offset as u64;
                if place % every == every - 1 {
                    // Another bit each time.
                    *byte ^= 1 << (place / every % 8);
                }
            }
        }
        self.read += bytes.len() as u64;
        self.bytes += bytes.len();
        self.under_way.push_back((due, bytes.to_vec()));
    }

    fn send(&mut self, to: &mut TcpStream, now: Instant) -> std::io::Result<bool> {
        let mut moved = false;
        while let Some((due, bytes)) = self.under_way.front_mut() {
            if *due > now || self.free_at > now {
                break;
            }
            let most = if let Way::Slow(_) = self.way { 64 } else { usize::MAX };
            let part = bytes.len().min(most);
            let sent = match to.write(&bytes[..part]) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if let Way::Slow(rate) = self.way {
                self.free_at = now + Duration::from_secs(1) * u32::try_from(sent).unwrap() / rate;
            }
            bytes.drain(..sent);
            self.bytes -= sent;
            if bytes.is_empty() {
                self.under_way.pop_front();
            }
            moved = true;
        }
        Ok(moved)
    }
}

/// Lets a socket end the hard way when it is dropped, which is next.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
