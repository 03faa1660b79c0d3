//! Compressed messages in any pieces, and those that break a rule.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { message_bytes: 2_000, plain_bytes: usize::MAX, frames: u32::MAX };

/// The ways in which a message may come.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    /// With a compressor of this level.
    Deflated(u32),
    /// In three parts, with a ping in front of each but the first.
    InParts(usize, usize),
    /// By a compressor that ends each message for good.
    Ended,
}

fn pressed(message: &[u8], level: u32, flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 100);
    Compress::new(Compression::new(level), false).compress_vec(message, &mut out, flush).unwrap();
    out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap_or(&out).to_vec()
}

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        len @ 0..126 => out.push(MASKED | len.to_be_bytes()[1]),
        len => {
            out.push(0xfe);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn sent(message: &[u8], way: Way, mask: [u8; 4]) -> Vec<u8> {
    match way {
        Way::Plain => frame(0x82, message, mask),
        Way::Deflated(level) => frame(0xc2, &pressed(message, level, FlushCompress::Sync), mask),
        Way::Ended => frame(0xc2, &pressed(message, 6, FlushCompress::Finish), mask),
        Way::InParts(one, two) => {
            let pressed = pressed(message, 6, FlushCompress::Sync);
            let (one, two) = (one % (pressed.len() + 1), two % (pressed.len() + 1));
            let (begin, end) = (one.min(two), one.max(two));
            [
                frame(0x42, &pressed[..begin], mask),
                frame(0x89, b"a", mask),
                frame(0x00, &pressed[begin..end], mask),
                frame(0x89, b"b", mask),
                frame(0x80, &pressed[end..], mask),
            ]
            .concat()
        }
    }
}

/// The first bytes and the payloads of whole frames of a client.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut boundary = Boundary::default();
    let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut mask = [0; 4];
    while !bytes.is_empty() {
        if boundary.at_frame() {
            frames.push((bytes[0], Vec::new()));
        }
        let is_payload = boundary.in_payload();
        let taken = boundary.step(bytes, |head| mask = head.mask).unwrap();
        if is_payload {
            let payload = &mut frames.last_mut().unwrap().1;
            let at = payload.len();
            let masks = mask.iter().cycle().skip(at);
            payload.extend(bytes[..taken].iter().zip(masks).map(|(byte, mask)| byte ^ mask));
        }
        bytes = &bytes[taken..];
    }
    assert!(boundary.at_message_boundary(), "all frames are whole");
    frames
}

fn ways() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Plain),
        (0..10_u32).prop_map(Way::Deflated),
        any::<(usize, usize)>().prop_map(|(one, two)| Way::InParts(one, two)),
        Just(Way::Ended),
    ]
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..2_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    /// Whatever a client compresses, and in whatever pieces it comes, the machine sees the same
    /// messages, and nothing is left behind the last one.
    #[test]
    fn messages_pass_in_any_pieces(
        said in proptest::collection::vec((messages(), ways(), any::<[u8; 4]>()), 1..6),
        cuts in proptest::collection::vec(1..400_usize, 1..8),
        plain_bytes in 0..600_usize,
    ) {
        let bytes: Vec<u8> =
            said.iter().flat_map(|(message, way, mask)| sent(message, *way, *mask)).collect();
        let (mut shim, mut inflater) = (Shim::default(), Inflater::default());
        let (mut plain, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(*cuts.next().unwrap())];
            let mut passed = Vec::new();
            let bounds = Bounds { plain_bytes, ..BOUNDS };
            let taken = shim.feed(piece, &mut passed, &mut inflater, bounds);
            prop_assert!(taken > 0 || plain_bytes == 0);
            if taken == 0 {
                let all = shim.feed(piece, &mut passed, &mut inflater, BOUNDS);
                prop_assert_eq!(all, piece.len());
                rest = &rest[all..];
            } else {
                rest = &rest[taken..];
            }
            plain.extend(passed);
        }
        prop_assert!(shim.is_idle() && shim.payload.is_empty() && shim.compressed.is_none());
        let data: Vec<_> = frames(&plain).into_iter().filter(|(first, _)| *first == 0x82).collect();
        let expected: Vec<_> = said.into_iter().map(|(message, ..)| (0x82, message)).collect();
        prop_assert_eq!(data, expected);
    }

    /// Any bytes: no more comes out than the bounds allow, and the same in one piece as in many.
    #[test]
    fn any_bytes_pass_or_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        first in prop_oneof![Just(0xc1_u8), Just(0x41), any::<u8>()],
        cut in 0..300_usize,
    ) {
        let bytes = [&frame(first, &bytes, [0; 4]), &bytes[..]].concat();
        let fed = |pieces: &[&[u8]]| {
            let (mut shim, mut inflater) = (Shim::default(), Inflater::default());
            let mut plain = Vec::new();
            for piece in pieces {
                let taken = shim.feed(piece, &mut plain, &mut inflater, BOUNDS);
                assert_eq!(taken, piece.len());
            }
            plain
        };
        let (begin, end) = bytes.split_at(cut.min(bytes.len()));
        let whole = fed(&[&bytes]);
        prop_assert_eq!(&whole, &fed(&[begin, end]));
        prop_assert!(whole.len() <= bytes.len() + 3 * (BOUNDS.message_bytes + 14));
    }
}

#[test]
fn a_bomb_is_not_inflated_beyond_the_bound() {
    let bomb = pressed(&vec![0; 50 << 20], 9, FlushCompress::Sync);
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(&mut bomb.clone(), 100_000), Err(Fault::TooLarge));
    assert_eq!(inflater.settle().bombs, 1);
    let exact = pressed(&vec![0; 100_000], 9, FlushCompress::Sync);
    assert_eq!(inflater.inflate(&mut exact.clone(), 100_000).map(<[u8]>::len), Ok(100_000));
    assert_eq!(inflater.inflate(&mut exact.clone(), 99_999), Err(Fault::TooLarge));
}
