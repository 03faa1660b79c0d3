//! Writes replies and pushes in Protobuf.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::messages::{
    self, Body, ClientInfo, ConnectResult, Disconnect, Empty, HistoryResult, PresenceResult,
    PresenceStatsResult, Push, Refresh, RefreshResult, Reply, SubRefreshResult, SubscribeResult,
    Unsubscribe, Visit,
};
use crate::model::id::RequestId;
use crate::model::message::{Payload, Publication};
use crate::model::past::HistoryPage;
use crate::model::presence::Member;
use crate::wire::centrifugo::codes;
use crate::wire::centrifugo::write::{BY_SERVER, EXPIRED, INSUFFICIENT_STATE, VERSION};
use crate::wire::event::{Event, Seated, Welcome};
use crate::wire::frame::{Opcode, begin_frame, end_frame};
use crate::wire::patch::patch;

/// Appends an event as one frame, if this protocol has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    let Some(reply) = reply(event) else { return };
    framed(out, |out| {
        reply.encode_length_delimited(out).expect("a buffer that grows has room for every message");
    });
}

/// Returns the message about an event, if this protocol has one.
fn reply(event: &Event<'_>) -> Option<Reply> {
    Some(match *event {
        Event::Welcome(ref welcome) => {
            Reply { id: number(welcome.id?), connect: Some(connected(welcome)), ..Reply::default() }
        }
        Event::Refused { refusal, id } => error(codes::refusal_error(refusal)?, id),
        Event::Joined { ref seated, id: Some(id) } => {
            let subscribe = Some(subscribed(seated, true));
            Reply { id: number(id), subscribe, ..Reply::default() }
        }
        Event::Joined { ref seated, id: None } | Event::Added(ref seated) => added(seated),
        Event::Left { id: Some(id), .. } => {
            Reply { id: number(id), unsubscribe: Some(Empty {}), ..Reply::default() }
        }
        Event::Left { channel, id: None } => unsubscribed(channel, INSUFFICIENT_STATE),
        Event::Removed { channel } => unsubscribed(channel, BY_SERVER),
        Event::Lapsed { channel } => unsubscribed(channel, EXPIRED),
        Event::Presence { joined, channel, member } => {
            let visit = Some(Visit { info: Some(info(member)) });
            let (join, leave) = if joined { (visit, None) } else { (None, visit) };
            push(Push { channel: channel.into(), join, leave, ..Push::default() })
        }
        Event::Members { members, id: Some(id), .. } => {
            let all = members.iter().map(|member| (member.client(), info(member)));
            let presence = Some(PresenceResult { presence: all.collect() });
            Reply { id: number(id), presence, ..Reply::default() }
        }
        Event::Numbers { clients, users, id: Some(id), .. } => {
            let presence_stats = Some(stats(clients, users));
            Reply { id: number(id), presence_stats, ..Reply::default() }
        }
        Event::History { page, id: Some(id), .. } => {
            Reply { id: number(id), history: Some(history(page)), ..Reply::default() }
        }
        Event::Published { id, .. } => {
            Reply { id: number(id), publish: Some(Empty {}), ..Reply::default() }
        }
        Event::Refreshed { channel, left_s, id: Some(id) } => {
            refreshed(channel.is_some(), left_s, id)
        }
        Event::Refreshed { channel: None, left_s, id: None } => {
            let ttl = saturated(left_s.unwrap_or_default());
            let refresh = Some(Refresh { expires: left_s.is_some(), ttl });
            push(Push { refresh, ..Push::default() })
        }
        Event::Error { code, id, .. } => error(codes::error(code), id),
        Event::Rejected { code, text, is_passing, id } => error((code, text, is_passing), id),
        Event::Called { data, id } => {
            Reply { id: number(id), rpc: Some(Body { data: bytes_of(data) }), ..Reply::default() }
        }
        Event::Pong { id: Some(id) } => {
            Reply { id: number(id), ping: Some(Empty {}), ..Reply::default() }
        }
        Event::Ping => Reply::default(),
        Event::Closing { code, reason } => {
            let disconnect = Some(Disconnect { code: code.into(), reason: reason.into() });
            push(Push { disconnect, ..Push::default() })
        }
        Event::Here { .. }
        | Event::Crowd { .. }
        | Event::Gap { .. }
        | Event::OfApp(_)
        | Event::Members { .. }
        | Event::Numbers { .. }
        | Event::History { .. }
        | Event::Refreshed { .. }
        | Event::Reached { .. }
        | Event::Expiring { .. }
        | Event::Heartbeat
        | Event::Pong { .. } => return None,
    })
}

/// Returns the numbers of a channel. Clients without a user are one user to this protocol.
fn stats(clients: u64, users: u64) -> PresenceStatsResult {
    let users = users.max(u64::from(clients > 0));
    PresenceStatsResult { num_clients: saturated(clients), num_users: saturated(users) }
}

/// Returns the number of a command; all of them were read from numbers.
fn number(RequestId(id): &RequestId) -> u32 {
    id.parse().unwrap_or_default()
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn push(push: Push) -> Reply {
    Reply { push: Some(push), ..Reply::default() }
}

fn error((code, text, temporary): (u32, &str, bool), id: Option<&RequestId>) -> Reply {
    let error = messages::Error { code, message: text.into(), temporary };
    Reply { id: id.map_or(0, number), error: Some(error), ..Reply::default() }
}

fn refreshed(is_of_channel: bool, left_s: Option<u64>, id: &RequestId) -> Reply {
    let (expires, ttl) = (left_s.is_some(), left_s.map_or(0, saturated));
    let id = number(id);
    if is_of_channel {
        let sub_refresh = Some(SubRefreshResult { expires, ttl });
        return Reply { id, sub_refresh, ..Reply::default() };
    }
    let refresh = Some(RefreshResult { version: VERSION.into(), expires, ttl });
    Reply { id, refresh, ..Reply::default() }
}

fn connected(welcome: &Welcome<'_>) -> ConnectResult {
    let channels = welcome.channels.iter();
    let subs = channels.map(|seated| (seated.channel.into(), subscribed(seated, false)));
    let (session, node) = welcome.session.unwrap_or_default();
    let ping = saturated(welcome.ping_interval.as_secs());
    ConnectResult {
        client: welcome.client.to_string(),
        version: VERSION.into(),
        expires: welcome.left_s.is_some(),
        ttl: welcome.left_s.unwrap_or_default(),
        data: bytes_of(welcome.data),
        subs: subs.collect(),
        ping,
        pong: ping > 0 && welcome.pongs,
        session: session.into(),
        node: node.into(),
    }
}

/// The result of a subscription. A client asks for a newer token wherever it is told an end.
fn subscribed(seated: &Seated<'_>, is_own: bool) -> SubscribeResult {
    let left_s = seated.left_s.filter(|_| seated.can_refresh);
    SubscribeResult {
        expires: left_s.is_some(),
        ttl: left_s.unwrap_or_default(),
        recoverable: seated.keeps_position,
        epoch: seated.position.epoch.to_string(),
        recovered: seated.recovered == Some(true),
        offset: seated.position.offset,
        positioned: seated.keeps_position,
        data: bytes_of(seated.data),
        was_recovering: seated.recovered.is_some(),
        delta: seated.patches && is_own,
    }
}

/// The push about a channel that the server has chosen.
fn added(seated: &Seated<'_>) -> Reply {
    let subscribe = Some(messages::Subscribe {
        recoverable: seated.keeps_position,
        epoch: seated.position.epoch.to_string(),
        offset: seated.position.offset,
        positioned: seated.keeps_position,
        data: bytes_of(seated.data),
    });
    push(Push { channel: seated.channel.into(), subscribe, ..Push::default() })
}

fn unsubscribed(channel: &str, (code, reason): (u16, &str)) -> Reply {
    let unsubscribe = Unsubscribe { code: code.into(), reason: reason.into() };
    push(Push { channel: channel.into(), unsubscribe: Some(unsubscribe), ..Push::default() })
}

/// Returns JSON, if there is any, as the bytes of a field.
fn bytes_of(json: Option<&str>) -> Bytes {
    json.map_or(Bytes::new(), |json| Bytes::copy_from_slice(json.as_bytes()))
}

/// All that others are told of a client.
fn info(member: &Member) -> ClientInfo {
    ClientInfo {
        user: member.user().unwrap_or_default().into(),
        client: member.client(),
        conn_info: bytes_of(member.info()),
        chan_info: bytes_of(member.channel_info()),
    }
}

fn history(page: &HistoryPage) -> HistoryResult {
    let publications = page.publications.iter().map(|one| {
        let info = one.from.as_ref().map(|from| ClientInfo {
            user: from.user.as_deref().unwrap_or_default().into(),
            client: from.client.to_string(),
            ..ClientInfo::default()
        });
        let data = body(&one.payload).clone();
        messages::Publication { data, info, offset: one.offset, tags: tags(one), delta: false }
    });
    HistoryResult {
        publications: publications.collect(),
        epoch: page.newest.epoch.to_string(),
        offset: page.newest.offset,
    }
}

/// The bytes of a message: JSON and text as they are.
fn body(payload: &Payload) -> &Bytes {
    match payload {
        Payload::Text(text) | Payload::Json(text) => text.as_ref(),
        Payload::Binary(bytes) => bytes,
    }
}

fn tags(publication: &Publication) -> BTreeMap<String, String> {
    let tags = publication.tags().and_then(|tags| serde_json::from_str(tags).ok());
    tags.unwrap_or_default()
}

/// Appends a publication as one frame; one without a channel is a direct message.
///
/// It is written field by field, as nothing may be allocated for each publication.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    put_push(out, |out| {
        if publication.channel.is_empty() {
            return nested(out, 8, |out| put_bytes(out, 1, body(&publication.payload)));
        }
        put_bytes(out, 2, publication.channel.as_bytes());
        nested(out, 4, |out| put_publication(out, publication, body(&publication.payload)));
    });
}

/// Appends a publication of a chain as one frame: by its difference from the one before, if that
/// is shorter.
pub(crate) fn chained(out: &mut BytesMut, publication: &Publication, before: Option<&Publication>) {
    let whole = body(&publication.payload);
    let patch = before.and_then(|before| patch(body(&before.payload), whole, false));
    put_push(out, |out| {
        put_bytes(out, 2, publication.channel.as_bytes());
        nested(out, 4, |out| {
            put_publication(out, publication, patch.as_deref().unwrap_or(whole));
            if patch.is_some() {
                encode_key(8, WireType::Varint, out);
                encode_varint(1, out);
            }
        });
    });
}

/// Appends a push as one frame.
fn put_push(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    framed(out, |out| measured(out, |out| nested(out, 4, write)));
}

/// The fields of a publication, with its body or a patch as `data`.
fn put_publication(out: &mut BytesMut, publication: &Publication, data: &[u8]) {
    put_bytes(out, 4, data);
    if let Some(from) = &publication.from {
        nested(out, 5, |out| {
            put_bytes(out, 1, from.user.as_deref().unwrap_or_default().as_bytes());
            nested(out, 2, |out| {
                write!(out, "{}", from.client).expect("memory takes every number");
            });
        });
    }
    if publication.offset > 0 {
        encode_key(6, WireType::Varint, out);
        encode_varint(publication.offset, out);
    }
    if publication.tags().is_some() {
        for (name, value) in tags(publication) {
            nested(out, 7, |out| {
                put_bytes(out, 1, name.as_bytes());
                put_bytes(out, 2, value.as_bytes());
            });
        }
    }
}

/// Writes `write`'s messages as one frame.
fn framed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = begin_frame(out);
    write(out);
    end_frame(out, start, Opcode::Binary);
}

/// Writes a field of bytes or text, which is left out if it is empty.
fn put_bytes(out: &mut BytesMut, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.put_slice(bytes);
    }
}

/// Writes a field whose bytes `write` appends.
fn nested(out: &mut BytesMut, tag: u32, write: impl FnOnce(&mut BytesMut)) {
    encode_key(tag, WireType::LengthDelimited, out);
    measured(out, write);
}

/// Writes what `write` appends behind its length, which is known only then: most are short, and
/// one byte of room is enough.
fn measured(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(0);
    write(out);
    let len = out.len() - start - 1;
    let width = encoded_len_varint(len as u64);
    out.put_bytes(0, width - 1);
    out.copy_within(start + 1..start + 1 + len, start + width);
    let mut room = &mut out[start..start + width];
    encode_varint(len as u64, &mut room);
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
