//! The protocol machine that is lent to a client: bytes in, messages and answers out.

use std::io::{self, Read, Write};

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use async_tungstenite::tungstenite::{Error, Message};
use bytes::Bytes;

use super::command::Said;
use super::frame::{Boundary, Fault, Followed};
use super::shim::Shim;
use super::text::EarlyText;
use crate::close::CloseReason;

/// The protocol state of a client that is in the middle of a message; idle clients have none.
pub(crate) struct Machine {
    context: WebSocketContext,
    boundary: Boundary,
    /// The longest message of a client.
    message_bytes: usize,
    early: EarlyText,
    /// The requests of a message that were not performed yet.
    left: Option<Said>,
    /// The requests that were put back so far; it wraps.
    put_back: u32,
    /// Bytes that were read and not looked at so far: the client is held, or has had its turn.
    pub(crate) rest: Bytes,
    /// The shim in front of it, if the client may send compressed messages.
    pub(crate) shim: Option<Box<Shim>>,
    /// Bytes that have passed the shim, and come before the rest.
    pub(crate) passed: Bytes,
}

/// The machine's transport: it reads from memory and writes to memory.
pub(crate) struct Memory<'a> {
    pub(crate) input: &'a [u8],
    /// The machine's own answers: pongs, and the answer to a close frame.
    pub(crate) out: Vec<u8>,
}

/// The outcome of one look at the input.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole message.
    Message(Said),
    /// A control frame, which the machine has answered if it must.
    Control,
    /// The input is used up.
    Wanting,
    /// The client sent a close frame, or broke a rule.
    Over(CloseReason),
}

/// The outcome of following bytes that the machine has not read.
#[derive(Debug)]
pub(crate) struct Ahead {
    before: Boundary,
    followed: Followed,
}

impl Ahead {
    /// The number of bytes before the first frame whose header breaks a rule.
    pub(crate) fn sound(&self) -> usize {
        self.followed.sound
    }
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

impl Machine {
    /// A machine for a client that is between two messages.
    pub(crate) fn new(config: WebSocketConfig) -> Self {
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            boundary: Boundary::default(),
            message_bytes: config.max_message_size.unwrap_or(usize::MAX),
            early: EarlyText::default(),
            left: None,
            put_back: 0,
            rest: Bytes::new(),
            shim: None,
            passed: Bytes::new(),
        }
    }

    /// Takes back the requests of a message that follow its first one: they come next.
    pub(crate) fn put_back(&mut self, left: Said) {
        self.left = Some(left);
        self.put_back = self.put_back.wrapping_add(1);
    }

    /// Takes words that came on another way. They come behind those that are left of earlier ones.
    /// Returns `false` if that would be more than `bytes_max`: then they are not taken.
    pub(crate) fn hear(&mut self, words: Said, bytes_max: usize) -> bool {
        let words = match (self.left.take(), words) {
            (Some(left), words) if left.len() + words.len() > bytes_max => {
                self.left = Some(left);
                return false;
            }
            (Some(Said::Text(left)), Said::Text(words)) => {
                Said::Text(format!("{left}\n{words}").into())
            }
            (Some(Said::Binary(left)), Said::Binary(words)) => {
                Said::Binary([&left[..], &words[..]].concat().into())
            }
            // Words of the other kind are refused when they are read.
            (_, words) => words,
        };
        self.put_back(words);
        true
    }

    /// Returns `true` if requests of a message were put back.
    pub(crate) fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Takes the next message or control frame out of `memory`.
    pub(crate) fn step(&mut self, memory: &mut Memory<'_>) -> Step {
        if let Some(left) = self.left.take() {
            return Step::Message(left);
        }
        match self.context.read(memory) {
            Ok(Message::Text(text)) => Step::Message(Said::Text(text)),
            Ok(Message::Binary(bytes)) => Step::Message(Said::Binary(bytes)),
            // The machine's own answer is left unsent: the client broke a rule like any other.
            Ok(Message::Close(Some(close))) if replaces_invalid_code(&close) => {
                Step::Over(CloseReason::Protocol)
            }
            Ok(_) => Step::Control,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Step::Wanting,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Step::Over(CloseReason::Goodbye),
            Err(error) => Step::Over(reason_of(&error)),
        }
    }

    /// Follows the frames of `slice` before [`step`](Self::step) reads them. No frame whose header
    /// breaks a rule may be read: the machine would wait for its payload.
    pub(crate) fn look_ahead(&mut self, slice: &[u8]) -> Ahead {
        let before = self.boundary.clone();
        let followed = self.boundary.feed(slice, self.message_bytes);
        Ahead { before, followed }
    }

    /// Takes note of how many of the `sound` bytes were read, which may be fewer than were looked
    /// at. Returns where in them the message begins that they leave open; zero if it began before
    /// them.
    pub(crate) fn note(&mut self, ahead: Ahead, sound: &[u8], consumed: usize) -> usize {
        if consumed == sound.len() {
            return ahead.followed.begun;
        }
        self.boundary = ahead.before;
        self.boundary.feed(&sound[..consumed], self.message_bytes).begun
    }

    /// Returns why the client must go, if a header has broken a rule.
    pub(crate) fn fault(&self) -> Option<CloseReason> {
        self.boundary.fault().map(|fault| match fault {
            Fault::Protocol => CloseReason::Protocol,
            Fault::TooLarge => CloseReason::TooLarge,
        })
    }

    /// Returns `true` if the client is between two messages: then the machine may serve another
    /// one.
    pub(crate) fn is_idle(&self) -> bool {
        self.at_boundary() && self.shim.as_ref().is_none_or(|shim| shim.is_idle())
    }

    /// Returns `true` if the machine is between two messages; its shim may be in the middle of one.
    pub(crate) fn at_boundary(&self) -> bool {
        self.boundary.at_message_boundary()
    }

    /// Returns the number of frames that have begun, and of requests that stood behind another one
    /// in a message; it wraps.
    pub(crate) fn frames(&self) -> u32 {
        self.boundary.frames().wrapping_add(self.put_back)
    }

    /// Follows the bytes of the open message, which begin it if `begins`. Returns `false` if it
    /// claims to be text and is invalid UTF-8.
    pub(crate) fn follow(&mut self, bytes: &[u8], begins: bool) -> bool {
        if begins {
            self.early.begin();
        }
        self.early.feed(bytes)
    }
}

/// Returns `true` for the frame that tungstenite's machine returns in place of a close frame with a
/// code that no endpoint may send.
fn replaces_invalid_code(close: &CloseFrame) -> bool {
    close.code == CloseCode::Protocol && close.reason == "Protocol violation"
}

/// Returns the close reason for an error of tungstenite's machine, which sends no close frame for
/// these itself.
fn reason_of(error: &Error) -> CloseReason {
    match error {
        Error::Utf8(_) => CloseReason::Utf8,
        Error::Capacity(_) => CloseReason::TooLarge,
        _ => CloseReason::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_with_an_invalid_code_is_a_protocol_fault_without_an_answer() {
        let step = |code: u16| {
            let [high, low] = code.to_be_bytes();
            let bytes = [0x88, 0x82, 0, 0, 0, 0, high, low];
            let mut memory = Memory { input: &bytes, out: Vec::new() };
            let mut machine = Machine::new(WebSocketConfig::default());
            (machine.step(&mut memory), memory.out.len())
        };
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            let (step, answered) = step(code);
            assert!(matches!(step, Step::Over(CloseReason::Protocol)), "{code}: {step:?}");
            assert_eq!(answered, 0, "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999] {
            assert!(matches!(step(code).0, Step::Control), "{code}");
        }
    }
}
