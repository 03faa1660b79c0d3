//! Sockets without manners: heads and frames as bytes, and what the server makes of them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The head of an upgrade that nothing is wrong with, but for what stands in `more`.
pub(crate) fn head(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The head of a JSON client.
pub(crate) fn json_head(target: &str) -> String {
    head(target, "Sec-WebSocket-Protocol: stentor.v1\r\n")
}

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

/// Reads the head of an answer and nothing behind it.
pub(crate) fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
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

/// A client's whole frame, masked with zeros so that its bytes stay legible.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The header of a client's frame, whatever follows it.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => header.push(0x80 | len),
        (_, Ok(len)) => {
            header.push(0x80 | 0x7e);
            header.extend(len.to_be_bytes());
        }
        _ => {
            header.push(0x80 | 0x7f);
            header.extend(len.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// The next frame of the server: its first byte and its payload. `None`: there will be none.
pub(crate) fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    read_exact(stream, &mut start)?;
    let len = match start[1] {
        126 => {
            let mut len = [0; 2];
            read_exact(stream, &mut len)?;
            usize::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            read_exact(stream, &mut len)?;
            usize::try_from(u64::from_be_bytes(len)).unwrap()
        }
        len => usize::from(len),
    };
    let mut payload = vec![0; len];
    read_exact(stream, &mut payload)?;
    Some((start[0], payload))
}

fn read_exact(stream: &mut TcpStream, into: &mut [u8]) -> Option<()> {
    match stream.read_exact(into) {
        Ok(()) => Some(()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the server says nothing and does not close")
        }
        Err(_) => None,
    }
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
