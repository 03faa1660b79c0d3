//! What a publication looks like to the server that is measured.

use serde::{Deserialize, Serialize};

use crate::frame;

/// What stands for the message in a template.
const PLACE: &str = "$MSG";

/// The text around a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Template {
    /// Reads a template, such as `{"type":"publish","body":"$MSG"}`. Without `$MSG` there would be
    /// nothing to find again.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let Some((before, after)) = text.split_once(PLACE) else {
            return Err(format!("the message {text:?} has no {PLACE} in it"));
        };
        Ok(Self { before: before.into(), after: after.into() })
    }

    /// Appends the frame of one publication.
    pub(crate) fn put(&self, out: &mut Vec<u8>, payload: &[u8]) {
        if self.before.is_empty() && self.after.is_empty() {
            return frame::put_masked(out, frame::TEXT, payload);
        }
        let whole = [&self.before, payload, &self.after].concat();
        frame::put_masked(out, frame::TEXT, &whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_stands_in_its_place() {
        let mut out = Vec::new();
        Template::read(r#"{"body":"$MSG"}"#).unwrap().put(&mut out, b"abc");
        let mut seen = Vec::new();
        let read = frame::Reader::default().feed(&mut out, |_, payload| seen.extend(payload));
        assert_eq!((read, seen.as_slice()), (Ok(()), &br#"{"body":"abc"}"#[..]));
        let mut plain = Vec::new();
        Template::read("$MSG").unwrap().put(&mut plain, b"abc");
        assert_eq!(plain.len(), 2 + 4 + 3);
        assert!(Template::read("{}").is_err());
    }
}
