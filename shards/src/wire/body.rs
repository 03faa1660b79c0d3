//! The body of a request, in any split: bounded, by its length or in chunks (RFC 9112, 6 and 7.1).

use super::http::Head;
use super::refusal::Refusal;

/// The most bytes of a body.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// The longest line beside the content: the size of a chunk with its extensions, or a trailer.
const LINE_BYTES_MAX: usize = 1024;

/// The part of a body that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The last bytes of the content, so many.
    Rest(usize),
    /// The line before a chunk: the size so far and the number of its digits, bytes of the line.
    Size { size: usize, digits: usize, line: usize },
    /// Bytes of a chunk.
    Chunk(usize),
    /// The line break behind a chunk, of which so many bytes have come.
    ChunkEnd(usize),
    /// A line behind the last chunk; an empty one is the end.
    Trailer { line: usize },
}

/// A body that is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    next: Next,
    /// The content so far.
    pub(crate) content: Vec<u8>,
}

impl Default for Body {
    fn default() -> Self {
        Self { next: Next::Rest(0), content: Vec::new() }
    }
}

impl Body {
    /// Returns the body that a head announces: an empty one, if it announces none.
    pub(super) fn of(head: &Head<'_>) -> Result<Self, Refusal> {
        let bad = |why| Err(Refusal::BadRequest(why));
        let length = head.single("content-length", "two lengths")?;
        let coding = head.single("transfer-encoding", "two transfer codings")?;
        let next = match (length, coding) {
            (None, None) => Next::Rest(0),
            (Some(_), Some(_)) => return bad("a body has a length or chunks, not both"),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Next::SIZE,
            (None, Some(_)) => return bad("the only transfer coding here is chunked"),
            (Some(length), None) => {
                let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
                if !digits {
                    return bad("Content-Length is no number");
                }
                // A number that does not even fit is too large as well.
                let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
                match length {
                    Some(length) if length <= BODY_BYTES_MAX => Next::Rest(length),
                    _ => return Err(Refusal::BodyTooLarge),
                }
            }
        };
        Ok(Self { next, content: Vec::new() })
    }

    /// Takes the next bytes. Returns the number of those that are its own, once it is complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let mut at = 0;
        loop {
            if self.next == Next::Rest(0) {
                return Ok(Some(at));
            }
            let Some(&byte) = bytes.get(at) else { return Ok(None) };
            match self.next {
                Next::Rest(left) | Next::Chunk(left) => {
                    let taken = left.min(bytes.len() - at);
                    if self.content.is_empty() {
                        // At once: a slow body that grew by doubling would hold twice its bytes.
                        self.content.reserve_exact(left);
                    }
                    self.content.extend_from_slice(&bytes[at..at + taken]);
                    at += taken;
                    self.next = match (self.next, left - taken) {
                        (Next::Rest(_), left) => Next::Rest(left),
                        (_, 0) => Next::ChunkEnd(0),
                        (_, left) => Next::Chunk(left),
                    };
                }
                next => {
                    at += 1;
                    self.next = next.behind(byte)?;
                    if matches!(self.next, Next::Chunk(size)
                        if self.content.len() + size > BODY_BYTES_MAX)
                    {
                        return Err(Refusal::BodyTooLarge);
                    }
                }
            }
        }
    }
}

impl Next {
    /// The beginning of the line before a chunk.
    const SIZE: Self = Self::Size { size: 0, digits: 0, line: 0 };

    /// Returns the part behind a byte that is no content.
    fn behind(self, byte: u8) -> Result<Self, Refusal> {
        let bad = Err(Refusal::BadRequest("the chunks of the body are broken"));
        match self {
            Self::Size { line, .. } | Self::Trailer { line } if line >= LINE_BYTES_MAX => bad,
            Self::Size { size, digits, line } => {
                let in_number = digits == line;
                match (char::from(byte).to_digit(16), byte) {
                    (Some(digit), _) if in_number => {
                        let size = size << 4 | digit as usize;
                        if size > BODY_BYTES_MAX {
                            return Err(Refusal::BodyTooLarge);
                        }
                        Ok(Self::Size { size, digits: digits + 1, line: line + 1 })
                    }
                    (_, b'\n') if digits > 0 && size == 0 => Ok(Self::Trailer { line: 0 }),
                    (_, b'\n') if digits > 0 => Ok(Self::Chunk(size)),
                    (_, b'\r' | b';' | b' ' | b'\t') if digits > 0 => {
                        Ok(Self::Size { size, digits, line: line + 1 })
                    }
                    // An extension, which nobody here knows.
                    (_, byte) if !in_number && byte != b'\n' => {
                        Ok(Self::Size { size, digits, line: line + 1 })
                    }
                    _ => bad,
                }
            }
            Self::ChunkEnd(0) if byte == b'\r' => Ok(Self::ChunkEnd(1)),
            Self::ChunkEnd(_) if byte == b'\n' => Ok(Self::SIZE),
            Self::Trailer { line: 0 } if byte == b'\n' => Ok(Self::Rest(0)),
            Self::Trailer { .. } if byte == b'\n' => Ok(Self::Trailer { line: 0 }),
            Self::Trailer { line: 0 } if byte == b'\r' => Ok(self),
            Self::Trailer { line } => Ok(Self::Trailer { line: line + 1 }),
            Self::ChunkEnd(_) | Self::Rest(_) | Self::Chunk(_) => bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(bytes: &[u8], split: usize) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        let mut body = Body { next: Next::SIZE, content: Vec::new() };
        let mut at = 0;
        for part in bytes.chunks(split.max(1)) {
            if let Some(own) = body.feed(part)? {
                return Ok(Some((body.content, at + own)));
            }
            at += part.len();
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_put_together_and_broken_ones_refused() {
        let whole = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nnext";
        for split in 1..whole.len() {
            let read = chunked(whole, split).unwrap();
            assert_eq!(read, Some((b"abc0123456789".to_vec(), whole.len() - 4)), "{split}");
        }
        for broken in ["\r\n", "x\r\n", "3\r\nabcd", "-3\r\n", ";\r\n", "1\r\na\r\r"] {
            let read = chunked(broken.as_bytes(), 1);
            assert!(matches!(read, Err(Refusal::BadRequest(_))), "{broken:?}: {read:?}");
        }
        let long = format!("1;{}", "x".repeat(LINE_BYTES_MAX));
        assert!(matches!(chunked(long.as_bytes(), 64), Err(Refusal::BadRequest(_))));
        for large in ["10001\r\n", "fffffffffffffffffffff\r\n"] {
            assert_eq!(chunked(large.as_bytes(), 64), Err(Refusal::BodyTooLarge), "{large:?}");
        }
        let sum = format!("8000\r\n{}\r\n8001\r\n", "x".repeat(0x8000));
        assert_eq!(chunked(sum.as_bytes(), 1000), Err(Refusal::BodyTooLarge));
    }

    proptest! {
        /// Any bytes in any split: the same outcome, and never more than the bound.
        #[test]
        fn a_split_makes_no_difference(bytes in "[0-9a-f;x\r\n]{0,80}", split in 1..40_usize) {
            let whole = chunked(bytes.as_bytes(), bytes.len());
            prop_assert_eq!(chunked(bytes.as_bytes(), split), whole);
        }
    }
}
