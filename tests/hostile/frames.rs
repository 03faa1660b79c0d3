//! Frames that break RFC 6455 or a limit: the close code that fits, at once, and nothing else.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::raw::{close_code, frame, header, next_frame, text, upgraded};
use crate::siege::Siege;

/// Each case is tried by so many at once.
const ATTACKERS: usize = 20;

/// Sends the same bytes on several connections at once; each must be closed with `code`.
fn all_closed_with(to: SocketAddr, name: &str, bytes: &[u8], code: u16) {
    let mut attackers: Vec<TcpStream> =
        (0..ATTACKERS).map(|number| upgraded(to, &format!("/ws?channel=bad{number}"))).collect();
    for stream in &mut attackers {
        // The server may have heard enough before the end.
        let _ = stream.write_all(bytes);
    }
    for stream in &mut attackers {
        assert_eq!(close_code(stream), Some(code), "{name}");
    }
}

fn rules() -> Vec<(String, Vec<u8>, u16)> {
    let mut cases: Vec<(String, Vec<u8>, u16)> = vec![
        ("a text that is not masked".into(), b"\x81\x01x".to_vec(), 1002),
        ("a ping that is not masked".into(), b"\x89\x00".to_vec(), 1002),
        ("a large ping".into(), frame(0x89, &[0; 126]), 1002),
        ("a large close".into(), frame(0x88, &[0; 126]), 1002),
        ("a large pong".into(), frame(0x8a, &[0; 60_000]), 1002),
        ("a ping in fragments".into(), frame(0x09, b""), 1002),
        ("a close in fragments".into(), frame(0x08, b""), 1002),
        ("the end of no message".into(), frame(0x80, b"x"), 1002),
        ("the middle of no message".into(), frame(0x00, b"x"), 1002),
        ("a message in a message".into(), [frame(0x01, b"x"), text("y")].concat(), 1002),
        ("a close with half a code".into(), frame(0x88, b"\x03"), 1002),
        ("a close with a code of nobody".into(), frame(0x88, b"\x03\xe7"), 1002),
        ("a close with a code that is never sent".into(), frame(0x88, b"\x03\xed"), 1002),
        ("a close whose reason is no text".into(), frame(0x88, b"\x03\xe8\xff"), 1007),
    ];
    for bit in [0x40, 0x20, 0x10, 0x70] {
        cases.push((format!("reserved bits {bit:#x}"), frame(0x81 | bit, b"x"), 1002));
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        cases.push((format!("reserved opcode {opcode:#x}"), frame(0x80 | opcode, b"x"), 1002));
    }
    cases
}

#[test]
fn broken_frames_end_the_connection_with_1002() {
    let siege = Siege::begin(&[]);
    siege.withstand("broken frames", 4 << 20, |server| {
        for (name, bytes, code) in rules() {
            all_closed_with(server.address, &name, &bytes, code);
        }
    });
}

/// Headers that are wrong whatever follows them, with nothing behind them.
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let begun = |rest: &[u8]| [&frame(0x01, b"x"), rest].concat();
    vec![
        ("a ping that claims 126 bytes", header(0x89, 126)),
        ("a close that claims 60,000 bytes", header(0x88, 60_000)),
        ("a pong that claims 2^62 bytes", header(0x8a, 1 << 62)),
        ("a ping in fragments", vec![0x09]),
        ("a close in fragments", vec![0x08]),
        ("a text that is not masked", vec![0x81, 100]),
        ("a ping that is not masked", vec![0x89, 100]),
        ("a reserved bit", vec![0xc1]),
        ("a reserved opcode", vec![0x83]),
        ("the middle of no message", vec![0x00]),
        ("a message in a message", begun(&[0x81])),
        ("a close of one byte", vec![0x88, 0x81]),
        ("the first byte of a length from 2^63 on", vec![0x82, 0xff, 0x80]),
        ("a length of 2^64 - 1", header(0x81, u64::MAX)),
        ("125 in two bytes", vec![0x81, 0xfe, 0, 125]),
        ("a length in eight bytes that fits two", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0]),
    ]
}

/// Also where what is wrong comes byte by byte, and behind a message that is right.
#[test]
fn a_header_that_breaks_a_rule_ends_the_connection_before_any_payload() {
    let siege = Siege::begin(&[]);
    siege.withstand("headers alone", 4 << 20, |server| {
        for (name, bytes) in headers() {
            all_closed_with(server.address, name, &bytes, 1002);
            let after_a_message = [text(name), bytes.clone()].concat();
            let mut witness = upgraded(server.address, "/ws?channel=headers");
            let mut attacker = upgraded(server.address, "/ws?channel=headers&echo=false");
            attacker.write_all(&after_a_message).unwrap();
            assert_eq!(close_code(&mut attacker), Some(1002), "{name}");
            assert_eq!(next_frame(&mut witness), Some((0x81, name.into())), "what was said before");
            let mut attacker = upgraded(server.address, "/ws?channel=headers");
            for byte in &bytes {
                let _ = attacker.write_all(&[*byte]);
            }
            assert_eq!(close_code(&mut attacker), Some(1002), "{name}, byte by byte");
        }
    });
}

#[test]
fn messages_too_large_end_with_1009_and_take_no_memory() {
    let siege = Siege::begin(&["--message-bytes", "64KiB"]);
    let half = vec![b'x'; 40_000];
    let many: Vec<u8> = std::iter::once(frame(0x01, b"x"))
        .chain((0..70).map(|_| frame(0x00, &[b'x'; 1_000])))
        .flatten()
        .collect();
    let cases = [
        ("a byte too much", header(0x82, (64 << 10) + 1)),
        ("a claim of 1 GiB", header(0x82, 1 << 30)),
        ("a claim of 2^63 - 1", header(0x82, (1 << 63) - 1)),
        ("a claim of 2^63 - 1 as a text", header(0x81, (1 << 63) - 1)),
        ("a claim in a fragment", [frame(0x02, b"x"), header(0x00, 1 << 30)].concat()),
        ("two fragments", [frame(0x02, &half), frame(0x80, &half)].concat()),
        ("a fragment that claims the rest", [frame(0x02, &half), header(0x80, 40_000)].concat()),
        ("many fragments", many),
    ];
    // What the limit lets each of the attackers make the server keep.
    siege.withstand("what is too large", (ATTACKERS * (64 << 10)) as u64, |server| {
        for (name, bytes) in &cases {
            all_closed_with(server.address, name, bytes, 1009);
        }
    });
    // A claim within the limit is no wrong, and costs what has come of it.
    siege.withstand("claims that nothing follows", 300 * (6 << 10), |server| {
        let claims: Vec<TcpStream> = (0..300)
            .map(|number| {
                let mut stream = upgraded(server.address, &format!("/ws?channel=bad{number}"));
                stream.write_all(&header(0x82, 64 << 10)).unwrap();
                stream
            })
            .collect();
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        drop(claims);
    });
}

#[test]
fn invalid_utf8_ends_with_1007_at_its_first_wrong_byte() {
    let siege = Siege::begin(&[]);
    // Each ends where it has become hopeless: the rest of its frame or message never comes.
    let begun = |payload: &[u8]| [header(0x81, 1_000), payload.to_vec()].concat();
    let cases = [
        ("a wrong byte", text("x").into_iter().chain(frame(0x81, b"\xff")).collect()),
        ("in the middle of a frame", begun(b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80")),
        ("beyond the last character", begun(b"\xf4\x90")),
        ("longer than it need be", begun(b"\xc0\xaf")),
        ("cut by a fragment", [frame(0x01, b"\xf0\x9f"), frame(0x00, b"a")].concat()),
        (
            "cut by a fragment and a ping",
            [frame(0x01, b"\xe2"), frame(0x89, b"\xff"), frame(0x00, b"\x28")].concat(),
        ),
        ("cut by an end", [frame(0x01, b"\xf0\x9f\x98"), frame(0x80, b"")].concat()),
    ];
    siege.withstand("texts that are none", 1 << 20, |server| {
        for _ in 0..5 {
            for (name, bytes) in &cases {
                all_closed_with(server.address, name, bytes, 1007);
            }
        }
    });
}

#[test]
fn messages_before_a_broken_rule_are_delivered() {
    let siege = Siege::begin(&[]);
    let mut witness = upgraded(siege.server.address, "/ws?channel=scene");
    for round in 0..20 {
        let mut attacker = upgraded(siege.server.address, "/ws?channel=scene");
        let said = format!("last words {round}");
        attacker.write_all(&[text(&said), frame(0x83, b"")].concat()).unwrap();
        assert_eq!(next_frame(&mut witness), Some((0x81, said.into_bytes())));
        assert_eq!(close_code(&mut attacker), Some(1002));
    }
}
