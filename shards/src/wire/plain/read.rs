//! Reads the messages of plain clients: publications, except the few texts that browsers use as
//! pings.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;

use crate::model::message::Payload;
use crate::wire::command::{Command, Mistake, Said};
use crate::wire::dialect::Reading;

/// No heartbeat request is longer: whitespace between its tokens included, within reason.
const HEARTBEAT_BYTES_MAX: usize = 32;

/// Reads one message of a client, whose memory the payload takes over.
#[expect(clippy::unnecessary_wraps, reason = "other dialects know mistakes")]
pub(crate) fn read(said: &mut Said, reading: Reading) -> Result<Command<'static>, Mistake> {
    Ok(match said {
        Said::Text(text) => match request(text, reading.text_ping) {
            Some(request) => request,
            None => publish(Payload::Text(text_of(std::mem::take(text), reading.trim_text))),
        },
        Said::Binary(bytes) => publish(Payload::Binary(std::mem::take(bytes))),
    })
}

fn publish(payload: Payload) -> Command<'static> {
    Command::Publish { channel: None, payload, id: None }
}

/// Tells a request to the server from a publication.
fn request(text: &str, text_ping: bool) -> Option<Command<'static>> {
    if !text_ping || text.len() > HEARTBEAT_BYTES_MAX {
        None
    } else if text == "ping" {
        Some(Command::Ping { id: None })
    } else {
        is_heartbeat(text).then_some(Command::Heartbeat)
    }
}

fn text_of(text: Utf8Bytes, trim: bool) -> Utf8Bytes {
    if !trim {
        return text;
    }
    match trim_text(&text) {
        Cow::Borrowed(same) if same.len() == text.len() => text,
        other => Utf8Bytes::from(other.into_owned()),
    }
}

/// Returns `true` if the text is the object `{"heartbeat":true}` and no more.
pub(crate) fn is_heartbeat(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Heartbeat {
        heartbeat: bool,
    }
    text.trim_start().starts_with('{')
        && text.contains("\"heartbeat\"")
        && serde_json::from_str::<Heartbeat>(text).is_ok_and(|asked| asked.heartbeat)
}

/// Line breaks become spaces, and both ends are trimmed.
pub(crate) fn trim_text(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.contains(['\n', '\r']) {
        text.replace("\r\n", " ").replace(['\n', '\r'], " ").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_the_server_are_told_from_publications() {
        let kind = |text: &str, text_ping| match request(text, text_ping) {
            Some(Command::Ping { id: None }) => "ping",
            Some(Command::Heartbeat) => "heartbeat",
            _ => "publish",
        };
        for (text, expected) in [
            ("ping", "ping"),
            ("ping ", "publish"),
            ("{\"heartbeat\":true}", "heartbeat"),
            (" { \"heartbeat\" : true } ", "heartbeat"),
            ("{\"heartbeat\":false}", "publish"),
            ("{\"heartbeat\":true,\"x\":1}", "publish"),
            ("hello", "publish"),
        ] {
            assert_eq!(kind(text, true), expected, "{text}");
            assert_eq!(kind(text, false), "publish", "{text}");
        }
    }

    #[test]
    fn breaks_become_spaces_and_ends_are_trimmed() {
        assert_eq!(trim_text("  a\r\nb\nc\rd \n"), "a b c d");
        assert!(matches!(trim_text("same"), Cow::Borrowed("same")));
    }
}
