//! The histories of an older process as a newer one reads them: within a time, and a number of
//! bytes.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stentor_shards::snapshot::{self, Damaged, Past, ProcessId};

use crate::control::word::KnownKey;

/// The most bytes that a newer process reads.
pub(super) const BYTES_MAX: usize = 1 << 30;

/// The longest time that all of it may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest reason.
pub(super) const REASON_BYTES_MAX: usize = 1024;

/// The kinds of parts.
pub(super) const CHANNELS: u8 = b'C';
pub(super) const REVOCATIONS: u8 = b'R';
pub(super) const FACTS: u8 = b'W';
pub(super) const KEYS: u8 = b'K';
pub(super) const END: u8 = b'E';
pub(super) const NO_MORE: u8 = b'X';

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

/// Reads what the older process sends (`histories.rs`), at most so many bytes of it.
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

/// Returns `true` if a wait was over before anything came.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
