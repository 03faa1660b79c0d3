//! permessage-deflate on the wire: what is agreed, who is sent what, and clients that are not ours.

use std::io::Write;
use std::net::TcpStream;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::bytes::{PATIENCE, answer, frame, head, next_frame};
use crate::real_clients::{node, python, run};
use crate::server::{Server, eventually};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A client that offers something, and the answer to that.
fn offered(server: &Server, target: &str, offer: &str) -> (TcpStream, Option<String>) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let offer = format!("Sec-WebSocket-Extensions: {offer}\r\n");
    stream.write_all(head(target, &offer).as_bytes()).unwrap();
    let answer = answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let agreed = answer.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    (stream, agreed.map(str::to_owned))
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&TAIL).unwrap().to_vec()
}

fn inflated(payload: &[u8], inflater: &mut Decompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let input = [payload, &TAIL].concat();
    inflater.decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    out
}

#[test]
fn compression_is_agreed_on_only_where_it_is_on() {
    let off = Server::start(&[]);
    assert_eq!(offered(&off, "/ws", "permessage-deflate").1, None);
    let on = Server::start(&["--compression", "on"]);
    let agreed = |offer| offered(&on, "/ws", offer).1;
    let alone = "permessage-deflate; client_no_context_takeover";
    assert_eq!(agreed("permessage-deflate; client_max_window_bits").as_deref(), Some(alone));
    assert_eq!(agreed("x-other, permessage-deflate; a=b"), None);
    let small = agreed("permessage-deflate; server_max_window_bits=12");
    assert_eq!(small, Some(format!("{alone}; server_max_window_bits=12")));
    // A namespace is enough.
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(config.path(), "[[namespace]]\nname = 'news'\ncompression = 'shared'\n")
        .unwrap();
    let one = Server::start(&["--config", config.path().to_str().unwrap()]);
    assert_eq!(offered(&one, "/ws", "permessage-deflate").1.as_deref(), Some(alone));
}

/// Messages that many hear are compressed once, and a compressed message of one is heard by all.
#[test]
fn messages_are_compressed_for_those_who_read_it_so() {
    let server = Server::start(&["--compression", "on", "--shards", "1"]);
    let mut members: Vec<TcpStream> =
        (0..4).map(|_| offered(&server, "/ws", "permessage-deflate").0).collect();
    let mut plain = offered(&server, "/ws", "none").0;
    eventually("all are in", || server.total("clients") == 5);
    let text = "it is said again, ".repeat(40);
    members[0].write_all(&frame(0xc1, &compressed(text.as_bytes()))).unwrap();
    for stream in &mut members {
        let (first, payload) = next_frame(stream).unwrap();
        assert_eq!(first, 0xc1);
        assert!(payload.len() < 100, "{}", payload.len());
        assert_eq!(inflated(&payload, &mut Decompress::new(false)), text.as_bytes());
    }
    assert_eq!(next_frame(&mut plain).unwrap(), (0x81, text.clone().into_bytes()));
    assert_eq!(server.total("deflated_messages_total"), 1);
    assert_eq!(server.total("deflated_bytes_before_total"), text.len() as u64);
    assert_eq!(server.total("inflated_messages_total"), 1);
    assert_eq!(server.total("inflated_bytes_after_total"), text.len() as u64);
}

/// In the window of a channel even short messages become a few bytes, and who comes later reads
/// them in the clear at first.
#[test]
fn messages_of_a_busy_channel_are_compressed_by_those_before_them() {
    let server = Server::start(&["--compression", "shared", "--shards", "1"]);
    let mut members: Vec<(TcpStream, Decompress)> = (0..4)
        .map(|_| (offered(&server, "/ws", "permessage-deflate").0, Decompress::new(false)))
        .collect();
    eventually("all are in", || server.total("clients") == 4);
    let mut bytes = 0;
    let mut late = None;
    for number in 0..250 {
        if number == 20 {
            let stream = offered(&server, "/ws", "permessage-deflate").0;
            eventually("one more is in", || server.total("clients") == 5);
            late = Some((stream, Decompress::new(false)));
        }
        let text = format!(r#"{{"event":"moved","who":"somebody","to":[{number},17]}}"#);
        members[0].0.write_all(&frame(0x81, text.as_bytes())).unwrap();
        for (stream, inflater) in &mut members {
            let (first, payload) = next_frame(stream).unwrap();
            assert_eq!(first, 0xc1, "{number}");
            bytes += payload.len();
            assert_eq!(inflated(&payload, inflater), text.as_bytes(), "{number}");
        }
        if let Some((stream, inflater)) = &mut late {
            let (first, payload) = next_frame(stream).unwrap();
            assert_eq!(first == 0xc1, number >= 100, "{number}");
            let said = if first == 0xc1 { inflated(&payload, inflater) } else { payload };
            assert_eq!(said, text.as_bytes(), "{number}");
        }
    }
    assert!(bytes / 4 / 250 < 20, "{} bytes a message", bytes / 4 / 250);
}

#[test]
fn real_clients_read_and_write_compressed_messages() {
    for how in ["on", "shared"] {
        let server = Server::start(&["--compression", how, "--shards", "1"]);
        let mut command = node("deflate.mjs");
        command.arg(format!("ws://{}", server.address));
        run(command);
        let mut command = python("deflate_client.py");
        command.arg(format!("ws://{}", server.address));
        run(command);
        assert!(server.total("deflated_messages_total") > 100);
        assert!(server.total("inflated_messages_total") > 100);
    }
}
