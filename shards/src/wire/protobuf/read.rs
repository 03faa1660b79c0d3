//! Reads commands in Protobuf.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::decode_varint;
use serde_json::value::RawValue;

use super::messages;
use crate::model::id::RequestId;
use crate::model::message::Payload;
use crate::wire::centrifugo::read::{
    HistoryRequest, PositionRequest, SubscribeRequest, history, malformed, named, subscribe,
};
use crate::wire::centrifugo::subs::since;
use crate::wire::command::{Command, Connect, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;
use crate::wire::json::is_too_deep;
use crate::wire::stream::Emulation;

/// Leaves the first command of a message with its length, and returns the others.
pub(super) fn split(said: &mut Said) -> Option<Said> {
    let Said::Binary(bytes) = said else { return None };
    let end = first_command(bytes)?.1;
    let rest = bytes.split_off(end);
    (!rest.is_empty()).then_some(Said::Binary(rest))
}

/// Returns the place of the first command behind its length, if all of it is there.
fn first_command(bytes: &Bytes) -> Option<(usize, usize)> {
    let mut rest = &bytes[..];
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let start = bytes.len() - rest.len();
    (len <= rest.len()).then(|| (start, start + len))
}

/// Reads one command.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    let Said::Binary(bytes) = said else {
        return Err(Mistake::new(ErrorCode::Binary, "this protocol speaks Protobuf", None));
    };
    let Some((start, _)) = first_command(bytes).filter(|(_, end)| *end == bytes.len()) else {
        return Err(malformed("a command is shorter than its length"));
    };
    if start == bytes.len() {
        return Ok(Command::Pong);
    }
    let mut body = bytes.clone();
    body.advance(start);
    let command =
        messages::Command::decode(body).map_err(|_| malformed("not a command in Protobuf"))?;
    if command.send.is_some() {
        return Ok(Command::Nothing);
    }
    if command.id == 0 {
        return Err(malformed("a command has a number"));
    }
    perform(command)
}

/// Reads a request that speaks for a client that listens to a stream.
pub(crate) fn emulation(body: &[u8]) -> Option<Emulation<'static>> {
    let messages::EmulationRequest { node, session, data } =
        messages::EmulationRequest::decode(body).ok()?;
    let (session, node) = (Cow::Owned(session), Cow::Owned(node));
    Some(Emulation { session, node, words: Said::Binary(data) })
}

/// Returns the command that the fields of a message make.
fn perform(command: messages::Command) -> Result<Command<'static>, Mistake> {
    let id = Some(RequestId(command.id.to_string().into()));
    if let Some(messages::ConnectRequest { token, data, subs, name, version }) = command.connect {
        let (user, token, data) = (None, given(token), json_of(data));
        let software = (Cow::Owned(name), Cow::Owned(version));
        let channels = subs.into_iter().map(|(channel, sub)| {
            let position = (sub.recover, &*sub.epoch, sub.offset);
            (Cow::Owned(channel), since(position))
        });
        let channels = channels.collect();
        return Ok(Command::Connect(Connect { user, token, channels, data, software, id }));
    }
    if let Some(request) = command.subscribe {
        let data = json_of(request.data);
        let request = SubscribeRequest {
            channel: Cow::Owned(request.channel),
            token: given(request.token),
            data: None,
            recover: request.recover,
            offset: request.offset,
            epoch: Cow::Owned(request.epoch),
            join_leave: request.join_leave,
            delta: Cow::Owned(request.delta),
            flag: request.flag.cast_unsigned(),
            kind: request.kind.cast_unsigned(),
        };
        return subscribe(request, data, id);
    }
    if let Some(request) = command.unsubscribe {
        return Ok(Command::Leave { channel: channel(request)?, id });
    }
    if let Some(messages::PublishRequest { channel, data }) = command.publish {
        let channel = Some(named(Cow::Owned(channel))?);
        if data.is_empty() {
            return Err(Mistake::new(ErrorCode::MissingField, "data is missing", id));
        }
        return Ok(Command::Publish { channel, payload: payload(data), id });
    }
    if let Some(request) = command.presence {
        return Ok(Command::Presence { channel: Some(channel(request)?), id });
    }
    if let Some(request) = command.presence_stats {
        return Ok(Command::PresenceStats { channel: Some(channel(request)?), id });
    }
    if let Some(request) = command.history {
        let since = request
            .since
            .map(|since| PositionRequest { offset: since.offset, epoch: Cow::Owned(since.epoch) });
        let request = HistoryRequest {
            channel: Cow::Owned(request.channel),
            limit: request.limit.into(),
            since,
            reverse: request.reverse,
        };
        return history(request, id);
    }
    if let Some(messages::RefreshRequest { token }) = command.refresh {
        return Ok(Command::Refresh { channel: None, token: Cow::Owned(token), id });
    }
    if let Some(request) = command.sub_refresh {
        return sub_refresh(request, id);
    }
    if command.ping.is_some() {
        return Ok(Command::Ping { id });
    }
    if let Some(messages::RpcRequest { data, method }) = command.rpc {
        return Ok(Command::Call { method: Cow::Owned(method), data: json_of(data), id });
    }
    Err(malformed("a command without a known method"))
}

fn sub_refresh(
    request: messages::SubRefreshRequest,
    id: Option<RequestId>,
) -> Result<Command<'static>, Mistake> {
    if request.kind != 0 {
        return Err(Mistake::new(ErrorCode::NotAvailable, "not here", id));
    }
    let channel = Some(named(Cow::Owned(request.channel))?);
    let Some(token) = given(request.token) else {
        return Err(Mistake::new(ErrorCode::MissingField, "token is missing", id));
    };
    Ok(Command::Refresh { channel, token, id })
}

fn given(text: String) -> Option<Cow<'static, str>> {
    (!text.is_empty()).then_some(Cow::Owned(text))
}

fn channel(request: messages::ChannelRequest) -> Result<Cow<'static, str>, Mistake> {
    named(Cow::Owned(request.channel))
}

/// Returns the JSON of a field that is for the application's backend. Other bytes are a text in
/// base64 to it, as they are to clients that speak JSON.
fn json_of(data: Bytes) -> Option<Utf8Bytes> {
    match payload(data) {
        Payload::Json(json) if json.as_str() != "null" => Some(json),
        Payload::Binary(bytes) if !bytes.is_empty() => {
            Some(format!("\"{}\"", data_encoding::BASE64.encode(&bytes)).into())
        }
        _ => None,
    }
}

/// Returns the body of a message: one JSON value, if its bytes are that, so that clients of other
/// dialects can read it.
fn payload(data: Bytes) -> Payload {
    let is_json = serde_json::from_slice::<&RawValue>(&data).is_ok();
    match Utf8Bytes::try_from(data.clone()) {
        Ok(text) if is_json && !is_too_deep(&text) => Payload::Json(text),
        _ => Payload::Binary(data),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
