//! Raw WebSocket frames: how both sides write them, and a reader that follows one connection
//! through any split.

use flate2::{Decompress, FlushDecompress};

/// The mask of every client frame. A fixed one: servers must unmask it all the same.
const MASK: [u8; 4] = [0x21, 0x43, 0x65, 0x87];

/// Text and binary frames carry the messages, and further pieces of one; pings want an answer.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The longest payload that is taken: far over what the loads send, so a longer one is
/// nonsense.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A frame that says it is longer than [`PAYLOAD_BYTES_MAX`], or is when it is inflated, or cannot
/// be; the connection makes no sense any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The bit of a frame's first byte that says that its message is compressed.
const COMPRESSED: u8 = 0x40;

fn put_len(out: &mut Vec<u8>, first: u8, len: usize, masked: u8) {
    out.push(first);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => out.push(masked | len),
        (_, Ok(len)) => {
            out.push(masked | 0x7e);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(masked | 0x7f);
            out.extend((len as u64).to_be_bytes());
        }
    }
}

/// Writes a whole, masked frame, as clients must.
pub(crate) fn put_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_masked_of(out, opcode, payload.len(), |out| out.extend_from_slice(payload));
}

/// Writes a whole, masked frame whose payload is the `len` bytes that `payload` appends.
pub(crate) fn put_masked_of(
    out: &mut Vec<u8>,
    opcode: u8,
    len: usize,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    put_len(out, 0x80 | opcode, len, 0x80);
    out.extend(MASK);
    let begin = out.len();
    payload(out);
    debug_assert_eq!(out.len() - begin, len, "the length is sent first");
    for (byte, mask) in out[begin..].iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes a whole, unmasked frame, as servers must.
pub(crate) fn put_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_len(out, 0x80 | opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Where the payload of a frame lies, and what masks it.
struct Header {
    opcode: u8,
    is_compressed: bool,
    mask: Option<[u8; 4]>,
    begin: usize,
    end: usize,
}

/// The header at the beginning of `bytes`, or `None` while it is not whole.
fn header(bytes: &[u8]) -> Result<Option<Header>, TooLong> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masked = second & 0x80 != 0;
    let begin = 2 + wide + if masked { 4 } else { 0 };
    if bytes.len() < begin {
        return Ok(None);
    }
    let len = match wide {
        0 => u64::from(second & 0x7f),
        _ => rest[..wide].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
    };
    let len = usize::try_from(len).ok().filter(|len| *len <= PAYLOAD_BYTES_MAX).ok_or(TooLong)?;
    let mask = masked.then(|| [rest[wide], rest[wide + 1], rest[wide + 2], rest[wide + 3]]);
    let (opcode, is_compressed) = (first & 0x0f, first & COMPRESSED != 0);
    Ok(Some(Header { opcode, is_compressed, mask, begin, end: begin + len }))
}

/// Reads one connection's frames, masked or not. It owns memory only while a frame has come in
/// part.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    part: Vec<u8>,
    /// Boxed: most runs are without.
    inflater: Option<Box<Inflater>>,
}

/// A client's end of permessage-deflate. Its window holds what it has inflated before, as messages
/// may be compressed by that.
#[derive(Debug)]
struct Inflater {
    inner: Decompress,
    message: Vec<u8>,
}

impl Inflater {
    fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], TooLong> {
        self.message.clear();
        for mut input in [payload, &[0, 0, 0xff, 0xff]] {
            while !input.is_empty() {
                self.message.reserve(4 * input.len() + 64);
                let before = self.inner.total_in();
                let read =
                    self.inner.decompress_vec(input, &mut self.message, FlushDecompress::Sync);
                let taken = usize::try_from(self.inner.total_in() - before).unwrap_or_default();
                input = &input[taken..];
                let has_room = self.message.len() < self.message.capacity();
                let is_stuck = taken == 0 && has_room;
                if read.is_err() || is_stuck || self.message.len() > PAYLOAD_BYTES_MAX {
                    return Err(TooLong);
                }
            }
        }
        Ok(&self.message)
    }
}

impl Reader {
    /// The server has agreed to compress messages.
    pub(crate) fn inflate(&mut self) {
        let inner = Decompress::new(false);
        self.inflater = Some(Box::new(Inflater { inner, message: Vec::new() }));
    }

    /// Takes bytes, unmasking in place, and calls `each` with opcode and payload of every frame
    /// that ends in them.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<(), TooLong> {
        if self.part.is_empty() {
            let used = whole_frames(bytes, self.inflater.as_deref_mut(), &mut each)?;
            self.part.extend_from_slice(&bytes[used..]);
        } else {
            self.part.extend_from_slice(bytes);
            let used = whole_frames(&mut self.part, self.inflater.as_deref_mut(), &mut each)?;
            self.part.drain(..used);
        }
        if self.part.is_empty() {
            self.part = Vec::new();
        }
        Ok(())
    }
}

/// Calls `each` for the whole frames in `bytes` and returns how many bytes they are.
fn whole_frames(
    bytes: &mut [u8],
    mut inflater: Option<&mut Inflater>,
    each: &mut impl FnMut(u8, &[u8]),
) -> Result<usize, TooLong> {
    let mut used = 0;
    while let Some(header) = header(&bytes[used..])? {
        let Some(payload) = bytes.get_mut(used + header.begin..used + header.end) else { break };
        if let Some(mask) = header.mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        match inflater.as_deref_mut().filter(|_| header.is_compressed) {
            Some(inflater) => each(header.opcode, inflater.inflate(payload)?),
            None => each(header.opcode, payload),
        }
        used += header.end;
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_frames_reach_back_to_those_before_them() {
        let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
        let (mut bytes, mut reader) = (Vec::new(), Reader::default());
        let words: Vec<String> = (0..20).map(|word| "a long word, ".repeat(word * 99)).collect();
        for word in &words {
            let mut pressed = Vec::with_capacity(word.len() + 100);
            let flush = flate2::FlushCompress::Sync;
            compress.compress_vec(word.as_bytes(), &mut pressed, flush).unwrap();
            put_len(&mut bytes, 0x80 | COMPRESSED | TEXT, pressed.len() - 4, 0);
            bytes.extend_from_slice(&pressed[..pressed.len() - 4]);
        }
        put_unmasked(&mut bytes, TEXT, b"plain");
        reader.inflate();
        let mut heard = Vec::new();
        for piece in bytes.chunks_mut(7) {
            reader.feed(piece, |_, payload| heard.push(payload.to_vec())).unwrap();
        }
        assert!(heard[..20].iter().zip(&words).all(|(heard, word)| heard == word.as_bytes()));
        assert_eq!(heard[20], b"plain");
        assert_eq!(reader.feed(&mut [0xc1, 3, 0xff, 0xff, 0xff], |_, _| {}), Err(TooLong));
    }

    const LENGTHS: [usize; 6] = [0, 5, 125, 126, 65_535, 70_000];

    #[test]
    fn frames_read_back_through_every_split() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for len in LENGTHS {
            put_masked(&mut bytes, TEXT, &vec![b'a'; len]);
            put_unmasked(&mut bytes, PING, &vec![b'b'; len]);
            expected.extend([(TEXT, vec![b'a'; len]), (PING, vec![b'b'; len])]);
        }
        for split in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut reader = Reader::default();
            let mut seen = Vec::new();
            // Byte by byte only through the short frames: the rest is copied once more for each
            // piece.
            let end = if split < 1000 { 600.min(bytes.len()) } else { bytes.len() };
            for piece in bytes[..end].to_vec().chunks_mut(split) {
                reader
                    .feed(piece, |opcode, payload| seen.push((opcode, payload.to_vec())))
                    .unwrap();
            }
            let count = if split < 1000 { seen.len() } else { expected.len() };
            assert!(count >= 7);
            assert_eq!(seen, expected[..count], "in pieces of {split}");
        }
    }

    #[test]
    fn a_masked_frame_is_the_one_of_the_standard_but_for_the_mask() {
        let mut bytes = Vec::new();
        put_masked(&mut bytes, TEXT, b"Hello");
        assert_eq!(bytes[..2], [0x81, 0x85]);
        assert_eq!(bytes[6], b'H' ^ MASK[0]);
        bytes.clear();
        put_unmasked(&mut bytes, TEXT, b"Hello");
        assert_eq!(bytes, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let mut bytes = [0x82, 0x7f, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(Reader::default().feed(&mut bytes, |_, _| {}), Err(TooLong));
    }

    #[test]
    fn nothing_is_kept_behind_whole_frames() {
        let mut bytes = Vec::new();
        put_unmasked(&mut bytes, TEXT, b"one");
        let mut reader = Reader::default();
        reader.feed(&mut bytes, |_, _| {}).unwrap();
        assert_eq!(reader.part.capacity(), 0);
    }
}
