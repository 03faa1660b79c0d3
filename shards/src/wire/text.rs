//! Finds invalid UTF-8 in a text message before all of it is there. RFC 6455, 8.1 asks for the
//! check once the message is complete, and lets a server be quicker.

use super::frame::Boundary;

/// The number of payload bytes that are unmasked at a time.
const PIECE: usize = 512;

/// Follows the one message that a client is in the middle of.
#[derive(Debug, Clone, Default)]
pub(crate) struct EarlyText {
    frames: Boundary,
    /// The message is a text, and the current frame is of it.
    is_text: bool,
    in_text: bool,
    mask: [u8; 4],
    /// Which byte of the mask comes next.
    turn: usize,
    utf8: Utf8,
    broken: bool,
}

impl EarlyText {
    /// Forgets the last message: the next bytes begin another.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Takes the next bytes of the message. Returns `false` if it claims to be text and is invalid
    /// UTF-8.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        const TEXT: u8 = 1;
        const CONTINUATION: u8 = 0;
        while !self.broken {
            let in_payload = self.frames.in_payload();
            let mut head = None;
            let Some(seen) = self.frames.step(bytes, |told| head = Some(told)) else { break };
            if in_payload && self.in_text {
                self.broken = !self.take_payload(&bytes[..seen]);
            }
            if let Some(head) = head {
                (self.mask, self.turn) = (head.mask, 0);
                self.is_text |= head.opcode == TEXT;
                // A control frame may stand between two fragments.
                self.in_text = self.is_text && matches!(head.opcode, TEXT | CONTINUATION);
            }
            bytes = &bytes[seen..];
        }
        !self.broken
    }

    fn take_payload(&mut self, masked: &[u8]) -> bool {
        let mut clear = [0; PIECE];
        masked.chunks(PIECE).all(|piece| {
            let mask: [u8; 4] = std::array::from_fn(|at| self.mask[(self.turn + at) % 4]);
            for (at, (clear, byte)) in clear.iter_mut().zip(piece).enumerate() {
                *clear = byte ^ mask[at % 4];
            }
            self.turn = (self.turn + piece.len()) % 4;
            self.utf8.feed(&clear[..piece.len()])
        })
    }
}

/// A text that comes in pieces, cut anywhere.
#[derive(Debug, Clone, Default)]
struct Utf8 {
    /// The beginning of a character whose end has not come.
    begun: [u8; 4],
    begun_len: usize,
}

impl Utf8 {
    /// Takes the next piece. Returns `false` if the text is invalid UTF-8.
    fn feed(&mut self, mut piece: &[u8]) -> bool {
        while self.begun_len > 0 {
            let Some((byte, rest)) = piece.split_first() else { return true };
            self.begun[self.begun_len] = *byte;
            self.begun_len += 1;
            piece = rest;
            match std::str::from_utf8(&self.begun[..self.begun_len]) {
                Ok(_) => self.begun_len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let end = &piece[error.valid_up_to()..];
                self.begun[..end.len()].copy_from_slice(end);
                self.begun_len = end.len();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![first];
        if payload.len() < 126 {
            frame.push(0x80 | u8::try_from(payload.len()).unwrap());
        } else {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Returns the number of bytes, taken one by one, after which the text is found to be invalid.
    fn found_at(bytes: &[u8]) -> Option<usize> {
        let mut early = EarlyText::default();
        (0..bytes.len()).find(|at| !early.feed(&bytes[*at..=*at])).map(|at| at + 1)
    }

    #[test]
    fn invalid_utf8_is_found_at_its_first_wrong_byte() {
        for (text, wrong) in [
            (&b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"[..], Some(7)), // beyond the last character
            (b"a\xed\xa0\x80", Some(3)),                             // half of a surrogate pair
            (b"\xc0\xaf", Some(1)),                                  // longer than it need be
            (b"ab\xff", Some(3)),
            ("h\u{e4}\u{1f600}".as_bytes(), None),
            (b"cut \xf0\x9f\x98", None), // may go on in the next fragment
        ] {
            let found = found_at(&frame(0x81, text, [9, 8, 7, 6]));
            assert_eq!(found, wrong.map(|at| 6 + at), "{text:?}");
            assert_eq!(found_at(&frame(0x82, text, [9, 8, 7, 6])), None, "{text:?} in bytes");
        }
    }

    #[test]
    fn a_character_may_be_cut_by_fragments_and_control_frames() {
        let pieces = |last: &[u8]| {
            [
                frame(0x01, b"\xf0\x9f", [1, 2, 3, 4]),
                frame(0x89, b"\xff\xff", [0; 4]), // a ping's bytes are no text
                frame(0x00, b"", [0; 4]),
                frame(0x80, last, [5, 6, 7, 8]),
            ]
            .concat()
        };
        assert_eq!(found_at(&pieces(b"\x98\x80")), None);
        let broken = pieces(b"\x98a");
        assert_eq!(found_at(&broken), Some(broken.len()));
    }

    proptest! {
        /// Against the simplest equivalent: all bytes at once.
        #[test]
        fn it_agrees_with_the_whole_text(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[a\u{e4}\u{20ac}\u{1f600}]{0,300}".prop_map(String::into_bytes),
            ],
            spoilt in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
            mask in any::<[u8; 4]>(),
            cuts in proptest::collection::vec(1..9_usize, 1..40),
        ) {
            let mut bytes = bytes;
            if let (Some((at, with)), false) = (spoilt, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
            let hopeless = matches!(
                std::str::from_utf8(&bytes), Err(error) if error.error_len().is_some()
            );
            let message = frame(0x01, &bytes, mask);
            let mut early = EarlyText::default();
            let mut rest = &message[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                early.feed(piece);
                rest = after;
            }
            prop_assert_eq!(early.feed(&[]), !hopeless);
        }
    }
}
