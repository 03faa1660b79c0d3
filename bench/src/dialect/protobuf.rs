//! Centrifugo's client protocol in Protobuf: each message stands behind its length.
//!
//! Source: the numbers of fields as the public clients of Centrifugo 5 and 6 write them.

use super::said::{SUBSCRIBE, Said};
use super::track::{Position, Track};

/// The keys of fields: their number, and whether a varint (0) or bytes (2) follow.
const ID: u64 = 1 << 3;
const ERROR: u64 = 2 << 3 | 2;
const PUSH: u64 = 4 << 3 | 2;
const CONNECT: u64 = 4 << 3 | 2;
const SUBSCRIBE_REQUEST: u64 = 5 << 3 | 2;
const TOKEN: u64 = 1 << 3 | 2;
const NAME: u64 = 4 << 3 | 2;
const CHANNEL: u64 = 1 << 3 | 2;
const CODE: u64 = 1 << 3;
const TEXT: u64 = 2 << 3 | 2;
/// Of a subscription that recovers.
const RECOVER: u64 = 3 << 3;
const EPOCH: u64 = 6 << 3 | 2;
const SINCE_OFFSET: u64 = 7 << 3;
/// Of the reply to it, and of publications.
const SUBSCRIBE_REPLY: u64 = 6 << 3 | 2;
const RECOVERABLE: u64 = 3 << 3;
const PUBLICATIONS: u64 = 7 << 3 | 2;
const RECOVERED: u64 = 8 << 3;
const REPLY_OFFSET: u64 = 9 << 3;
const WAS_RECOVERING: u64 = 12 << 3;
const PUBLICATION: u64 = 4 << 3 | 2;
const OFFSET: u64 = 6 << 3;

/// Returns a number as a varint and the count of its bytes.
pub(crate) fn varint(mut number: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut len) = ([0; 10], 0);
    loop {
        let seven = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        bytes[len] = if number > 0 { seven | 0x80 } else { seven };
        len += 1;
        if number == 0 {
            return (bytes, len);
        }
    }
}

fn put_varint(out: &mut Vec<u8>, number: u64) {
    let (bytes, len) = varint(number);
    out.extend_from_slice(&bytes[..len]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Returns the first words of a client.
pub(super) fn greeting(channel: &str, token: &str, since: Option<&Position>) -> Vec<u8> {
    let mut connect = Vec::new();
    let mut subscribe = Vec::new();
    let fields = [(TOKEN, token), (NAME, "stentor-bench")];
    for (key, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        put_varint(&mut connect, key);
        put_bytes(&mut connect, text.as_bytes());
    }
    put_varint(&mut subscribe, CHANNEL);
    put_bytes(&mut subscribe, channel.as_bytes());
    if let Some(Position { epoch, offset }) = since {
        put_varint(&mut subscribe, RECOVER);
        put_varint(&mut subscribe, 1);
        put_varint(&mut subscribe, EPOCH);
        put_bytes(&mut subscribe, epoch.as_bytes());
        put_varint(&mut subscribe, SINCE_OFFSET);
        put_varint(&mut subscribe, *offset);
    }
    let mut out = Vec::new();
    for (id, key, request) in
        [(SUBSCRIBE - 1, CONNECT, connect), (SUBSCRIBE, SUBSCRIBE_REQUEST, subscribe)]
    {
        let mut command = Vec::new();
        put_varint(&mut command, ID);
        put_varint(&mut command, id.into());
        put_varint(&mut command, key);
        put_bytes(&mut command, &request);
        put_bytes(&mut out, &command);
    }
    out
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    /// Returns the next field; `None` behind the last one, and where there is none that makes
    /// sense.
    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => Value::Bytes(self.bytes()?),
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key, value))
    }
}

/// Calls `each` for the replies and pings in a message.
pub(super) fn each_said(message: &[u8], mut each: impl FnMut(Said)) {
    let mut messages = Fields(message);
    while let Some(reply) = messages.bytes() {
        if reply.is_empty() {
            each(Said::Ping);
        } else if let Some(said) = said(reply) {
            each(said);
        }
    }
}

fn said(reply: &[u8]) -> Option<Said> {
    let (mut id, mut error) = (0, None);
    for field in Fields(reply) {
        match field {
            (PUSH, _) => return None,
            (ID, Value::Number(number)) => id = u32::try_from(number).ok()?,
            (ERROR, Value::Bytes(bytes)) => error = Some(bytes),
            _ => {}
        }
    }
    let Some(error) = error else { return (id > 0).then_some(Said::Done(id)) };
    let (mut code, mut text) = (0, String::new());
    for field in Fields(error) {
        match field {
            (CODE, Value::Number(number)) => code = number,
            (TEXT, Value::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Some(Said::refused(id, code, &text))
}

/// Follows a client's place through a message of the server.
pub(super) fn follow(message: &[u8], track: &mut Track) {
    let mut messages = Fields(message);
    while let Some(reply) = messages.bytes() {
        for field in Fields(reply) {
            match field {
                (PUSH, Value::Bytes(push)) => {
                    let publications = Fields(push).filter_map(|field| match field {
                        (PUBLICATION, Value::Bytes(publication)) => offset_of(publication),
                        _ => None,
                    });
                    publications.for_each(|offset| track.heard(offset));
                }
                (SUBSCRIBE_REPLY, Value::Bytes(subscribed)) => followed(subscribed, track),
                _ => {}
            }
        }
    }
}

fn offset_of(publication: &[u8]) -> Option<u64> {
    Fields(publication).find_map(|field| match field {
        (OFFSET, Value::Number(offset)) => Some(offset),
        _ => None,
    })
}

/// A client has its place from the reply to its subscription.
fn followed(subscribed: &[u8], track: &mut Track) {
    let mut position = Position::default();
    let (mut recoverable, mut was_recovering, mut recovered) = (false, false, false);
    for field in Fields(subscribed) {
        match field {
            (RECOVERABLE, Value::Number(flag)) => recoverable = flag > 0,
            (WAS_RECOVERING, Value::Number(flag)) => was_recovering = flag > 0,
            (RECOVERED, Value::Number(flag)) => recovered = flag > 0,
            (EPOCH, Value::Bytes(epoch)) => {
                position.epoch = String::from_utf8_lossy(epoch).into_owned();
            }
            (REPLY_OFFSET, Value::Number(offset)) => position.offset = position.offset.max(offset),
            (PUBLICATIONS, Value::Bytes(missed)) => {
                position.offset = position.offset.max(offset_of(missed).unwrap_or(0));
            }
            _ => {}
        }
    }
    if was_recovering {
        track.recovered = Some(recovered);
    }
    track.position = recoverable.then_some(position);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_asked_for_and_followed() {
        let place = |offset| Position { epoch: "e".into(), offset };
        let asked = greeting("a", "", Some(&place(4)));
        assert!(asked.ends_with(b"\x2a\x0a\x0a\x01a\x18\x01\x32\x01e\x38\x04"), "{asked:02x?}");
        let mut track = Track::default();
        let push = b"\x09\x22\x07\x12\x01a\x22\x02\x30\x06";
        follow(push, &mut track);
        follow(b"\x06\x08\x02\x32\x02\x48\x04", &mut track);
        assert_eq!(track, Track::default(), "there is no history");
        let missed = b"\x3a\x02\x30\x04\x3a\x02\x30\x05";
        let mut reply = b"\x18\x01\x32\x01e\x48\x03\x40\x01\x60\x01".to_vec();
        reply.extend(missed);
        let mut message = vec![u8::try_from(reply.len() + 4).unwrap(), 0x08, 0x02, 0x32];
        message.push(u8::try_from(reply.len()).unwrap());
        message.extend(reply);
        follow(&message, &mut track);
        assert_eq!(track, Track { position: Some(place(5)), recovered: Some(true) });
        follow(&[b"\x00", &push[..]].concat(), &mut track);
        assert_eq!(track.position, Some(place(6)));
    }

    fn all(message: &[u8]) -> Vec<Said> {
        let mut found = Vec::new();
        each_said(message, |said| found.push(said));
        found
    }

    #[test]
    fn numbers_are_written_in_sevens() {
        for (number, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (300, &[0xac, 0x02]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let (bytes, len) = varint(number);
            assert_eq!(&bytes[..len], expected);
            assert_eq!(Fields(expected).varint(), Some(number));
        }
        assert_eq!(Fields(&[0x80; 11]).varint(), None);
    }

    #[test]
    fn the_first_words_are_two_commands() {
        let connect = b"\x13\x08\x01\x22\x0f\x22\x0dstentor-bench";
        let subscribe = b"\x07\x08\x02\x2a\x03\x0a\x01a";
        assert_eq!(greeting("a", "", None), [&connect[..], subscribe].concat());
        assert!(greeting("a", "t", None).starts_with(b"\x16\x08\x01\x22\x12\x0a\x01t\x22"));
    }

    #[test]
    fn replies_and_pings_are_found_among_pushes() {
        let push = b"\x06\x22\x04\x12\x02ab";
        let done = b"\x04\x08\x02\x32\x00";
        let refused = b"\x0a\x08\x03\x12\x06\x08\x67\x12\x02no";
        let message = [&push[..], done, b"\x00", refused, push].concat();
        let expected =
            vec![Said::Done(2), Said::Ping, Said::Refused(3, "error 103: no".to_owned())];
        assert_eq!(all(&message), expected);
        // However it is cut, nothing is made up of it.
        for end in 0..message.len() {
            assert!(expected.starts_with(&all(&message[..end])), "{end}");
        }
    }
}
