//! A simulated client: the bytes it sends and the messages it got.

use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::reader::{
    Frame, Inflater, is_zipped, read_deflated, read_events, read_frames, split_head, unzipped,
};
use super::words::{deflated, understand_json, understand_line};
use super::world::{SimStream, Socket, World};
use crate::model::message::Epoch;
use crate::wire::lines::read::request;

/// One message that a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Plain(String),
    Json {
        channel: String,
        offset: u64,
        body: String,
    },
    /// The answer to its own `join`.
    Joined {
        channel: String,
        offset: u64,
        /// The number of the question for what was missed, and the answer to it.
        recovered: Option<(Option<usize>, bool)>,
    },
    /// Publications that it has lost.
    Gap {
        channel: String,
        from: u64,
        to: u64,
    },
    /// The answer to its own `leave`.
    Left {
        channel: String,
    },
    Other,
}

/// The parameters with which a client connects.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(crate) struct Wish {
    pub(crate) channel: Option<&'static str>,
    pub(crate) user: Option<&'static str>,
    pub(crate) json: bool,
    /// It speaks the test dialect.
    pub(crate) lines: bool,
    /// It only listens, to server-sent events.
    pub(crate) events: bool,
    /// It does not say who it is with its first words.
    pub(crate) late: bool,
    pub(crate) echoless: bool,
    pub(crate) joined: bool,
    /// The position behind which it wants to be told of its channel.
    pub(crate) since: Option<(Epoch, u64)>,
    /// The number of older messages that it wants to be told.
    pub(crate) last: Option<u32>,
    pub(crate) peer: Option<SocketAddr>,
    /// Its offer of compressed messages, if it makes one.
    pub(crate) offers: Option<&'static str>,
}

impl Wish {
    /// A plain client that wishes for nothing.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { json: false, ..Self::JSON };

    /// A client of the JSON dialect that names neither channel nor user.
    pub(crate) const JSON: Self = Self {
        channel: None,
        user: None,
        json: true,
        lines: false,
        events: false,
        late: false,
        echoless: false,
        joined: false,
        since: None,
        last: None,
        peer: None,
        offers: None,
    };
}

pub(crate) struct Client {
    pub(super) fd: RawFd,
    pub(crate) wish: Wish,
    /// It has ended the connection itself.
    over: bool,
    pub(super) stalled: bool,
    /// Messages it has published in the channel of its wish.
    pub(crate) said: usize,
    /// These messages, in order.
    pub(crate) words: Vec<String>,
    /// The offsets behind which it has asked for what it missed, by the numbers of its questions.
    pub(crate) sinces: Vec<u64>,
}

impl Client {
    /// A client that has said nothing yet, not even hello.
    pub(crate) fn silent(wish: Wish, room: usize) -> (SimStream, Self) {
        let (stream, fd) = World::open(room, wish.peer);
        (
            stream,
            Self {
                fd,
                wish,
                over: false,
                stalled: false,
                said: 0,
                words: Vec::new(),
                sinces: Vec::new(),
            },
        )
    }

    pub(crate) fn connect(wish: Wish, room: usize) -> (SimStream, Self) {
        let (stream, client) = Self::silent(wish, room);
        client.send(wish.head().as_bytes());
        if wish.lines && !wish.late {
            client.say_who_it_is();
        }
        (stream, client)
    }

    /// Sends the first request of the test dialect.
    pub(crate) fn say_who_it_is(&self) {
        let Wish { channel, user, .. } = self.wish;
        let user = user.unwrap_or_default().as_bytes();
        self.send_frame(2, &request(b'c', channel.unwrap_or_default(), user));
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        World::with(self.fd, |socket| socket.say(bytes));
        World::ring(self.fd);
    }

    pub(crate) fn send_frame(&self, opcode: u8, payload: &[u8]) {
        if opcode < 8 && self.may_deflate() {
            return self.send_deflated(opcode, payload);
        }
        self.send_part(0x80 | opcode, payload);
    }

    /// Returns `true` if the server has agreed to read compressed messages.
    fn may_deflate(&self) -> bool {
        let bytes = || self.outbound();
        self.wish.offers.is_some() && Inflater::agreed(split_head(&bytes()).0).is_some()
    }

    /// Sends a compressed message, in parts of all kinds.
    fn send_deflated(&self, opcode: u8, payload: &[u8]) {
        let pressed = deflated(payload);
        if !payload.len().is_multiple_of(3) {
            return self.send_part(0xc0 | opcode, &pressed);
        }
        let (begin, end) = pressed.split_at(pressed.len() / 2);
        self.send_part(0x40 | opcode, begin);
        self.send_part(0x8a, b"any time");
        self.send_part(0, b"");
        self.send_part(0x80, end);
    }

    /// Sends a frame with this first byte.
    pub(crate) fn send_part(&self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
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
    pub(crate) fn say(&mut self, number: usize, padding: usize) {
        if self.over || self.wish.events {
            return;
        }
        self.said += 1;
        let text = format!("m{number}-{}", "x".repeat(padding));
        if self.wish.json {
            self.ask(&format!("{{\"type\":\"publish\",\"body\":\"{text}\"}}"));
        } else if self.wish.lines {
            self.send_frame(2, &request(b'p', "", text.as_bytes()));
        } else {
            self.send_frame(1, text.as_bytes());
        }
        self.words.push(text);
    }

    /// Sends a request of the test dialect.
    pub(crate) fn ask_in_lines(&self, kind: u8, name: &str) {
        if !self.over {
            self.send_frame(2, &request(kind, name, b""));
        }
    }

    /// Sends a request of the JSON dialect.
    pub(crate) fn ask(&self, request: &str) {
        if !self.over {
            self.send_frame(1, request.as_bytes());
        }
    }

    /// Leaves a channel, and joins it again for what lies behind a position.
    pub(crate) fn come_back(&mut self, channel: &str, epoch: &str, offset: u64) {
        let id = self.sinces.len();
        self.sinces.push(offset);
        self.ask(&format!(r#"{{"type":"leave","channel":"{channel}"}}"#));
        let since = format!(r#"{{"epoch":"{epoch}","offset":{offset}}}"#);
        self.ask(&format!(r#"{{"type":"join","channel":"{channel}","id":{id},"since":{since}}}"#));
    }

    /// Goes without a word.
    pub(crate) fn cut(&mut self) {
        self.over = true;
        World::with(self.fd, |socket| socket.cut = true);
        World::ring(self.fd);
    }

    /// Ends its direction, and would go on reading.
    pub(crate) fn finish(&mut self) {
        self.over = true;
        World::with(self.fd, Socket::finish);
        World::ring(self.fd);
    }

    pub(crate) fn goodbye(&mut self) {
        if self.wish.events {
            self.cut();
        } else if !self.over {
            self.over = true;
            self.send_frame(8, &1000_u16.to_be_bytes());
        }
    }

    /// Reads no more until told to.
    pub(crate) fn stall(&mut self) {
        self.stalled = true;
        World::with(self.fd, |socket| socket.room = 0);
    }

    /// Reads again, and makes so much room.
    pub(crate) fn take_up(&mut self, room: usize) {
        if self.stalled && room < usize::MAX {
            return;
        }
        World::make_room(self.fd, room);
    }

    /// Takes so many bytes more, though it has stalled.
    #[cfg(test)]
    pub(crate) fn make_some_room(&self, bytes: usize) {
        World::make_room(self.fd, bytes);
    }

    /// Reads as before it has stalled.
    #[cfg(test)]
    pub(crate) fn take_up_again(&mut self) {
        self.stalled = false;
        World::make_room(self.fd, usize::MAX);
    }

    /// Returns `true` if it is connected, as far as both sides know.
    pub(crate) fn stayed(&self) -> bool {
        let granted: &[u8] = if self.wish.events { b"HTTP/1.1 200" } else { b"HTTP/1.1 101" };
        let open = World::with(self.fd, |socket| socket.outbound.starts_with(granted));
        let frames = self.frames();
        // One that has not said who it is, is in no channel.
        let greeted =
            !self.wish.lines || frames.iter().any(|frame| frame.payload.starts_with(b"w"));
        !self.over && !self.is_closed() && open && greeted && !frames.iter().any(|f| f.opcode == 8)
    }

    /// Returns `true` if the server has told it to go.
    #[cfg(test)]
    pub(crate) fn is_sent_away(&self) -> bool {
        self.frames().iter().any(|frame| frame.opcode == 8)
    }

    /// Returns `true` if the server has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        World::with(self.fd, |socket| socket.closed)
    }

    /// The offset in front of the first message of its channel, as the answer to its request says.
    pub(crate) fn start(&self) -> Option<u64> {
        let bytes = self.outbound();
        let (head, _) = split_head(&bytes);
        let head = std::str::from_utf8(head).unwrap();
        let line = head.lines().find_map(|line| line.strip_prefix("Stentor-Position: "))?;
        Some(line.split_once(':').unwrap().1.parse().unwrap())
    }

    /// All it got, as bytes.
    pub(crate) fn outbound(&self) -> Vec<u8> {
        World::with(self.fd, |socket| socket.outbound.clone())
    }

    /// The number of sends in which that came.
    pub(crate) fn sends(&self) -> usize {
        World::with(self.fd, |socket| socket.sends)
    }

    /// Takes all that it got, as bytes.
    pub(crate) fn take_outbound(&self) -> Vec<u8> {
        World::with(self.fd, |socket| std::mem::take(&mut socket.outbound))
    }

    /// Forgets all that it got, but for the answer to its request.
    #[cfg(test)]
    pub(crate) fn forget_frames(&self) {
        World::with(self.fd, |socket| {
            let len = split_head(&socket.outbound).0.len();
            socket.outbound.truncate(len);
        });
    }

    /// The whole frames it got; none if it was refused.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let bytes = self.outbound();
        match split_head(&bytes) {
            (head, frames) if head.starts_with(b"HTTP/1.1 101") => match Inflater::agreed(head) {
                Some(inflater) => read_deflated(frames, inflater).0,
                None => read_frames(frames).0,
            },
            (head, _) if head.starts_with(b"HTTP/1.1 200") => {
                self.events().into_iter().map(|(_, frame)| frame).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The events that it got, each with its id.
    fn events(&self) -> Vec<(Option<String>, Frame)> {
        let bytes = self.outbound();
        match split_head(&bytes) {
            (head, body) if is_zipped(head) => read_events(&unzipped(body)),
            (_, body) => read_events(body),
        }
    }

    /// The positions of the events that it got, each with the text.
    pub(crate) fn positions(&self) -> Vec<(String, String)> {
        if !self.wish.events {
            return Vec::new();
        }
        let events = self.events().into_iter();
        let texts = events.filter(|(_, frame)| frame.opcode == 1);
        texts.filter_map(|(id, frame)| Some((id?, frame.text().to_owned()))).collect()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        let said = self.frames().into_iter().filter(|frame| matches!(frame.opcode, 1 | 2));
        said.flat_map(|frame| self.understand(&frame)).collect()
    }

    fn understand(&self, frame: &Frame) -> Vec<Heard> {
        if self.wish.lines {
            vec![understand_line(&frame.payload)]
        } else if self.wish.json {
            vec![understand_json(frame.text())]
        } else {
            frame.text().split('\n').map(|line| Heard::Plain(line.to_owned())).collect()
        }
    }
}
