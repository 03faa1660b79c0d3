//! The protocol machine that is lent to a client: bytes in, messages out, and an end for who breaks
//! the rules.

use std::io::{self, Read, Write};

use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketContext};
use bytes::{Buf, Bytes};

use crate::client::roster::{MORE, OPEN, OVER, Partial};
use crate::close::CloseReason;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::session::Flow;
use crate::wire::frame::Boundary;
use crate::wire::text::EarlyText;

/// How many bytes the machine is given before a look at how much work they were. So few in unit
/// tests that the simulation's clients meet it.
const SLICE_BYTES: usize = if cfg!(any(test, fuzzing)) { 64 } else { 1 << 10 };

/// After so many frames of one client the others have their turn.
const FRAMES_PER_TURN: u32 = if cfg!(any(test, fuzzing)) { 2 } else { 128 };

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

impl<N: Net> Shard<N> {
    /// Feeds bytes that a client sent to its machine, and keeps what it may not say yet.
    pub(crate) fn ingest(&mut self, slot: u32, input: &[u8]) {
        let taken = self.feed(slot, input);
        if taken < input.len() {
            self.keep_rest(slot, Bytes::copy_from_slice(&input[taken..]));
        }
    }

    /// Goes on with what was kept.
    pub(crate) fn go_on(&mut self, slot: u32) {
        self.roster.hot_mut(slot).flags &= !MORE;
        let partial = self.roster.get_mut(slot).and_then(|client| client.partial.as_mut());
        let mut rest = partial.map(|partial| std::mem::take(&mut partial.rest)).unwrap_or_default();
        // Also without a rest: the machine may hold whole messages that it has read already.
        let taken = self.feed(slot, &rest);
        rest.advance(taken);
        self.keep_rest(slot, rest);
        self.net.mark_ready(slot);
    }

    fn keep_rest(&mut self, slot: u32, rest: Bytes) {
        let client = self.roster.get_mut(slot);
        // Without a machine the client is on its way out, and is not listened to.
        if let Some(partial) = client.and_then(|client| client.partial.as_mut()) {
            partial.rest = rest;
        }
    }

    /// Acts on every message that `input` completes; gives how many bytes it took. A client that is
    /// held, or has said enough for one turn, leaves a rest.
    fn feed(&mut self, slot: u32, input: &[u8]) -> usize {
        let Some(client) = self.roster.get_mut(slot) else { return input.len() };
        let mut partial = client
            .partial
            .take()
            .or_else(|| self.spare.take())
            .unwrap_or_else(|| Box::new(self.new_partial()));
        let mut out = std::mem::take(&mut self.control_out);
        out.clear();
        let frames = partial.boundary.frames();
        // Where the message begins that `input` leaves open, if it begins there at all.
        let mut begun = partial.boundary.at_message_boundary().then_some(0);
        let mut taken = 0;
        debug_assert_eq!(self.feeding, None, "nobody speaks while another does");
        self.feeding = Some(slot);
        let mut flow = loop {
            let slice = &input[taken..input.len().min(taken + SLICE_BYTES)];
            let mut memory = Memory { input: slice, out };
            let flow = self.run(slot, &mut partial.context, &mut memory);
            out = memory.out;
            let consumed = slice.len() - memory.input.len();
            begun = match partial.boundary.feed(&slice[..consumed]) {
                0 => begun,
                at => Some(taken + at),
            };
            taken += consumed;
            if !matches!(flow, Flow::On) || taken == input.len() {
                break flow;
            }
            if partial.boundary.frames().wrapping_sub(frames) >= FRAMES_PER_TURN {
                break Flow::Later;
            }
        };
        self.send_replies();
        self.feeding = None;
        if !partial.boundary.at_message_boundary() {
            let hopeful = partial.follow(&input[begun.unwrap_or(0)..taken], begun.is_some());
            // What a held client said is looked at by the machine when its time comes.
            if !hopeful && matches!(flow, Flow::On | Flow::Later) {
                flow = Flow::Over(CloseReason::Utf8);
            }
        }
        self.give_back(slot, partial, flow, out);
        taken
    }

    fn run(&mut self, slot: u32, machine: &mut WebSocketContext, memory: &mut Memory<'_>) -> Flow {
        loop {
            match machine.read(memory) {
                Ok(message) => match self.take_message(slot, message) {
                    Flow::On => {}
                    other => return other,
                },
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Flow::On;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Flow::Over(CloseReason::Goodbye);
                }
                Err(error) => return Flow::Over(reason_of(&error)),
            }
        }
    }

    /// Puts the machine where it is needed next, and what it answered on the wire.
    fn give_back(&mut self, slot: u32, partial: Box<Partial>, flow: Flow, out: Vec<u8>) {
        if matches!(flow, Flow::Over(CloseReason::Goodbye)) {
            self.say_goodbye(slot, &out);
            self.control_out = out;
            return;
        }
        if !out.is_empty() && self.roster.hot(slot).is(OPEN) {
            self.emit(slot, &out);
        }
        self.control_out = out;
        match flow {
            Flow::On if partial.boundary.at_message_boundary() => self.spare = Some(partial),
            Flow::On | Flow::Held => self.keep_partial(slot, partial),
            Flow::Later => {
                self.keep_partial(slot, partial);
                self.roster.hot_mut(slot).flags |= MORE;
                self.net.mark_ready(slot);
            }
            Flow::Over(reason) => {
                // Marked only: what it said before it broke a rule is in a tick that has not left
                // yet, and is heard by all, itself included.
                self.roster.hot_mut(slot).flags |= OVER;
                self.end_if_over(slot);
                self.doom(slot, reason);
            }
        }
    }

    fn new_partial(&self) -> Partial {
        Partial {
            context: WebSocketContext::new(Role::Server, Some(self.websocket)),
            boundary: Boundary::default(),
            early: EarlyText::default(),
            rest: Bytes::new(),
        }
    }

    fn keep_partial(&mut self, slot: u32, partial: Box<Partial>) {
        if let Some(client) = self.roster.get_mut(slot) {
            client.partial = Some(partial);
        }
    }
}

impl Partial {
    /// Follows the open message; gives whether it may still be a text if it claims to be one.
    fn follow(&mut self, bytes: &[u8], begins: bool) -> bool {
        if begins {
            self.early.begin();
        }
        self.early.feed(bytes)
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
