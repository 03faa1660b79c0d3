//! Writes events and publications in `stentor.v1`: one whole frame each. Bodies pass byte for byte.

use bytes::BytesMut;

use super::presence;
use crate::model::id::{ClientId, RequestId};
use crate::model::message::{Payload, Position, Publication};
use crate::model::past::HistoryPage;
use crate::wire::command::ErrorCode;
use crate::wire::event::{Event, Seated, Welcome};
use crate::wire::frame::{Opcode, put_frame};
use crate::wire::json::framed;
pub(super) use crate::wire::json::{put, put_display, put_str};

/// Appends an event as one frame.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    match event {
        Event::Heartbeat => put_frame(out, Opcode::Pong, b""),
        Event::Ping => put_frame(out, Opcode::Ping, b""),
        event => framed(out, |out| put_event(out, event)),
    }
}

fn put_event(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Welcome(ref welcome) => put_welcome(out, welcome),
        Event::Joined { seated, id } => {
            put_joined(out, seated);
            put_end(out, id);
        }
        Event::Added(seated) => {
            put_joined(out, seated);
            put_by_server(out);
        }
        Event::Removed { channel } => {
            put_left(out, channel);
            put_by_server(out);
        }
        Event::Lapsed { channel } => {
            put_left(out, channel);
            put(out, ",\"reason\":\"expired\"}");
        }
        Event::Left { channel, id } => {
            put_left(out, channel);
            put_end(out, id);
        }
        Event::Gap { channel, from, to } => put_gap(out, channel, (from, to)),
        Event::Presence { .. }
        | Event::Crowd { .. }
        | Event::Here { .. }
        | Event::Members { .. }
        | Event::Numbers { .. } => presence::put_event(out, event),
        Event::History { channel, page, id } => put_history(out, channel, page, id),
        Event::Published { channel, position, id } => {
            put(out, "{\"type\":\"ack\",\"channel\":");
            put_str(out, channel);
            put_position(out, position);
            put_end(out, Some(id));
        }
        Event::Reached { clients, id } => {
            put(out, "{\"type\":\"ack\",\"clients\":");
            put_display(out, clients);
            put_end(out, Some(id));
        }
        Event::Error { code, text, id } => put_error(out, code, text, id),
        Event::Rejected { .. } | Event::Called { .. } => put_of_backend(out, event),
        Event::Expiring { channel, left_s } => {
            put(out, "{\"type\":\"expiring\"");
            put_channel(out, channel);
            put(out, ",\"in\":");
            put_display(out, left_s);
            put_end(out, None);
        }
        Event::Refreshed { channel, left_s, id } => {
            put(out, "{\"type\":\"refreshed\"");
            put_channel(out, channel);
            put(out, ",\"expires\":");
            put(out, left_s.map_or("null".to_owned(), |left_s| left_s.to_string()));
            put_end(out, id);
        }
        Event::Pong { id } => {
            put(out, "{\"type\":\"pong\"");
            put_end(out, id);
        }
        // Its clients come with their requests, and the other two are no JSON.
        Event::Refused { .. }
        | Event::OfApp(_)
        | Event::Heartbeat
        | Event::Ping
        | Event::Closing { .. } => {
            debug_assert!(false, "{event:?}");
        }
    }
}

/// The words of the application's backend.
fn put_of_backend(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Rejected { code, text, is_passing, id } => {
            put(out, "{\"type\":\"error\",\"code\":\"rejected\",\"status\":");
            put_display(out, code);
            put(out, ",\"temporary\":");
            put_display(out, is_passing);
            put(out, ",\"text\":");
            put_str(out, text);
            put_end(out, id);
        }
        Event::Called { data, id } => {
            put(out, "{\"type\":\"rpc\",\"body\":");
            put(out, data.unwrap_or("null"));
            put_end(out, Some(id));
        }
        _ => debug_assert!(false, "{event:?}"),
    }
}

fn put_error(out: &mut BytesMut, code: ErrorCode, text: &str, id: Option<&RequestId>) {
    put(out, "{\"type\":\"error\",\"code\":\"");
    put(out, name_of(code));
    put(out, "\",\"text\":");
    put_str(out, text);
    put_end(out, id);
}

/// The `code` of an `error`.
pub(super) fn name_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Malformed => "malformed",
        ErrorCode::UnknownType => "unknown_type",
        ErrorCode::MissingField => "missing_field",
        ErrorCode::BadName => "bad_name",
        ErrorCode::BadId => "bad_id",
        ErrorCode::Binary => "binary",
        ErrorCode::Rate => "rate",
        ErrorCode::UnknownUser => "unknown_user",
        ErrorCode::NotJoined | ErrorCode::TakenBack => "not_joined",
        ErrorCode::TooManyChannels => "too_many_channels",
        ErrorCode::NoRoom => "no_room",
        ErrorCode::NoHistory => "no_history",
        ErrorCode::WrongEpoch => "wrong_epoch",
        ErrorCode::UnknownNamespace => "unknown_namespace",
        ErrorCode::Denied => "denied",
        ErrorCode::NotAvailable => "not_available",
        ErrorCode::TooLarge => "too_large",
        ErrorCode::BadToken | ErrorCode::ExpiredToken => "bad_token",
        ErrorCode::TryAgain => "try_again",
        ErrorCode::Unavailable => "unavailable",
    }
}

/// Writes a field whose value is JSON already, if it has one.
fn put_field(out: &mut BytesMut, name: &str, json: Option<&str>) {
    if let Some(json) = json {
        put(out, format!(",\"{name}\":"));
        put(out, json);
    }
}

pub(super) fn put_optional(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_str(out, text),
        None => put(out, "null"),
    }
}

fn put_channel(out: &mut BytesMut, channel: Option<&str>) {
    if let Some(channel) = channel {
        put(out, ",\"channel\":");
        put_str(out, channel);
    }
}

fn put_position(out: &mut BytesMut, position: Position) {
    put(out, ",\"offset\":");
    put_display(out, position.offset);
    put(out, ",\"epoch\":\"");
    put_display(out, position.epoch);
    put(out, "\"");
}

pub(super) fn put_client(out: &mut BytesMut, client: ClientId) {
    put(out, ",\"client\":\"");
    put_display(out, client);
    put(out, "\"");
}

pub(super) fn put_end(out: &mut BytesMut, id: Option<&RequestId>) {
    if let Some(RequestId(id)) = id {
        put(out, ",\"id\":");
        put(out, id.as_bytes());
    }
    put(out, "}");
}

fn put_welcome(out: &mut BytesMut, welcome: &Welcome<'_>) {
    put(out, "{\"type\":\"welcome\"");
    put_client(out, welcome.client);
    put(out, ",\"user\":");
    put_optional(out, welcome.user);
    put(out, ",\"channel\":");
    // Its URL names one channel at most.
    let channel = welcome.channels.first();
    put_optional(out, channel.map(|first| first.channel));
    if let Some(first) = channel {
        put_position(out, first.position);
    }
    put(out, ",\"ping_interval\":");
    put_display(out, welcome.ping_interval.as_secs_f64());
    put(out, ",\"pong_timeout\":");
    put_display(out, welcome.pong_timeout.as_secs_f64());
    put(out, ",\"message_bytes\":");
    put_display(out, welcome.message_bytes);
    if welcome.is_sparse {
        put(out, ",\"sparse\":true");
    }
    // The backend that has let the client in knows more than the token for a channel.
    put_field(out, "data", welcome.data.or(channel.and_then(|first| first.data)));
    put_end(out, welcome.id);
}

/// Appends a publication as one frame; one without a channel is a direct message.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    framed(out, |out| {
        put(out, "{\"type\":\"message\",");
        if publication.channel.is_empty() {
            put(out, "\"direct\":true");
        } else {
            put(out, "\"channel\":");
            put_str(out, &publication.channel);
            put(out, ",\"offset\":");
            put_display(out, publication.offset);
        }
        put_message(out, publication);
        put(out, "}");
    });
}

/// The part of a message that stands in a history as well.
fn put_message(out: &mut BytesMut, publication: &Publication) {
    put(out, ",\"from\":");
    if let Some(from) = &publication.from {
        put(out, "{\"client\":\"");
        put_display(out, from.client);
        put(out, "\",\"user\":");
        put_optional(out, from.user.as_deref());
        put(out, "}");
    } else {
        put(out, "null");
    }
    put(out, ",\"time\":");
    put_display(out, publication.time_ms);
    if let Some(tags) = publication.tags() {
        put(out, ",\"tags\":");
        put(out, tags);
    }
    match &publication.payload {
        Payload::Text(text) => {
            put(out, ",\"body\":");
            put_str(out, text);
        }
        Payload::Json(json) => {
            put(out, ",\"body\":");
            put(out, json.as_bytes());
        }
        Payload::Binary(bytes) => {
            put(out, ",\"encoding\":\"base64\",\"body\":\"");
            put(out, data_encoding::BASE64.encode(bytes));
            put(out, "\"");
        }
    }
}

fn put_joined(out: &mut BytesMut, seated: Seated<'_>) {
    put(out, "{\"type\":\"joined\",\"channel\":");
    put_str(out, seated.channel);
    put_position(out, seated.position);
    if let Some(recovered) = seated.recovered {
        put(out, ",\"recovered\":");
        put_display(out, recovered);
    }
    if let Some(left_s) = seated.left_s {
        put(out, ",\"expires\":");
        put_display(out, left_s);
    }
    put_field(out, "data", seated.data);
}

fn put_left(out: &mut BytesMut, channel: &str) {
    put(out, "{\"type\":\"left\",\"channel\":");
    put_str(out, channel);
}

fn put_by_server(out: &mut BytesMut) {
    put(out, ",\"reason\":\"server\"}");
}

fn put_gap(out: &mut BytesMut, channel: &str, (from, to): (u64, u64)) {
    put(out, "{\"type\":\"gap\",\"channel\":");
    put_str(out, channel);
    put(out, ",\"from\":");
    put_display(out, from);
    put(out, ",\"to\":");
    put_display(out, to);
    put(out, "}");
}

fn put_history(out: &mut BytesMut, channel: &str, page: &HistoryPage, id: Option<&RequestId>) {
    put(out, "{\"type\":\"history\",\"channel\":");
    put_str(out, channel);
    put(out, ",\"publications\":[");
    for (index, publication) in page.publications.iter().enumerate() {
        put(out, if index == 0 { "{\"offset\":" } else { ",{\"offset\":" });
        put_display(out, publication.offset);
        put_message(out, publication);
        put(out, "}");
    }
    put(out, "]");
    put_position(out, page.newest);
    put(out, ",\"more\":");
    put_display(out, page.more);
    put_end(out, id);
}
