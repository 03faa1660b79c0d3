//! The coding gzip of responses that never end (RFC 1952): its beginning, and blocks of which each
//! can be read by itself, so that all clients share them.
//!
//! The coding is never ended, as the end holds a sum of all that a client was sent.

use bytes::BytesMut;

use super::json::{put, put_display};

/// The beginning: deflate, no name, no time, from Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// The most bytes of a block that holds its bytes as they are.
const STORED_BYTES_MAX: usize = u16::MAX as usize;

/// The bytes of such a block beside its own.
const STORED_HEAD: usize = 5;

/// Appends the beginning of a body, and some bytes of it as they are.
pub(super) fn put_opening(out: &mut BytesMut, bytes: &[u8], in_chunk: bool) {
    let mut block = BytesMut::from(&HEADER[..]);
    put_blocks(&mut block, bytes);
    put_whole(out, &block, in_chunk);
}

/// Appends bytes as they are; nothing, if there are none.
pub(super) fn put_stored(out: &mut BytesMut, bytes: &[u8], in_chunk: bool) {
    if !bytes.is_empty() {
        let mut blocks = BytesMut::with_capacity(bytes.len() + 2 * STORED_HEAD);
        put_blocks(&mut blocks, bytes);
        put_whole(out, &blocks, in_chunk);
    }
}

fn put_blocks(out: &mut BytesMut, bytes: &[u8]) {
    for part in bytes.chunks(STORED_BYTES_MAX) {
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[0]);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// Appends whole blocks, in a chunk of their own if there are chunks.
pub(super) fn put_whole(out: &mut BytesMut, blocks: &[u8], in_chunk: bool) {
    if in_chunk {
        put_display(out, format_args!("{:x}\r\n", blocks.len()));
    }
    out.extend_from_slice(blocks);
    put(out, if in_chunk { "\r\n" } else { "" });
}

/// Appends to `bytes` what [`put_stored`] has written.
pub(super) fn take_stored(written: &[u8], in_chunk: bool, bytes: &mut Vec<u8>) {
    let mut rest = written;
    if in_chunk {
        let head = written.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        rest = &written[head..written.len().saturating_sub(2).max(head)];
    }
    while let Some((head, behind)) = rest.split_first_chunk::<STORED_HEAD>() {
        let len = usize::from(u16::from_le_bytes([head[1], head[2]])).min(behind.len());
        bytes.extend_from_slice(&behind[..len]);
        rest = &behind[len..];
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    #[test]
    fn what_is_stored_can_be_read_and_taken_back() {
        let long = vec![b'x'; 150_000];
        for bytes in [&b"x"[..], b"", b"some bytes", &long] {
            for in_chunk in [false, true] {
                let mut out = BytesMut::new();
                put_stored(&mut out, bytes, in_chunk);
                let mut taken = Vec::new();
                take_stored(&out, in_chunk, &mut taken);
                assert_eq!(taken, bytes);
            }
            let mut out = BytesMut::new();
            put_opening(&mut out, bytes, false);
            put_stored(&mut out, b"more", false);
            let mut read = Vec::with_capacity(bytes.len() + 100);
            let body = out.strip_prefix(&HEADER[..]).unwrap();
            Decompress::new(false).decompress_vec(body, &mut read, FlushDecompress::Sync).unwrap();
            assert_eq!(read, [bytes, b"more"].concat());
        }
    }
}
