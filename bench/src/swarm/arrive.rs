//! How clients arrive: connect, request, answer; at once or at a pace.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::event::epoll;
use rustix::net::RecvFlags;
use socket2::{Domain, Socket, Type};

use super::outlet::Outlet;
use super::tls::Tls;
use super::{Client, ENDS, HEAD_BYTES_MAX, Request, Swarm, numbered};
use crate::frame::Reader;
use crate::host;

/// How many connects are under way at once: far below any accept queue, so that no SYN is lost.
const CONNECTING_MAX: usize = 256;

/// How many clients share one source address: fewer than it has ephemeral ports.
const CLIENTS_PER_SOURCE: usize = 4_000;

/// How long nothing may happen before the clients that are still on their way have failed.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(20);

/// What a connect that goes on by itself returns.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// The accept value of the example key of RFC 6455, which every client sends.
const ACCEPT_VALUE: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How far a client has come: what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    /// The end of the TLS handshake.
    Tls,
    /// The 101.
    Answer,
    /// The message by which the server says that it is ready.
    Ready,
    /// Nothing any more.
    Open,
}

/// What came of an arrival.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) open: usize,
    /// TLS handshakes that resumed a session of the same client.
    pub(crate) resumed: usize,
    /// Those that failed, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Swarm {
    /// Connects `count` clients at once, or says why one could not.
    pub(crate) fn connect(request: &Request, count: usize) -> io::Result<Self> {
        let mut swarm = Self::empty()?;
        let arrived = swarm.arrive(request, count, None, |_| {})?;
        match arrived.failures.into_iter().next() {
            None => Ok(swarm),
            Some((cause, _)) => {
                let open = arrived.open;
                Err(io::Error::other(format!("{open} of {count} clients connected: {cause}")))
            }
        }
    }

    /// Connects `count` more clients, `pace` of them a second, and calls `each` with the time from
    /// a client's connect to its 101.
    pub(crate) fn arrive(
        &mut self,
        request: &Request,
        count: usize,
        pace: Option<f64>,
        mut each: impl FnMut(Duration),
    ) -> io::Result<Arrived> {
        self.answers.clone_from(&request.answers);
        let mut arrived = Arrived::default();
        let (first, began) = (self.clients.len(), Instant::now());
        let mut moved = Instant::now();
        let mut done = 0;
        while done < count {
            let due = pace.map_or(count, |pace| due(began.elapsed(), pace, count));
            while self.clients.len() - first < due
                && self.clients.len() - first - done < CONNECTING_MAX
            {
                if let Err(error) = self.begin(request) {
                    arrived.fail(&error.to_string());
                    self.clients.push(None);
                    done += 1;
                }
                moved = Instant::now();
            }
            let before = done;
            done += self.shake_hands(request, &mut arrived, &mut each)?;
            if done > before {
                moved = Instant::now();
            }
            if moved.elapsed() > STANDSTILL_MAX {
                self.give_up(&mut arrived);
                break;
            }
        }
        // What came to open clients meanwhile has told its event: watched anew, it tells it again.
        for (index, client) in self.clients.iter().enumerate().skip(first) {
            if let Some(client) = client {
                self.outlet.watch(index, client)?;
            }
        }
        Ok(arrived)
    }

    fn begin(&mut self, request: &Request) -> io::Result<()> {
        let (server, number) = (request.server, request.first + self.clients.len());
        let tls = request.tls.as_ref();
        let tls = tls.map(|tls| Tls::new(tls.config(self.clients.len()), &tls.name));
        let tls = tls.transpose()?.map(Box::new);
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        // A run that ends leaves no ports in TIME-WAIT for the next one.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = source(request, number)? {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let data = epoll::EventData::new_u64(self.clients.len() as u64);
        let socket = OwnedFd::from(socket);
        epoll::add(&self.outlet.epoll, &socket, data, epoll::EventFlags::OUT)?;
        self.clients.push(Some(Client {
            socket,
            tls,
            step: Step::Connect,
            began: Instant::now(),
            reader: Reader::default(),
            head: Vec::new(),
            out: Vec::new(),
            close_code: None,
        }));
        Ok(())
    }

    /// Goes on with the connects that can; gives how many are through, one way or the other.
    fn shake_hands(
        &mut self,
        request: &Request,
        arrived: &mut Arrived,
        each: &mut impl FnMut(Duration),
    ) -> io::Result<usize> {
        host::wait(&self.outlet.epoll, &mut self.events, Some(TURN))?;
        let mut done = 0;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let (data, flags) = (event.data.u64(), event.flags);
            let Ok(index) = usize::try_from(data) else { continue };
            let Some(Some(client)) = self.clients.get_mut(index) else { continue };
            if client.step != Step::Connect && flags.contains(epoll::EventFlags::OUT) {
                self.outlet.flush(index, client)?;
            }
            if client.step == Step::Open {
                // What comes behind the answer waits in its socket until it is asked for.
                continue;
            }
            let before = client.step;
            let mut step = client.go_on(request, index, &mut self.outlet, &mut self.buffer);
            // An event comes once: an end that it tells of is behind what is to be read first.
            while flags.intersects(ENDS) && matches!(step, Ok(true)) {
                step = client.go_on(request, index, &mut self.outlet, &mut self.buffer);
            }
            let answered = matches!(before, Step::Tls | Step::Answer)
                && matches!(client.step, Step::Ready | Step::Open);
            if answered {
                each(client.began.elapsed());
                arrived.resumed += usize::from(client.is_resumed());
            }
            match step {
                Ok(_) if client.step == Step::Open => {
                    arrived.open += 1;
                    done += 1;
                }
                Ok(_) => {}
                Err(error) => {
                    arrived.fail(&error.to_string());
                    self.clients[index] = None;
                    done += 1;
                }
            }
        }
        self.events = events;
        Ok(done)
    }

    /// Those that are still on their way stay there.
    fn give_up(&mut self, arrived: &mut Arrived) {
        for client in &mut self.clients {
            if client.as_ref().is_some_and(|client| client.step != Step::Open) {
                *client = None;
                arrived.fail("no answer in time");
            }
        }
    }
}

impl Arrived {
    fn fail(&mut self, cause: &str) {
        *self.failures.entry(cause.to_owned()).or_default() += 1;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that is capped"
)]
fn due(passed: Duration, pace: f64, count: usize) -> usize {
    ((passed.as_secs_f64() * pace) as usize + 1).min(count)
}

/// Where the next client connects from.
fn source(request: &Request, index: usize) -> io::Result<Option<Ipv4Addr>> {
    if !request.sources.is_empty() {
        return Ok(Some(request.sources[index % request.sources.len()]));
    }
    if !(request.server.ip().is_loopback() && request.server.is_ipv4()) {
        return Ok(None);
    }
    let place = u8::try_from(2 + index / CLIENTS_PER_SOURCE);
    Ok(Some(Ipv4Addr::new(127, 0, 0, place.map_err(io::Error::other)?)))
}

impl Client {
    /// Takes what has come, and goes on as far as that leads. Whether there was anything.
    fn go_on(
        &mut self,
        request: &Request,
        index: usize,
        outlet: &mut Outlet,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let number = request.first + index;
        if self.step == Step::Connect {
            return self.connected(request, index, outlet).map(|()| true);
        }
        if self.step == Step::Open || !self.listen(index, outlet, buffer)? {
            return Ok(false);
        }
        if self.step == Step::Tls && self.tls.as_ref().is_none_or(|tls| tls.is_through()) {
            outlet.send(index, self, request.head(number).as_bytes())?;
            self.step = Step::Answer;
        }
        if self.step == Step::Answer
            && let Some(end) = accepted(&self.head)?
        {
            self.head.drain(..end);
            let greeting = request.greeting(number);
            if !greeting.is_empty() {
                outlet.send(index, self, &greeting)?;
            }
            self.step = if request.ready.is_empty() { Step::Open } else { Step::Ready };
        }
        if self.step == Step::Ready && self.is_ready(&numbered(&request.ready, number))? {
            self.step = Step::Open;
        }
        Ok(true)
    }

    /// The connect is over: begins to talk, unless there is nobody to talk to.
    fn connected(
        &mut self,
        request: &Request,
        index: usize,
        outlet: &mut Outlet,
    ) -> io::Result<()> {
        if let Some(error) = socket2::SockRef::from(&self.socket).take_error()? {
            return Err(error);
        }
        if let Some(tls) = &mut self.tls {
            outlet.sealed.clear();
            tls.take(&mut [], &mut self.head, &mut outlet.sealed)?;
            outlet.put_sealed(index, self)?;
            self.step = Step::Tls;
        } else {
            outlet.send(index, self, request.head(request.first + index).as_bytes())?;
            self.step = Step::Answer;
        }
        outlet.watch(index, self)
    }

    /// Takes the next bytes, which `head` then ends in. Whether there were any.
    fn listen(&mut self, index: usize, outlet: &mut Outlet, buffer: &mut [u8]) -> io::Result<bool> {
        let count = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => count,
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Ok(_) => return Err(io::Error::other(self.step.cut_off())),
            Err(error) => return Err(error.into()),
        };
        let Some(tls) = &mut self.tls else {
            self.head.extend_from_slice(&buffer[..count]);
            return Ok(true);
        };
        outlet.sealed.clear();
        let taken = tls.take(&mut buffer[..count], &mut self.head, &mut outlet.sealed);
        if !outlet.sealed.is_empty() {
            outlet.put_sealed(index, self)?;
        }
        taken.map(|()| true)
    }

    /// Whether a message that has come has `ready` in it; what is behind it is not kept either.
    fn is_ready(&mut self, ready: &str) -> io::Result<bool> {
        let mut is_ready = false;
        let mut bytes = std::mem::take(&mut self.head);
        self.reader
            .feed(&mut bytes, |_, payload| {
                is_ready |= memmem::find(payload, ready.as_bytes()).is_some();
            })
            .map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        Ok(is_ready)
    }

    fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }
}

impl Step {
    /// What is said of a client that the server leaves here.
    fn cut_off(self) -> &'static str {
        match self {
            Self::Tls => "closed during the TLS handshake",
            Self::Ready => "closed before it was ready",
            _ => "closed before the answer",
        }
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
        Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned()))
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
        assert_eq!(accepted(wrong.as_bytes()).unwrap_err().to_string(), "HTTP/1.1 101 x");
        assert!(accepted(b"HTTP/1.1 503 no room\r\n\r\n").is_err());
        assert!(accepted(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
