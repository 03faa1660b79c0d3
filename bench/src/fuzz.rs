//! Facts about the generator's reading that any bytes from a server must leave true; the target
//! `reader` of `tests/fuzz`, whose seeds are replayed here.

use crate::frame::{PAYLOAD_BYTES_MAX, Reader, TooLong, put_masked, put_unmasked};
use crate::load::stamp::{Halves, STAMP_BYTES, Stamp, Stamper};

/// The run whose stamps are looked for.
const RUN: u16 = 0xbeef;

/// Opcodes and payloads that a server may send.
type Frames = Vec<(u8, Vec<u8>)>;

/// A count below eight and as many lengths, then what a server sends.
///
/// # Panics
/// Where the reader and a plain reading part.
pub(crate) fn reader(data: &[u8]) {
    let count = data.first().map_or(0, |count| usize::from(count % 8)).min(data.len());
    let (cuts, bytes) =
        data.get(1..).unwrap_or_default().split_at_checked(count).unwrap_or_default();
    let expected = read_plainly(bytes);
    assert_eq!(fed(bytes, &[]), expected, "whole");
    assert_eq!(fed(bytes, cuts), expected, "in pieces of {cuts:?}");
    if bytes.len() <= 512 {
        assert_eq!(fed(bytes, &[1]), expected, "byte by byte");
    }
    for (opcode, payload) in &expected.0 {
        check_stamps(payload, cuts);
        let (mut masked, mut bare) = (Vec::new(), Vec::new());
        put_masked(&mut masked, *opcode, payload);
        put_unmasked(&mut bare, *opcode, payload);
        let same = (vec![(*opcode, payload.clone())], Ok(()));
        assert_eq!(fed(&masked, &[]), same);
        assert_eq!(fed(&bare, &[]), same);
    }
    check_stamps(bytes, cuts);
}

/// `bytes` in pieces of these lengths, again and again; none: all in one.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = cuts.next().map_or(bytes.len(), |len| usize::from(*len).max(1));
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn fed(bytes: &[u8], cuts: &[u8]) -> (Frames, Result<(), TooLong>) {
    let mut reader = Reader::default();
    let mut frames = Vec::new();
    for piece in pieces(bytes, cuts) {
        let fed = reader.feed(&mut piece.to_vec(), |opcode, payload| {
            frames.push((opcode, payload.to_vec()));
        });
        if fed.is_err() {
            return (frames, fed);
        }
    }
    (frames, Ok(()))
}

/// The same from the whole, one byte after the other.
fn read_plainly(bytes: &[u8]) -> (Frames, Result<(), TooLong>) {
    let mut frames = Vec::new();
    let mut at = 0;
    loop {
        let [first, second, ..] = bytes[at..] else { return (frames, Ok(())) };
        let wide = [0, 2, 8][usize::from(second & 0x7f).saturating_sub(125)];
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let Some(head) = bytes.get(at..at + 2 + wide + mask) else { return (frames, Ok(())) };
        let mut len = if wide == 0 { u128::from(second & 0x7f) } else { 0 };
        for byte in &head[2..2 + wide] {
            len = len * 256 + u128::from(*byte);
        }
        if len > PAYLOAD_BYTES_MAX as u128 {
            return (frames, Err(TooLong));
        }
        at += head.len();
        let end = at + usize::try_from(len).expect("it is within the bound");
        let Some(payload) = bytes.get(at..end) else { return (frames, Ok(())) };
        let mut payload = payload.to_vec();
        for (index, byte) in payload.iter_mut().enumerate().filter(|_| mask > 0) {
            *byte ^= head[2 + wide + index % 4];
        }
        frames.push((first & 0x0f, payload));
        at = end;
    }
}

/// Every stamp that stands in the bytes is found, in whatever pieces they come, and nothing else.
fn check_stamps(bytes: &[u8], cuts: &[u8]) {
    let stamper = Stamper::new(RUN);
    let find = |pieces: &[&[u8]]| {
        let (mut halves, mut found) = (Halves::default(), Vec::new());
        for piece in pieces {
            halves.find(&stamper, 0, piece, |stamp| found.push(stamp));
        }
        found
    };
    let found = find(&[bytes]);
    assert_eq!(find(&pieces(bytes, cuts)), found, "in pieces of {cuts:?}");
    let mut expected = Vec::new();
    let mut at = 0;
    while let Some(text) = bytes.get(at..at + STAMP_BYTES) {
        match text.strip_prefix(b"sTnTbeef").map(read_stamp) {
            Some(Some(stamp)) => {
                expected.push(stamp);
                at += STAMP_BYTES;
            }
            Some(None) => at += 8,
            None => at += 1,
        }
    }
    assert_eq!(found, expected);
    let mut written = Vec::new();
    for stamp in &found {
        assert!(stamp.sent_ns() >= stamp.intended_ns);
        stamper.put(&mut written, stamp);
    }
    assert_eq!(find(&[&written]), found, "what is written is found");
}

fn read_stamp(digits: &[u8]) -> Option<Stamp> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.contains(|c: char| !matches!(c, '0'..='9' | 'a'..='f')) {
        return None;
    }
    let number = |from: usize, to: usize| u64::from_str_radix(&digits[from..to], 16).ok();
    Some(Stamp {
        publisher: u32::try_from(number(0, 8)?).ok()?,
        number: u32::try_from(number(8, 16)?).ok().filter(|number| *number < u32::MAX)?,
        intended_ns: number(16, 32).filter(|ns| *ns <= u64::MAX / 2)?,
        late_us: u32::try_from(number(32, 40)?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/reader");
        let mut count = 0;
        for seed in std::fs::read_dir(folder).unwrap() {
            let path = seed.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| super::reader(&data));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
        assert!(count > 0, "the target has no seeds");
    }
}
