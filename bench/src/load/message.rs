//! The template of a publication, as the measured server reads it.

use serde::{Deserialize, Serialize};

use crate::dialect::{SUBSCRIBE, varint};
use crate::frame;

/// The placeholder of the message in a template.
const MESSAGE: &str = "$MSG";

/// The placeholder of the number of the message's bytes.
const LENGTH: &str = "$LEN";

/// Stands for the number of the client: in its publications, and in everything that it says and
/// asks for when it connects.
const NUMBER: &str = "$N";

/// The placeholder of the number of the client's channel.
const CHANNEL: &str = "$C";

/// The placeholder of the number of the client that a direct message is for.
const ADDRESSEE: &str = "$TO";

/// The placeholder of a number that the client gives no other publication.
const REQUEST: &str = "$ID";

/// Numbers of the client that says a message, of its channel, and of the client that it is for; 0
/// where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parties {
    pub(crate) client: usize,
    pub(crate) channel: usize,
    pub(crate) addressee: usize,
    /// The number of the publication among those of its client, from 0.
    pub(crate) number: u32,
}

impl Parties {
    /// Returns the number that the client gives no other command.
    fn request(self) -> usize {
        self.number as usize + SUBSCRIBE as usize + 1
    }
}

/// The text around a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Template {
    /// As typed.
    text: String,
    parts: Vec<Piece>,
    opcode: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Message,
    Length,
    Number,
    Channel,
    Addressee,
    Request,
    /// The same as a varint.
    RequestVarint,
    /// Pieces behind their length in bytes, a varint.
    Sized(Vec<Piece>),
}

impl Template {
    /// Reads a template, such as `{"type":"publish","body":"$MSG"}`. Without `$MSG` there would be
    /// nothing to find again.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text.matches(MESSAGE).count() != 1 {
            return Err(format!("the message {text:?} has to have {MESSAGE} in it, once"));
        }
        Ok(Self { text: text.to_owned(), parts: pieces(text), opcode: frame::TEXT })
    }

    /// The form of a publication to a channel in Centrifugo's Protobuf protocol, the message as a
    /// JSON string.
    pub(crate) fn protobuf(channel: &str) -> Self {
        let bytes = |bytes: &[u8]| Piece::Text(bytes.into());
        let data = vec![bytes(b"\""), Piece::Message, bytes(b"\"")];
        // The fields `channel` and `data` of a publication, which is field 7 of a command.
        let publish = vec![
            bytes(&[1 << 3 | 2]),
            Piece::Sized(pieces(channel)),
            bytes(&[2 << 3 | 2]),
            Piece::Sized(data),
        ];
        let command = vec![
            bytes(&[1 << 3]),
            Piece::RequestVarint,
            bytes(&[7 << 3 | 2]),
            Piece::Sized(publish),
        ];
        let parts = vec![Piece::Sized(command)];
        Self { text: MESSAGE.to_owned(), parts, opcode: frame::BINARY }
    }

    /// The same in frames of another kind.
    pub(crate) fn in_frames(&self, opcode: u8) -> Self {
        Self { opcode, ..self.clone() }
    }

    /// Returns `true` if the number of a channel is in it.
    pub(crate) fn has_channel(&self) -> bool {
        self.parts.contains(&Piece::Channel)
    }

    /// Returns `true` if it says for which client it is.
    pub(crate) fn has_addressee(&self) -> bool {
        self.parts.contains(&Piece::Addressee)
    }

    /// Returns the template for people, unless it is the message and nothing else.
    pub(crate) fn dialect(&self) -> Option<String> {
        let mut text = String::new();
        for char in self.text.chars() {
            if char.is_control() {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        (self.parts != [Piece::Message]).then_some(text)
    }

    /// Appends the frame of one publication.
    pub(crate) fn put(&self, out: &mut Vec<u8>, message: &[u8], parties: Parties) {
        let whole = len_of(&self.parts, message, parties);
        frame::put_masked_of(out, self.opcode, whole, |out| {
            put_pieces(out, &self.parts, message, parties);
        });
    }
}

/// Cuts a text at its placeholders.
fn pieces(text: &str) -> Vec<Piece> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let places = [
            (MESSAGE, Piece::Message),
            (LENGTH, Piece::Length),
            (NUMBER, Piece::Number),
            (CHANNEL, Piece::Channel),
            (ADDRESSEE, Piece::Addressee),
            (REQUEST, Piece::Request),
        ];
        let found = places
            .into_iter()
            .filter_map(|(name, part)| Some((rest.find(name)?, name.len(), part)))
            .min_by_key(|(at, ..)| *at);
        let (at, len, part) = match found {
            Some((at, len, part)) => (at, len, Some(part)),
            None => (rest.len(), 0, None),
        };
        if at > 0 {
            parts.push(Piece::Text(rest[..at].into()));
        }
        parts.extend(part);
        rest = &rest[at + len..];
    }
    parts
}

fn len_of(pieces: &[Piece], message: &[u8], parties: Parties) -> usize {
    let len = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Message => message.len(),
        Piece::Length => digits(message.len()),
        Piece::Number => digits(parties.client),
        Piece::Channel => digits(parties.channel),
        Piece::Addressee => digits(parties.addressee),
        Piece::Request => digits(parties.request()),
        Piece::RequestVarint => varint(parties.request() as u64).1,
        Piece::Sized(pieces) => {
            let len = len_of(pieces, message, parties);
            varint(len as u64).1 + len
        }
    };
    pieces.iter().map(len).sum()
}

fn put_pieces(out: &mut Vec<u8>, pieces: &[Piece], message: &[u8], parties: Parties) {
    let put_varint = |out: &mut Vec<u8>, number: usize| {
        let (bytes, len) = varint(number as u64);
        out.extend_from_slice(&bytes[..len]);
    };
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Message => out.extend_from_slice(message),
            Piece::Length => put_decimal(out, message.len()),
            Piece::Number => put_decimal(out, parties.client),
            Piece::Channel => put_decimal(out, parties.channel),
            Piece::Addressee => put_decimal(out, parties.addressee),
            Piece::Request => put_decimal(out, parties.request()),
            Piece::RequestVarint => put_varint(out, parties.request()),
            Piece::Sized(pieces) => {
                put_varint(out, len_of(pieces, message, parties));
                put_pieces(out, pieces, message, parties);
            }
        }
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn put_decimal(out: &mut Vec<u8>, mut number: usize) {
    let begin = out.len();
    out.resize(begin + digits(number), b'0');
    for digit in out[begin..].iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(template: &str, message: &[u8], client: usize) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        let parties = Parties { client, channel: 17, addressee: 305, number: 6 };
        Template::read(template).unwrap().in_frames(frame::BINARY).put(&mut out, message, parties);
        let mut seen = Vec::new();
        let mut kind = 0;
        let read = frame::Reader::default().feed(&mut out, |opcode, payload| {
            kind = opcode;
            seen.extend(payload);
        });
        assert_eq!(read, Ok(()));
        (kind, seen)
    }

    #[test]
    fn the_message_stands_in_its_place() {
        for (template, client, expected) in [
            (r#"{"body":"$MSG"}"#, 0, r#"{"body":"abc"}"#),
            ("PUB lobby $LEN\r\n$MSG\r\n", 0, "PUB lobby 3\r\nabc\r\n"),
            ("$N/$N $LEN$MSG", 12_345, "12345/12345 3abc"),
            ("$MSG$N", 0, "abc0"),
            ("$$M $L $MSG$", 7, "$$M $L abc$"),
            ("$C to $TO: $MSG", 7, "17 to 305: abc"),
            ("$ID $MSG", 7, "9 abc"),
        ] {
            let (opcode, seen) = said(template, b"abc", client);
            assert_eq!(opcode, frame::BINARY);
            assert_eq!(String::from_utf8(seen).unwrap(), expected);
        }
        let long = said("$LEN $MSG", &[b'a'; 1000], 0).1;
        assert_eq!((long.len(), &long[..6]), (1005, &b"1000 a"[..]));
    }

    #[test]
    fn a_message_alone_is_text_and_nothing_else() {
        let mut plain = Vec::new();
        let template = Template::read("$MSG").unwrap();
        template.put(&mut plain, b"abc", Parties { client: 5, ..Parties::default() });
        assert_eq!((plain.len(), plain[0]), (2 + 4 + 3, 0x81));
        assert_eq!(template.dialect(), None);
        let dialect = Template::read("«$MSG»\r\n").unwrap().dialect();
        assert_eq!(dialect.as_deref(), Some("«$MSG»\\r\\n"));
    }

    #[test]
    fn a_publication_in_protobuf_is_behind_its_length() {
        let mut out = Vec::new();
        let parties = Parties { number: 297, channel: 7, ..Parties::default() };
        Template::protobuf("c$C").put(&mut out, &[b'a'; 200], parties);
        let mut seen = Vec::new();
        let read = frame::Reader::default().feed(&mut out, |opcode, payload| {
            assert_eq!(opcode, frame::BINARY);
            seen.extend_from_slice(payload);
        });
        assert_eq!(read, Ok(()));
        let head = b"\xd7\x01\x08\xac\x02\x3a\xd1\x01\x0a\x02c7\x12\xca\x01\"a";
        assert_eq!(&seen[..head.len()], head);
        assert_eq!((seen.len(), seen.last()), (2 + 0xd7, Some(&b'"')));
    }

    #[test]
    fn what_has_no_message_in_it_is_none() {
        assert!(Template::read("{}").is_err());
        assert!(Template::read("$MSG$MSG").is_err(), "it would be heard twice");
    }
}
