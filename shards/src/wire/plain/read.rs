//! The plain dialect: a message is a publication, but for the few words that browsers use as pings.

use std::borrow::Cow;

/// What a plain client's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainCommand {
    Publish,
    /// `ping`, to be answered with `pong`.
    TextPing,
    /// `{"heartbeat":true}`, to be answered with a Pong frame.
    Heartbeat,
}

/// No heartbeat request is longer: whitespace between its tokens included, within reason.
const HEARTBEAT_BYTES_MAX: usize = 32;

/// Tells a word to the server from a word to the channel.
pub(crate) fn read_text(text: &str, text_ping: bool) -> PlainCommand {
    if !text_ping || text.len() > HEARTBEAT_BYTES_MAX {
        PlainCommand::Publish
    } else if text == "ping" {
        PlainCommand::TextPing
    } else if is_heartbeat(text) {
        PlainCommand::Heartbeat
    } else {
        PlainCommand::Publish
    }
}

/// Whether the text is the object `{"heartbeat":true}` and no more.
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
    fn words_to_the_server_are_told_from_words_to_the_channel() {
        for (text, command) in [
            ("ping", PlainCommand::TextPing),
            ("ping ", PlainCommand::Publish),
            ("{\"heartbeat\":true}", PlainCommand::Heartbeat),
            (" { \"heartbeat\" : true } ", PlainCommand::Heartbeat),
            ("{\"heartbeat\":false}", PlainCommand::Publish),
            ("{\"heartbeat\":true,\"x\":1}", PlainCommand::Publish),
            ("hello", PlainCommand::Publish),
        ] {
            assert_eq!(read_text(text, true), command, "{text}");
            assert_eq!(read_text(text, false), PlainCommand::Publish, "{text}");
        }
    }

    #[test]
    fn breaks_become_spaces_and_ends_are_trimmed() {
        assert_eq!(trim_text("  a\r\nb\nc\rd \n"), "a b c d");
        assert!(matches!(trim_text("same"), Cow::Borrowed("same")));
    }
}
