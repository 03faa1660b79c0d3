//! Decompression of what comes: one message at a time, bounded while it grows.

use flate2::{Decompress, FlushDecompress, Status};

/// The end that a compressed message leaves out.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The least room for an inflated message.
const ROOM_BYTES: usize = 1 << 10;

/// The fault in a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It becomes longer than a message may be.
    TooLarge,
    /// It was not made by a compressor.
    Corrupt,
}

/// The counts of what was inflated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inflated {
    pub(crate) messages: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// Messages that would have become too long.
    pub(crate) bombs: u64,
}

/// The one decompressor of a shard, which is made when it is needed first. Nothing of a message is
/// left in it for the next one.
#[derive(Debug, Default)]
pub(crate) struct Inflater {
    inner: Option<Decompress>,
    out: Vec<u8>,
    pub(crate) inflated: Inflated,
}

impl Inflater {
    /// Returns what a compressed message says, of `bytes_max` bytes at most. `payload` is used up.
    pub(crate) fn inflate(
        &mut self,
        payload: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<&[u8], Fault> {
        let before = payload.len();
        payload.extend_from_slice(&TAIL);
        self.out.clear();
        let outcome = self.run(payload, before, bytes_max);
        payload.clear();
        self.inflated.bombs += u64::from(outcome == Err(Fault::TooLarge));
        outcome?;
        self.inflated.messages += 1;
        self.inflated.bytes_before += before as u64;
        self.inflated.bytes_after += self.out.len() as u64;
        Ok(&self.out)
    }

    /// Inflates `input`, the first `end` bytes of which have come, and the others are the end that
    /// is left out.
    fn run(&mut self, input: &[u8], end: usize, bytes_max: usize) -> Result<(), Fault> {
        let inner = self.inner.get_or_insert_with(|| Decompress::new(false));
        inner.reset(false);
        let mut at = 0;
        loop {
            // One byte more than may come, so that too many are seen.
            let room = (bytes_max + 1).saturating_sub(self.out.len());
            let wanted = self.out.len().max((input.len() - at) * 4).max(ROOM_BYTES).min(room);
            self.out.reserve_exact(wanted);
            let (taken, len) = (inner.total_in(), self.out.len());
            let status = inner
                .decompress_vec(&input[at..], &mut self.out, FlushDecompress::Sync)
                .map_err(|_| Fault::Corrupt)?;
            let taken = usize::try_from(inner.total_in() - taken).unwrap_or(usize::MAX);
            at += taken;
            if self.out.len() > bytes_max {
                return Err(Fault::TooLarge);
            }
            match status {
                // Some compressors end each message for good; a byte may follow that means nothing.
                Status::StreamEnd if at + 1 >= end => return Ok(()),
                Status::StreamEnd => inner.reset(false),
                Status::Ok | Status::BufError => {
                    let has_room = self.out.len() < self.out.capacity();
                    if has_room && (at == input.len() || taken == 0 && self.out.len() == len) {
                        let is_whole = at == input.len();
                        return if is_whole { Ok(()) } else { Err(Fault::Corrupt) };
                    }
                }
            }
        }
    }

    /// Returns what was inflated since the last call, and gives memory back that one large message
    /// has needed.
    pub(crate) fn settle(&mut self) -> Inflated {
        self.out.clear();
        self.out.shrink_to(64 * ROOM_BYTES);
        std::mem::take(&mut self.inflated)
    }
}
