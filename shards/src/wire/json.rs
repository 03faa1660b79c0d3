//! JSON as the dialects that speak it read and write it.

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::{BufMut, BytesMut};

use super::frame::{Opcode, begin_frame, end_frame};

/// The deepest nesting of arrays and objects, which most parsers of the receivers can read.
const DEPTH_MAX: usize = 128;

/// Returns `true` if arrays and objects are nested deeper than the parsers of receivers can read.
pub fn is_too_deep(text: &str) -> bool {
    // A text that opens no more than that cannot be deeper, and counting is far cheaper.
    if openings(text.as_bytes()) <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Returns the number of brackets and braces that open in a text, those in strings too.
fn openings(text: &[u8]) -> usize {
    // A piece's count fits a byte, so that the compiler counts many bytes in one instruction.
    let in_piece =
        |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum::<u8>();
    text.chunks(128).map(in_piece).map(usize::from).sum()
}

/// Returns `part` of a text as bytes that share its memory.
pub(super) fn slice_of(text: &Utf8Bytes, part: &str) -> Utf8Bytes {
    let bytes: &bytes::Bytes = text.as_ref();
    Utf8Bytes::try_from(bytes.slice_ref(part.as_bytes()))
        .unwrap_or_else(|_| Utf8Bytes::from(part.to_owned()))
}

/// Writes `write`'s JSON as one text frame. The header is written once the length is known.
pub(super) fn framed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = begin_frame(out);
    write(out);
    end_frame(out, start, Opcode::Text);
}

/// Writes a string with its quotes.
pub(super) fn put_str(out: &mut BytesMut, text: &str) {
    serde_json::to_writer(out.writer(), text).expect("memory takes every string");
}

/// Writes a piece of JSON.
pub(super) fn put(out: &mut BytesMut, text: impl AsRef<[u8]>) {
    out.extend_from_slice(text.as_ref());
}

/// Writes a number, or another value whose text is JSON.
pub(super) fn put_display(out: &mut BytesMut, value: impl std::fmt::Display) {
    use std::fmt::Write;
    write!(out, "{value}").expect("memory takes every number");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_counted_over_pieces() {
        assert_eq!(openings("[{".repeat(1000).as_bytes()), 2000);
    }
}
