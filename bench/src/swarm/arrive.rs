//! How clients arrive: connect, request, answer; at once or at a pace.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll;
use socket2::{Domain, Socket, Type};

use super::causes;
use super::client::{CONNECTING_MAX, Client, ENDS, Inbound, STANDSTILL_MAX, Step};
use super::clients::Swarm;
use super::request::Request;
use super::sender::FrameSender;
use super::tls::Tls;
use crate::dialect::Dialect;
use crate::frame::Reader;
use crate::histogram;

/// How many clients share one source address: fewer than it has ephemeral ports.
const CLIENTS_PER_SOURCE: usize = 4_000;

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(20);

/// The error of a connect that goes on by itself.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// When the clients of one thread connect: in turn with those of other threads, in one even row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ramp {
    rate: f64,
    place: usize,
    threads: usize,
}

impl Ramp {
    /// The part of the thread at `place` among `threads`, of `rate` connects a second in all.
    pub(crate) fn new(rate: f64, place: usize, threads: usize) -> Self {
        Self { rate, place, threads }
    }

    /// When the thread's client of a number is due, from the beginning.
    #[expect(clippy::cast_precision_loss, reason = "a count of clients")]
    fn due(self, number: usize) -> Duration {
        let before = number * self.threads + self.place;
        // A number that is no time any more lies behind every run.
        let due = Duration::try_from_secs_f64(before as f64 / self.rate);
        due.unwrap_or(Duration::from_hours(1 << 20))
    }
}

/// The result of an arrival.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) open: usize,
    /// TLS handshakes that resumed a session of the same client.
    pub(crate) resumed: usize,
    /// Those that failed, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    /// How late connects began that were due and had room, in nanoseconds.
    pub(crate) late: Histogram<u64>,
}

/// How a client's way in went on at one event.
#[derive(Debug, Default)]
pub(super) struct Went {
    /// It has its 101, so long after its connect began.
    pub(super) answered: Option<Duration>,
    /// By a TLS session of its own.
    pub(super) resumed: bool,
    /// It is in, or has failed.
    pub(super) end: Option<Result<(), String>>,
}

impl Swarm {
    /// Connects `count` more clients, at once or by a ramp. `each` is told of every client that
    /// is open, with the time from its connect to its 101, and of every turn; it says whether to
    /// go on. In a ramp the time counts from the moment at which the connect was due, so that a
    /// server that stands still cannot hide it by keeping connects back.
    pub(crate) fn arrive(
        &mut self,
        request: &Request,
        count: usize,
        ramp: Option<Ramp>,
        mut each: impl FnMut(Option<Duration>) -> bool,
    ) -> io::Result<Arrived> {
        self.answers.clone_from(&request.answers);
        // Publishers beside the clients may speak none, and the clients' pings are answered.
        if request.dialect != Dialect::Plain {
            self.dialect = request.dialect;
        }
        let mut arrived = Arrived::new()?;
        let (first, began) = (self.clients.len(), Instant::now());
        let (mut moved, mut done) = (began, 0);
        // Since when there has been room for one more.
        let mut roomy = began;
        while done < count {
            let mut wait = TURN;
            let under_way = loop {
                let begun = self.clients.len() - first;
                let under_way = begun - done;
                if begun == count || under_way == CONNECTING_MAX {
                    break under_way;
                }
                let due = ramp.map(|ramp| began + ramp.due(begun));
                let now = Instant::now();
                if let Some(due) = due {
                    if due > now {
                        wait = wait.min(due - now);
                        break under_way;
                    }
                    let late = now.saturating_duration_since(due.max(roomy));
                    arrived.late.saturating_record(histogram::ns_of(late));
                }
                let mut client = self.sender.begin(request, self.clients.len());
                match &mut client {
                    Ok(client) => client.began = due.unwrap_or(client.began),
                    Err(error) => {
                        arrived.fail(&error.to_string());
                        done += 1;
                    }
                }
                self.clients.push(client.ok());
                moved = now;
            };
            let before = done;
            done += self.shake_hands(request, wait, &mut arrived, &mut each)?;
            if done > before {
                moved = Instant::now();
            }
            if under_way == CONNECTING_MAX {
                roomy = Instant::now();
            }
            if under_way > 0 && moved.elapsed() > STANDSTILL_MAX {
                self.give_up(&mut arrived, "no answer in time");
                break;
            }
            if !each(None) {
                self.give_up(&mut arrived, "interrupted");
                // Those that have not begun are missing too, and have their places.
                while self.clients.len() - first < count {
                    arrived.fail("interrupted");
                    self.clients.push(None);
                }
                break;
            }
        }
        // Events of open clients that came meanwhile are used up: watched anew, sockets tell them
        // again.
        for (index, client) in self.clients.iter().enumerate().skip(first) {
            if let Some(client) = client {
                self.sender.watch(index, client)?;
            }
        }
        Ok(arrived)
    }

    /// Goes on with the connects that can, or waits for one; gives how many are through, one way or
    /// the other.
    fn shake_hands(
        &mut self,
        request: &Request,
        wait: Duration,
        arrived: &mut Arrived,
        each: &mut impl FnMut(Option<Duration>) -> bool,
    ) -> io::Result<usize> {
        self.doze(wait)?;
        let mut done = 0;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let Ok(index) = usize::try_from(event.data.u64()) else { continue };
            let went = self.go_on(request, index, event.flags)?;
            if let Some(time) = went.answered {
                each(Some(time));
                arrived.resumed += usize::from(went.resumed);
            }
            done += usize::from(went.end.is_some());
            match went.end {
                Some(Ok(())) => arrived.open += 1,
                Some(Err(cause)) => arrived.fail(&cause),
                None => {}
            }
        }
        self.events = events;
        Ok(done)
    }

    /// Goes on with the connect of one client, as far as its event leads.
    pub(super) fn go_on(
        &mut self,
        request: &Request,
        index: usize,
        flags: epoll::EventFlags,
    ) -> io::Result<Went> {
        let mut went = Went::default();
        let Some(Some(client)) = self.clients.get_mut(index) else { return Ok(went) };
        if client.step != Step::Connect && flags.contains(epoll::EventFlags::OUT) {
            self.sender.flush(index, client)?;
        }
        if client.step == Step::Open {
            // Bytes behind the answer wait in the socket until they are asked for.
            return Ok(went);
        }
        let before = client.step;
        let mut step = client.go_on(request, index, &mut self.sender, &mut self.buffer);
        // An event comes once: an end that it tells of is behind what is to be read first.
        while flags.intersects(ENDS) && matches!(step, Ok(true)) {
            step = client.go_on(request, index, &mut self.sender, &mut self.buffer);
        }
        let answered = matches!(before, Step::Tls | Step::Answer)
            && matches!(client.step, Step::Ready | Step::Open);
        if answered {
            went.answered = Some(client.began.elapsed());
            went.resumed = client.is_resumed();
        }
        match step {
            Ok(_) if client.step == Step::Open => went.end = Some(Ok(())),
            Ok(_) => {}
            Err(error) => {
                went.end = Some(Err(error.to_string()));
                self.clients[index] = None;
            }
        }
        Ok(went)
    }

    /// Those that are still on their way stay there.
    fn give_up(&mut self, arrived: &mut Arrived, cause: &str) {
        for client in &mut self.clients {
            if client.as_ref().is_some_and(|client| client.step != Step::Open) {
                *client = None;
                arrived.fail(cause);
            }
        }
    }
}

impl FrameSender {
    /// Begins a client's connect.
    pub(super) fn begin(&self, request: &Request, index: usize) -> io::Result<Client> {
        let (server, number) = (request.server, request.number(index));
        let tls = request.tls.as_ref();
        let tls = tls.map(|tls| Tls::new(tls.config(index - request.base), &tls.name));
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
        let data = epoll::EventData::new_u64(index as u64);
        let socket = OwnedFd::from(socket);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT)?;
        Ok(Client {
            socket,
            tls,
            step: Step::Connect,
            began: Instant::now(),
            inbound: Inbound::Frames(Reader::default()),
            head: Vec::new(),
            early: Vec::new(),
            track: request.recovers.then(Box::default),
            out: Vec::new(),
            close_code: None,
        })
    }
}

impl Arrived {
    fn new() -> io::Result<Self> {
        let (failures, late) = (BTreeMap::new(), histogram::nanoseconds()?);
        Ok(Self { open: 0, resumed: 0, failures, late })
    }

    fn fail(&mut self, cause: &str) {
        causes::count(&mut self.failures, cause);
    }

    /// Adds the arrival of publishers that are none of the clients: only their failures count.
    pub(crate) fn add_publishers(&mut self, came: Self) {
        for (cause, count) in came.failures {
            *self.failures.entry(format!("a publisher: {cause}")).or_default() += count;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_one_even_ramp() {
        let due = |place| {
            let ramp = Ramp::new(10.0, place, 2);
            [0, 1, 2].map(|number| ramp.due(number).as_millis())
        };
        assert_eq!((due(0), due(1)), ([0, 200, 400], [100, 300, 500]));
        assert!(Ramp::new(1e-300, 0, 1).due(7) > Duration::from_hours(1_000_000));
    }
}
