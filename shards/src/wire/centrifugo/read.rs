//! Reads commands of Centrifugo's protocol.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::subs::{Subs, named as named_subs};
use crate::model::id::RequestId;
use crate::model::message::Payload;
use crate::model::past::{Numbering, Since, Wanted};
use crate::wire::command::{Command, Connect, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;
use crate::wire::json::{is_too_deep, slice_of};

/// The publications of an answer to a request for history without a bound.
const HISTORY_MAX: usize = 1000;

/// The bit of a subscription's `flag` with which a client would rather have an error than a gap.
const REJECT_UNRECOVERED: u64 = 2;

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
    sub_refresh: Option<SubRefreshRequest<'a>>,
    #[serde(borrow)]
    rpc: Option<RpcRequest<'a>>,
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
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    subs: Option<Subs<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RpcRequest<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::wire) struct SubscribeRequest<'a> {
    #[serde(borrow)]
    pub(in crate::wire) channel: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::wire) token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in crate::wire) data: Option<&'a RawValue>,
    pub(in crate::wire) recover: bool,
    pub(in crate::wire) offset: u64,
    #[serde(borrow)]
    pub(in crate::wire) epoch: Cow<'a, str>,
    pub(in crate::wire) join_leave: bool,
    /// The algorithm by which it wants publications as patches.
    #[serde(borrow)]
    pub(in crate::wire) delta: Cow<'a, str>,
    pub(in crate::wire) flag: u64,
    /// The kind of a subscription; all but zero are of other servers.
    #[serde(rename = "type")]
    pub(in crate::wire) kind: u32,
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
pub(in crate::wire) struct HistoryRequest<'a> {
    #[serde(borrow)]
    pub(in crate::wire) channel: Cow<'a, str>,
    pub(in crate::wire) limit: i64,
    #[serde(borrow)]
    pub(in crate::wire) since: Option<PositionRequest<'a>>,
    pub(in crate::wire) reverse: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::wire) struct PositionRequest<'a> {
    pub(in crate::wire) offset: u64,
    #[serde(borrow)]
    pub(in crate::wire) epoch: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RefreshRequest<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SubRefreshRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    token: Cow<'a, str>,
    /// All kinds but zero are about subscriptions of other servers.
    #[serde(rename = "type")]
    kind: u32,
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

pub(in crate::wire) fn malformed(text: &'static str) -> Mistake {
    Mistake::new(ErrorCode::Malformed, text, None)
}

fn read_text(text: &Utf8Bytes) -> Result<Command<'_>, Mistake> {
    let trimmed = text.as_str().trim_ascii();
    let inner = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if inner.is_some_and(|inner| inner.trim_ascii().is_empty()) {
        return Ok(Command::Pong);
    }
    if !trimmed.starts_with('{') {
        return Err(malformed("a command is a JSON object"));
    }
    if is_too_deep(text) {
        return Err(malformed("arrays and objects lie too deep in each other"));
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
    if let Some(ConnectRequest { token, data, name, version, subs }) = envelope.connect {
        let token = token.filter(|token| !token.is_empty());
        let (data, software, channels) = (json_of(text, data), (name, version), named_subs(subs));
        let user = None;
        return Ok(Command::Connect(Connect { user, token, channels, data, software, id }));
    }
    if let Some(request) = envelope.subscribe {
        let data = json_of(text, request.data);
        return subscribe(request, data, id);
    }
    if let Some(RpcRequest { method, data }) = envelope.rpc {
        return Ok(Command::Call { method, data: json_of(text, data), id });
    }
    if let Some(ChannelRequest { channel }) = envelope.unsubscribe {
        return Ok(Command::Leave { channel: named(channel)?, id });
    }
    if let Some(PublishRequest { channel, data }) = envelope.publish {
        let channel = Some(named(channel)?);
        let Some(data) = data.filter(|data| data.get() != "null") else {
            return Err(Mistake::new(ErrorCode::MissingField, "data is missing", id));
        };
        return Ok(Command::Publish {
            channel,
            payload: Payload::Json(slice_of(text, data.get())),
            id,
        });
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
        return Ok(Command::Refresh { channel: None, token, id });
    }
    if let Some(SubRefreshRequest { channel, token, kind: 0 }) = envelope.sub_refresh {
        let channel = Some(named(channel)?);
        if token.is_empty() {
            return Err(Mistake::new(ErrorCode::MissingField, "token is missing", id));
        }
        return Ok(Command::Refresh { channel, token, id });
    }
    if envelope.ping.is_some() {
        return Ok(Command::Ping { id });
    }
    if envelope.sub_refresh.is_some() {
        return Err(Mistake::new(ErrorCode::NotAvailable, "not here", id));
    }
    Err(malformed("a command without a known method"))
}

/// Returns the JSON of a field that is for the application's backend.
fn json_of(text: &Utf8Bytes, data: Option<&RawValue>) -> Option<Utf8Bytes> {
    data.filter(|data| data.get() != "null").map(|data| slice_of(text, data.get()))
}

pub(in crate::wire) fn subscribe(
    request: SubscribeRequest<'_>,
    data: Option<Utf8Bytes>,
    id: Option<RequestId>,
) -> Result<Command<'_>, Mistake> {
    if request.kind != 0 {
        return Err(Mistake::new(ErrorCode::NotAvailable, "not here", id));
    }
    let since = Since { epoch: Numbering::read_or_any(&request.epoch), offset: request.offset };
    Ok(Command::Join {
        channel: named(request.channel)?,
        presence: request.join_leave,
        patches: request.delta == "fossil",
        since: request.recover.then_some(since),
        must_recover: request.flag & REJECT_UNRECOVERED != 0,
        token: request.token.filter(|token| !token.is_empty()),
        data,
        id,
    })
}

pub(in crate::wire) fn history(
    request: HistoryRequest<'_>,
    id: Option<RequestId>,
) -> Result<Command<'_>, Mistake> {
    let position = |since: PositionRequest<'_>| Since {
        epoch: Numbering::read_or_any(&since.epoch),
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
pub(in crate::wire) fn named(channel: Cow<'_, str>) -> Result<Cow<'_, str>, Mistake> {
    if channel.is_empty() { Err(malformed("a channel is missing")) } else { Ok(channel) }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
