//! The place of a client in the history of its channel, as the server's messages tell it.

use memchr::memmem;

/// The field of a publication in JSON that says its place.
const OFFSET: &[u8] = br#""offset":"#;

/// The place behind the last publication that a client has heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The numbering of the offset.
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

/// The place of a client, as far as it has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// `None`: it knows of no history to go on in.
    pub(crate) position: Option<Position>,
    /// `true` if it was told all that it had missed; `None` once somebody has counted it.
    pub(crate) recovered: Option<bool>,
}

impl Track {
    /// A publication of this offset came.
    pub(super) fn heard(&mut self, offset: u64) {
        if let Some(position) = &mut self.position {
            position.offset = offset;
        }
    }

    /// A publication in JSON came, which is the last one that begins in `text`.
    pub(super) fn heard_in(&mut self, text: &[u8], at: Option<usize>) {
        let digits = at.map_or(&[][..], |at| &text[at + OFFSET.len()..]);
        let len = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
        let offset = std::str::from_utf8(&digits[..len]).ok().and_then(|text| text.parse().ok());
        if let Some(offset) = offset {
            self.heard(offset);
        }
    }
}

/// Where the first offset of a text stands.
pub(super) fn first_offset(text: &[u8]) -> Option<usize> {
    memmem::find(text, OFFSET)
}

/// Where the last offset of a text stands.
pub(super) fn last_offset(text: &[u8]) -> Option<usize> {
    memmem::rfind(text, OFFSET)
}
