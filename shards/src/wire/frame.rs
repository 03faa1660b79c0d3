//! WebSocket framing, RFC 6455 section 5.2: frames to clients, and where a client's frames end.

use bytes::{BufMut, BytesMut};

/// The longest header of a frame to a client, which is never masked.
pub(crate) const HEADER_MAX: usize = 10;

/// The longest reason in a close frame: 125 bytes less the code.
const REASON_MAX: usize = 123;

/// What a frame to a client is.
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

/// Writes a close frame; a reason that is too long is cut at a character.
pub(crate) fn put_close(out: &mut BytesMut, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    put_header(out, Opcode::Close, reason.len() + 2);
    out.put_u16(code);
    out.extend_from_slice(reason.as_bytes());
}

/// Follows the frames of a client, in any split, to tell whether it is between two messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boundary {
    header: [u8; 14],
    header_len: u8,
    /// Payload bytes of the current frame that are still to come.
    left: u64,
    /// A data message has begun and its last fragment has not.
    in_message: bool,
    /// Frames whose headers were read; it wraps.
    frames: u32,
}

/// What stands in the header of a client's frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    pub(crate) len: u64,
}

impl Boundary {
    /// Takes note of the next bytes; gives where in them the message begins that they leave open.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        let mut begun = 0;
        while let Some(seen) = self.step(rest, |_| {}) {
            rest = &rest[seen..];
            if self.at_message_boundary() {
                begun = bytes.len() - rest.len();
            }
        }
        begun
    }

    /// Takes the next bytes as far as they are of one kind: the rest of a frame's payload, or one
    /// byte of a header, which is told when it is complete. Gives how many they were; `None`: there
    /// are none.
    pub(crate) fn step(&mut self, bytes: &[u8], tell: impl FnOnce(Head)) -> Option<usize> {
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
                self.in_message = self.header[0] & 0x80 == 0;
            }
            tell(head);
        }
        Some(1)
    }

    /// What the header says, as soon as all of it is there.
    fn read_header(&self) -> Option<Head> {
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
            _ => len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        Some(Head { opcode: first & 0x0f, mask: mask.try_into().unwrap_or_default(), len })
    }

    /// Whether the next byte is payload.
    pub(crate) fn in_payload(&self) -> bool {
        self.left > 0
    }

    /// Whether the last byte ended a message, or nothing has come yet.
    pub(crate) fn at_message_boundary(&self) -> bool {
        self.left == 0 && self.header_len == 0 && !self.in_message
    }

    /// How many frames have begun so far; it wraps.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_of_all_three_lengths() {
        for (len, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_header(&mut out, Opcode::Text, len);
            assert_eq!(out, header, "{len}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut out = BytesMut::new();
        put_close(&mut out, 1008, &"ä".repeat(100));
        assert_eq!(out[1], 124);
        assert_eq!(&out[2..4], &1008_u16.to_be_bytes());
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    fn client_frame(fin: bool, opcode: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![u8::from(fin) << 7 | opcode];
        match len {
            0..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
            126..65_536 => {
                frame.push(0x80 | 0x7e);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 0x7f);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + len, 0x55);
        frame
    }

    proptest! {
        /// Against the dullest equivalent: a list of the offsets at which messages end.
        #[test]
        fn it_knows_where_messages_end(
            frames in proptest::collection::vec(
                (any::<bool>(), any::<bool>(), prop_oneof![
                    19 => 0..300_usize, 1 => 65_500..65_600_usize,
                ]),
                1..20,
            ),
            cuts in proptest::collection::vec(1..50_usize, 1..200),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            let mut open = false;
            for (control, fin, len) in frames {
                if control {
                    bytes.extend(client_frame(true, 9, len.min(125)));
                } else {
                    bytes.extend(client_frame(fin, u8::from(!open), len));
                    open = !fin;
                }
                if !open { ends.push(bytes.len()); }
            }
            let mut boundary = Boundary::default();
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                if at == bytes.len() { break; }
                let next = (at + cut).min(bytes.len());
                boundary.feed(&bytes[at..next]);
                at = next;
                prop_assert_eq!(boundary.at_message_boundary(), ends.contains(&at), "at {}", at);
            }
        }
    }

    #[test]
    fn a_claim_of_all_bytes_there_are_does_not_wrap() {
        let mut boundary = Boundary::default();
        boundary.feed(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        boundary.feed(&[0; 1000]);
        assert!(!boundary.at_message_boundary());
    }
}
