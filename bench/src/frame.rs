//! Raw WebSocket frames: how both sides write them, and a reader that follows one connection
//! through any split.

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

/// A frame that says it is longer than [`PAYLOAD_BYTES_MAX`]; the connection makes no sense any
/// more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

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
    Ok(Some(Header { opcode: first & 0x0f, mask, begin, end: begin + len }))
}

/// Reads one connection's frames, masked or not. It owns memory only while a frame has come in
/// part.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    part: Vec<u8>,
}

impl Reader {
    /// Takes bytes, unmasking in place, and calls `each` with opcode and payload of every frame
    /// that ends in them.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<(), TooLong> {
        if self.part.is_empty() {
            let used = whole_frames(bytes, &mut each)?;
            self.part.extend_from_slice(&bytes[used..]);
        } else {
            self.part.extend_from_slice(bytes);
            let used = whole_frames(&mut self.part, &mut each)?;
            self.part.drain(..used);
        }
        if self.part.is_empty() {
            self.part = Vec::new();
        }
        Ok(())
    }
}

/// Calls `each` for the whole frames in `bytes` and returns how many bytes they are.
fn whole_frames(bytes: &mut [u8], each: &mut impl FnMut(u8, &[u8])) -> Result<usize, TooLong> {
    let mut used = 0;
    while let Some(header) = header(&bytes[used..])? {
        let Some(payload) = bytes.get_mut(used + header.begin..used + header.end) else { break };
        if let Some(mask) = header.mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        each(header.opcode, payload);
        used += header.end;
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

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
