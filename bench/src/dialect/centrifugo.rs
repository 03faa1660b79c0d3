//! Centrifugo's client protocol in JSON: messages are lines, several of which may stand in a frame.

use memchr::memchr;
use serde::Deserialize;
use serde_json::json;

use super::said::{SUBSCRIBE, Said};

/// The beginning of a message that is no reply, as this protocol's servers write it. It spares the
/// parsing of each publication.
const PUSH: &[u8] = b"{\"push\"";

/// A message of the server, as far as it tells of a command.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    id: u32,
    error: Option<Error>,
    push: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

/// Returns the first words of a client.
pub(super) fn greeting(channel: &str, token: &str) -> String {
    let mut connect = json!({ "name": "stentor-bench" });
    if !token.is_empty() {
        connect["token"] = token.into();
    }
    let connect = json!({ "id": SUBSCRIBE - 1, "connect": connect });
    let subscribe = json!({ "id": SUBSCRIBE, "subscribe": { "channel": channel } });
    format!("{connect}\n{subscribe}")
}

/// Calls `each` for the replies and pings in a message.
pub(super) fn each_said(message: &[u8], mut each: impl FnMut(Said)) {
    let mut rest = message;
    while let Some(end) = memchr(b'\n', rest) {
        said(&rest[..end], &mut each);
        rest = &rest[end + 1..];
    }
    said(rest, &mut each);
}

fn said(line: &[u8], each: &mut impl FnMut(Said)) {
    if line.starts_with(PUSH) || line.is_empty() {
        return;
    }
    if line == b"{}" {
        return each(Said::Ping);
    }
    // A line that is none is a part of a message that came in several frames.
    match serde_json::from_slice(line) {
        Ok(Reply { push: Some(_), .. }) | Err(_) => {}
        Ok(Reply { id, error: Some(error), .. }) => {
            each(Said::refused(id, error.code, &error.message));
        }
        Ok(Reply { id, error: None, .. }) => each(Said::Done(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &str) -> Vec<Said> {
        let mut found = Vec::new();
        each_said(message.as_bytes(), |said| found.push(said));
        found
    }

    #[test]
    fn the_first_words_are_two_commands() {
        let words = greeting("a\"b", "");
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], r#"{"connect":{"name":"stentor-bench"},"id":1}"#);
        assert_eq!(lines[1], r#"{"id":2,"subscribe":{"channel":"a\"b"}}"#);
        assert!(greeting("a", "t").contains(r#""token":"t""#));
    }

    #[test]
    fn replies_and_pings_are_found_among_pushes() {
        let push = r#"{"push":{"channel":"a","pub":{"data":"{}"}}}"#;
        let other = r#"{"id":0,"push":{"channel":"a"}}"#;
        let refused = Said::Refused(7, "error 103: permission denied".to_owned());
        for (message, expected) in [
            ("{}".to_owned(), vec![Said::Ping]),
            (push.to_owned(), vec![]),
            (other.to_owned(), vec![]),
            (format!("{push}\n{{}}\n{push}\n"), vec![Said::Ping]),
            (
                format!("{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{}}}}\n{push}"),
                vec![Said::Done(1), Said::Done(2)],
            ),
            (
                r#"{"id":7,"error":{"code":103,"message":"permission denied"}}"#.to_owned(),
                vec![refused],
            ),
            // The halves of a frame that was cut.
            (push[..20].to_owned(), vec![]),
            (push[20..].to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(all(&message), expected, "{message}");
        }
    }
}
