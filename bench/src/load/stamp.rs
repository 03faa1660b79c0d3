//! The stamp that every message carries: its publisher, its number, and its intended moment.
//!
//! Letters and digits only, so that a stamp passes through JSON as it is, and it is looked for, so
//! that it is found in whatever a server wraps around it, several times in joined messages.

use std::collections::BTreeMap;

use memchr::memmem::Finder;

/// How long a stamp is; messages are at least as long.
pub(crate) const STAMP_BYTES: usize = 48;

/// Its mark and the run's number.
const MARK_BYTES: usize = 8;

/// One publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u32,
    /// From 0, for each publisher.
    pub(crate) number: u32,
    /// When it was meant to leave, on the monotonic clock.
    pub(crate) intended_ns: u64,
    /// How much later it left, in microseconds, at most an hour and more.
    pub(crate) late_us: u32,
}

impl Stamp {
    /// When it left.
    pub(crate) fn sent_ns(&self) -> u64 {
        self.intended_ns + u64::from(self.late_us) * 1000
    }
}

/// Writes and finds the stamps of one run; those of another are strangers to it.
#[derive(Debug, Clone)]
pub(crate) struct Stamper {
    mark: [u8; MARK_BYTES],
    finder: Finder<'static>,
}

impl Stamper {
    pub(crate) fn new(run: u16) -> Self {
        let text = format!("sTnT{run:04x}");
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(text.as_bytes());
        Self { mark, finder: Finder::new(&mark).into_owned() }
    }

    /// Appends a stamp.
    pub(crate) fn put(&self, out: &mut Vec<u8>, stamp: &Stamp) {
        out.extend(self.mark);
        put_hex(out, u64::from(stamp.publisher), 8);
        put_hex(out, u64::from(stamp.number), 8);
        put_hex(out, stamp.intended_ns, 16);
        put_hex(out, u64::from(stamp.late_us), 8);
    }

    /// Calls `each` for every stamp in a message, and gives what it ends in, if that may be the
    /// beginning of one more.
    fn find<'a>(&self, mut message: &'a [u8], mut each: impl FnMut(Stamp)) -> &'a [u8] {
        while let Some(at) = self.finder.find(message) {
            let Some(stamp) = message.get(at + MARK_BYTES..at + STAMP_BYTES) else {
                return &message[at..];
            };
            message = &message[at + MARK_BYTES..];
            if let Some(stamp) = read(stamp) {
                each(stamp);
                message = &message[STAMP_BYTES - MARK_BYTES..];
            }
        }
        let tail = &message[message.len().saturating_sub(MARK_BYTES - 1)..];
        let begins = |at: &usize| tail[*at] == self.mark[0] && self.mark.starts_with(&tail[*at..]);
        (0..tail.len()).find(begins).map_or(&[], |at| &tail[at..])
    }
}

/// The ends of clients' last messages, where such an end may be half a stamp: servers may cut their
/// messages into frames wherever they like.
#[derive(Debug, Default)]
pub(crate) struct Halves(BTreeMap<usize, Vec<u8>>);

impl Halves {
    /// A client has gone: what it had half heard has no other half.
    pub(crate) fn leave(&mut self, client: usize) {
        self.0.remove(&client);
    }

    /// Calls `each` for every stamp that ends in what a client hears.
    pub(crate) fn find(
        &mut self,
        stamper: &Stamper,
        client: usize,
        message: &[u8],
        each: impl FnMut(Stamp),
    ) {
        let half = match self.0.remove(&client) {
            None => stamper.find(message, each).to_vec(),
            Some(half) => stamper.find(&[&half, message].concat(), each).to_vec(),
        };
        if !half.is_empty() {
            self.0.insert(client, half);
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn put_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    for digit in (0..digits).rev() {
        let four = (number >> (4 * digit)) & 0xf;
        out.push(DIGITS[usize::try_from(four).unwrap_or(0)]);
    }
}

fn read(digits: &[u8]) -> Option<Stamp> {
    Some(Stamp {
        publisher: u32::try_from(hex(&digits[..8])?).ok()?,
        // One more must be a number too.
        number: u32::try_from(hex(&digits[8..16])?).ok().filter(|number| *number < u32::MAX)?,
        // So must the moment at which it left.
        intended_ns: hex(&digits[16..32]).filter(|ns| *ns <= u64::MAX / 2)?,
        late_us: u32::try_from(hex(&digits[32..40])?).ok()?,
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    let (mut number, mut all) = (0, 0);
    for digit in digits {
        let value = VALUES[usize::from(*digit)];
        all |= value;
        number = number << 4 | u64::from(value & 0xf);
    }
    (all < 16).then_some(number)
}

/// The value of each byte as a digit, and 255 for a byte that is none. Digits are looked up in a
/// table, because a prediction of the next byte fails too often.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp { publisher: 7, number: 40_000, intended_ns: 1 << 50, late_us: 12 };

    fn found(stamper: &Stamper, message: &[u8]) -> Vec<Stamp> {
        let mut found = Vec::new();
        stamper.find(message, |stamp| found.push(stamp));
        found
    }

    #[test]
    fn a_stamp_is_found_in_json_and_in_joined_messages() {
        let stamper = Stamper::new(0xbeef);
        let mut text = Vec::new();
        stamper.put(&mut text, &STAMP);
        assert_eq!(text.len(), STAMP_BYTES);
        let wrapped = [br#"{"type":"message","body":""#, &text[..], br#"...."}"#].concat();
        assert_eq!(found(&stamper, &wrapped), [STAMP]);
        let joined = [&text[..], b"....\n", &text, b"....\n", &text].concat();
        assert_eq!(found(&stamper, &joined), [STAMP; 3]);
        assert_eq!(found(&Stamper::new(0xbee0), &joined), [], "another run's are strangers");
        assert_eq!(STAMP.sent_ns(), (1 << 50) + 12_000);
    }

    #[test]
    fn only_digits_are_digits() {
        assert_eq!(hex(b"0189abcdef"), Some(0x01_89ab_cdef));
        for wrong in [&b"0g"[..], b"A0", b"0/", b"0:", b"`0", b"0 ", b"\x80\xff"] {
            assert_eq!(hex(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn half_a_stamp_is_none() {
        let stamper = Stamper::new(1);
        let mut text = Vec::new();
        stamper.put(&mut text, &STAMP);
        assert_eq!(found(&stamper, &text[..STAMP_BYTES - 1]), []);
        // A mark alone, then a whole one.
        let both = [&text[..20], &text[..]].concat();
        assert_eq!(found(&stamper, &both), [STAMP]);
    }

    #[test]
    fn what_cannot_become_a_stamp_is_not_kept() {
        let stamper = Stamper::new(1);
        let mut text = Vec::new();
        stamper.put(&mut text, &STAMP);
        for (message, kept) in [
            (&b"plain...."[..], &b""[..]),
            (b"s......", b""),
            (b"ends in s", b"s"),
            (b"..sTnT00", b"sTnT00"),
            (b"sTnT0002", b""),
            (b"", b""),
        ] {
            assert_eq!(stamper.find(message, |_| {}), kept);
        }
        assert_eq!(stamper.find(&text, |_| {}), b"", "a whole one is done with");
        assert_eq!(stamper.find(&text[..43], |_| {}), &text[..43]);
    }

    proptest! {
        #[test]
        fn stamps_are_found_through_every_cut(
            cuts in proptest::collection::vec(1..60_usize, 1..20),
        ) {
            let stamper = Stamper::new(7);
            let mut bytes = Vec::new();
            for number in 0..5 {
                stamper.put(&mut bytes, &Stamp { number, ..STAMP });
                bytes.extend(b"..s\r\n");
            }
            let mut halves = Halves::default();
            let (mut heard, mut other) = (Vec::new(), 0);
            let mut rest = &bytes[..];
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                halves.find(&stamper, 3, piece, |stamp| heard.push(stamp.number));
                halves.find(&stamper, 4, &bytes[..49], |_| other += 1);
                prop_assert!(halves.0.values().all(|half| half.len() < STAMP_BYTES));
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(heard, [0, 1, 2, 3, 4]);
            prop_assert!(other > 0);
        }

        #[test]
        fn every_stamp_reads_back(
            publisher: u32, number in 0..u32::MAX, intended_ns in 0..u64::MAX / 2, late_us: u32,
            run: u16,
            before in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let stamp = Stamp { publisher, number, intended_ns, late_us };
            let stamper = Stamper::new(run);
            let mut message = before;
            stamper.put(&mut message, &stamp);
            prop_assert_eq!(found(&stamper, &message).pop(), Some(stamp));
        }
    }
}
