//! Frames to clients, and frames of clients in any split, right and wrong.

use proptest::prelude::*;

use super::*;

#[test]
fn headers_of_all_three_lengths() {
    for (len, header) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (65_535, vec![0x81, 126, 0xff, 0xff]),
        (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        put_header(&mut out, Opcode::Text, len);
        assert_eq!(out, header, "{len}");
    }
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let mut out = BytesMut::new();
    put_close(&mut out, 1008, &"ä".repeat(100));
    assert_eq!(out[1], 124);
    assert_eq!(&out[2..4], &1008_u16.to_be_bytes());
    assert!(std::str::from_utf8(&out[4..]).is_ok());
}

fn client_frame(fin: bool, opcode: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match len {
        0..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
        126..65_536 => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 0x7f);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.resize(frame.len() + len, 0x55);
    frame
}

proptest! {
    /// Against the simplest equivalent: a list of the offsets at which messages end.
    #[test]
    fn it_knows_where_messages_end(
        frames in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), prop_oneof![
                19 => 0..300_usize, 1 => 65_500..65_600_usize,
            ]),
            1..20,
        ),
        cuts in proptest::collection::vec(1..50_usize, 1..200),
    ) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        let mut open = false;
        for (control, fin, len) in frames {
            if control {
                bytes.extend(client_frame(true, 9, len.min(125)));
            } else {
                bytes.extend(client_frame(fin, u8::from(!open), len));
                open = !fin;
            }
            if !open { ends.push(bytes.len()); }
        }
        let mut boundary = Boundary::default();
        let mut at = 0;
        for cut in cuts.iter().cycle() {
            if at == bytes.len() { break; }
            let next = (at + cut).min(bytes.len());
            let followed = boundary.feed(&bytes[at..next], usize::MAX);
            prop_assert_eq!(followed.sound, next - at);
            at = next;
            prop_assert_eq!(boundary.at_message_boundary(), ends.contains(&at), "at {}", at);
        }
    }
}

/// The longest message in the tests of wrong headers.
const MESSAGE_BYTES: usize = 1000;

/// Feeds the bytes one by one. Returns their fault and the offset at which it is noticed.
fn fault_of(bytes: &[u8]) -> Option<(usize, Fault)> {
    let mut boundary = Boundary::default();
    bytes.iter().enumerate().find_map(|(at, byte)| {
        boundary.feed(&[*byte], MESSAGE_BYTES);
        boundary.fault().map(|fault| (at, fault))
    })
}

#[test]
fn a_header_that_breaks_a_rule_is_noticed_at_the_byte_that_does() {
    use Fault::{Protocol, TooLarge};
    for (name, header, expected) in [
        ("reserved bit 1", &[0xc1, 0x80][..], Some((0, Protocol))),
        ("reserved bit 3 of a ping", &[0x99, 0x80], Some((0, Protocol))),
        ("reserved opcode 3", &[0x83, 0x80], Some((0, Protocol))),
        ("reserved opcode 15", &[0x8f, 0x80], Some((0, Protocol))),
        ("a ping in fragments", &[0x09, 0x80], Some((0, Protocol))),
        ("the middle of no message", &[0x00, 0x80], Some((0, Protocol))),
        ("the end of no message", &[0x80, 0x80], Some((0, Protocol))),
        ("not masked", &[0x81, 0x05], Some((1, Protocol))),
        ("a close that is not masked", &[0x88, 0x00], Some((1, Protocol))),
        ("a ping of two bytes of length", &[0x89, 0xfe, 0, 5], Some((1, Protocol))),
        ("a pong of eight bytes of length", &[0x8a, 0xff], Some((1, Protocol))),
        ("125 in two bytes", &[0x81, 0xfe, 0, 125], Some((3, Protocol))),
        ("126 in two bytes", &[0x81, 0xfe, 0, 126], None),
        ("65,535 in eight", &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], Some((7, Protocol))),
        ("65,536 in eight", &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], Some((7, TooLarge))),
        ("2^63 - 1", &[0x82, 0xff, 127, 255, 255, 255, 255, 255, 255, 255], Some((2, TooLarge))),
        ("2^63", &[0x82, 0xff, 128, 0, 0, 0, 0, 0, 0, 0], Some((2, Protocol))),
        ("2^64 - 1 in a fragment", &[0x02, 0xff, 255, 255], Some((2, Protocol))),
        ("a close of one byte", &[0x88, 0x81, 1, 2, 3, 4, 5], Some((1, Protocol))),
        ("a close of no bytes", &[0x88, 0x80, 1, 2, 3, 4], None),
        ("a close of a code", &[0x88, 0x82, 1, 2, 3, 4, 5, 6], None),
        ("a ping of one byte", &[0x89, 0x81, 1, 2, 3, 4, 5], None),
        ("a text of one byte", &[0x81, 0x81, 1, 2, 3, 4, 5], None),
        ("1,024 in two bytes", &[0x82, 0xfe, 0x04, 0x00], Some((2, TooLarge))),
        ("128 in two bytes", &[0x82, 0xfe, 0, 128], None),
        ("a byte too much", &[0x82, 0xfe, 0x03, 0xe9], Some((3, TooLarge))),
        ("all there may be", &[0x82, 0xfe, 0x03, 0xe8], None),
        ("a ping of 125", &[0x89, 0xfd, 1, 2, 3, 4], None),
    ] {
        assert_eq!(fault_of(header), expected, "{name}");
    }
}

#[test]
fn fragments_are_judged_by_what_came_before_them() {
    let begun = client_frame(false, 1, 900);
    let ping = client_frame(true, 9, 120);
    let next = |header: &[u8]| [&begun[..], &ping, header].concat();
    let at = |index: usize| begun.len() + ping.len() + index;
    let too_large = Some((at(1), Fault::TooLarge));
    assert_eq!(fault_of(&next(&[0x80, 0x80 | 0x65])), too_large);
    assert_eq!(fault_of(&next(&[0x80, 0x80 | 0x64])), None, "a ping's payload is of no message");
    assert_eq!(fault_of(&next(&[0x81])), Some((at(0), Fault::Protocol)), "a message in a message");
    let whole = [next(&client_frame(true, 0, 100)), client_frame(true, 2, 1000)].concat();
    assert_eq!(fault_of(&whole), None, "a message begins with no bytes before it");
}

#[test]
fn bytes_before_a_broken_rule_are_sound_and_nothing_is_after_it() {
    let sound = client_frame(true, 1, 10);
    let bytes = [&sound[..], &[0x89, 0xfe], &client_frame(true, 1, 10)].concat();
    let mut boundary = Boundary::default();
    let followed = boundary.feed(&bytes, MESSAGE_BYTES);
    assert_eq!(followed, Followed { begun: sound.len(), sound: sound.len() });
    assert_eq!(boundary.fault(), Some(Fault::Protocol));
    assert_eq!(boundary.feed(&sound, MESSAGE_BYTES).sound, 0);
    // A header that began in an earlier piece is not sound in this one.
    let mut boundary = Boundary::default();
    assert_eq!(boundary.feed(&bytes[..=sound.len()], MESSAGE_BYTES).sound, sound.len() + 1);
    assert_eq!(boundary.feed(&bytes[sound.len() + 1..], MESSAGE_BYTES).sound, 0);
}
