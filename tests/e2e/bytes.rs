//! A client's side of the protocol as bytes: heads, frames, and what the server sends back.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
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

/// Reads the head of an answer and nothing behind it.
pub(crate) fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
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
