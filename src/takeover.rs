//! A new process takes the place of the one that serves the same address, and no client that
//! connects meanwhile is refused or reset.
//!
//! The listening sockets themselves pass from one to the other, through a Unix socket that only the
//! same user can use. Closing a listener resets the connections that wait at it, and those in the
//! middle of TCP's handshake; a listener that a process still holds resets none, whatever the
//! kernel's settings are. The older process goes on as before until the newer one says that it
//! serves.
//!
//! No process serves an address beside another one by accident: a process that can neither take
//! over nor have the address alone does not start.

mod end;
mod frames;
#[cfg(test)]
mod fuzz;
mod histories;
mod holder;
mod inherit;
mod input;
mod link;
mod meet;
mod offer;
mod pass;
mod settle;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use stentor_shards::Link;

use crate::control::peers::PeerEnd;
use crate::unix;
use link::Linked;
use meet::{ANSWER_TIMEOUT, Peer, Turn};
use pass::{Answer, FREE, Request, SERVING};

pub(crate) use histories::{Histories, saved};
pub(crate) use holder::{describe, of as holder_of};
pub(crate) use input::Inherited;
pub(crate) use offer::{Offer, Prepare, offer};
pub(crate) use pass::{SOCKETS_MAX, Sockets};
pub(crate) use settle::{Settling, fingerprint};

/// The number of times that a newer process asks while the older one is just leaving.
const ASKS_MAX: usize = 20;
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The longest wait of a newer process for one that has just taken over, and the time between its
/// attempts. A supervisor that starts it at once again does so every few seconds only.
const REFUSED_WAIT: Duration = Duration::from_secs(5);
const REFUSED_ASK: Duration = Duration::from_millis(500);

/// The longest time that the sockets of a process which has been ended may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why this process cannot have the address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Another process has just taken over.
    #[error(
        "{address} is served by {who}, which has taken over lately and yields in {}s \
         (--take-over-settle): end it first, or start later", left.as_secs() + 1
    )]
    Settling { address: SocketAddr, who: String, left: Duration },
    /// Another process serves it and hangs.
    #[error(
        "{address} is served by {who}, which does not answer within {}s: end it first, \
         or --take-over force",
        ANSWER_TIMEOUT.as_secs()
    )]
    Silent { address: SocketAddr, who: String },
    /// The address is in use.
    #[error("cannot listen on {address}: address in use by {who}")]
    InUse { address: SocketAddr, who: String },
    /// It could not be found out.
    #[error("cannot listen on {address}: {source}")]
    Failed { address: SocketAddr, source: io::Error },
}

/// The process that would like to take over, as the older one is told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer {
    pub(crate) fingerprint: u64,
    /// The time for which it yields to no other process once it has taken over.
    pub(crate) base: Duration,
    /// `true` if it ends a process that does not answer.
    pub(crate) is_forced: bool,
}

/// An address that is this process's to serve.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) sockets: Sockets,
    pub(crate) settling: Settling,
    predecessor: Option<Predecessor>,
    /// The file of a Unix socket.
    place: Option<unix::Place>,
    /// Until this process can be found at the address, no other one may start.
    turn: Option<Turn>,
}

/// The process that serves the address until now.
#[derive(Debug)]
struct Predecessor {
    stream: UnixStream,
    who: Peer,
    /// Where it was asked, and for what.
    asked: (SocketAddr, Newcomer),
    /// It sends its histories when it is asked for them.
    has_histories: bool,
}

/// The outcome of asking once.
enum Asked {
    Nobody,
    Yields(Claim),
    Settling(Peer, Duration),
    /// It does not answer; `None` for one that does not even take the connection.
    Silent(Option<Predecessor>),
}

/// Claims `address`: takes the sockets of the process of this user that serves it, or finds that
/// nobody does.
///
/// # Errors
/// Another process has the address, or one that takes its connections, and keeps it.
pub(crate) fn claim(address: SocketAddr, newcomer: Newcomer) -> Result<Claim, Refused> {
    let failed = |source| Refused::Failed { address, source };
    if address.port() == 0 {
        // A port that is still to be chosen is nobody's.
        return Ok(Claim::alone(None));
    }
    let until = Instant::now() + REFUSED_WAIT;
    let mut ended = None;
    loop {
        let turn = Turn::wait(address.port()).map_err(failed)?;
        match ask(address, newcomer, true).map_err(failed)? {
            Asked::Yields(claim) => return Ok(Claim { turn: Some(turn), ..claim }),
            // Once: where each next one hangs too, another process is no cure.
            Asked::Silent(Some(hung)) if newcomer.is_forced && ended.is_none() => {
                end::end(&hung.stream, hung.who).map_err(failed)?;
                tracing::warn!(pid = hung.who.pid, "ended a process that did not answer");
                ended = Some(Instant::now());
            }
            // The queue of the name is full, and nobody has the address: the name is kept by a
            // process that does not serve it, which may be any user's.
            Asked::Silent(None) if holder::of(address).is_none() => {
                return Ok(Claim::alone(Some(turn)));
            }
            Asked::Silent(hung) => {
                let who = hung.map_or_else(
                    || "a process that takes nobody in".into(),
                    |hung| hung.who.to_string(),
                );
                return Err(Refused::Silent { address, who });
            }
            Asked::Settling(peer, left) if Instant::now() >= until => {
                return Err(Refused::Settling { address, who: peer.to_string(), left });
            }
            Asked::Settling(..) => {
                // Another newcomer may be welcome.
                drop(turn);
                thread::park_timeout(REFUSED_ASK);
            }
            Asked::Nobody => match holder::of(address) {
                Some(_) if ended.is_some_and(|at| at.elapsed() < CLOSE_TIMEOUT) => {
                    thread::park_timeout(ASK_AGAIN);
                }
                Some(who) => return Err(Refused::InUse { address, who }),
                None => return Ok(Claim::alone(Some(turn))),
            },
        }
    }
}

fn ask(address: SocketAddr, newcomer: Newcomer, reads_histories: bool) -> io::Result<Asked> {
    let fingerprint = newcomer.fingerprint;
    for number in 0..ASKS_MAX {
        let stream = match meet::knock(&meet::place(address)) {
            Ok(Some(stream)) => stream,
            Ok(None) => return Ok(Asked::Nobody),
            Err(error) if input::is_timeout(&error) => return Ok(Asked::Silent(None)),
            Err(error) => return Err(error),
        };
        let who = meet::peer(&stream)?;
        if !who.is_trusted {
            // The kernel says whether another user has the port too.
            return Ok(Asked::Nobody);
        }
        let asked = (address, newcomer);
        let mut asked = Predecessor { stream, who, asked, has_histories: false };
        // A version of the program that has no histories to give closes the connection.
        let form = (reads_histories && number % 2 == 0).then_some(histories::FORM);
        match pass::ask(&mut asked.stream, Request { fingerprint, form }) {
            Ok(answer) => return Ok(asked.answered(answer, newcomer.base)),
            Err(error) if is_gone(&error) && form.is_some() => {}
            Err(error) if is_gone(&error) => thread::park_timeout(ASK_AGAIN),
            Err(error) if input::is_timeout(&error) => return Ok(Asked::Silent(Some(asked))),
            Err(error) => return Err(error),
        }
    }
    // It has gone, and its place has not been taken.
    Ok(Asked::Nobody)
}

impl Predecessor {
    fn answered(self, answer: Answer, base: Duration) -> Asked {
        match answer {
            Answer::Refuses(left) => Asked::Settling(self.who, left),
            Answer::Yields { sockets, from, settle, has_histories } => Asked::Yields(Claim {
                sockets,
                settling: Settling::after(base, from, settle),
                predecessor: Some(Self { has_histories, ..self }),
                place: None,
                turn: None,
            }),
        }
    }
}

impl Claim {
    /// A claim on an address that nobody else has asked to have alone.
    pub(crate) fn shared(sockets: Sockets) -> Self {
        Self { sockets, ..Self::alone(None) }
    }

    /// A Unix socket that is this process's.
    pub(crate) fn at(place: Option<unix::Place>, listener: OwnedFd) -> Self {
        let sockets = Sockets { listeners: vec![listener], admin: None };
        Self { place, ..Self::shared(sockets) }
    }

    /// Returns `true` if another process serves the address until now.
    pub(crate) fn takes_over(&self) -> bool {
        self.predecessor.is_some()
    }

    fn alone(turn: Option<Turn>) -> Self {
        let sockets = Sockets::default();
        Self { sockets, settling: Settling::none(), predecessor: None, place: None, turn }
    }

    /// Tells the older process to go, now that its clients can come here; it goes in its own time.
    /// Over the `link` this process numbers the publications of both meanwhile, and their control
    /// planes ask each other.
    pub(crate) fn relieve(&mut self, link: Option<(Link, PeerEnd)>) {
        let Some(Predecessor { mut stream, who, .. }) = self.predecessor.take() else { return };
        let told = stream.write_all(&[SERVING]);
        match told.and_then(|()| pass::expect(&mut stream, FREE)) {
            Ok(()) => {
                tracing::info!(pid = who.pid, "took over from another process");
                if let Some((link, control)) = link {
                    link::start(stream, Linked { link, control }, who);
                }
            }
            Err(error) if input::is_timeout(&error) => {
                tracing::warn!(pid = who.pid, "the other process hangs: it should be ended");
            }
            Err(error) => tracing::warn!(pid = who.pid, %error, "the other process is gone"),
        }
    }

    /// Ends the turn: other processes find this one by now. Returns the file of a Unix socket.
    pub(crate) fn settle(self) -> Option<unix::Place> {
        drop(self.turn);
        self.place
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;

    use super::*;

    const BASE: Duration = Duration::from_secs(30);

    fn newcomer(fingerprint: u64) -> Newcomer {
        Newcomer { fingerprint, base: BASE, is_forced: false }
    }

    fn offered(address: SocketAddr, settling: Settling) -> mpsc::Receiver<()> {
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let sockets = Sockets { listeners: vec![listener], admin: None };
        let (went, gone) = mpsc::channel();
        let (prepare, histories) = (None, None);
        let what = Offer { sockets, fingerprint: 1, settling, prepare, histories };
        offer(address, what, move || went.send(()).unwrap()).unwrap();
        gone
    }

    #[test]
    fn a_process_that_dies_on_the_way_changes_nothing() {
        let address = "127.0.0.9:1".parse().unwrap();
        let gone = offered(address, Settling::none());
        let dies = claim(address, newcomer(2)).unwrap();
        assert_eq!(dies.sockets.listeners.len(), 1);
        drop(dies);
        let mut takes = claim(address, newcomer(2)).unwrap();
        assert_eq!(takes.sockets.listeners.len(), 1);
        assert!(gone.try_recv().is_err(), "nobody has taken over yet");
        assert!(takes.settling.left(1, Instant::now()).is_some());
        takes.relieve(None);
        takes.settle();
        gone.recv_timeout(Duration::from_secs(20)).unwrap();
        let free = claim(address, newcomer(2)).unwrap();
        assert!(free.sockets.listeners.is_empty() && free.predecessor.is_none());
    }

    #[test]
    fn a_process_that_has_just_taken_over_is_left_alone() {
        let address = "127.0.0.9:2".parse().unwrap();
        let gone = offered(address, Settling::after(BASE, 7, BASE));
        let began = Instant::now();
        let refused = claim(address, newcomer(7)).unwrap_err();
        assert!(matches!(refused, Refused::Settling { .. }), "{refused}");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())));
        assert!(began.elapsed() >= REFUSED_WAIT, "a restart loop must be slow");
        assert!(gone.try_recv().is_err());
    }

    /// It has lent its sockets, and is stopped before it can go.
    #[test]
    fn a_process_that_hangs_on_the_way_keeps_nobody_from_serving() {
        let address: SocketAddr = "127.0.0.9:4".parse().unwrap();
        let door = meet::open(&meet::place(address)).unwrap();
        let hangs = thread::spawn(move || {
            let (mut stream, _) = door.accept().unwrap();
            pass::hear(&mut stream).unwrap();
            let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
            let sockets = Sockets { listeners: vec![listener], admin: None };
            pass::send(&stream, &sockets, (1, false), Duration::ZERO).unwrap();
            (door, stream)
        });
        let mut takes = claim(address, newcomer(2)).unwrap();
        let hung = hangs.join().unwrap();
        let began = Instant::now();
        takes.relieve(None);
        assert!(began.elapsed() >= ANSWER_TIMEOUT && began.elapsed() < ANSWER_TIMEOUT * 3);
        // The place becomes the newer one's when the other process has ended.
        let settling = takes.settling;
        takes.settle();
        let gone = offered(address, settling);
        drop(hung);
        let until = Instant::now() + Duration::from_secs(20);
        while meet::knock(&meet::place(address))
            .unwrap()
            .is_none_or(|stream| meet::peer(&stream).is_err())
        {
            assert!(Instant::now() < until, "the place is never taken");
            thread::park_timeout(Duration::from_millis(20));
        }
        assert!(gone.try_recv().is_err());
    }

    #[test]
    fn a_process_that_hangs_is_given_up() {
        let address: SocketAddr = "127.0.0.9:3".parse().unwrap();
        let _hangs = meet::open(&meet::place(address)).unwrap();
        let refused = claim(address, newcomer(1)).unwrap_err();
        assert!(matches!(refused, Refused::Silent { .. }), "{refused}");
    }

    #[test]
    fn a_name_with_a_full_queue_keeps_no_process_from_an_address_that_is_free() {
        let address: SocketAddr = "127.0.0.9:7".parse().unwrap();
        let _full = meet::full_queue(&meet::place(address));
        assert!(claim(address, newcomer(1)).unwrap().predecessor.is_none());
    }
}
