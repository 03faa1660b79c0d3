//! Writes replies and pushes of Centrifugo's protocol.

use std::borrow::Cow;

use bytes::BytesMut;

use super::codes;
use crate::model::id::RequestId;
use crate::model::message::{Payload, Position, Publication};
use crate::model::past::HistoryPage;
use crate::model::presence::Member;
use crate::wire::event::{Event, Seated, Welcome};
use crate::wire::json::{framed, put, put_display, put_str};
use crate::wire::patch::patch;

/// The version that clients are told: they show it, and decide nothing by it.
pub(in crate::wire) const VERSION: &str = concat!("stentor ", env!("CARGO_PKG_VERSION"));

/// The unsubscribe code with which a client subscribes again, without what it knew.
pub(in crate::wire) const INSUFFICIENT_STATE: (u16, &str) = (2500, "insufficient state");

/// The unsubscribe code with which a client subscribes again, with a newer token.
pub(in crate::wire) const EXPIRED: (u16, &str) = (2501, "subscription expired");

/// The unsubscribe code with which a client stays away.
pub(in crate::wire) const BY_SERVER: (u16, &str) = (2000, "server unsubscribe");

/// Appends an event as one frame, if this protocol has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Welcome(ref welcome) => framed(out, |out| put_connected(out, welcome)),
        Event::Refused { refusal, id } => {
            if let Some(error) = codes::refusal_error(refusal) {
                framed(out, |out| put_error(out, error, id));
            }
        }
        Event::Joined { ref seated, id } => framed(out, |out| put_joined(out, seated, id)),
        Event::Left { channel, id } => framed(out, |out| put_left(out, channel, id)),
        Event::Added(ref seated) => framed(out, |out| put_joined(out, seated, None)),
        Event::Removed { channel } => framed(out, |out| put_unsubscribed(out, channel, BY_SERVER)),
        Event::Lapsed { channel } => framed(out, |out| put_unsubscribed(out, channel, EXPIRED)),
        Event::Presence { joined, channel, member } => {
            framed(out, |out| put_presence(out, joined, channel, member));
        }
        Event::Members { members, id: Some(id), .. } => {
            framed(out, |out| put_members(out, members, id));
        }
        Event::Numbers { clients, users, id: Some(id), .. } => framed(out, |out| {
            // Clients without a user are one user to this protocol.
            let users = users.max(u64::from(clients > 0));
            let result = format!("{{\"num_clients\":{clients},\"num_users\":{users}}}");
            put_result(out, id, "presence_stats", result);
        }),
        Event::History { page, id: Some(id), .. } => framed(out, |out| put_history(out, page, id)),
        Event::Published { id, .. } => framed(out, |out| put_result(out, id, "publish", "{}")),
        Event::Refreshed { channel, left_s, id: Some(id) } => {
            framed(out, |out| put_refreshed(out, channel.is_some(), left_s, id));
        }
        // The API has moved the end of the connection.
        Event::Refreshed { channel: None, left_s, id: None } => framed(out, |out| {
            let time = left_s.map(|left_s| format!("\"expires\":true,\"ttl\":{left_s}"));
            put(out, format!("{{\"push\":{{\"refresh\":{{{}}}}}}}", time.unwrap_or_default()));
        }),
        Event::Error { code, id, .. } => {
            framed(out, |out| put_error(out, codes::error(code), id));
        }
        Event::Rejected { code, text, is_passing, id } => {
            framed(out, |out| put_error(out, (code, text, is_passing), id));
        }
        Event::Called { data, id } => framed(out, |out| {
            put_reply(out, id, "rpc");
            put(out, "{");
            put_field(out, "\"data\":", data);
            put(out, "}}");
        }),
        Event::Pong { id: Some(id) } => framed(out, |out| put_result(out, id, "ping", "{}")),
        Event::Ping => framed(out, |out| put(out, "{}")),
        Event::Closing { code, reason } => framed(out, |out| {
            let push = format!("{{\"push\":{{\"disconnect\":{{\"code\":{code},\"reason\":");
            put(out, push);
            put_str(out, reason);
            put(out, "}}}");
        }),
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
        | Event::Pong { .. } => {}
    }
}

/// Appends a publication as one frame; one without a channel is a direct message.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    framed(out, |out| {
        if publication.channel.is_empty() {
            put(out, "{\"push\":{\"message\":{\"data\":");
            put_data(out, &publication.payload);
            put(out, "}}}");
        } else {
            put_push(out, &publication.channel, "pub");
            put_publication(out, publication);
            put(out, "}}");
        }
    });
}

/// Appends a publication of a chain as one frame: its body is a string, which holds the JSON of the
/// body or, if that is shorter, its difference from the one before.
pub(crate) fn chained(out: &mut BytesMut, publication: &Publication, before: Option<&Publication>) {
    let whole = json_of(&publication.payload);
    let patch = before.and_then(|before| {
        let before = json_of(&before.payload);
        patch(before.as_bytes(), whole.as_bytes(), true)
    });
    let patch = patch.as_deref().and_then(|patch| std::str::from_utf8(patch).ok());
    framed(out, |out| {
        put_push(out, &publication.channel, "pub");
        put(out, "{\"data\":");
        put_str(out, patch.unwrap_or(&whole));
        put(out, if patch.is_some() { ",\"delta\":true" } else { "" });
        put_details(out, publication);
        put(out, "}}");
    });
}

/// The body of a message as the text of a JSON value.
fn json_of(payload: &Payload) -> Cow<'_, str> {
    match payload {
        Payload::Json(json) => Cow::Borrowed(json),
        Payload::Text(_) | Payload::Binary(_) => {
            let mut out = BytesMut::new();
            put_data(&mut out, payload);
            Cow::Owned(String::from_utf8_lossy(&out).into_owned())
        }
    }
}

fn put_reply(out: &mut BytesMut, RequestId(id): &RequestId, method: &str) {
    put(out, "{\"id\":");
    put(out, id.as_bytes());
    put(out, ",\"");
    put(out, method);
    put(out, "\":");
}

fn put_push(out: &mut BytesMut, channel: &str, kind: &str) {
    put(out, "{\"push\":{\"channel\":");
    put_str(out, channel);
    put(out, ",\"");
    put(out, kind);
    put(out, "\":");
}

/// A reply with its result.
fn put_result(out: &mut BytesMut, id: &RequestId, method: &str, result: impl AsRef<[u8]>) {
    put_reply(out, id, method);
    put(out, result);
    put(out, "}");
}

/// The reply to a `subscribe`, or the push about a channel that the server has chosen.
fn put_joined(out: &mut BytesMut, seated: &Seated<'_>, id: Option<&RequestId>) {
    match id {
        Some(id) => put_reply(out, id, "subscribe"),
        None => put_push(out, seated.channel, "subscribe"),
    }
    put_subscribed(out, seated, id.is_some());
    put(out, if id.is_some() { "}" } else { "}}" });
}

/// The reply to an `unsubscribe`, or the push about a channel that is the client's no longer.
fn put_left(out: &mut BytesMut, channel: &str, id: Option<&RequestId>) {
    if let Some(id) = id {
        return put_result(out, id, "unsubscribe", "{}");
    }
    put_unsubscribed(out, channel, INSUFFICIENT_STATE);
}

fn put_unsubscribed(out: &mut BytesMut, channel: &str, (code, reason): (u16, &str)) {
    put_push(out, channel, "unsubscribe");
    put(out, format!("{{\"code\":{code},\"reason\":\"{reason}\"}}}}}}"));
}

fn put_presence(out: &mut BytesMut, joined: bool, channel: &str, member: &Member) {
    put_push(out, channel, if joined { "join" } else { "leave" });
    put(out, "{\"info\":");
    put_info(out, member);
    put(out, "}}}");
}

fn put_members(out: &mut BytesMut, members: &[Member], id: &RequestId) {
    put_reply(out, id, "presence");
    put(out, "{\"presence\":{");
    for (index, member) in members.iter().enumerate() {
        put(out, if index == 0 { "" } else { "," });
        put_member(out, member);
    }
    put(out, "}}}");
}

fn put_history(out: &mut BytesMut, page: &HistoryPage, id: &RequestId) {
    put_reply(out, id, "history");
    put(out, "{\"publications\":[");
    for (index, publication) in page.publications.iter().enumerate() {
        put(out, if index == 0 { "" } else { "," });
        put_publication(out, publication);
    }
    put(out, "],");
    put_position(out, page.newest);
    put(out, "}}");
}

fn put_refreshed(out: &mut BytesMut, is_of_channel: bool, left_s: Option<u64>, id: &RequestId) {
    let time = left_s.map(|left_s| format!("\"expires\":true,\"ttl\":{left_s}"));
    if is_of_channel {
        let result = format!("{{{}}}", time.unwrap_or_default());
        return put_result(out, id, "sub_refresh", result);
    }
    put_reply(out, id, "refresh");
    put(out, "{\"version\":");
    put_str(out, VERSION);
    if let Some(time) = time {
        put(out, ",");
        put(out, time);
    }
    put(out, "}}");
}

/// The seconds after which a client brings a newer token.
fn put_ttl(out: &mut BytesMut, left_s: Option<u32>) {
    if let Some(left_s) = left_s {
        put(out, ",\"expires\":true,\"ttl\":");
        put_display(out, left_s);
    }
}

fn put_error(
    out: &mut BytesMut,
    (code, text, is_passing): (u32, &str, bool),
    id: Option<&RequestId>,
) {
    put(out, "{\"id\":");
    put(out, id.map_or(&b"0"[..], |RequestId(id)| id.as_bytes()));
    put(out, format!(",\"error\":{{\"code\":{code},\"message\":"));
    put_str(out, text);
    put(out, if is_passing { ",\"temporary\":true}}" } else { "}}" });
}

fn put_connected(out: &mut BytesMut, welcome: &Welcome<'_>) {
    let Some(id) = welcome.id else { return };
    put_reply(out, id, "connect");
    put(out, "{\"client\":\"");
    put_display(out, welcome.client);
    put(out, "\",\"version\":");
    put_str(out, VERSION);
    let ping_s = welcome.ping_interval.as_secs();
    if ping_s > 0 {
        put(out, ",\"ping\":");
        put_display(out, ping_s);
        put(out, if welcome.pongs { ",\"pong\":true" } else { "" });
    }
    if let Some((session, node)) = welcome.session {
        put(out, format!(",\"session\":\"{session}\",\"node\":\"{node}\""));
    }
    put_ttl(out, welcome.left_s);
    for (place, seated) in welcome.channels.iter().enumerate() {
        put(out, if place == 0 { ",\"subs\":{" } else { "," });
        put_str(out, seated.channel);
        put(out, ":");
        put_subscribed(out, seated, false);
    }
    put(out, if welcome.channels.is_empty() { "" } else { "}" });
    put_field(out, ",\"data\":", welcome.data);
    put(out, "}}");
}

/// A client in an answer about presence.
fn put_member(out: &mut BytesMut, member: &Member) {
    put(out, "\"");
    put(out, member.client());
    put(out, "\":");
    put_info(out, member);
}

/// All that others are told of a client.
fn put_info(out: &mut BytesMut, member: &Member) {
    put(out, "{\"client\":\"");
    put(out, member.client());
    put(out, "\",\"user\":");
    put_str(out, member.user().unwrap_or_default());
    for (name, info) in [("conn_info", member.info()), ("chan_info", member.channel_info())] {
        if let Some(info) = info {
            put(out, format!(",\"{name}\":"));
            put_line(out, info.as_bytes());
        }
    }
    put(out, "}");
}

/// The result of a subscription. A client asks for a newer token wherever it is told an end.
fn put_subscribed(out: &mut BytesMut, seated: &Seated<'_>, is_own: bool) {
    let keeps = seated.keeps_position;
    put(out, if keeps { "{\"recoverable\":true,\"positioned\":true," } else { "{" });
    put_position(out, seated.position);
    put_ttl(out, seated.left_s.filter(|_| seated.can_refresh));
    if let Some(recovered) = seated.recovered {
        put(out, ",\"was_recovering\":true");
        put(out, if recovered { ",\"recovered\":true" } else { "" });
    }
    put(out, if seated.patches && is_own { ",\"delta\":true" } else { "" });
    put_field(out, ",\"data\":", seated.data);
    put(out, "}");
}

/// Writes what stands before a value, and the value, if there is JSON for it.
fn put_field(out: &mut BytesMut, before: &str, json: Option<&str>) {
    if let Some(json) = json {
        put(out, before);
        put_line(out, json.as_bytes());
    }
}

fn put_position(out: &mut BytesMut, position: Position) {
    put(out, "\"epoch\":\"");
    put_display(out, position.epoch);
    put(out, "\",\"offset\":");
    put_display(out, position.offset);
}

fn put_publication(out: &mut BytesMut, publication: &Publication) {
    put(out, "{\"data\":");
    put_data(out, &publication.payload);
    put_details(out, publication);
}

/// The fields of a publication beside its body, and its end.
fn put_details(out: &mut BytesMut, publication: &Publication) {
    put(out, ",\"offset\":");
    put_display(out, publication.offset);
    if let Some(from) = &publication.from {
        put(out, ",\"info\":{\"user\":");
        put_str(out, from.user.as_deref().unwrap_or_default());
        put(out, ",\"client\":\"");
        put_display(out, from.client);
        put(out, "\"}");
    }
    if let Some(tags) = publication.tags() {
        put(out, ",\"tags\":");
        put_line(out, tags.as_bytes());
    }
    put(out, "}");
}

/// The body of a message as a JSON value.
fn put_data(out: &mut BytesMut, payload: &Payload) {
    match payload {
        Payload::Text(text) => put_str(out, text),
        Payload::Json(json) => put_line(out, json.as_bytes()),
        Payload::Binary(bytes) => {
            put(out, "\"");
            put(out, data_encoding::BASE64.encode(bytes));
            put(out, "\"");
        }
    }
}

/// JSON in one line: a client takes each line of a frame for a message. Line breaks in JSON stand
/// between its values only.
fn put_line(out: &mut BytesMut, json: &[u8]) {
    let start = out.len();
    put(out, json);
    for byte in &mut out[start..] {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::ErrorCode;

    #[test]
    fn every_error_has_a_number() {
        for code in [ErrorCode::Rate, ErrorCode::Denied, ErrorCode::WrongEpoch] {
            assert!((100..200).contains(&codes::error(code).0));
        }
    }
}
