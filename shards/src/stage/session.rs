//! Stage 3: what an open client sends, message by message, and on to its home.

use std::sync::Arc;
use std::task::Poll;

use async_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::client::roster::{BLOCKED, ENDED, HELD, JSON, MORE, OPEN, OVER, PINGED, Phase, SERVED};
use crate::close::CloseReason;
use crate::mesh::parcel::{AckTo, Ask};
use crate::model::bucket::Bucket;
use crate::model::id::ShardId;
use crate::model::message::{From, Payload, Publication};
use crate::net::{Net, Ready};
use crate::shard::{Shard, TOLD_PER_TURN};
use crate::wire::frame::{Opcode, put_frame};
use crate::wire::plain::read::{self as plain, PlainCommand};

/// How the reading of a client goes on after a message.
pub(crate) enum Flow {
    /// With the next one.
    On,
    /// Not before there is room for what it said.
    Held,
    /// After the others have had their turn.
    Later,
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
        let hot = self.roster.hot_mut(slot);
        // A client that floods rings more than once in a turn, and gets no more of it for that.
        let again = hot.is(SERVED);
        hot.flags |= SERVED;
        if ended {
            hot.flags |= ENDED;
        } else if again {
            return;
        }
        if self.roster.hot(slot).is(BLOCKED) {
            self.flush(slot);
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        self.read(slot, &mut buffer);
        self.read_buffer = buffer;
    }

    fn read(&mut self, slot: u32, buffer: &mut [u8]) {
        if self.roster.hot(slot).is(MORE) {
            return self.go_on(slot);
        }
        loop {
            let hot = self.roster.hot(slot);
            if hot.is(HELD | MORE) {
                return;
            }
            if self.roster.get(slot).is_none_or(|client| client.phase == Phase::Waiting) {
                return;
            }
            let count = match N::read(hot.fd, buffer) {
                Poll::Pending => return,
                // Its last word is due, and comes first.
                Poll::Ready(Ok(0) | Err(_)) if hot.is(OVER) && hot.is(OPEN) => return,
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
            // RFC 6455, 7.1.7: what comes after a broken rule is not processed.
            _ if self.roster.hot(slot).is(OVER) => {}
            Some(Phase::Handshake) => self.shake_hands(slot, bytes),
            Some(Phase::Open | Phase::Closing) => self.ingest(slot, bytes),
            // A refused client may say what it likes while it reads the answer.
            Some(Phase::Lingering | Phase::Waiting) | None => {}
        }
    }

    pub(crate) fn take_message(&mut self, slot: u32, message: Message) -> Flow {
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
        } else if self.port.must_wait(&ask) {
            Some(ask)
        } else {
            self.take_ask(ask);
            None
        };
        let Some(ask) = back else { return Flow::On };
        if let Some(client) = self.roster.get_mut(slot) {
            client.extra().held = Some((to, ask));
        }
        self.hold(slot)
    }

    fn hold(&mut self, slot: u32) -> Flow {
        self.tally.holds += 1;
        self.held.push_back(self.roster.id(slot));
        self.roster.hot_mut(slot).flags |= HELD;
        Flow::Held
    }

    /// After what makes others send or be sent something: the client waits for its next turn if
    /// this one has had its share of that, and for room where other shards are behind.
    pub(crate) fn weigh(&mut self, slot: u32, flow: Flow) -> Flow {
        match flow {
            Flow::On if self.port.is_short() => self.hold(slot),
            Flow::On if self.told >= TOLD_PER_TURN => Flow::Later,
            other => other,
        }
    }

    /// Lets the held go on, in turn, as far as there is room; gives how many found some.
    pub(crate) fn resume_held(&mut self) -> usize {
        let mut resumed = 0;
        for _ in 0..self.held.len() {
            let Some(id) = self.held.pop_front() else { break };
            let Some(slot) = self.roster.slot_of(id) else { continue };
            self.roster.hot_mut(slot).flags &= !HELD;
            let Some(client) = self.roster.get_mut(slot) else { continue };
            let held = client.extra.as_mut().and_then(|extra| extra.held.take());
            let flow = match held {
                Some((to, ask)) => self.submit(slot, to, ask),
                None if self.port.is_short() => self.hold(slot),
                None => Flow::On,
            };
            if !matches!(flow, Flow::On) {
                continue;
            }
            resumed += 1;
            self.go_on(slot);
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
