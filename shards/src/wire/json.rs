//! The JSON dialect, `stentor.v1`: requests in, frames out. Bodies pass byte for byte.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame::{HEADER_MAX, Opcode, put_header};
use super::plain::is_heartbeat;
use crate::model::id::ClientId;

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
    fn name(self) -> &'static str {
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

/// A string where it lies, if nothing in it is escaped: an optional `Cow` by itself is always copied.
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

/// What a client is greeted with.
#[derive(Debug)]
pub(crate) struct Welcome<'a> {
    pub(crate) client: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) channel: Option<&'a str>,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) message_bytes: usize,
}

/// A publication's body in the form in which it came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyRef<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Json(&'a str),
}

/// A publication as JSON clients see it; without a channel it is a direct message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageParts<'a> {
    pub(crate) channel: Option<&'a str>,
    pub(crate) offset: u64,
    pub(crate) from: Option<(ClientId, Option<&'a str>)>,
    pub(crate) time_ms: u64,
    pub(crate) body: BodyRef<'a>,
}

/// Writes `write`'s JSON as one text frame. The header is written once the length is known.
fn framed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, HEADER_MAX);
    write(out);
    let len = out.len() - start - HEADER_MAX;
    let mut header = [0; HEADER_MAX];
    let mut rest = &mut header[..];
    put_header(&mut rest, Opcode::Text, len);
    let used = HEADER_MAX - rest.len();
    // The payload moves up to its header: short, and in the cache.
    out.copy_within(start + HEADER_MAX.., start + used);
    out.truncate(start + used + len);
    out[start..start + used].copy_from_slice(&header[..used]);
}

fn put_str(out: &mut BytesMut, text: &str) {
    serde_json::to_writer(out.writer(), text).expect("memory takes every string");
}

fn put(out: &mut BytesMut, text: impl AsRef<[u8]>) {
    out.extend_from_slice(text.as_ref());
}

fn put_display(out: &mut BytesMut, value: impl std::fmt::Display) {
    use std::fmt::Write;
    write!(out, "{value}").expect("memory takes every number");
}

fn put_optional(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_str(out, text),
        None => put(out, "null"),
    }
}

fn put_end(out: &mut BytesMut, id: Option<&str>) {
    if let Some(id) = id {
        put(out, ",\"id\":");
        put(out, id);
    }
    put(out, "}");
}

pub(crate) fn put_welcome(out: &mut BytesMut, welcome: &Welcome<'_>) {
    framed(out, |out| {
        put(out, "{\"type\":\"welcome\",\"client\":");
        put_str(out, welcome.client);
        put(out, ",\"user\":");
        put_optional(out, welcome.user);
        put(out, ",\"channel\":");
        put_optional(out, welcome.channel);
        put(out, ",\"ping_interval\":");
        put_display(out, welcome.ping_interval.as_secs_f64());
        put(out, ",\"pong_timeout\":");
        put_display(out, welcome.pong_timeout.as_secs_f64());
        put(out, ",\"message_bytes\":");
        put_display(out, welcome.message_bytes);
        put_end(out, None);
    });
}

pub(crate) fn put_message(out: &mut BytesMut, message: &MessageParts<'_>) {
    framed(out, |out| {
        put(out, "{\"type\":\"message\",");
        if let Some(channel) = message.channel {
            put(out, "\"channel\":");
            put_str(out, channel);
            put(out, ",\"offset\":");
            put_display(out, message.offset);
        } else {
            put(out, "\"direct\":true");
        }
        put(out, ",\"from\":");
        if let Some((client, user)) = message.from {
            put(out, "{\"client\":\"");
            put_display(out, client);
            put(out, "\",\"user\":");
            put_optional(out, user);
            put(out, "}");
        } else {
            put(out, "null");
        }
        put(out, ",\"time\":");
        put_display(out, message.time_ms);
        if let BodyRef::Binary(_) = message.body {
            put(out, ",\"encoding\":\"base64\"");
        }
        put(out, ",\"body\":");
        match message.body {
            BodyRef::Text(text) => put_str(out, text),
            BodyRef::Json(json) => put(out, json),
            BodyRef::Binary(bytes) => put_base64(out, bytes),
        }
        put(out, "}");
    });
}

fn put_base64(out: &mut BytesMut, bytes: &[u8]) {
    put(out, "\"");
    put(out, data_encoding::BASE64.encode(bytes));
    put(out, "\"");
}

pub(crate) fn put_joined(out: &mut BytesMut, channel: &str, offset: u64, id: Option<&str>) {
    framed(out, |out| {
        put(out, "{\"type\":\"joined\",\"channel\":");
        put_str(out, channel);
        put(out, ",\"offset\":");
        put_display(out, offset);
        put_end(out, id);
    });
}

pub(crate) fn put_left(out: &mut BytesMut, channel: &str, id: Option<&str>) {
    framed(out, |out| {
        put(out, "{\"type\":\"left\",\"channel\":");
        put_str(out, channel);
        put_end(out, id);
    });
}

/// Somebody else came to a channel or left it.
pub(crate) fn put_presence(
    out: &mut BytesMut,
    joined: bool,
    channel: &str,
    client: &str,
    user: Option<&str>,
) {
    framed(out, |out| {
        put(out, if joined { "{\"type\":\"joined\"" } else { "{\"type\":\"left\"" });
        put(out, ",\"channel\":");
        put_str(out, channel);
        put(out, ",\"client\":");
        put_str(out, client);
        put(out, ",\"user\":");
        put_optional(out, user);
        put(out, "}");
    });
}

/// Who is in a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) channel: &'a str,
    pub(crate) clients: u64,
    /// There are more users than are named.
    pub(crate) more: bool,
}

pub(crate) fn put_who<'a>(
    out: &mut BytesMut,
    here: &Here<'_>,
    users: impl Iterator<Item = &'a str>,
    id: Option<&str>,
) {
    framed(out, |out| {
        put(out, "{\"type\":\"who\",\"channel\":");
        put_str(out, here.channel);
        put(out, ",\"clients\":");
        put_display(out, here.clients);
        put(out, ",\"users\":[");
        for (index, user) in users.enumerate() {
            if index > 0 {
                put(out, ",");
            }
            put_str(out, user);
        }
        put(out, "],\"more\":");
        put_display(out, here.more);
        put_end(out, id);
    });
}

/// A publication was taken.
pub(crate) fn put_published(out: &mut BytesMut, id: &str, channel: &str, offset: u64) {
    framed(out, |out| {
        put(out, "{\"type\":\"ack\",\"channel\":");
        put_str(out, channel);
        put(out, ",\"offset\":");
        put_display(out, offset);
        put_end(out, Some(id));
    });
}

/// A direct message was delivered to so many clients.
pub(crate) fn put_reached(out: &mut BytesMut, id: &str, clients: u64) {
    framed(out, |out| {
        put(out, "{\"type\":\"ack\",\"clients\":");
        put_display(out, clients);
        put_end(out, Some(id));
    });
}

pub(crate) fn put_error(out: &mut BytesMut, code: ErrorCode, text: &str, id: Option<&str>) {
    framed(out, |out| {
        put(out, "{\"type\":\"error\",\"code\":\"");
        put(out, code.name());
        put(out, "\",\"text\":");
        put_str(out, text);
        put_end(out, id);
    });
}

pub(crate) fn put_pong(out: &mut BytesMut, id: Option<&str>) {
    framed(out, |out| {
        put(out, "{\"type\":\"pong\"");
        put_end(out, id);
    });
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
