//! `stentor sub`: prints what is published, and comes back by itself when the connection ends.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use rustix::event::{PollFd, PollFlags};

use super::link::{Link, Unopened, query};
use super::place::{Heard, Place, without_beginning};
use super::{End, Subscribe, say, wait};

/// The longest wait before the first try, and before any.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A connection that has lasted so long was a good one: after it the first wait is short again.
const STABLE: Duration = Duration::from_secs(10);

/// The longest time that the server may take to answer the close frame.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Why the printing is over, or the connection.
enum Over {
    /// As many messages as were asked for.
    Enough,
    /// Nobody reads what is printed.
    NoReader,
    Ended(End),
}

/// The output, and the number of messages that are still to come.
struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    place: Place,
    left: u64,
}

/// Prints what is published, until `count` messages have come or the server ends it for good. After
/// a lost connection it goes on behind the last message.
///
/// # Errors
/// Why the server cannot be reached at first, or how it ended this.
pub(crate) fn subscribe(asked: &Subscribe) -> Result<(), String> {
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        place: Place::new(&asked.channel, asked.json),
        left: asked.count.unwrap_or(u64::MAX),
    };
    // A mistake in the address should not be tried again and again: at first there is one try.
    let mut link = open(asked, None).map_err(|unopened| unopened.why)?;
    let mut tries = 0;
    loop {
        let began = Instant::now();
        let over = link
            .stop_waiting()
            .map_or_else(|end| Ok(Over::Ended(end)), |()| printer.print(&mut link))?;
        let end = match over {
            Over::Enough => {
                link.leave(GOODBYE_MAX);
                return Ok(());
            }
            Over::NoReader | Over::Ended(End::Closed { code: 1000, .. }) => return Ok(()),
            Over::Ended(end) if asked.once || end.is_final() => return Err(end.to_string()),
            Over::Ended(end) => end,
        };
        if began.elapsed() >= STABLE {
            tries = 0;
        }
        say(&format!("{end}; coming back"));
        link = loop {
            if !printer.has_reader_for(pause(tries))? {
                return Ok(());
            }
            tries += 1;
            match open(asked, printer.place.since()) {
                Ok(link) => break link,
                Err(unopened) if unopened.is_final() => return Err(unopened.why),
                Err(_) => {}
            }
        };
    }
}

/// Connects, and asks for all behind a position.
fn open(asked: &Subscribe, since: Option<String>) -> Result<Link, Unopened> {
    let names = query(Some(&asked.channel), asked.user.as_deref());
    let Some(since) = since else {
        return Link::open((&asked.url, &asked.trust), &names, &asked.token);
    };
    let mut url = asked.url.clone();
    url.target = without_beginning(&url.target);
    Link::open((&url, &asked.trust), &format!("{names}&{since}"), &asked.token)
}

/// Returns the time to wait before a try: exponential back-off with full jitter, so that clients
/// which fell together do not return together.
fn pause(tries: u32) -> Duration {
    let longest = WAIT_FIRST.saturating_mul(2_u32.saturating_pow(tries)).min(WAIT_MAX);
    // A hasher's keys are random.
    let random = RandomState::new().hash_one(tries) % 1024;
    longest.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0)
}

impl Printer {
    /// Prints what comes until it is over.
    fn print(&mut self, link: &mut Link) -> Result<Over, String> {
        loop {
            let over = self.take(link);
            let flushed = self.out.flush();
            match over.and_then(|over| flushed.map(|()| over)) {
                Ok(None) => {}
                Ok(Some(over)) => return Ok(over),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Over::NoReader);
                }
                Err(error) => return Err(format!("standard output: {error}")),
            }
            // A reader that goes is noticed without a message that fails.
            let fds = &mut [
                PollFd::new(&*link, PollFlags::IN),
                PollFd::new(self.out.get_ref(), PollFlags::empty()),
            ];
            wait(fds, None)?;
            if fds[1].revents().contains(PollFlags::ERR) {
                return Ok(Over::NoReader);
            }
        }
    }

    /// Writes all messages that are here.
    fn take(&mut self, link: &mut Link) -> io::Result<Option<Over>> {
        while self.left > 0 {
            match link.next() {
                Ok(Some(Message::Text(text))) => match self.place.hear(&text) {
                    Ok(Heard::Message(printed)) => {
                        self.out.write_all(&printed)?;
                        writeln!(self.out)?;
                        self.left -= 1;
                    }
                    Ok(Heard::Notice(line)) => say(&line),
                    Ok(Heard::Nothing) => {}
                    Err(why) => return Ok(Some(Over::Ended(End::Lost(why)))),
                },
                // stentor.v1 has texts only.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(end) => return Ok(Some(Over::Ended(end))),
            }
        }
        Ok(Some(Over::Enough))
    }

    /// Waits for so long. Returns `false` as soon as nobody reads what is printed.
    fn has_reader_for(&self, time: Duration) -> Result<bool, String> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let fds = &mut [PollFd::new(self.out.get_ref(), PollFlags::empty())];
            wait(fds, Some(left))?;
            if fds[0].revents().contains(PollFlags::ERR) {
                return Ok(false);
            }
            if left.is_zero() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_spread() {
        let longest = |tries| (0..200).map(|_| pause(tries)).max().unwrap();
        assert!(longest(0) <= WAIT_FIRST && longest(0) > WAIT_FIRST / 2);
        assert!(longest(3) > WAIT_FIRST && longest(3) <= WAIT_FIRST * 8);
        assert!(longest(60) > WAIT_MAX / 2 && longest(60) <= WAIT_MAX);
        assert!((0..200).map(|_| pause(5)).min().unwrap() < WAIT_FIRST * 4);
    }
}
