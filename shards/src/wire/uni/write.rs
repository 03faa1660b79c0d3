//! Writes what a client that only listens is told: replies and pushes of the JSON protocol without
//! the words around them.

use bytes::BytesMut;

use crate::model::message::Publication;
use crate::wire::centrifugo;
use crate::wire::event::Event;
use crate::wire::frame::{HEADER_MAX, Opcode, put_frame, put_header, server_frame};

/// The words before a push and behind it.
const AROUND_PUSH: (&[u8], &[u8]) = (b"{\"push\":", b"}");

/// The words in front of the name of the method in the one reply, which go but for the brace.
const BEFORE_METHOD: &[u8] = b"{\"id\":1,\"connect\"";

/// Appends an event as whole frames, if this protocol has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    if matches!(event, Event::Ping) {
        // Over a WebSocket its answer is the sign of life: the client says nothing itself.
        put_frame(out, Opcode::Ping, b"");
    }
    let start = out.len();
    centrifugo::write::write(out, event);
    unwrap(out, start);
}

/// Appends a publication as one frame; one without a channel is a direct message.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    let start = out.len();
    centrifugo::write::publication(out, publication);
    unwrap(out, start);
}

/// Takes the words around a message away. Errors are not told: the end of the client says the same.
fn unwrap(out: &mut BytesMut, start: usize) {
    let Some((_, payload)) = server_frame(&out[start..]) else { return };
    let message = &mut out[start + payload.start..];
    let len = message.len();
    let (before, after) = AROUND_PUSH;
    let inner = if message.starts_with(before) && message.ends_with(after) {
        before.len()..len - after.len()
    } else if message.starts_with(BEFORE_METHOD) {
        let method = BEFORE_METHOD.len() - "\"connect\"".len();
        message[method - 1] = b'{';
        method - 1..len
    } else if message == b"{}" {
        return;
    } else {
        return out.truncate(start);
    };
    let mut header = [0; HEADER_MAX];
    let mut rest = &mut header[..];
    put_header(&mut rest, Opcode::Text, inner.len());
    let header_len = HEADER_MAX - rest.len();
    let inner = start + payload.start + inner.start..start + payload.start + inner.end;
    // It moves down, as a shorter message has no longer header.
    out.copy_within(inner.clone(), start + header_len);
    out[start..start + header_len].copy_from_slice(&header[..header_len]);
    out.truncate(start + header_len + inner.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::RequestId;
    use crate::wire::command::ErrorCode;
    use crate::wire::json::{framed, put};

    fn unwrapped(message: &str) -> Option<String> {
        let mut out = BytesMut::from("before");
        framed(&mut out, |out| put(out, message));
        unwrap(&mut out, "before".len());
        let frame = out.strip_prefix(b"before").unwrap();
        let (opcode, payload) = server_frame(frame)?;
        assert_eq!((opcode, payload.end), (Opcode::Text, frame.len()));
        Some(String::from_utf8(frame[payload].to_vec()).unwrap())
    }

    #[test]
    fn messages_lose_the_words_around_them() {
        let long = format!(r#"{{"channel":"c","pub":{{"data":"{}"}}}}"#, "x".repeat(130));
        for push in [r#"{"message":{"data":1}}"#, &long] {
            let wrapped = format!(r#"{{"push":{push}}}"#);
            assert_eq!(unwrapped(&wrapped).as_deref(), Some(push));
        }
        let reply = r#"{"id":1,"connect":{"client":"1-2-3"}}"#;
        assert_eq!(unwrapped(reply).as_deref(), Some(r#"{"connect":{"client":"1-2-3"}}"#));
        assert_eq!(unwrapped("{}").as_deref(), Some("{}"));
        assert_eq!(unwrapped(r#"{"id":1,"error":{"code":109}}"#), None);
    }

    #[test]
    fn errors_are_not_told() {
        let mut out = BytesMut::new();
        let id = RequestId("1".into());
        let (code, text) = (ErrorCode::Rate, "too many messages");
        write(&mut out, &Event::Error { code, text, id: Some(&id) });
        assert!(out.is_empty());
    }
}
