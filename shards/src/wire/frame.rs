//! WebSocket framing, RFC 6455 section 5.2: frames to clients, and where a client's frames end.

use bytes::{BufMut, BytesMut};

/// The longest header of a frame to a client, which is never masked.
pub(crate) const HEADER_MAX: usize = 10;

/// The longest reason in a close frame: 125 bytes less the code.
const REASON_MAX: usize = 123;

/// The kind of a frame to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Writes the header of a whole, unmasked frame.
pub(crate) fn put_header(out: &mut impl BufMut, opcode: Opcode, len: usize) {
    const FINAL: u8 = 0x80;
    out.put_u8(FINAL | opcode as u8);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => out.put_u8(len),
        (_, Ok(len)) => {
            out.put_u8(126);
            out.put_u16(len);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

/// Writes a whole, unmasked frame.
pub(crate) fn put_frame(out: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    out.reserve(payload.len() + HEADER_MAX);
    put_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Makes room for the header of a frame whose length is not known yet. Returns where the frame
/// begins, for [`end_frame`].
pub(crate) fn begin_frame(out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_bytes(0, HEADER_MAX);
    start
}

/// Writes the header of the frame that begins at `start`, now that all of its payload is there.
pub(crate) fn end_frame(out: &mut BytesMut, start: usize, opcode: Opcode) {
    let len = out.len() - start - HEADER_MAX;
    let mut header = [0; HEADER_MAX];
    let mut rest = &mut header[..];
    put_header(&mut rest, opcode, len);
    let used = HEADER_MAX - rest.len();
    // The payload moves up to its header: short, and in the cache.
    out.copy_within(start + HEADER_MAX.., start + used);
    out.truncate(start + used + len);
    out[start..start + used].copy_from_slice(&header[..used]);
}

/// Writes a close frame; a reason that is too long is cut at a character.
pub(crate) fn put_close(out: &mut BytesMut, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    put_header(out, Opcode::Close, reason.len() + 2);
    out.put_u16(code);
    out.extend_from_slice(reason.as_bytes());
}

/// Finds the first of some whole, unmasked frames. Returns its kind and the place of its payload.
pub(crate) fn server_frame(frames: &[u8]) -> Option<(Opcode, std::ops::Range<usize>)> {
    let [first, second, rest @ ..] = frames else { return None };
    let opcode = match first & 0x0f {
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        _ => Opcode::Pong,
    };
    let wide = match second {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let len = if wide == 0 { u64::from(*second) } else { number(rest.get(..wide)?) };
    let start = 2 + wide;
    Some((opcode, start..start + usize::try_from(len).ok()?))
}

/// A rule that the header of a client's frame breaks by itself, whatever its payload would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The header is not allowed by RFC 6455.
    Protocol,
    /// The message would be longer than a client's may be.
    TooLarge,
}

/// Follows the frames of a client, in any split, to tell whether the client is between two
/// messages, and whether a header breaks a rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boundary {
    header: [u8; 14],
    header_len: u8,
    /// Payload bytes of the current frame that are still to come.
    left: u64,
    /// A data message has begun and its last fragment has not.
    in_message: bool,
    /// The first rule that was broken; frames are not followed beyond it.
    fault: Option<Fault>,
    /// Payload bytes of the current message's frames, as their headers claim them.
    message_len: u64,
    /// Frames whose headers were read; it wraps.
    frames: u32,
}

/// The outcome of following some bytes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Where the message begins that the bytes leave open; zero if it began before them.
    pub(crate) begun: usize,
    /// Where the frame begins whose header breaks a rule; all bytes if none does, and zero if the
    /// frame began before them.
    pub(crate) sound: usize,
}

/// The fields in the header of a client's frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHead {
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    pub(crate) len: u64,
}

impl Boundary {
    /// Follows the next bytes, up to the first header that breaks a rule. A message may have
    /// `message_bytes` at most.
    pub(crate) fn feed(&mut self, bytes: &[u8], message_bytes: usize) -> Followed {
        let (mut at, mut begun) = (0, 0);
        while self.fault.is_none() {
            let in_header = self.left == 0;
            if let (true, Some(next)) = (in_header, bytes.get(at)) {
                self.fault = self.judge(*next, message_bytes as u64);
                if self.fault.is_some() {
                    break;
                }
            }
            let Some(seen) = self.step(&bytes[at..], |_| {}) else { break };
            at += seen;
            if self.at_message_boundary() {
                begun = at;
            }
        }
        let sound = match self.fault {
            Some(_) => at.saturating_sub(self.header_len.into()),
            None => bytes.len(),
        };
        Followed { begun, sound }
    }

    /// Returns the rule that the current header breaks if `next` is its next byte: each byte is
    /// judged as soon as it is there, so that nobody waits for a payload that must not come.
    pub(super) fn judge(&self, next: u8, message_bytes: u64) -> Option<Fault> {
        const RESERVED: u8 = 0x70;
        let at = usize::from(self.header_len);
        if at == 0 {
            let (last, opcode) = (next & 0x80 != 0, next & 0x0f);
            let allowed = match opcode {
                // The rest of a message needs a beginning, and a message does not begin in another.
                0 => self.in_message,
                1 | 2 => !self.in_message,
                8..=10 => last,
                _ => false,
            };
            return (next & RESERVED != 0 || !allowed).then_some(Fault::Protocol);
        }
        let opcode = self.header[0] & 0x0f;
        let control = opcode & 0x08 != 0;
        let short = if at == 1 { next } else { self.header[1] } & 0x7f;
        // The body of a close frame begins with a code of two bytes.
        let short_of_code = opcode == Opcode::Close as u8 && short == 1;
        if at == 1 && (next & 0x80 == 0 || control && short > 125 || short_of_code) {
            return Some(Fault::Protocol);
        }
        let (min, max, least) = self.claimed_len(at, short, next)?;
        // A length takes the fewest bytes that hold it, and its highest bit is zero.
        if max < least || min > u64::MAX >> 1 {
            return Some(Fault::Protocol);
        }
        let before = if self.in_message { self.message_len } else { 0 };
        (!control && before.saturating_add(min) > message_bytes).then_some(Fault::TooLarge)
    }

    /// Returns the smallest and the largest length that the current header can still claim if
    /// `next` is its next byte, and the smallest length that may be claimed in so many bytes.
    /// `None`: the byte is of the mask.
    fn claimed_len(&self, at: usize, short: u8, next: u8) -> Option<(u64, u64, u64)> {
        let (width, least) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            len => return (at == 1).then_some((len.into(), len.into(), 0)),
        };
        if at == 1 {
            return Some((0, u64::MAX, least));
        }
        let missing = (width + 1_usize).checked_sub(at)?;
        let known = number(&self.header[2..at]) << 8 | u64::from(next);
        let min = known << (8 * missing);
        Some((min, min | ((1 << (8 * missing)) - 1), least))
    }

    /// The first rule that a header has broken.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes the next bytes as far as they are of one kind: the rest of a frame's payload, or one
    /// byte of a header; `tell` is called when the header is complete. Returns the number of bytes
    /// taken, and `None` if there are none.
    pub(crate) fn step(&mut self, bytes: &[u8], tell: impl FnOnce(FrameHead)) -> Option<usize> {
        let first = *bytes.first()?;
        if self.left > 0 {
            let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skip as u64;
            return Some(skip);
        }
        self.header[usize::from(self.header_len)] = first;
        self.header_len += 1;
        if let Some(head) = self.read_header() {
            (self.left, self.header_len) = (head.len, 0);
            self.frames = self.frames.wrapping_add(1);
            let is_data = head.opcode & 0x08 == 0;
            if is_data {
                let before = if head.opcode == 0 { self.message_len } else { 0 };
                self.message_len = before.saturating_add(head.len);
                self.in_message = self.header[0] & 0x80 == 0;
            }
            tell(head);
        }
        Some(1)
    }

    /// Returns the fields of the header, as soon as all of it is there.
    fn read_header(&self) -> Option<FrameHead> {
        let header = &self.header[..usize::from(self.header_len)];
        let [first, second, rest @ ..] = header else { return None };
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        if rest.len() < wide + if masked { 4 } else { 0 } {
            return None;
        }
        let (len, mask) = rest.split_at(wide);
        let len = match wide {
            0 => u64::from(second & 0x7f),
            _ => number(len),
        };
        Some(FrameHead { opcode: first & 0x0f, mask: mask.try_into().unwrap_or_default(), len })
    }

    /// Returns `true` if the next byte is payload.
    pub(crate) fn in_payload(&self) -> bool {
        self.left > 0
    }

    /// Returns `true` if the next byte begins a frame.
    pub(super) fn at_frame(&self) -> bool {
        self.left == 0 && self.header_len == 0
    }

    /// Returns `true` if a data message has begun and its last fragment has not.
    pub(super) fn in_message(&self) -> bool {
        self.in_message
    }

    /// Returns `true` if the last byte ended a message, or nothing has come yet.
    pub(crate) fn at_message_boundary(&self) -> bool {
        self.left == 0 && self.header_len == 0 && !self.in_message
    }

    /// Returns the number of frames that have begun so far; it wraps.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }
}

/// The number that these bytes are, the highest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
