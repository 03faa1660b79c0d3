//! Compressed messages that mean harm: bombs, and bytes that no compressor has made.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, FlushCompress};

use crate::raw::{answer, close_code, connect, frame, head};
use crate::siege::Siege;

/// Each case is tried by so many at once.
const ATTACKERS: usize = 20;

const ON: [&str; 2] = ["--compression", "shared"];

/// The socket of a client that may compress, behind its 101.
fn agreed(to: SocketAddr, target: &str) -> TcpStream {
    let mut stream = connect(to);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    stream.write_all(head(target, offer).as_bytes()).unwrap();
    let answer = answer(&mut stream);
    assert!(answer.contains("permessage-deflate; client_no_context_takeover"), "{answer}");
    stream
}

/// The compressed form of so many zeros.
fn zeros(count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count / 100 + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; count], &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
}

/// A compressed message in a frame for each of so many of its bytes.
fn in_parts(payload: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let last = payload.chunks(bytes).count() - 1;
    for (at, part) in payload.chunks(bytes).enumerate() {
        let first = if at == 0 { 0x42 } else { 0 } | if at == last { 0x80 } else { 0 };
        out.extend(frame(first, part));
    }
    out
}

#[test]
fn bombs_go_off_nowhere() {
    let siege = Siege::begin(&ON);
    let bomb = zeros(16 << 20);
    assert!(bomb.len() < 20_000);
    let mut ended = DeflateEncoder::new(Vec::new(), Compression::best());
    ended.write_all(&vec![0; 16 << 20]).unwrap();
    let ended = ended.finish().unwrap();
    let cases = [
        ("a bomb", frame(0xc2, &bomb), 1009),
        ("a bomb in parts", in_parts(&bomb, 100), 1009),
        ("a bomb that ends for good", frame(0xc2, &ended), 1009),
        ("bytes that no compressor made", frame(0xc1, &vec![0xa5; 30_000]), 1002),
        ("a part that says it is compressed", [frame(0x42, b""), frame(0xc0, b"")].concat(), 1002),
        ("a compressed ping", frame(0xc9, b""), 1002),
        ("zeros as a text that is none", frame(0xc1, &[&zeros(9)[..], b"\0"].concat()), 1002),
    ];
    siege.withstand("bombs", 8 << 20, |server| {
        for (name, bytes, code) in &cases {
            let open = |number| agreed(server.address, &format!("/ws?channel=bad{number}"));
            let mut attackers: Vec<TcpStream> = (0..ATTACKERS).map(open).collect();
            for stream in &mut attackers {
                // The server may have heard enough before the end.
                let _ = stream.write_all(bytes);
            }
            for stream in &mut attackers {
                assert_eq!(close_code(stream), Some(*code), "{name}");
            }
        }
    });
    let server = siege.end();
    assert!(server.total("inflated_too_far_total") >= 3 * ATTACKERS as u64);
}

/// Few bytes that may become many, as each message is within its bound, are taken turn by turn.
#[test]
fn messages_that_grow_are_taken_turn_by_turn() {
    let siege = Siege::begin(&[&ON[..], &["--bytes-per-second", "1MiB"]].concat());
    let one = frame(0xc2, &zeros(60_000));
    assert!(one.len() < 200);
    siege.withstand("messages that grow", 16 << 20, |server| {
        let open = |number| agreed(server.address, &format!("/ws?channel=bad{number}"));
        let mut attackers: Vec<TcpStream> = (0..ATTACKERS).map(open).collect();
        for stream in &mut attackers {
            let _ = stream.write_all(&one.repeat(500));
        }
        // Their rate is that of what they say, not of what it takes to say it.
        for stream in &mut attackers {
            assert_eq!(close_code(stream), Some(1008));
        }
    });
}

/// Begun messages take no more memory than plain ones that are as long.
#[test]
fn messages_that_are_begun_and_never_ended_are_bounded() {
    let siege = Siege::begin(&ON);
    siege.withstand("begun messages", ATTACKERS as u64 * (192 << 10), |server| {
        let open = |number| agreed(server.address, &format!("/ws?channel=bad{number}"));
        let mut attackers: Vec<TcpStream> = (0..ATTACKERS).map(open).collect();
        for stream in &mut attackers {
            stream.write_all(&frame(0x42, &vec![0; 60_000])).unwrap();
        }
        // A part more is too much, whatever it would become.
        for stream in &mut attackers {
            let _ = stream.write_all(&frame(0x00, &[0; 10_000]));
            assert_eq!(close_code(stream), Some(1009));
        }
    });
}
