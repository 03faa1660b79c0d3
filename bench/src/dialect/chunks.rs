//! Chunks of HTTP/1.1: the body within them, read in place.

/// The most bytes of a chunk's line, or of a line behind the last chunk.
const LINE_BYTES_MAX: usize = 1 << 10;

/// How far a body in chunks has come.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// The bytes of the line so far.
    line_bytes: usize,
    /// The length that the line says so far.
    len: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a chunk's length.
    Length,
    /// Behind it, in its line.
    Extension,
    /// In the chunk; so many bytes are to come.
    Data(u64),
    /// In the line end behind it.
    End,
    /// Behind the last chunk.
    Over,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { place: Place::Length, line_bytes: 0, len: 0 }
    }

    /// Moves the body's bytes to the beginning of `bytes`, and returns their count; `None` if the
    /// chunks make no sense.
    pub(super) fn strip(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let (mut body, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at).copied() {
            if let Place::Data(left) = self.place {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                bytes.copy_within(at..at + count, body);
                (body, at) = (body + count, at + count);
                let left = left - count as u64;
                self.place = if left > 0 { Place::Data(left) } else { Place::End };
                continue;
            }
            at += 1;
            self.step(byte)?;
        }
        Some(body)
    }

    /// Takes one byte beside the body.
    fn step(&mut self, byte: u8) -> Option<()> {
        self.line_bytes += 1;
        if self.line_bytes > LINE_BYTES_MAX {
            return None;
        }
        match (self.place, byte) {
            (Place::Length | Place::Extension, b'\n') => {
                // A line without a digit is no length.
                let has_length = self.line_bytes > 2;
                let place = if self.len > 0 { Place::Data(self.len) } else { Place::Over };
                (self.place, self.line_bytes, self.len) = (place, 0, 0);
                return has_length.then_some(());
            }
            (Place::Length, b'\r' | b';' | b' ') => self.place = Place::Extension,
            (Place::Length, digit) => {
                let digit = char::from(digit).to_digit(16)?;
                self.len = self.len.checked_mul(16)?.checked_add(digit.into())?;
            }
            (Place::End, b'\n') => (self.place, self.line_bytes) = (Place::Length, 0),
            (Place::End, other) if other != b'\r' => return None,
            (Place::Over, b'\n') => self.line_bytes = 0,
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the body, in whatever pieces it comes.
    fn body(text: &str, split: usize) -> Option<Vec<u8>> {
        let (mut chunks, mut body) = (Chunks::new(), Vec::new());
        for piece in text.as_bytes().to_vec().chunks_mut(split) {
            let count = chunks.strip(piece)?;
            body.extend_from_slice(&piece[..count]);
        }
        Some(body)
    }

    #[test]
    fn a_body_is_read_through_every_split() {
        let text = "5\r\nhello\r\n1;a=b\r\n \r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        for split in 1..=text.len() {
            assert_eq!(body(text, split).unwrap(), b"hello 0123456789", "in pieces of {split}");
        }
    }

    #[test]
    fn chunks_that_make_no_sense_are_refused() {
        let long = format!("1;{}", "x".repeat(2_000));
        for text in ["x\r\n", "\r\n", "ffffffffffffffffff\r\n", "1\r\nab\r\n", &long] {
            assert_eq!(body(text, 1), None, "{text}");
        }
    }
}
