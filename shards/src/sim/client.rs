//! A simulated client: what it says, and what it heard.

use std::os::fd::RawFd;

use super::world::{SimStream, World};

/// One message that a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Plain(String),
    Json { channel: String, offset: u64, body: String },
    Other,
}

pub(super) struct Client {
    fd: RawFd,
    pub(super) channel: &'static str,
    pub(super) user: Option<&'static str>,
    json: bool,
    /// It has ended the connection itself.
    over: bool,
    stalled: bool,
    /// Messages it has sent.
    pub(super) said: usize,
}

impl Client {
    pub(super) fn connect(
        channel: &'static str,
        user: Option<&'static str>,
        json: bool,
    ) -> (SimStream, Self) {
        let (stream, fd) = World::open(4_000);
        let user_part = user.map(|user| format!("&user={user}")).unwrap_or_default();
        let protocol = if json { "Sec-WebSocket-Protocol: stentor.v1\r\n" } else { "" };
        let head = format!(
            "GET /ws?channel={channel}{user_part} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{protocol}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let client = Self { fd, channel, user, json, over: false, stalled: false, said: 0 };
        client.send(head.as_bytes());
        (stream, client)
    }

    fn send(&self, bytes: &[u8]) {
        World::with(self.fd, |socket| socket.inbound.extend(bytes));
        World::ring(self.fd);
    }

    fn send_frame(&self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        if payload.len() < 126 {
            frame.push(0x80 | u8::try_from(payload.len()).unwrap());
        } else {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        let mask = [7, 9, 11, 13];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.send(&frame);
    }

    /// Publishes something that nobody else says.
    pub(super) fn say(&mut self, number: usize, padding: usize) {
        if self.over {
            return;
        }
        self.said += 1;
        let text = format!("m{number}-{}", "x".repeat(padding));
        if self.json {
            let request = format!("{{\"type\":\"publish\",\"body\":\"{text}\"}}");
            self.send_frame(1, request.as_bytes());
        } else {
            self.send_frame(1, text.as_bytes());
        }
    }

    /// Goes without a word.
    pub(super) fn cut(&mut self) {
        self.over = true;
        World::with(self.fd, |socket| socket.cut = true);
        World::ring(self.fd);
    }

    /// Ends its direction, and would go on reading.
    pub(super) fn finish(&mut self) {
        self.over = true;
        World::with(self.fd, |socket| socket.ended = true);
        World::ring(self.fd);
    }

    pub(super) fn goodbye(&mut self) {
        if !self.over {
            self.over = true;
            self.send_frame(8, &1000_u16.to_be_bytes());
        }
    }

    /// Reads no more until told to.
    pub(super) fn stall(&mut self) {
        self.stalled = true;
        World::with(self.fd, |socket| socket.room = 0);
    }

    /// Reads again, and makes so much room.
    pub(super) fn take_up(&mut self, room: usize) {
        if self.stalled && room < usize::MAX {
            return;
        }
        World::make_room(self.fd, room);
    }

    /// Whether it is connected, as far as both sides know.
    pub(super) fn stayed(&self) -> bool {
        let (closed, open) = World::with(self.fd, |socket| {
            (socket.closed, socket.outbound.starts_with(b"HTTP/1.1 101"))
        });
        !self.over && !closed && open && !self.frames().iter().any(|(opcode, _)| *opcode == 8)
    }

    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        let bytes = World::with(self.fd, |socket| socket.outbound.clone());
        let Some(start) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Vec::new();
        };
        let mut rest = &bytes[start + 4..];
        let mut frames = Vec::new();
        while rest.len() >= 2 {
            let (len, head) = match rest[1] {
                126 if rest.len() >= 4 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                len @ 0..126 => (usize::from(len), 2),
                _ => break,
            };
            if rest.len() < head + len {
                break;
            }
            frames.push((rest[0] & 0x0f, rest[head..head + len].to_vec()));
            rest = &rest[head + len..];
        }
        let over = frames.iter().position(|(opcode, _)| *opcode == 8);
        assert!(over.is_none_or(|at| at + 1 == frames.len()), "something follows a close frame");
        frames
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        let texts = self.frames().into_iter().filter(|(opcode, _)| *opcode == 1);
        texts.map(|(_, text)| self.understand(String::from_utf8(text).unwrap())).collect()
    }

    fn understand(&self, text: String) -> Heard {
        if !self.json {
            return Heard::Plain(text);
        }
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        if value["type"] != "message" {
            return Heard::Other;
        }
        Heard::Json {
            channel: value["channel"].as_str().unwrap().to_owned(),
            offset: value["offset"].as_u64().unwrap(),
            body: value["body"].as_str().unwrap().to_owned(),
        }
    }
}
