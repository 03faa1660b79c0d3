//! Sockets without manners, and what the server makes of what they send.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

pub(crate) use crate::bytes::{PATIENCE, answer, frame, head, header, json_head, next_frame, text};

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A plain client's socket, behind its 101.
pub(crate) fn upgraded(to: SocketAddr, target: &str) -> TcpStream {
    opened(to, &head(target, ""))
}

/// A JSON client's socket, behind its welcome.
pub(crate) fn json(to: SocketAddr, target: &str) -> TcpStream {
    let mut stream = opened(to, &json_head(target));
    let welcome = next_frame(&mut stream).unwrap();
    assert!(welcome.1.starts_with(b"{\"type\":\"welcome\""), "{welcome:?}");
    stream
}

fn opened(to: SocketAddr, head: &str) -> TcpStream {
    let mut stream = connect(to);
    stream.write_all(head.as_bytes()).unwrap();
    let answer = answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// Sends bytes on a connection of its own and gives the status of what comes back, or 0.
pub(crate) fn status(to: SocketAddr, bytes: &[u8]) -> u16 {
    let mut stream = connect(to);
    // The server may have heard enough before the end.
    let _ = stream.write_all(bytes);
    status_on(&mut stream)
}

/// The status of the answer that comes next, or 0 if none does.
pub(crate) fn status_on(stream: &mut TcpStream) -> u16 {
    answer(stream).get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The close code with which the server ends the connection. It ends it without waiting for us: we
/// would wait for ever.
pub(crate) fn close_code(stream: &mut TcpStream) -> Option<u16> {
    let mut code = None;
    while let Some((first, payload)) = next_frame(stream) {
        assert_eq!(code, None, "something follows a close frame");
        if first == 0x88 {
            code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
    }
    code
}

/// How long a task has waited for a core so far, whatever it then did there.
pub(crate) fn waited(task: impl AsRef<Path>) -> Duration {
    let line = fs::read_to_string(task.as_ref().join("schedstat")).unwrap_or_default();
    let ns = line.split_whitespace().nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}
