//! Transports: the ways in which the messages of a dialect reach a client.
//!
//! A dialect writes its messages as frames of RFC 6455. For a client that listens to an HTTP
//! response that never ends, each frame is carried over into the form of that response: once for
//! each shape, like the encoding itself.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::frame::{Opcode, server_frame};
use super::json::{put, put_display, put_str};
use super::zip;
use crate::model::message::Position;
use crate::model::shape::Shape;

/// The bits of a [`Shape`] above those of the dialect.
const SHIFT: u32 = 4;

/// The longest message that is compressed for a client with a window of 4 KiB.
const SMALL_WINDOW: usize = 4 << 10;

/// The media type of bodies that are messages in bytes, each behind its length.
pub(super) const BYTES: &str = "application/octet-stream";

/// The way in which messages reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Frames of RFC 6455, in both directions.
    WebSocket,
    /// Server-sent events. An event of a channel with a history has the position as its id, so that
    /// the client can come back for what it missed. Such a client is in one channel.
    NumberedEvents,
    /// Server-sent events without ids.
    Events,
    /// Lines, or messages that know their lengths, in the chunks of a response.
    Chunks,
    /// The same, up to the end of the connection: HTTP/1.0 has no chunks.
    Lines,
    /// Frames of RFC 6455. Messages of the client may be compressed; those to it are not.
    Inflated,
    /// The same, and messages to it of 4 KiB at most may be compressed.
    DeflatedSmall,
    /// The same with messages of any length, each compressed by itself.
    DeflatedAlone,
    /// The same, and a message may be compressed by those before it.
    Deflated,
    /// Server-sent events with ids, in the coding gzip.
    ZippedNumberedEvents,
    /// The same without ids.
    ZippedEvents,
    /// Chunks in the coding gzip.
    ZippedChunks,
}

impl Transport {
    /// All of them, in the order of their numbers in [`Shape`].
    const ALL: [Self; 12] = [
        Self::WebSocket,
        Self::NumberedEvents,
        Self::Events,
        Self::Chunks,
        Self::Lines,
        Self::Inflated,
        Self::DeflatedSmall,
        Self::DeflatedAlone,
        Self::Deflated,
        Self::ZippedNumberedEvents,
        Self::ZippedEvents,
        Self::ZippedChunks,
    ];

    /// The transport of a shape.
    pub(crate) fn of(Shape(number): Shape) -> Self {
        Self::ALL[usize::from(number >> SHIFT)]
    }

    /// A shape of a dialect, over this transport.
    pub(crate) fn shape(self, dialect: Shape) -> Shape {
        debug_assert_eq!(dialect.0 >> SHIFT, 0, "dialects have few numbers");
        Shape(dialect.0 | (self as u8) << SHIFT)
    }

    /// The same shape over a WebSocket.
    pub(crate) fn without(Shape(number): Shape) -> Shape {
        Shape(number & ((1 << SHIFT) - 1))
    }

    /// Returns `true` for an HTTP response that never ends: its client says nothing more on its
    /// connection.
    pub(crate) fn is_stream(self) -> bool {
        self != Self::WebSocket && !self.inflates()
    }

    /// Returns `true` if messages of the client may be compressed.
    pub(crate) fn inflates(self) -> bool {
        matches!(self, Self::Inflated | Self::DeflatedSmall | Self::DeflatedAlone | Self::Deflated)
    }

    /// Returns the longest message that may be compressed for the client; `None`, if none may.
    pub(crate) fn pressed_bytes_max(self) -> Option<usize> {
        match self {
            Self::DeflatedSmall => Some(SMALL_WINDOW),
            Self::DeflatedAlone | Self::Deflated => Some(usize::MAX),
            _ => None,
        }
    }

    /// Returns `true` if the ids of events are about the one channel of the client.
    pub(crate) fn has_one_channel(self) -> bool {
        self.unzipped() == Self::NumberedEvents
    }

    /// The same for a client that is in several channels: ids of these would be one muddle.
    pub(super) fn for_several_channels(self) -> Self {
        match self {
            Self::NumberedEvents => Self::Events,
            Self::ZippedNumberedEvents => Self::ZippedEvents,
            other => other,
        }
    }

    /// The same in the coding gzip, if it is one that can be.
    pub(super) fn zipped(self) -> Self {
        match self {
            Self::NumberedEvents => Self::ZippedNumberedEvents,
            Self::Events => Self::ZippedEvents,
            Self::Chunks => Self::ZippedChunks,
            other => other,
        }
    }

    /// Returns `true` if the body of the response is in the coding gzip.
    pub(crate) fn is_zipped(self) -> bool {
        self != self.unzipped()
    }

    /// The form of messages before they are in the coding gzip.
    fn unzipped(self) -> Self {
        match self {
            Self::ZippedNumberedEvents => Self::NumberedEvents,
            Self::ZippedEvents => Self::Events,
            // A chunk goes around what is compressed.
            Self::ZippedChunks => Self::Lines,
            other => other,
        }
    }

    /// Returns `true` for server-sent events.
    pub(super) fn is_of_events(self) -> bool {
        matches!(self.unzipped(), Self::NumberedEvents | Self::Events)
    }

    /// The media type of the response. `is_binary`: its messages are bytes.
    pub(super) fn content_type(self, is_binary: bool) -> &'static str {
        match (self.is_of_events(), is_binary) {
            (true, _) => "text/event-stream; charset=utf-8",
            (false, true) => BYTES,
            (false, false) => "application/x-ndjson",
        }
    }

    /// Returns `true` if the response comes in chunks.
    pub(crate) fn is_chunked(self) -> bool {
        matches!(self, Self::Chunks | Self::ZippedChunks)
    }

    /// Carries the frames from `start` on over into the form of this transport. `position` is that
    /// of the publication in them.
    pub(super) fn carry(self, out: &mut BytesMut, start: usize, position: Option<Position>) {
        if !self.is_stream() {
            return;
        }
        if self.is_zipped() {
            self.unzipped().carry(out, start, position);
            let message = out.split_off(start);
            return zip::put_stored(out, &message, self.is_chunked());
        }
        let end = out.len();
        let mut at = start;
        while let Some((opcode, payload)) = server_frame(&out[at..end]) {
            let payload = at + payload.start..at + payload.end;
            at = payload.end;
            match self {
                Self::NumberedEvents => put_as_event(out, opcode, payload, position),
                Self::Events => put_as_event(out, opcode, payload, None),
                _ => put_line(out, opcode, payload, self.is_chunked()),
            }
        }
        let carried = out.len() - end;
        out.copy_within(end.., start);
        out.truncate(start + carried);
    }

    /// Ends the response.
    pub(super) fn end(self, out: &mut BytesMut) {
        if self.is_chunked() {
            put(out, "0\r\n\r\n");
        }
    }
}

/// Appends a frame as an event or, if it is a heartbeat, as a comment. Texts are told as they are,
/// bytes in base64.
fn put_as_event(
    out: &mut BytesMut,
    opcode: Opcode,
    payload: Range<usize>,
    position: Option<Position>,
) {
    if let Some(Position { epoch, offset }) = position {
        put(out, "id: ");
        put_display(out, format_args!("{epoch}:{offset}\n"));
    }
    match opcode {
        Opcode::Text => put_data(out, payload),
        Opcode::Binary => {
            put(out, "event: binary\ndata: ");
            put_base64(out, payload);
            put(out, "\n");
        }
        Opcode::Close => put_last_word(out, payload),
        Opcode::Ping => put(out, ":\n"),
        Opcode::Pong => return,
    }
    put(out, "\n");
}

/// Appends a text that stands in `out` itself. Each of its lines is a field of its own, as the end
/// of a line would end the field.
fn put_data(out: &mut BytesMut, Range { start: mut at, end }: Range<usize>) {
    out.reserve(end - at + 16);
    loop {
        let line = out[at..end].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line_end = line.map_or(end, |len| at + len);
        put(out, "data: ");
        extend_within(out, at..line_end);
        put(out, "\n");
        if line.is_none() {
            return;
        }
        at = line_end + if out[line_end..end].starts_with(b"\r\n") { 2 } else { 1 };
    }
}

/// Appends the payload of a close frame, which stands in `out` itself, as an event that says the
/// same: the client's own reason to come back or not.
fn put_last_word(out: &mut BytesMut, payload: Range<usize>) {
    let Some((code, reason)) = out[payload].split_first_chunk() else { return };
    let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned());
    put(out, "event: close\ndata: {\"code\":");
    put_display(out, code);
    put(out, ",\"reason\":");
    put_str(out, &reason);
    put(out, "}\n");
}

/// Appends a text as a line, and bytes as they are: they begin with their length. Frames that are
/// no messages have no counterpart.
fn put_line(out: &mut BytesMut, opcode: Opcode, payload: Range<usize>, in_chunk: bool) {
    let end = match opcode {
        Opcode::Text => "\n",
        Opcode::Binary => "",
        Opcode::Close | Opcode::Ping | Opcode::Pong => return,
    };
    out.reserve(payload.len() + 24);
    if in_chunk {
        put_display(out, format_args!("{:x}\r\n", payload.len() + end.len()));
    }
    extend_within(out, payload);
    put(out, end);
    put(out, if in_chunk { "\r\n" } else { "" });
}

/// Appends a part of `out` once more.
fn extend_within(out: &mut BytesMut, part: Range<usize>) {
    let at = out.len();
    out.put_bytes(0, part.len());
    out.copy_within(part, at);
}

/// Appends a part of `out` in base64.
fn put_base64(out: &mut BytesMut, part: Range<usize>) {
    let at = out.len();
    out.put_bytes(0, data_encoding::BASE64.encode_len(part.len()));
    let (before, encoded) = out.split_at_mut(at);
    data_encoding::BASE64.encode_mut(&before[part], encoded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Epoch;
    use crate::wire::frame::{put_close, put_frame};

    fn carried(transport: Transport, write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::from("before");
        write(&mut out);
        let position = Position { epoch: Epoch(0x2a), offset: 7 };
        transport.carry(&mut out, "before".len(), Some(position));
        String::from_utf8(out.strip_prefix(b"before").unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_shape_names_its_transport() {
        for (number, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, number);
            let shape = transport.shape(Shape(0x0f));
            assert_eq!((Transport::of(shape), Transport::without(shape)), (transport, Shape(0x0f)));
        }
    }

    #[test]
    fn every_line_of_a_text_is_a_field_of_the_event() {
        let event = |text: &str| {
            carried(Transport::NumberedEvents, |out| put_frame(out, Opcode::Text, text.as_bytes()))
        };
        for (text, data) in [
            ("one", "data: one\n"),
            ("", "data: \n"),
            ("a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n"),
            ("a\n", "data: a\ndata: \n"),
            ("\n\n", "data: \ndata: \ndata: \n"),
            ("id: 1", "data: id: 1\n"),
        ] {
            assert_eq!(event(text), format!("id: 0000002a:7\n{data}\n"), "{text:?}");
        }
    }

    #[test]
    fn other_frames_have_forms_of_their_own() {
        let frames = |out: &mut BytesMut| {
            put_frame(out, Opcode::Ping, b"");
            put_frame(out, Opcode::Pong, b"");
            put_frame(out, Opcode::Binary, &[0, 255]);
            put_close(out, 3500, "replaced \"x\"");
        };
        let events = ":\n\nevent: binary\ndata: AP8=\n\n\
                      event: close\ndata: {\"code\":3500,\"reason\":\"replaced \\\"x\\\"\"}\n\n";
        assert_eq!(carried(Transport::Events, frames), events);
    }

    #[test]
    fn a_line_is_a_chunk_where_there_are_chunks() {
        let write = |out: &mut BytesMut| {
            put_frame(out, Opcode::Text, &[b'x'; 300]);
            put_frame(out, Opcode::Text, b"y");
            put_frame(out, Opcode::Ping, b"");
        };
        let long = "x".repeat(300);
        assert_eq!(carried(Transport::Lines, write), format!("{long}\ny\n"));
        let chunks = format!("12d\r\n{long}\n\r\n2\r\ny\n\r\n");
        assert_eq!(carried(Transport::Chunks, write), chunks);
        let bytes = |out: &mut BytesMut| put_frame(out, Opcode::Binary, b"\x02ab");
        assert_eq!(carried(Transport::Lines, bytes), "\x02ab");
        assert_eq!(carried(Transport::Chunks, bytes), "3\r\n\x02ab\r\n");
        let mut end = BytesMut::new();
        Transport::Chunks.end(&mut end);
        assert_eq!(&end[..], b"0\r\n\r\n");
    }
}
