//! What JSON clients ask for in `stentor.v1`; `reply` writes what they are told.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use super::write::{
    BodyRef, Here, MessageParts, Welcome, put_error, put_joined, put_left, put_message, put_pong,
    put_presence, put_published, put_reached, put_welcome, put_who,
};
use crate::wire::plain::read::is_heartbeat;

/// The longest `id` of a request, in bytes as it stands there, less the quotes of a string.
const ID_BYTES_MAX: usize = 64;

/// The longest text about a malformed request. The parser quotes what it read, at any length.
const COMPLAINT_BYTES_MAX: usize = 160;

/// How deep arrays and objects may lie in each other, as most parsers of the receivers bear.
const DEPTH_MAX: usize = 128;

/// The `id` of a request as it stood there, to be echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id<'a>(&'a str);

/// An [`Id`] that travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdBuf(Box<str>);

impl Id<'_> {
    pub(crate) fn as_str(&self) -> &str {
        self.0
    }

    pub(crate) fn to_buf(self) -> IdBuf {
        IdBuf(self.0.into())
    }
}

impl IdBuf {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    Publish { channel: Option<Cow<'a, str>>, body: &'a RawValue, id: Option<Id<'a>> },
    Direct { user: Cow<'a, str>, body: &'a RawValue, id: Option<Id<'a>> },
    Join { channel: Cow<'a, str>, presence: bool, id: Option<Id<'a>> },
    Leave { channel: Cow<'a, str>, id: Option<Id<'a>> },
    Who { channel: Option<Cow<'a, str>>, id: Option<Id<'a>> },
    Ping { id: Option<Id<'a>> },
    Heartbeat,
}

/// The `code` of an `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    Malformed,
    UnknownType,
    MissingField,
    BadName,
    BadId,
    Binary,
    Rate,
    UnknownUser,
    NotJoined,
    TooManyChannels,
    NoRoom,
}

impl ErrorCode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::MissingField => "missing_field",
            Self::BadName => "bad_name",
            Self::BadId => "bad_id",
            Self::Binary => "binary",
            Self::Rate => "rate",
            Self::UnknownUser => "unknown_user",
            Self::NotJoined => "not_joined",
            Self::TooManyChannels => "too_many_channels",
            Self::NoRoom => "no_room",
        }
    }
}

/// What is wrong with a request.
#[derive(Debug)]
pub(crate) struct Mistake<'a> {
    pub(crate) code: ErrorCode,
    pub(crate) text: Cow<'static, str>,
    pub(crate) id: Option<Id<'a>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "borrowed")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed")]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default)]
    presence: bool,
}

/// `null` is a value here, not an absence.
fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

/// A string where it lies, if nothing in it is escaped; a bare `Option<Cow>` is always copied.
fn borrowed<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(json)?.map(|text| text.0))
}

/// Whether arrays and objects lie deeper in each other than receivers should have to bear.
fn is_too_deep(text: &str) -> bool {
    // What opens no more than that cannot be deeper, and counting is far cheaper than following.
    if openings(text.as_bytes()) <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// How many brackets and braces open in a text, those in strings too.
fn openings(text: &[u8]) -> usize {
    // A piece's count fits a byte, so that the compiler counts many bytes in one instruction.
    let in_piece =
        |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum::<u8>();
    text.chunks(128).map(in_piece).map(usize::from).sum()
}

/// Reads one message of a client.
pub(crate) fn read(text: &str) -> Result<Command<'_>, Mistake<'_>> {
    let malformed = |text, id| Mistake { code: ErrorCode::Malformed, text, id };
    if is_too_deep(text) {
        return Err(malformed("arrays and objects lie too deep in each other".into(), None));
    }
    // The parser would take an array for an object whose keys are left out.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(malformed("a request is a JSON object".into(), None));
    }
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|error| malformed(complaint(&error), id_in(text)))?;
    let id = match envelope.id.map(RawValue::get) {
        None | Some("null") => None,
        Some(raw) if is_id(raw) => Some(Id(raw)),
        Some(_) => {
            let text = "id is a string or a number of at most 64 bytes".into();
            return Err(Mistake { code: ErrorCode::BadId, text, id: None });
        }
    };
    let missing = |field: &'static str| Mistake {
        code: ErrorCode::MissingField,
        text: format!("{field} is missing").into(),
        id,
    };
    let channel = envelope.channel;
    match envelope.kind.as_deref() {
        Some("publish") => {
            let body = envelope.body.ok_or_else(|| missing("body"))?;
            Ok(Command::Publish { channel, body, id })
        }
        Some("direct") => {
            let user = envelope.user.ok_or_else(|| missing("user"))?;
            let body = envelope.body.ok_or_else(|| missing("body"))?;
            Ok(Command::Direct { user, body, id })
        }
        Some("join") => {
            let channel = channel.ok_or_else(|| missing("channel"))?;
            Ok(Command::Join { channel, presence: envelope.presence, id })
        }
        Some("leave") => {
            Ok(Command::Leave { channel: channel.ok_or_else(|| missing("channel"))?, id })
        }
        Some("who") => Ok(Command::Who { channel, id }),
        Some("ping") => Ok(Command::Ping { id }),
        None if is_heartbeat(text) => Ok(Command::Heartbeat),
        None => Err(missing("type")),
        Some(_) => {
            let text = "type is none of publish, direct, join, leave, who, ping".into();
            Err(Mistake { code: ErrorCode::UnknownType, text, id })
        }
    }
}

fn is_id(raw: &str) -> bool {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.len() <= ID_BYTES_MAX,
        None => {
            raw.len() <= ID_BYTES_MAX
                && raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        }
    }
}

/// What the parser says, cut: it must not cost more to be wrong than to be right.
fn complaint(error: &serde_json::Error) -> Cow<'static, str> {
    let mut text = format!("not a request in JSON: {error}");
    text.truncate(text.floor_char_boundary(COMPLAINT_BYTES_MAX));
    text.into()
}

/// The id of an object in which something else is wrong, so that its sender learns which it was.
fn id_in(text: &str) -> Option<Id<'_>> {
    #[derive(Deserialize)]
    struct Marked<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let marked: Marked<'_> = serde_json::from_str(text).ok()?;
    is_id(marked.id.get()).then(|| Id(marked.id.get()))
}

/// A JSON string body as its characters, any other body as it is.
pub(crate) fn json_body_as_text(raw: &str) -> Cow<'_, str> {
    // The API may hand over a value with space around it.
    let raw = raw.trim_ascii();
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(text) if !text.contains('\\') => Cow::Borrowed(text),
        // A lone surrogate has no characters: then the JSON itself must do.
        Some(_) => serde_json::from_str(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
