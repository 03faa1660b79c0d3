//! Reads requests of `stentor.v1`.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::id::RequestId;
use crate::model::message::Payload;
use crate::model::past::{Numbering, Since, Wanted};
use crate::wire::command::{Command, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;
use crate::wire::json::{is_too_deep, slice_of};
use crate::wire::plain::read::is_heartbeat;

/// The longest `id` of a request, in bytes as it stands there, less the quotes of a string.
const ID_BYTES_MAX: usize = 64;

/// The longest text about a malformed request. The parser quotes what it read, at any length.
const COMPLAINT_BYTES_MAX: usize = 160;

/// The publications that a request for history gets if it names no limit.
const HISTORY_DEFAULT: usize = 100;

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
    #[serde(borrow, default, deserialize_with = "borrowed")]
    encoding: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed")]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "borrowed")]
    token: Option<Cow<'a, str>>,
    #[serde(default)]
    presence: bool,
    #[serde(borrow, default, deserialize_with = "present")]
    since: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    reverse: Option<&'a RawValue>,
}

/// The last publication that a client has heard.
#[derive(Deserialize)]
struct Heard<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

impl Heard<'_> {
    fn since(&self) -> Since {
        Since { epoch: Numbering::read(&self.epoch), offset: self.offset }
    }
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

/// Reads one message of a client.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    match said {
        Said::Text(text) => read_text(text),
        Said::Binary(_) => Err(Mistake::new(ErrorCode::Binary, "this protocol speaks text", None)),
    }
}

fn read_text(text: &Utf8Bytes) -> Result<Command<'_>, Mistake> {
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
        Some(raw) if is_id(raw) => Some(raw),
        Some(_) => {
            let text = "id is a string or a number of at most 64 bytes";
            return Err(Mistake::new(ErrorCode::BadId, text, None));
        }
    };
    command(text, envelope, id.map(|id| RequestId(id.into())))
}

/// Returns the command that the fields of an object make.
fn command<'a>(
    text: &'a Utf8Bytes,
    envelope: Envelope<'a>,
    id: Option<RequestId>,
) -> Result<Command<'a>, Mistake> {
    let missing = |field: &'static str, id| {
        Mistake::new(ErrorCode::MissingField, format!("{field} is missing"), id)
    };
    let Envelope { kind, channel, user, body, method, data, token, .. } = envelope;
    let Envelope { presence, since, limit, reverse, encoding, .. } = envelope;
    let payload = match (body, encoding) {
        (Some(body), Some(encoding)) if matches!(kind.as_deref(), Some("publish" | "direct")) => {
            Some(binary(&encoding, body, id.as_ref())?)
        }
        (body, _) => body.map(|body| Payload::Json(slice_of(text, body.get()))),
    };
    match (kind.as_deref(), payload, channel, user) {
        (Some("publish"), Some(payload), channel, _) => {
            Ok(Command::Publish { channel, payload, id })
        }
        (Some("direct"), Some(payload), _, Some(user)) => Ok(Command::Direct { user, payload, id }),
        (Some("direct"), _, _, None) => Err(missing("user", id)),
        (Some("publish" | "direct"), None, ..) => Err(missing("body", id)),
        (Some("join"), _, Some(channel), _) => {
            let since = field::<Heard<'_>>("since", since, id.as_ref())?.map(|heard| heard.since());
            let data = data.map(|data| slice_of(text, data.get()));
            let (patches, must_recover) = (false, false);
            Ok(Command::Join { channel, presence, patches, since, must_recover, token, data, id })
        }
        (Some("leave"), _, Some(channel), _) => Ok(Command::Leave { channel, id }),
        (Some("join" | "leave"), _, None, _) => Err(missing("channel", id)),
        (Some("who"), _, channel, _) => Ok(Command::Who { channel, id }),
        (Some("presence"), _, channel, _) => Ok(Command::Presence { channel, id }),
        (Some("presence_stats"), _, channel, _) => Ok(Command::PresenceStats { channel, id }),
        (Some("history"), _, channel, _) => {
            let since = field::<Heard<'_>>("since", since, id.as_ref())?.map(|heard| heard.since());
            let limit = field("limit", limit, id.as_ref())?.unwrap_or(HISTORY_DEFAULT);
            let newest_first = field("reverse", reverse, id.as_ref())?.unwrap_or(false);
            Ok(Command::History { channel, wanted: Wanted { since, limit, newest_first }, id })
        }
        (Some("rpc"), payload, ..) => {
            let Some(method) = method else { return Err(missing("method", id)) };
            let data = payload.map(|payload| match payload {
                Payload::Text(json) | Payload::Json(json) => json,
                Payload::Binary(_) => Utf8Bytes::default(),
            });
            Ok(Command::Call { method, data, id })
        }
        (Some("refresh"), _, channel, _) => match token {
            Some(token) => Ok(Command::Refresh { channel, token, id }),
            None => Err(missing("token", id)),
        },
        (Some("ping"), ..) => Ok(Command::Ping { id }),
        (None, ..) if is_heartbeat(text) => Ok(Command::Heartbeat),
        (None, ..) => Err(missing("type", id)),
        (Some(_), ..) => {
            let text = "type is none of publish, direct, join, leave, who, presence, \
                        presence_stats, history, rpc, refresh, ping";
            Err(Mistake::new(ErrorCode::UnknownType, text, id))
        }
    }
}

/// Returns the bytes of a body that says how it is encoded.
fn binary(encoding: &str, body: &RawValue, id: Option<&RequestId>) -> Result<Payload, Mistake> {
    let malformed = |text| Mistake::new(ErrorCode::Malformed, text, id.cloned());
    if encoding != "base64" {
        return Err(malformed("the only encoding of a body is base64"));
    }
    let text: Option<Cow<'_, str>> = serde_json::from_str(body.get()).ok();
    let bytes = text.and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok());
    match bytes {
        Some(bytes) => Ok(Payload::Binary(bytes.into())),
        None => Err(malformed("body is not a string in base64")),
    }
}

/// Reads a field that only some requests look at. `null` is an absence.
fn field<'a, T: Deserialize<'a>>(
    name: &'static str,
    raw: Option<&'a RawValue>,
    id: Option<&RequestId>,
) -> Result<Option<T>, Mistake> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|_| {
        let text = format!("{name} is not as the protocol has it");
        Mistake::new(ErrorCode::Malformed, text, id.cloned())
    })
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

/// The parser's complaint, cut: it must not cost more to be wrong than to be right.
fn complaint(error: &serde_json::Error) -> Cow<'static, str> {
    let mut text = format!("not a request in JSON: {error}");
    text.truncate(text.floor_char_boundary(COMPLAINT_BYTES_MAX));
    text.into()
}

/// Returns the id of a malformed request, so that its sender learns which request it was.
fn id_in(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Marked<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let marked: Marked<'_> = serde_json::from_str(text).ok()?;
    is_id(marked.id.get()).then(|| RequestId(marked.id.get().into()))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
