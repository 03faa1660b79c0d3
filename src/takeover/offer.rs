//! The older process's side of a take-over: it lends its sockets to the process that asks, and goes
//! when that one serves.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::histories::{self, Histories};
use super::link::{self, Linked};
use super::meet::{ANSWER_TIMEOUT, Peer, START_TIMEOUT};
use super::pass::{BEGINS, FREE, HISTORIES, SERVING};
use super::{ASK_AGAIN, Settling, Sockets, input, meet, pass};

/// The time after which the older process tries again to get its name from a process that hangs.
const NAME_AGAIN: Duration = Duration::from_secs(1);

/// The most connections whose request is waited for at once. The oldest one makes room for more.
const ASKING_MAX: usize = 32;

/// The least time between two lines of the log about processes that did not take over.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);

/// The longest time for a request that has begun to come: it is one write of a few bytes.
const HEAR_TIMEOUT: Duration = Duration::from_millis(200);

/// The longest time from the histories, behind which this process numbers nothing, to the moment
/// at which the newer one serves.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);

/// The work of the older process before it passes its sockets on.
pub(crate) struct Prepare(pub(crate) Box<dyn Fn() + Send>);

impl std::fmt::Debug for Prepare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepare")
    }
}

/// The sockets that the older process passes on, and the process that gets them.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) sockets: Sockets,
    pub(crate) fingerprint: u64,
    pub(crate) settling: Settling,
    pub(crate) prepare: Option<Prepare>,
    /// The histories of this process.
    pub(crate) histories: Option<Histories>,
}

/// Waits, on a thread of its own, for a process that takes over; `yield_place` then lets this one
/// go.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn offer(
    address: SocketAddr,
    offer: Offer,
    yield_place: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let place = meet::place(address);
    // At once, so that the next one to start finds this one.
    let door = meet::open(&place);
    thread::Builder::new().name("takeover".into()).spawn(move || {
        let door = door.unwrap_or_else(|error| open_later(&place, &error));
        let Taken { mut stream, who, link } = wait(&door, &offer);
        // The name must be free before the newer process is told so.
        drop(door);
        tracing::info!(pid = who.pid, "another process has taken over: draining");
        yield_place();
        if stream.write_all(&[FREE]).is_ok()
            && let Some(linked) = link
        {
            let ended = link::carry(stream, linked);
            tracing::warn!(pid = who.pid, %ended, "no link to the newer process any more");
        }
    })?;
    Ok(())
}

/// Takes the name once the process that has it is gone.
fn open_later(place: &str, error: &io::Error) -> UnixListener {
    tracing::warn!(%error, "no other process can take over from this one yet");
    loop {
        thread::park_timeout(NAME_AGAIN);
        if let Ok(door) = meet::open(place) {
            return door;
        }
    }
}

/// A connection whose request has not come yet.
struct Asking {
    stream: UnixStream,
    who: Peer,
    since: Instant,
}

/// A take-over: the newer process serves.
struct Taken {
    stream: UnixStream,
    who: Peer,
    /// It numbers the publications of this process.
    link: Option<Linked>,
}

/// Lends the sockets to every process that asks and may have them, until one of them serves.
/// Connections that ask for nothing keep nobody waiting.
fn wait(door: &UnixListener, offer: &Offer) -> Taken {
    let mut asking: Vec<Asking> = Vec::new();
    let mut complaints = Complaints::default();
    loop {
        let served = take(door, &mut asking).and_then(|next| match next {
            Some(Asking { stream, who, .. }) => serve(stream, who, offer),
            None => Ok(None),
        });
        match served {
            Ok(Some(found)) => return found,
            Ok(None) => {}
            Err(error) => {
                complaints.hear(&error, Instant::now());
                thread::park_timeout(ASK_AGAIN);
            }
        }
    }
}

/// Failures on the way, of which one is told from time to time: without free descriptors every
/// attempt to accept fails.
#[derive(Default)]
struct Complaints {
    told: Option<Instant>,
    untold: u64,
}

impl Complaints {
    /// Tells an error, or counts it until the next one that is told. Returns `true` if it was told.
    fn hear(&mut self, error: &io::Error, now: Instant) -> bool {
        if self.told.is_some_and(|told| now.duration_since(told) < COMPLAIN_AGAIN) {
            self.untold += 1;
            return false;
        }
        let untold = std::mem::take(&mut self.untold);
        let what = "a process asked for the listeners and did not take over";
        tracing::warn!(%error, untold, "{what}");
        self.told = Some(now);
        true
    }
}

/// Waits for something to happen, and returns a connection whose request has come.
fn take(door: &UnixListener, asking: &mut Vec<Asking>) -> io::Result<Option<Asking>> {
    let mut waits = vec![PollFd::new(door, PollFlags::IN)];
    waits.extend(asking.iter().map(|one| PollFd::new(&one.stream, PollFlags::IN)));
    let oldest = asking.first().map(|one| ANSWER_TIMEOUT.saturating_sub(one.since.elapsed()));
    let longest = oldest.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut waits, longest.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok(None),
        polled => polled?,
    };
    let happened: Vec<bool> = waits.iter().map(|one| !one.revents().is_empty()).collect();
    if let Some(place) = happened[1..].iter().position(|happened| *happened) {
        return Ok(Some(asking.remove(place)));
    }
    asking.retain(|one| one.since.elapsed() < ANSWER_TIMEOUT);
    if happened[0] {
        let (stream, _) = door.accept()?;
        let who = meet::peer(&stream)?;
        if !who.is_trusted {
            // Anybody on this host can connect here: that is not worth a line, nor a pause.
            tracing::debug!(pid = who.pid, "another user's process asked for the listeners");
            return Ok(None);
        }
        if asking.len() == ASKING_MAX {
            asking.remove(0);
        }
        asking.push(Asking { stream, who, since: Instant::now() });
    }
    Ok(None)
}

fn serve(mut stream: UnixStream, who: Peer, offer: &Offer) -> io::Result<Option<Taken>> {
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_read_timeout(Some(HEAR_TIMEOUT))?;
    // A connection that ends or says something else only looks at the name, as other processes do.
    let Ok(request) = pass::hear(&mut stream) else { return Ok(None) };
    let newcomer = request.fingerprint;
    let now = Instant::now();
    // A process that goes anyhow keeps nobody waiting.
    if let Some(left) = offer.settling.left(newcomer, now)
        && !crate::signals::is_leaving()
    {
        tracing::debug!(pid = who.pid, ?left, "a process asked for the listeners too early");
        pass::refuse(&mut stream, left)?;
        return Ok(None);
    }
    let again = offer.settling.proposal(newcomer, now);
    if let Some(Prepare(prepare)) = &offer.prepare {
        prepare();
    }
    let histories = offer.histories.as_ref().filter(|_| request.form == Some(histories::FORM));
    pass::send(&stream, &offer.sockets, (offer.fingerprint, histories.is_some()), again)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    let link = match (pass::next(&mut stream)?, histories) {
        (SERVING, _) => return Ok(Some(Taken { stream, who, link: None })),
        (HISTORIES, Some(histories)) => histories.send(&mut stream)?,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let Some(link) = link else {
        pass::expect(&mut stream, SERVING)?;
        return Ok(Some(Taken { stream, who, link: None }));
    };
    let link = keep_until_served(&mut stream, who, link)?;
    Ok(Some(Taken { stream, who, link }))
}

/// Waits until the newer process serves. Publishers wait meanwhile, but not for ever: `None` if the
/// newer process starts too slowly.
fn keep_until_served(
    stream: &mut UnixStream,
    who: Peer,
    linked: Linked,
) -> io::Result<Option<Linked>> {
    stream.set_read_timeout(Some(LINK_TIMEOUT))?;
    let begun = pass::expect(stream, BEGINS);
    let has_begun = begun.is_ok();
    match begun.and_then(|()| pass::expect(stream, SERVING)) {
        Ok(()) => Ok(Some(linked)),
        Err(error) if input::is_timeout(&error) => {
            tracing::warn!(pid = who.pid, "the newer process starts slowly: this one goes on");
            drop(linked);
            stream.set_read_timeout(Some(START_TIMEOUT))?;
            if !has_begun {
                pass::expect(stream, BEGINS)?;
            }
            pass::expect(stream, SERVING)?;
            Ok(None)
        }
        Err(error) => {
            if !has_begun {
                linked.link.give_back();
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::takeover::{Newcomer, claim};

    #[test]
    fn failures_without_end_are_told_now_and_then_with_their_number() {
        let (mut complaints, begin) = (Complaints::default(), Instant::now());
        let error = io::Error::other("no descriptors");
        let told = (0..1000_u64)
            .filter(|number| complaints.hear(&error, begin + Duration::from_millis(50 * number)))
            .count();
        assert_eq!((told, complaints.untold), (5, 199), "in 50 seconds");
    }

    #[test]
    fn connections_that_ask_for_nothing_keep_no_newcomer_waiting() {
        let address: SocketAddr = "127.0.0.9:5".parse().unwrap();
        let listener = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let sockets = Sockets { listeners: vec![listener], admin: None };
        offer(
            address,
            Offer {
                sockets,
                fingerprint: 1,
                settling: Settling::none(),
                prepare: None,
                histories: None,
            },
            || {},
        )
        .unwrap();
        let knock = |_| meet::knock(&meet::place(address)).unwrap().unwrap();
        let mut silent: Vec<UnixStream> = (0..50).map(knock).collect();
        // Some say a part of a request, or nonsense, or go.
        // The oldest ones may have made room for others.
        silent[47].write_all(b"A").unwrap();
        silent[48].write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        silent.truncate(49);
        let began = Instant::now();
        let newcomer = Newcomer { fingerprint: 2, base: Duration::ZERO, is_forced: false };
        let taken = claim(address, newcomer).unwrap();
        assert_eq!(taken.sockets.listeners.len(), 1);
        assert!(began.elapsed() < ANSWER_TIMEOUT, "{:?}", began.elapsed());
    }
}
