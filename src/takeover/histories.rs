//! The histories of the older process on their way to the newer one, over the connection on which
//! the listening sockets passed.
//!
//! ```text
//! request = 'H', the first epoch of the newer process, in 8 digits
//! answer = part* end
//! part   = kind u8 ('C' channels, 'R' revocations, 'W' facts, 'K' idempotency keys as JSON),
//!          length u32, bytes
//! end    = 'E', number of channels u32, number of revocations u32, 1 u8, number of the process u8
//!        | 'X', length u32, the reason for which there is no more
//! ```
//! Before the first part the older process stops to number publications: the newer one numbers
//! them for both from then on (`link.rs`), and the same epochs go on in it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stentor_shards::snapshot::{self, Damaged, Past, ProcessId, Saved};
use stentor_shards::{Epoch, Following, Handle, Position};

use super::link::Linked;
use super::meet::{ANSWER_TIMEOUT, is_timeout};
use super::pass::HISTORIES;
use crate::control::ask::{ask, ask_one};
use crate::control::peers::Peers;
use crate::control::{KnownKey, Once};

/// The form of what is sent. A process that expects another form is sent nothing.
pub(super) const FORM: u32 = 3;

/// The most bytes that a newer process reads.
pub(super) const BYTES_MAX: usize = 1 << 30;

/// The longest time that all of it may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The length of an epoch as it is written.
const EPOCH_DIGITS: usize = 8;

/// The longest reason.
const REASON_BYTES_MAX: usize = 1024;

const CHANNELS: u8 = b'C';
const REVOCATIONS: u8 = b'R';
const FACTS: u8 = b'W';
const KEYS: u8 = b'K';
const END: u8 = b'E';
const NO_MORE: u8 = b'X';

/// The histories of this process, for a newer one, and all that goes with them.
#[derive(Debug)]
pub(crate) struct Histories {
    pub(crate) handle: Handle,
    pub(crate) once: Once<Position>,
    pub(crate) peers: Peers,
}

/// All that a newer process goes on with.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// For the shards.
    pub(crate) past: Past,
    /// For the API.
    pub(crate) keys: Vec<KnownKey>,
}

/// Why histories could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("it is of a version whose histories this one does not read")]
    OtherVersion,
    #[error("they are larger than {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    #[error("they take longer than {}s", TIMEOUT.as_secs())]
    TooSlow,
    #[error("it says: {0}")]
    Refused(String),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("the connection: {0}")]
    Connection(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        if is_timeout(&error) { Self::TooSlow } else { Self::Connection(error) }
    }
}

/// Returns the histories of all shards in parts, as they are at that moment.
pub(crate) fn saved(
    handle: &Handle,
    all: bool,
) -> io::Result<impl Iterator<Item = io::Result<Saved>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut next = (0, Some(0));
    Ok(std::iter::from_fn(move || {
        loop {
            match next {
                (shard, _) if shard == handle.shard_count() => return None,
                (shard, None) => next = (shard + 1, Some(0)),
                (shard, Some(place)) => {
                    let saved = runtime.block_on(ask_one(|| handle.save(shard, place, all)));
                    next.1 = saved.as_ref().ok().and_then(|saved| saved.next);
                    let busy = || io::Error::other(format!("shard {shard} does not answer"));
                    return Some(saved.map_err(|_| busy()));
                }
            }
        }
    }))
}

impl Histories {
    /// Stops to number publications, and sends all histories. Returns the link over which they are
    /// numbered from then on; `None`: a part could not be had, and the newer process is told so.
    pub(super) fn send(&self, stream: &mut UnixStream) -> io::Result<Option<Linked>> {
        let epoch = read_epoch(stream)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // First: what the API is asked for from here on reaches the newer process by this.
        let control = self.peers.join(true);
        let mut following = self.handle.follow(epoch);
        if let Err(why) = self.send_parts(stream, &mut following)? {
            let why = why.as_bytes();
            send_part(stream, NO_MORE, &why[..why.len().min(REASON_BYTES_MAX)])?;
            return Ok(None);
        }
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Some(Linked { link: following.link, control }))
    }

    /// The inner error is why there is no more to send.
    fn send_parts(
        &self,
        stream: &mut UnixStream,
        following: &mut Following,
    ) -> io::Result<Result<(), String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        if runtime.block_on(ask(|| following.tell())).is_err() {
            return Ok(Err("a shard does not answer".into()));
        }
        let (mut channels, mut revocations) = (0_u32, 0_u32);
        for part in saved(&self.handle, true)? {
            let Saved { bytes, records, .. } = match part {
                Ok(part) => part,
                Err(why) => return Ok(Err(why.to_string())),
            };
            channels += records;
            send_part(stream, CHANNELS, &bytes)?;
        }
        let mut behind = None;
        loop {
            let page = runtime.block_on(ask_one(|| self.handle.revocations(behind.clone())));
            let Ok(page) = page else { return Ok(Err("a shard does not answer".into())) };
            let Some(last) = page.last() else { break };
            revocations += u32::try_from(page.len()).unwrap_or(u32::MAX);
            behind = Some(last.clone());
            send_part(stream, REVOCATIONS, &snapshot::put_revocations(&page))?;
        }
        let Ok(facts) = runtime.block_on(ask(|| self.handle.facts())) else {
            return Ok(Err("a shard does not answer".into()));
        };
        for facts in facts {
            send_part(stream, FACTS, &facts)?;
        }
        let mut from = 0;
        while let Some((keys, next)) = self.once.page(from) {
            from = next;
            send_part(stream, KEYS, &serde_json::to_vec(&keys)?)?;
        }
        let mut end = vec![END];
        end.extend(channels.to_le_bytes());
        end.extend(revocations.to_le_bytes());
        end.extend([1, self.handle.process().number()]);
        stream.write_all(&end)?;
        Ok(Ok(()))
    }
}

fn read_epoch(stream: &mut UnixStream) -> io::Result<Epoch> {
    let mut digits = [0; EPOCH_DIGITS];
    stream.read_exact(&mut digits)?;
    let epoch = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    epoch.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks for the histories of the older process.
pub(super) fn request(stream: &mut UnixStream, epoch: Epoch) -> Result<(), Unread> {
    let mut request = vec![HISTORIES];
    request.extend(epoch.to_string().bytes());
    Ok(stream.write_all(&request)?)
}

fn send_part(stream: &mut UnixStream, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::other("a part is too long");
    let length = u32::try_from(bytes.len()).map_err(too_long)?;
    let mut head = vec![kind];
    head.extend(length.to_le_bytes());
    stream.write_all(&head)?;
    stream.write_all(bytes)
}

/// Reads what [`Histories::send`] sends, at most so many bytes of it.
pub(super) fn receive(stream: &mut UnixStream, bytes_max: usize) -> Result<Inherited, Unread> {
    let mut input = Input { stream, until: Instant::now() + TIMEOUT, left: bytes_max };
    let Inherited { mut past, mut keys } = Inherited::default();
    loop {
        let [kind] = input.array()?;
        let first = u32::from_le_bytes(input.array()?);
        match kind {
            CHANNELS => past.channels.extend(snapshot::read_part(&input.bytes(first)?)?),
            REVOCATIONS => {
                past.revocations.extend(snapshot::read_revocations(&input.bytes(first)?)?);
            }
            FACTS => past.facts.extend(snapshot::read_facts(&input.bytes(first)?)?),
            KEYS => {
                let more = serde_json::from_slice::<Vec<KnownKey>>(&input.bytes(first)?);
                keys.extend(more.map_err(|_| nonsense("idempotency keys are damaged"))?);
            }
            END => {
                let second = u32::from_le_bytes(input.array()?);
                let [numbers_no_more, process] = input.array()?;
                past.leads = numbers_no_more == 1;
                let process = ProcessId::numbered(process);
                past.process =
                    process.ok_or_else(|| nonsense("no process has this number"))?.next();
                let whole = usize::try_from(first) == Ok(past.channels.len())
                    && usize::try_from(second) == Ok(past.revocations.len());
                return if whole {
                    Ok(Inherited { past, keys })
                } else {
                    Err(nonsense("a part is missing"))
                };
            }
            NO_MORE => {
                let why = input.bytes(first)?;
                let why = String::from_utf8_lossy(&why[..why.len().min(REASON_BYTES_MAX)]);
                return Err(Unread::Refused(crate::exit::harmless_line(&why)));
            }
            _ => return Err(nonsense("a part of no known kind")),
        }
    }
}

fn nonsense(why: &'static str) -> Unread {
    Unread::Connection(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// The bytes that come, within their bounds.
struct Input<'a> {
    stream: &'a mut UnixStream,
    until: Instant,
    left: usize,
}

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, Unread> {
        let length = usize::try_from(length).map_err(|_| Unread::TooLarge)?;
        self.left = self.left.checked_sub(length).ok_or(Unread::TooLarge)?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), Unread> {
        while !into.is_empty() {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unread::TooSlow);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(into) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => into = &mut into[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &[u8], bytes_max: usize) -> Result<Inherited, Unread> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).unwrap();
        drop(ours);
        receive(&mut theirs, bytes_max)
    }

    #[test]
    fn an_empty_answer_reads_as_an_empty_past() {
        let read = answer(b"E\0\0\0\0\0\0\0\0\x01\x0f", 0).unwrap();
        let Inherited { past, keys } = read;
        assert!(past.channels.is_empty() && past.revocations.is_empty() && past.leads);
        assert!(past.facts.is_empty() && keys.is_empty());
        assert_eq!(past.process.number(), 0, "behind the fifteenth");
    }

    #[test]
    fn bounds_refusals_and_damage_are_told_apart() {
        let large = answer(b"C\xff\xff\xff\xff", BYTES_MAX);
        assert!(matches!(large, Err(Unread::TooLarge)), "{large:?}");
        let refused = answer(b"X\x04\0\0\0busy", BYTES_MAX);
        assert!(matches!(&refused, Err(Unread::Refused(why)) if why == "busy"), "{refused:?}");
        let damaged = answer(b"C\x01\0\0\0x", BYTES_MAX);
        assert!(matches!(damaged, Err(Unread::Damaged(_))), "{damaged:?}");
        for other in [
            &b""[..],
            b"E\x01\0\0\0\0\0\0\0\x01\0",
            b"E\0\0\0\0\0\0\0\0\x01\x10",
            b"K\x02\0\0\0{}",
            b"R\x09\0\0\0abc",
            b"?12345",
        ] {
            let read = answer(other, BYTES_MAX);
            assert!(matches!(read, Err(Unread::Connection(_))), "{read:?}");
        }
    }
}
