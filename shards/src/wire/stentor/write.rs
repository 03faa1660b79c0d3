//! What JSON clients are told, `stentor.v1`: one whole frame each. Bodies pass byte for byte.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::read::ErrorCode;
use crate::model::id::ClientId;
use crate::wire::frame::{HEADER_MAX, Opcode, put_header};

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
