//! Stage 3: what an open client sends, message by message, through the protocol machine and to its
//! home.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::task::Poll;

use async_tungstenite::tungstenite::protocol::{Role, WebSocketContext};
use async_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::close::CloseReason;
use crate::model::bucket::Bucket;
use crate::model::id::ShardId;
use crate::model::message::{From, Payload, Publication};
use crate::model::parcel::{AckTo, Ask};
use crate::net::{Net, Ready};
use crate::roster::{BLOCKED, ENDED, HELD, JSON, OPEN, PINGED, Partial, Phase};
use crate::shard::Shard;
use crate::wire::frame::{Boundary, Opcode, put_frame};
use crate::wire::plain::{self, PlainCommand};

/// The protocol machine's transport: it reads from memory and writes to memory.
struct Memory<'a> {
    input: &'a [u8],
    out: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            // Zero bytes would mean the end of the stream.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How the reading of a client goes on after a message.
pub(crate) enum Flow {
    /// With the next one.
    On,
    /// Not before there is room for what it said.
    Held,
    /// Not at all.
    Over(CloseReason),
}

impl<N: Net> Shard<N> {
    /// Serves a slot that has become ready, in either direction.
    pub(crate) fn serve(&mut self, Ready { slot, ended }: Ready) {
        // A slot may have been emptied, or given away, since it rang.
        if self.roster.get(slot).is_none() {
            return;
        }
        if ended {
            self.roster.hot_mut(slot).flags |= ENDED;
        }
        if self.roster.hot(slot).is(BLOCKED) {
            self.flush(slot);
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        self.read(slot, &mut buffer);
        self.read_buffer = buffer;
    }

    fn read(&mut self, slot: u32, buffer: &mut [u8]) {
        loop {
            let hot = self.roster.hot(slot);
            if hot.is(HELD) {
                return;
            }
            if self.roster.get(slot).is_none_or(|client| client.phase == Phase::Waiting) {
                return;
            }
            let count = match N::read(hot.fd, buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) => return self.close(slot, CloseReason::Gone),
                Poll::Ready(Ok(count)) => count,
            };
            let now_ms = self.now.ms();
            let hot = self.roster.hot_mut(slot);
            hot.heard_ms = now_ms;
            hot.flags &= !PINGED;
            self.take_bytes(slot, &buffer[..count]);
            if count == buffer.len() {
                // One full buffer a turn: a client that floods waits for the others.
                return self.net.mark_ready(slot);
            }
            if !self.roster.hot(slot).is(ENDED) {
                // What comes after a short read rings anew.
                return;
            }
        }
    }

    fn take_bytes(&mut self, slot: u32, bytes: &[u8]) {
        match self.roster.get(slot).map(|client| client.phase) {
            Some(Phase::Handshake) => self.shake_hands(slot, bytes),
            Some(Phase::Open | Phase::Closing) => self.ingest(slot, bytes),
            // A refused client may say what it likes while it reads the answer.
            Some(Phase::Lingering | Phase::Waiting) | None => {}
        }
    }

    /// Feeds bytes to the client's protocol machine and acts on every message that comes out.
    pub(crate) fn ingest(&mut self, slot: u32, input: &[u8]) {
        let Some(client) = self.roster.get_mut(slot) else { return };
        let mut partial = client
            .partial
            .take()
            .or_else(|| self.spare.take())
            .unwrap_or_else(|| Box::new(self.new_partial()));
        let mut memory = Memory { input, out: std::mem::take(&mut self.control_out) };
        memory.out.clear();
        let mut goodbye = false;
        let flow = loop {
            match partial.context.read(&mut memory) {
                Ok(Message::Close(_)) => goodbye = true,
                Ok(message) => match self.take_message(slot, message) {
                    Flow::On => {}
                    over => break over,
                },
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break Flow::On;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    goodbye = true;
                    break Flow::Over(CloseReason::Goodbye);
                }
                Err(error) => break Flow::Over(reason_of(&error)),
            }
        };
        if goodbye {
            self.say_goodbye(slot, &memory.out);
            self.control_out = memory.out;
            return;
        }
        if !memory.out.is_empty() && self.roster.hot(slot).is(OPEN) {
            self.emit(slot, &memory.out);
        }
        let consumed = input.len() - memory.input.len();
        let rest = memory.input;
        self.control_out = memory.out;
        partial.boundary.feed(&input[..consumed]);
        match flow {
            Flow::On if partial.boundary.at_message_boundary() => self.spare = Some(partial),
            Flow::On => self.keep_partial(slot, partial),
            Flow::Held => {
                partial.rest.extend_from_slice(rest);
                self.keep_partial(slot, partial);
            }
            Flow::Over(reason) => self.close(slot, reason),
        }
    }

    fn new_partial(&self) -> Partial {
        Partial {
            context: WebSocketContext::new(Role::Server, Some(self.websocket)),
            boundary: Boundary::default(),
            rest: Vec::new(),
        }
    }

    fn keep_partial(&mut self, slot: u32, partial: Box<Partial>) {
        if let Some(client) = self.roster.get_mut(slot) {
            client.partial = Some(partial);
        }
    }

    fn take_message(&mut self, slot: u32, message: Message) -> Flow {
        if !self.roster.hot(slot).is(OPEN) {
            // Its close frame is still to come; what it says before that is said to nobody.
            return Flow::On;
        }
        let bytes = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            _ => return Flow::On,
        };
        self.tally.messages_in += 1;
        self.tally.bytes_in += bytes as u64;
        let json = self.roster.hot(slot).is(JSON);
        if !self.is_within_rate(slot, bytes) {
            self.tally.rate_limited += 1;
            return if json { self.tell_rate(slot) } else { Flow::Over(CloseReason::RateLimited) };
        }
        match message {
            Message::Text(text) if json => self.take_json(slot, &text),
            Message::Text(text) => self.take_text(slot, text),
            Message::Binary(bytes) if !json => self.say(slot, Payload::Binary(bytes)),
            _ => self.tell_binary(slot),
        }
    }

    fn take_text(&mut self, slot: u32, text: Utf8Bytes) -> Flow {
        match plain::read_text(&text, self.config.text_ping) {
            PlainCommand::TextPing => self.answer(slot, Opcode::Text, b"pong"),
            PlainCommand::Heartbeat => self.answer(slot, Opcode::Pong, b""),
            PlainCommand::Publish if self.config.trim_text => {
                let text = match plain::trim_text(&text) {
                    std::borrow::Cow::Borrowed(same) if same.len() == text.len() => text,
                    other => Utf8Bytes::from(other.into_owned()),
                };
                self.say(slot, Payload::Text(text))
            }
            PlainCommand::Publish => self.say(slot, Payload::Text(text)),
        }
    }

    /// Sends one small frame to one client.
    pub(crate) fn answer(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) -> Flow {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        put_frame(&mut frame, opcode, payload);
        self.emit(slot, &frame);
        self.scratch = frame;
        Flow::On
    }

    /// A plain client speaks to its channel.
    fn say(&mut self, slot: u32, payload: Payload) -> Flow {
        let Some(seat) = self.roster.get(slot).and_then(|client| client.seat) else {
            return Flow::On;
        };
        let channel = Arc::clone(&self.channels.get(seat.channel).name);
        let home = self.channels.get(seat.channel).home;
        let publication = self.publication(slot, channel, payload);
        self.submit(slot, home, Ask::Publish { publication, ack: AckTo::Nobody })
    }

    pub(crate) fn publication(
        &self,
        slot: u32,
        channel: Arc<str>,
        payload: Payload,
    ) -> Arc<Publication> {
        let user = self.roster.get(slot).and_then(|client| client.user.clone());
        Arc::new(Publication {
            channel,
            offset: 0,
            time_ms: 0,
            ingress_ns: self.now.ns,
            from: Some(From { client: self.roster.id(slot), user }),
            payload,
        })
    }

    /// Sends what a client wants to its home, or holds the client until there is room.
    pub(crate) fn submit(&mut self, slot: u32, to: ShardId, ask: Ask) -> Flow {
        let back = if to != self.port.me {
            self.port.try_ask(to, ask).err()
        } else if self.port.is_stalled() {
            Some(ask)
        } else {
            self.take_ask(ask);
            None
        };
        let Some(ask) = back else { return Flow::On };
        self.tally.holds += 1;
        self.held.push_back(self.roster.id(slot));
        self.roster.hot_mut(slot).flags |= HELD;
        if let Some(client) = self.roster.get_mut(slot) {
            client.extra().held = Some((to, ask));
        }
        Flow::Held
    }

    /// Lets held publishers go on, in turn, as far as there is room; gives how many found some.
    pub(crate) fn resume_held(&mut self) -> usize {
        let mut resumed = 0;
        for _ in 0..self.held.len() {
            let Some(id) = self.held.pop_front() else { break };
            let Some(slot) = self.roster.slot_of(id) else { continue };
            self.roster.hot_mut(slot).flags &= !HELD;
            let Some(client) = self.roster.get_mut(slot) else { continue };
            let held = client.extra.as_mut().and_then(|extra| extra.held.take());
            let Some((to, ask)) = held else { continue };
            if !matches!(self.submit(slot, to, ask), Flow::On) {
                continue;
            }
            resumed += 1;
            let rest = self
                .roster
                .get_mut(slot)
                .and_then(|client| client.partial.as_mut())
                .map(|partial| std::mem::take(&mut partial.rest))
                .unwrap_or_default();
            // Also without a rest: the machine may hold whole messages that it has read already.
            self.ingest(slot, &rest);
            self.net.mark_ready(slot);
        }
        resumed
    }

    fn is_within_rate(&mut self, slot: u32, bytes: usize) -> bool {
        let (messages, rate) = (self.config.messages_per_second, self.config.bytes_per_second);
        if messages == 0 && rate == 0 {
            return true;
        }
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return true };
        let extra = client.extra();
        let mut within = true;
        if messages > 0 {
            let bucket = extra.messages.get_or_insert_with(|| Bucket::full(messages, now_ms));
            within &= bucket.take(1, messages, now_ms);
        }
        if rate > 0 {
            let bucket = extra.bytes.get_or_insert_with(|| Bucket::full(rate, now_ms));
            within &= bucket.take(bytes as u64, rate, now_ms);
        }
        within
    }
}

/// The close reason for what the protocol machine found wrong. It sends no close frame for these
/// itself.
fn reason_of(error: &Error) -> CloseReason {
    match error {
        Error::Utf8(_) => CloseReason::Utf8,
        Error::Capacity(_) => CloseReason::TooLarge,
        _ => CloseReason::Protocol,
    }
}
