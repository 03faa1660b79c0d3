//! Compression of what leaves: each frame by itself, once for all clients that take it so.

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress};

use super::frame::{Opcode, put_header, server_frame};
use super::zip;

/// Shorter messages are not worth it: the work costs more than the bytes.
const PRESSED_BYTES_MIN: usize = if cfg!(any(test, fuzzing)) { 16 } else { 256 };

/// The same where messages before them help.
const WINDOW_BYTES_MIN: usize = 16;

/// Longer messages are compressed with less care.
const CAREFUL_BYTES_MAX: usize = 16 << 10;

/// Longer messages go as they are: a shard does nothing else meanwhile.
const PRESSED_BYTES_MAX: usize = 256 << 10;

/// The bytes that are compressed for one turn; what comes behind them goes as it is.
const PRESSED_PER_TURN: usize = 512 << 10;

/// The end of each flush, which a message leaves out.
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];

/// The bit of a frame's first byte that says that its message is compressed.
pub(super) const PRESSED: u8 = 0x40;

/// The counts of what was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressed {
    pub(crate) messages: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

/// The compressors of a shard, which are made when they are needed first.
#[derive(Debug, Default)]
pub(crate) struct Deflater {
    careful: Option<Compress>,
    fast: Option<Compress>,
    /// Room for one compressed message.
    out: Vec<u8>,
    /// The bytes that were compressed for this turn.
    spent: usize,
    pub(crate) pressed: Pressed,
}

impl Deflater {
    /// A turn is over. Returns what was compressed since the last one.
    pub(crate) fn end_turn(&mut self) -> Pressed {
        self.spent = 0;
        std::mem::take(&mut self.pressed)
    }

    /// Returns a message in compressed form, by itself, if that is shorter and worth the work.
    fn press(&mut self, payload: &[u8], bytes_max: usize) -> Option<&[u8]> {
        let len = payload.len();
        let is_worth_it = (PRESSED_BYTES_MIN..=PRESSED_BYTES_MAX.min(bytes_max)).contains(&len);
        if !is_worth_it || self.spent + len > PRESSED_PER_TURN {
            return None;
        }
        self.spent += len;
        let (place, level) = if len <= CAREFUL_BYTES_MAX {
            (&mut self.careful, Compression::new(6))
        } else {
            (&mut self.fast, Compression::fast())
        };
        let compress = place.get_or_insert_with(|| Compress::new(level, false));
        compress.reset();
        self.out.clear();
        flush(compress, payload, &mut self.out)?;
        let pressed = self.out.strip_suffix(TAIL)?;
        if pressed.len() >= len {
            return None;
        }
        self.pressed.messages += 1;
        self.pressed.bytes_before += len as u64;
        self.pressed.bytes_after += pressed.len() as u64;
        Some(pressed)
    }

    /// Appends some whole frames to `out`, those of messages compressed where that is shorter, and
    /// puts the new end of each into `ends`, which count from where `out` begins. Messages of more
    /// than `bytes_max` stay as they are.
    pub(crate) fn press_frames(
        &mut self,
        frames: &[u8],
        ends: &mut [usize],
        out: &mut BytesMut,
        bytes_max: usize,
    ) {
        let mut start = 0;
        for end in ends {
            let frame = &frames[start..*end];
            start = *end;
            let message = server_frame(frame)
                .filter(|(opcode, _)| matches!(opcode, Opcode::Text | Opcode::Binary));
            if let Some((opcode, payload)) = message
                && let Some(pressed) = self.press(&frame[payload], bytes_max)
            {
                put_pressed(out, opcode, pressed);
            } else {
                out.extend_from_slice(frame);
            }
            *end = out.len();
        }
    }

    /// The same with messages that [`zip::put_stored`] has written, in chunks or not.
    pub(crate) fn zip_frames(
        &mut self,
        (frames, ends): (&[u8], &mut [usize]),
        in_chunks: bool,
        out: &mut BytesMut,
    ) {
        let (mut start, mut message) = (0, Vec::new());
        for end in ends {
            let frame = &frames[start..*end];
            start = *end;
            message.clear();
            zip::take_stored(frame, in_chunks, &mut message);
            if self.press(&message, usize::MAX).is_some() {
                // With the end of the flush: the next block begins at a byte.
                zip::put_whole(out, &self.out, in_chunks);
            } else {
                out.extend_from_slice(frame);
            }
            *end = out.len();
        }
    }

    /// The same with a compressor that goes on from what it has compressed before: its messages
    /// stay compressed even if that makes them longer, as the next ones reach back into them.
    /// Returns the number of messages that were compressed.
    pub(super) fn press_within(
        &mut self,
        compress: &mut Compress,
        (frames, ends): (&[u8], &mut [usize]),
        out: &mut BytesMut,
    ) -> u32 {
        let (mut start, mut messages) = (0, 0);
        for end in ends {
            let frame = &frames[start..*end];
            start = *end;
            match self.press_next(compress, frame) {
                Some(opcode) => {
                    put_pressed(out, opcode, &self.out);
                    messages += 1;
                }
                None => out.extend_from_slice(frame),
            }
            *end = out.len();
        }
        messages
    }

    /// Compresses the message of a frame, unless it is too short or long. Returns its kind.
    fn press_next(&mut self, compress: &mut Compress, frame: &[u8]) -> Option<Opcode> {
        let (opcode, payload) = server_frame(frame)?;
        let len = payload.len();
        let is_message = matches!(opcode, Opcode::Text | Opcode::Binary);
        let is_worth_it = (WINDOW_BYTES_MIN..=PRESSED_BYTES_MAX).contains(&len);
        if !is_message || !is_worth_it || self.spent + len > PRESSED_PER_TURN {
            return None;
        }
        self.spent += len;
        self.out.clear();
        flush(compress, &frame[payload], &mut self.out)?;
        debug_assert!(self.out.ends_with(TAIL), "a flush ends so");
        self.out.truncate(self.out.len() - TAIL.len());
        self.pressed.messages += 1;
        self.pressed.bytes_before += len as u64;
        self.pressed.bytes_after += self.out.len() as u64;
        Some(opcode)
    }

    /// Gives memory back that one large message has needed.
    pub(crate) fn shed(&mut self) {
        self.out.clear();
        self.out.shrink_to(PRESSED_BYTES_MAX);
    }
}

/// Writes a whole frame of a compressed message.
fn put_pressed(out: &mut BytesMut, opcode: Opcode, pressed: &[u8]) {
    let begin = out.len();
    put_header(out, opcode, pressed.len());
    out[begin] |= PRESSED;
    out.extend_from_slice(pressed);
}

/// Compresses `input` to its end, so that the receiver can read all of it.
fn flush(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut done = 0;
    loop {
        // More than it can become: the loop is for what cannot be.
        out.reserve(input.len() - done + input.len() / 8 + 64);
        let before = compress.total_in();
        compress.compress_vec(&input[done..], out, FlushCompress::Sync).ok()?;
        done += usize::try_from(compress.total_in() - before).ok()?;
        if done == input.len() && out.len() < out.capacity() {
            return Some(());
        }
    }
}
