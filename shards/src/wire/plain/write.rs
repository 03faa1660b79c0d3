//! Writes publications for plain clients, and the few events that they can be told.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::model::message::{Payload, Publication, Publications};
use crate::wire::event::Event;
use crate::wire::frame::{HEADER_MAX, Opcode, begin_frame, end_frame, put_frame, put_header};

/// Appends an event as one frame, if this dialect has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    match event {
        Event::Pong { .. } => put_frame(out, Opcode::Text, b"pong"),
        Event::Heartbeat => put_frame(out, Opcode::Pong, b""),
        Event::Ping => put_frame(out, Opcode::Ping, b""),
        Event::Welcome(_)
        | Event::Joined { .. }
        | Event::Lapsed { .. }
        | Event::Left { .. }
        | Event::Gap { .. }
        | Event::OfApp(_)
        | Event::Added(_)
        | Event::Removed { .. }
        | Event::Presence { .. }
        | Event::Crowd { .. }
        | Event::Here { .. }
        | Event::Members { .. }
        | Event::Numbers { .. }
        | Event::History { .. }
        | Event::Published { .. }
        | Event::Reached { .. }
        | Event::Called { .. }
        | Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::Closing { .. }
        | Event::Expiring { .. }
        | Event::Refreshed { .. }
        | Event::Error { .. } => {}
    }
}

/// Appends a publication as one frame.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    out.reserve(publication.payload.len() + HEADER_MAX);
    match &publication.payload {
        Payload::Text(text) => put_frame(out, Opcode::Text, text.as_bytes()),
        Payload::Binary(bytes) => put_frame(out, Opcode::Binary, bytes),
        Payload::Json(json) => {
            let text = json_as_text(json);
            put_header(out, Opcode::Text, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Appends publications, each run of texts as one frame of lines, and where each frame ends.
pub(crate) fn joined(out: &mut BytesMut, ends: &mut Vec<usize>, publications: Publications<'_>) {
    let mut open = None;
    for publication in publications {
        if let Some(text) = text_of(&publication.payload) {
            if open.is_some() {
                out.put_u8(b'\n');
            } else {
                open = Some(begin_frame(out));
            }
            out.extend_from_slice(text.as_bytes());
            continue;
        }
        end_lines(out, ends, open.take());
        self::publication(out, publication);
        ends.push(out.len());
    }
    end_lines(out, ends, open);
}

/// Ends the open run of texts, if there is one.
fn end_lines(out: &mut BytesMut, ends: &mut Vec<usize>, open: Option<usize>) {
    if let Some(start) = open {
        end_frame(out, start, Opcode::Text);
        ends.push(out.len());
    }
}

fn text_of(payload: &Payload) -> Option<Cow<'_, str>> {
    match payload {
        Payload::Text(text) => Some(text.as_str().into()),
        Payload::Json(json) => Some(json_as_text(json)),
        Payload::Binary(_) => None,
    }
}

/// A JSON string body as its characters, any other body as it is.
pub(crate) fn json_as_text(raw: &str) -> Cow<'_, str> {
    // The API may hand over a value with space around it.
    let raw = raw.trim_ascii();
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(text) if !text.contains('\\') => Cow::Borrowed(text),
        // A lone surrogate has no characters: then the JSON itself must do.
        Some(_) => serde_json::from_str(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}
