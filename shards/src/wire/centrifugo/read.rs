//! Reads commands of Centrifugo's protocol.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::id::RequestId;
use crate::model::message::Payload;
use crate::model::past::{Since, Wanted};
use crate::wire::command::{Command, Connect, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;

/// The publications of an answer to a request for history without a bound.
const HISTORY_MAX: usize = 1000;

/// One command. Only one of the fields besides `id` may be there.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Envelope<'a> {
    id: u32,
    #[serde(borrow)]
    connect: Option<ConnectRequest<'a>>,
    #[serde(borrow)]
    subscribe: Option<SubscribeRequest<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    publish: Option<PublishRequest<'a>>,
    #[serde(borrow)]
    presence: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    presence_stats: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    history: Option<HistoryRequest<'a>>,
    #[serde(borrow)]
    refresh: Option<RefreshRequest<'a>>,
    #[serde(borrow)]
    sub_refresh: Option<&'a RawValue>,
    #[serde(borrow)]
    rpc: Option<&'a RawValue>,
    #[serde(borrow)]
    send: Option<&'a RawValue>,
    #[serde(borrow)]
    ping: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConnectRequest<'a> {
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SubscribeRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    recover: bool,
    offset: u64,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    join_leave: bool,
    /// The kind of a subscription; all but zero are of other servers.
    #[serde(rename = "type")]
    kind: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ChannelRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PublishRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HistoryRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    limit: i64,
    #[serde(borrow)]
    since: Option<PositionRequest<'a>>,
    reverse: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PositionRequest<'a> {
    offset: u64,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RefreshRequest<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

/// Leaves the first command of a message, and returns the others: each stands in a line.
pub(super) fn split(said: &mut Said) -> Option<Said> {
    let Said::Text(text) = said else { return None };
    let at = text.as_str().find('\n')?;
    let (first, rest) = (part(text, ..at), part(text, at + 1..));
    *text = first;
    (!rest.as_str().trim_ascii().is_empty()).then_some(Said::Text(rest))
}

/// Returns a part of a text as bytes that share its memory.
fn part(text: &Utf8Bytes, range: impl std::ops::RangeBounds<usize>) -> Utf8Bytes {
    let bytes: &bytes::Bytes = text.as_ref();
    let part = bytes.slice(range);
    // The ends lie at line breaks, which are no part of another character.
    Utf8Bytes::try_from(part).unwrap_or_default()
}

/// Reads one command.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    match said {
        Said::Text(text) => read_text(text),
        Said::Binary(_) => Err(Mistake::new(ErrorCode::Binary, "this protocol speaks text", None)),
    }
}

fn malformed(text: &'static str) -> Mistake {
    Mistake::new(ErrorCode::Malformed, text, None)
}

fn read_text(text: &Utf8Bytes) -> Result<Command<'_>, Mistake> {
    let trimmed = text.as_str().trim_ascii();
    if trimmed == "{}" {
        return Ok(Command::Nothing);
    }
    if !trimmed.starts_with('{') {
        return Err(malformed("a command is a JSON object"));
    }
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|_| malformed("not a command in JSON"))?;
    let id = RequestId(envelope.id.to_string().into());
    let is_numbered = envelope.id > 0;
    if envelope.send.is_some() {
        return Ok(Command::Nothing);
    }
    if !is_numbered {
        return Err(malformed("a command has a number"));
    }
    command(text, envelope, id)
}

/// Returns the command that the fields of an object make.
fn command<'a>(
    text: &'a Utf8Bytes,
    envelope: Envelope<'a>,
    id: RequestId,
) -> Result<Command<'a>, Mistake> {
    let id = Some(id);
    if let Some(ConnectRequest { token }) = envelope.connect {
        let token = token.filter(|token| !token.is_empty());
        return Ok(Command::Connect(Connect { user: None, token, channels: Vec::new(), id }));
    }
    if let Some(request) = envelope.subscribe {
        return subscribe(request, id);
    }
    if let Some(ChannelRequest { channel }) = envelope.unsubscribe {
        return Ok(Command::Leave { channel: named(channel)?, id });
    }
    if let Some(PublishRequest { channel, data }) = envelope.publish {
        let channel = Some(named(channel)?);
        let Some(data) = data.filter(|data| data.get() != "null") else {
            return Err(Mistake::new(ErrorCode::MissingField, "data is missing", id));
        };
        return Ok(Command::Publish { channel, payload: payload(text, data.get()), id });
    }
    if let Some(ChannelRequest { channel }) = envelope.presence {
        return Ok(Command::Presence { channel: Some(named(channel)?), id });
    }
    if let Some(ChannelRequest { channel }) = envelope.presence_stats {
        return Ok(Command::PresenceStats { channel: Some(named(channel)?), id });
    }
    if let Some(request) = envelope.history {
        return history(request, id);
    }
    if let Some(RefreshRequest { token }) = envelope.refresh {
        return Ok(Command::Refresh { token, id });
    }
    if envelope.ping.is_some() {
        return Ok(Command::Ping { id });
    }
    if envelope.rpc.is_some() || envelope.sub_refresh.is_some() {
        return Err(Mistake::new(ErrorCode::NotAvailable, "not here", id));
    }
    Err(malformed("a command without a known method"))
}

fn subscribe(request: SubscribeRequest<'_>, id: Option<RequestId>) -> Result<Command<'_>, Mistake> {
    if request.kind != 0 {
        return Err(Mistake::new(ErrorCode::NotAvailable, "not here", id));
    }
    let since = Since { epoch: request.epoch.parse().ok(), offset: request.offset };
    Ok(Command::Join {
        channel: named(request.channel)?,
        presence: request.join_leave,
        since: request.recover.then_some(since),
        token: request.token.filter(|token| !token.is_empty()),
        id,
    })
}

fn history(request: HistoryRequest<'_>, id: Option<RequestId>) -> Result<Command<'_>, Mistake> {
    let position = |since: PositionRequest<'_>| Since {
        epoch: since.epoch.parse().ok(),
        offset: since.offset,
    };
    let wanted = Wanted {
        since: request.since.map(position),
        limit: usize::try_from(request.limit).unwrap_or(HISTORY_MAX),
        newest_first: request.reverse,
    };
    Ok(Command::History { channel: Some(named(request.channel)?), wanted, id })
}

/// A request without a channel is none.
fn named(channel: Cow<'_, str>) -> Result<Cow<'_, str>, Mistake> {
    if channel.is_empty() { Err(malformed("a channel is missing")) } else { Ok(channel) }
}

/// Returns a value of a message as a body that shares its memory.
fn payload(text: &Utf8Bytes, data: &str) -> Payload {
    let bytes: &bytes::Bytes = text.as_ref();
    let data = Utf8Bytes::try_from(bytes.slice_ref(data.as_bytes()));
    Payload::Json(data.unwrap_or_default())
}
