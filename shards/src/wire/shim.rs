//! The shim in front of the protocol machine: a client's compressed messages become plain ones, and
//! all other bytes pass.
//!
//! It judges nothing that the machine can judge. A message that may not be becomes the header of
//! a frame that the machine refuses for the same reason.

use super::deflate::PRESSED;
use super::frame::{Boundary, Fault as Broken};
use super::inflate::{Fault, Inflater};

/// The first byte of a header that breaks RFC 6455 by itself.
const UNSOUND: [u8; 1] = [0x70];

/// A header of a message that is longer than any may be.
const ENDLESS: [u8; 10] = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// The header of a masked frame whose mask changes nothing.
const MASKED: u8 = 0x80;

/// Memory for a message that is kept for the next one.
const KEPT_BYTES: usize = 4 << 10;

/// The bounds of one look at a client's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The longest message.
    pub(crate) message_bytes: usize,
    /// No frame is looked at behind so many bytes of plain ones.
    pub(crate) plain_bytes: usize,
    /// No frame is looked at behind so many.
    pub(crate) frames: u32,
}

/// One client's frames on their way to the machine. Between two messages it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Shim {
    boundary: Boundary,
    /// The kind of the compressed message that has begun.
    compressed: Option<u8>,
    /// The current frame is a part of it.
    is_part: bool,
    /// The bytes of it that have come, as they were before they were masked.
    payload: Vec<u8>,
    mask: [u8; 4],
    mask_at: usize,
    /// A rule is broken: the machine sees the rest as it came.
    is_broken: bool,
}

impl Shim {
    /// Returns `true` if the client is between two messages.
    pub(crate) fn is_idle(&self) -> bool {
        self.boundary.at_message_boundary() && !self.is_broken
    }

    /// Returns the number of frames that have begun so far; it wraps.
    pub(crate) fn frames(&self) -> u32 {
        self.boundary.frames()
    }

    /// Appends what the machine is to see of a client's bytes to `plain`. Returns the number of
    /// bytes that were taken.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        inflater: &mut Inflater,
        bounds: Bounds,
    ) -> usize {
        let (mut at, before) = (0, self.frames());
        while at < input.len() && !self.is_broken {
            if self.boundary.at_frame() {
                let frames = self.frames().wrapping_sub(before);
                if plain.len() >= bounds.plain_bytes || frames >= bounds.frames {
                    return at;
                }
                self.begin_frame(input[at]);
            }
            at += if self.boundary.in_payload() {
                self.take_payload(&input[at..], plain)
            } else {
                self.take_header_byte(input[at], plain, bounds.message_bytes)
            };
            if self.is_part && self.boundary.at_frame() && !self.boundary.in_message() {
                self.end_message(plain, inflater, bounds.message_bytes);
            }
        }
        if self.is_broken {
            plain.extend_from_slice(&input[at..]);
            at = input.len();
        }
        at
    }

    /// Looks at the first byte of a frame.
    fn begin_frame(&mut self, first: u8) {
        let (reserved, opcode) = (first & 0x70, first & 0x0f);
        let begins = reserved == PRESSED && matches!(opcode, 1 | 2) && !self.boundary.in_message();
        if begins {
            self.compressed = Some(opcode);
        }
        let goes_on = self.compressed.is_some() && opcode == 0 && reserved == 0;
        self.is_part = begins || goes_on;
    }

    fn take_header_byte(&mut self, raw: u8, plain: &mut Vec<u8>, message_bytes: usize) -> usize {
        let is_first = self.boundary.at_frame();
        let byte = if self.is_part && is_first { raw & !PRESSED } else { raw };
        // What cannot be compressed takes a little more room than it has.
        let payload_bytes = match self.compressed {
            Some(_) => (message_bytes + (message_bytes >> 8)).saturating_add(64),
            None => message_bytes,
        };
        if let Some(fault) = self.boundary.judge(byte, payload_bytes as u64) {
            // The machine does not know that a compressed message has begun, and would take
            // another one within it.
            let is_hidden = self.is_part
                || self.compressed.is_some() && is_first && matches!(raw & 0x0f, 1 | 2);
            match fault {
                Broken::Protocol if is_hidden => plain.extend_from_slice(&UNSOUND),
                Broken::TooLarge if is_hidden => plain.extend_from_slice(&ENDLESS),
                Broken::Protocol | Broken::TooLarge => plain.push(raw),
            }
            self.is_broken = true;
            return 1;
        }
        let mut mask = None;
        self.boundary.step(&[byte], |head| mask = Some(head.mask));
        if let Some(mask) = mask {
            (self.mask, self.mask_at) = (mask, 0);
        }
        if !self.is_part {
            plain.push(raw);
        }
        1
    }

    /// Takes the rest of the current frame's payload, as far as it has come.
    fn take_payload(&mut self, input: &[u8], plain: &mut Vec<u8>) -> usize {
        let Some(taken) = self.boundary.step(input, |_| {}) else { return input.len() };
        let bytes = &input[..taken];
        if self.is_part {
            let mask = self.mask.iter().cycle().skip(self.mask_at);
            self.payload.extend(bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            self.mask_at = (self.mask_at + taken) % 4;
        } else {
            plain.extend_from_slice(bytes);
        }
        taken
    }

    /// The compressed message is complete: the machine gets it as one plain frame.
    fn end_message(&mut self, plain: &mut Vec<u8>, inflater: &mut Inflater, message_bytes: usize) {
        let opcode = self.compressed.take().unwrap_or_default();
        self.is_part = false;
        match inflater.inflate(&mut self.payload, message_bytes) {
            Ok(message) => put_plain(plain, opcode, message),
            Err(fault) => {
                plain.extend_from_slice(match fault {
                    Fault::TooLarge => &ENDLESS[..],
                    Fault::Corrupt => &UNSOUND,
                });
                self.is_broken = true;
            }
        }
        self.payload.shrink_to(KEPT_BYTES);
    }
}

/// Writes a whole frame as a client would.
fn put_plain(plain: &mut Vec<u8>, opcode: u8, message: &[u8]) {
    plain.push(0x80 | opcode);
    match (u8::try_from(message.len()), u16::try_from(message.len())) {
        (Ok(len @ 0..126), _) => plain.push(MASKED | len),
        (_, Ok(len)) => {
            plain.push(0xfe);
            plain.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            plain.push(0xff);
            plain.extend_from_slice(&(message.len() as u64).to_be_bytes());
        }
    }
    plain.extend_from_slice(&[0; 4]);
    plain.extend_from_slice(message);
}

#[cfg(test)]
#[path = "shim_tests.rs"]
mod tests;
