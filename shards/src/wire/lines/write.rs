//! Writes events and publications of the test dialect.

use bytes::{BufMut, BytesMut};

use crate::model::message::{Payload, Publication};
use crate::wire::event::Event;
use crate::wire::frame::{Opcode, put_frame};
use crate::wire::plain::write::json_as_text;

/// Appends an event as one frame, if this dialect has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Welcome(ref welcome) => {
            put(out, b'w', welcome.channels.first().map_or("", |first| first.channel), None, b"");
        }
        Event::Refused { refusal, id } => {
            let id = id.map_or(&b""[..], |id| id.0.as_bytes());
            put(out, b'r', "", Some(refusal.index() as u64), id);
        }
        Event::Joined { seated, .. } | Event::Added(seated) => {
            let recovered = seated.recovered.map_or(&b""[..], |yes| if yes { b"1" } else { b"0" });
            put(out, b'j', seated.channel, Some(seated.position.offset), recovered);
        }
        Event::Left { channel, .. } | Event::Removed { channel } | Event::Lapsed { channel } => {
            put(out, b'l', channel, None, b"");
        }
        Event::Gap { channel, from, to } => {
            put(out, b'g', channel, Some(from), &to.to_be_bytes());
        }
        Event::Error { text, .. } | Event::Rejected { text, .. } => put(out, b'e', text, None, b""),
        Event::Ping => put_frame(out, Opcode::Ping, b""),
        Event::Heartbeat => put_frame(out, Opcode::Pong, b""),
        Event::Presence { .. }
        | Event::Crowd { .. }
        | Event::Here { .. }
        | Event::Members { .. }
        | Event::Numbers { .. }
        | Event::History { .. }
        | Event::Published { .. }
        | Event::Reached { .. }
        | Event::Called { .. }
        | Event::Expiring { .. }
        | Event::Closing { .. }
        | Event::OfApp(_)
        | Event::Refreshed { .. }
        | Event::Pong { .. } => {}
    }
}

/// Appends a publication as one frame.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    let offset = Some(publication.offset);
    match &publication.payload {
        Payload::Text(text) => put(out, b'm', &publication.channel, offset, text.as_bytes()),
        Payload::Json(json) => {
            put(out, b'm', &publication.channel, offset, json_as_text(json).as_bytes());
        }
        Payload::Binary(bytes) => put(out, b'm', &publication.channel, offset, bytes),
    }
}

fn put(out: &mut BytesMut, kind: u8, name: &str, offset: Option<u64>, rest: &[u8]) {
    let mut line = BytesMut::new();
    line.put_u8(kind);
    line.put_u16(u16::try_from(name.len()).expect("names are bounded"));
    line.extend_from_slice(name.as_bytes());
    if let Some(offset) = offset {
        line.put_u64(offset);
    }
    line.extend_from_slice(rest);
    put_frame(out, Opcode::Binary, &line);
}
