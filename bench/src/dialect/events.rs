//! Server-sent events: a reader that follows one stream through any split.

use memchr::memchr2;

use super::chunks::Chunks;
use crate::frame::PAYLOAD_BYTES_MAX;

/// One event. Comments, ids and waits are no part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Empty for a message.
    pub(crate) name: &'a [u8],
    /// The lines of it, with line feeds between them.
    pub(crate) data: &'a [u8],
}

/// Reads one stream. It owns memory only while an event has come in part.
#[derive(Debug, Default)]
pub(crate) struct Events {
    chunks: Option<Chunks>,
    part: Vec<u8>,
    /// The last event ended in a carriage return: a line feed that follows belongs to it.
    may_feed: bool,
}

impl Events {
    /// The reader of a stream whose body comes as it is, or in chunks.
    pub(crate) fn new(is_chunked: bool) -> Self {
        Self { chunks: is_chunked.then(Chunks::new), ..Self::default() }
    }

    /// Takes bytes, and calls `each` with every event that ends in them.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        mut each: impl FnMut(Event<'_>),
    ) -> Result<(), &'static str> {
        let count = match &mut self.chunks {
            Some(chunks) => chunks.strip(bytes).ok_or("the chunks of its stream make no sense")?,
            None => bytes.len(),
        };
        let mut bytes = &bytes[..count];
        if bytes.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.may_feed) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        if self.part.is_empty() {
            let used = self.whole_events(bytes, &mut each);
            self.part.extend_from_slice(&bytes[used..]);
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(bytes);
            let used = self.whole_events(&part, &mut each);
            part.drain(..used);
            self.part = part;
        }
        if self.part.len() > PAYLOAD_BYTES_MAX {
            return Err("an event of its stream is too long");
        }
        if self.part.is_empty() {
            self.part = Vec::new();
        }
        Ok(())
    }

    /// Calls `each` for the whole events in `bytes`, and returns the number of bytes they are.
    fn whole_events(&mut self, bytes: &[u8], each: &mut impl FnMut(Event<'_>)) -> usize {
        let mut used = 0;
        while let Some((len, has_feed)) = event(&bytes[used..], each) {
            used += len;
            self.may_feed = !has_feed && used == bytes.len();
        }
        used
    }
}

/// Reads the event at the beginning of `bytes`. Returns its length, and `true` if a line feed is
/// its last byte; `None` while it is not whole.
fn event(bytes: &[u8], each: &mut impl FnMut(Event<'_>)) -> Option<(usize, bool)> {
    let (mut name, mut first, mut more): (&[u8], Option<&[u8]>, Vec<u8>) = (b"", None, Vec::new());
    let mut at = 0;
    loop {
        let len = memchr2(b'\r', b'\n', &bytes[at..])?;
        let line = &bytes[at..at + len];
        let pair = bytes[at + len..].starts_with(b"\r\n");
        let has_feed = pair || bytes[at + len] == b'\n';
        at += len + if pair { 2 } else { 1 };
        if line.is_empty() {
            let Some(data) = first else { return Some((at, has_feed)) };
            let data = if more.is_empty() { data } else { &more[..] };
            each(Event { name, data });
            return Some((at, has_feed));
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match (&line[..colon], first) {
            (b"data", None) => first = Some(value),
            (b"data", Some(before)) => {
                if more.is_empty() {
                    more.extend_from_slice(before);
                }
                more.push(b'\n');
                more.extend_from_slice(value);
            }
            (b"event", _) => name = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<(String, String)>;

    fn read(text: &[u8], is_chunked: bool, split: usize) -> Result<Found, &'static str> {
        let (mut events, mut found) = (Events::new(is_chunked), Found::new());
        for piece in text.to_vec().chunks_mut(split) {
            events.feed(piece, |event| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                found.push((text(event.name), text(event.data)));
            })?;
        }
        Ok(found)
    }

    fn pairs(of: &[(&str, &str)]) -> Found {
        of.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    #[test]
    fn events_are_read_through_every_split() {
        for (text, expected) in [
            ("\n: hello\n\nid: a:1\ndata: one\n\ndata:two\n\n", pairs(&[("", "one"), ("", "two")])),
            ("data: a\ndata\ndata:  b\n\n", pairs(&[("", "a\n\n b")])),
            ("event: close\ndata: {\"code\":3500}\n\n", pairs(&[("close", "{\"code\":3500}")])),
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", pairs(&[("", "a"), ("", "b"), ("", "c")])),
            ("event: nothing\n\nretry: 5\n\nwhat: x\n\n", Found::new()),
            ("data: not whole\n", Found::new()),
        ] {
            let chunked = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
            for split in 1..=chunked.len() {
                assert_eq!(read(text.as_bytes(), false, split).unwrap(), expected, "{text:?}");
                assert_eq!(read(chunked.as_bytes(), true, split).unwrap(), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_makes_no_sense_is_refused() {
        assert!(read(b"data: x\n\n", true, 64).is_err(), "it is not in chunks");
        let long = vec![b'x'; PAYLOAD_BYTES_MAX + 1];
        assert!(read(&long, false, 1 << 16).is_err());
    }

    #[test]
    fn nothing_is_kept_behind_whole_events() {
        let mut events = Events::default();
        events.feed(&mut b"data: x\n\n".to_vec(), |_| {}).unwrap();
        assert_eq!(events.part.capacity(), 0);
    }
}
