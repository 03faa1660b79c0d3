//! The histories of the older process on their way to the newer one, over the connection on which
//! the listening sockets passed.
//!
//! ```text
//! request = 'H', the first epoch of the newer process, in 8 digits
//! answer = part* end
//! part   = kind u8 ('C' channels, 'R' revocations), length u32, bytes
//! end    = 'E', number of channels u32, number of revocations u32, 1 u8
//!        | 'X', length u32, the reason for which there is no more
//! ```
//! Before the first part the older process stops to number publications: the newer one numbers
//! them for both from then on (`link.rs`), and the same epochs go on in it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stentor_shards::snapshot::{self, Damaged, Past, Saved};
use stentor_shards::{Epoch, Following, Handle, Link};

use super::meet::{ANSWER_TIMEOUT, is_timeout};
use super::pass::HISTORIES;
use crate::control::ask::{ask, ask_one};

/// The form of what is sent. A process that expects another form is sent nothing.
pub(super) const FORM: u32 = 1;

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
const END: u8 = b'E';
const NO_MORE: u8 = b'X';

/// The histories of this process, for a newer one.
#[derive(Debug)]
pub(crate) struct Histories(pub(crate) Handle);

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
    pub(super) fn send(&self, stream: &mut UnixStream) -> io::Result<Option<Link>> {
        let epoch = read_epoch(stream)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut following = self.0.follow(epoch);
        if let Err(why) = self.send_parts(stream, &mut following)? {
            let why = why.as_bytes();
            send_part(stream, NO_MORE, &why[..why.len().min(REASON_BYTES_MAX)])?;
            return Ok(None);
        }
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Some(following.link))
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
        for part in saved(&self.0, true)? {
            let Saved { bytes, records, .. } = match part {
                Ok(part) => part,
                Err(why) => return Ok(Err(why.to_string())),
            };
            channels += records;
            send_part(stream, CHANNELS, &bytes)?;
        }
        let mut behind = None;
        loop {
            let page = runtime.block_on(ask_one(|| self.0.revocations(behind.clone())));
            let Ok(page) = page else { return Ok(Err("a shard does not answer".into())) };
            let Some(last) = page.last() else { break };
            revocations += u32::try_from(page.len()).unwrap_or(u32::MAX);
            behind = Some(last.clone());
            send_part(stream, REVOCATIONS, &snapshot::put_revocations(&page))?;
        }
        let mut end = vec![END];
        end.extend(channels.to_le_bytes());
        end.extend(revocations.to_le_bytes());
        end.push(1);
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
pub(super) fn receive(stream: &mut UnixStream, bytes_max: usize) -> Result<Past, Unread> {
    let mut input = Input { stream, until: Instant::now() + TIMEOUT, left: bytes_max };
    let mut past = Past::default();
    loop {
        let [kind] = input.array()?;
        let first = u32::from_le_bytes(input.array()?);
        match kind {
            CHANNELS => past.channels.extend(snapshot::read_part(&input.bytes(first)?)?),
            REVOCATIONS => {
                past.revocations.extend(snapshot::read_revocations(&input.bytes(first)?)?);
            }
            END => {
                let second = u32::from_le_bytes(input.array()?);
                let [numbers_no_more] = input.array()?;
                past.leads = numbers_no_more == 1;
                let whole = usize::try_from(first) == Ok(past.channels.len())
                    && usize::try_from(second) == Ok(past.revocations.len());
                return if whole { Ok(past) } else { Err(nonsense("a part is missing")) };
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

    fn answer(bytes: &[u8], bytes_max: usize) -> Result<Past, Unread> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).unwrap();
        drop(ours);
        receive(&mut theirs, bytes_max)
    }

    #[test]
    fn an_empty_answer_reads_as_an_empty_past() {
        let past = answer(b"E\0\0\0\0\0\0\0\0\x01", 0).unwrap();
        assert!(past.channels.is_empty() && past.revocations.is_empty() && past.leads);
    }

    #[test]
    fn bounds_refusals_and_damage_are_told_apart() {
        let large = answer(b"C\xff\xff\xff\xff", BYTES_MAX);
        assert!(matches!(large, Err(Unread::TooLarge)), "{large:?}");
        let refused = answer(b"X\x04\0\0\0busy", BYTES_MAX);
        assert!(matches!(&refused, Err(Unread::Refused(why)) if why == "busy"), "{refused:?}");
        let damaged = answer(b"C\x01\0\0\0x", BYTES_MAX);
        assert!(matches!(damaged, Err(Unread::Damaged(_))), "{damaged:?}");
        for other in [&b""[..], b"E\x01\0\0\0\0\0\0\0\x01", b"R\x09\0\0\0abc", b"?12345"] {
            let read = answer(other, BYTES_MAX);
            assert!(matches!(read, Err(Unread::Connection(_))), "{read:?}");
        }
    }
}
