//! Automatic replies of clients: to the pings of protocols within the frames.

use memchr::memmem::Finder;

use crate::frame;

/// A message, and the reply to it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    what: Finder<'static>,
    /// Messages that have it in them count as well as those that are it.
    anywhere: bool,
    /// The reply, framed.
    pub(super) frame: Vec<u8>,
}

impl Answer {
    /// Reads `WHAT=REPLY`, or `*WHAT*=REPLY` for what may have more around it; the reply is sent in
    /// frames of this kind.
    pub(crate) fn read(text: &str, opcode: u8) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not WHAT=REPLY or *WHAT*=REPLY");
        let (what, reply) = text.split_once('=').ok_or_else(wrong)?;
        let inner = what.strip_prefix('*').and_then(|what| what.strip_suffix('*'));
        let exact = inner.unwrap_or(what);
        if exact.is_empty() || reply.is_empty() {
            return Err(wrong());
        }
        let mut frame = Vec::new();
        frame::put_masked(&mut frame, opcode, reply.as_bytes());
        let what = Finder::new(exact.as_bytes()).into_owned();
        Ok(Self { what, anywhere: inner.is_some(), frame })
    }

    /// Returns `true` if a message is to be replied to.
    pub(super) fn is_to(&self, message: &[u8]) -> bool {
        message == self.what.needle() || self.anywhere && self.what.find(message).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replied_to() {
        let exact = Answer::read("2=3", frame::TEXT).unwrap();
        assert!(exact.is_to(b"2") && !exact.is_to(b"42"));
        assert_eq!(exact.frame[..2], [0x81, 0x81]);
        let anywhere = Answer::read("*PING\r\n*=PONG\r\n", frame::BINARY).unwrap();
        assert!(anywhere.is_to(b"PING\r\n") && anywhere.is_to(b"MSG a 1 1\r\nb\r\nPING\r\n"));
        assert!(!anywhere.is_to(b"PING"));
        for nonsense in ["2", "=3", "2=", "**=3"] {
            assert!(Answer::read(nonsense, frame::TEXT).is_err(), "{nonsense}");
        }
    }
}
