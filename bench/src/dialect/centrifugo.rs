//! Centrifugo's client protocol in JSON: messages are lines, several of which may stand in a frame.

use memchr::memchr;
use serde::Deserialize;
use serde_json::json;

use super::said::{SUBSCRIBE, Said};
use super::track::{Position, Track, last_offset};

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

/// The reply to a subscription, as far as it tells of a place.
#[derive(Deserialize)]
struct Subscribed {
    subscribe: Place,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Place {
    recoverable: bool,
    was_recovering: bool,
    recovered: bool,
    epoch: String,
    offset: u64,
    publications: Vec<Missed>,
}

#[derive(Deserialize)]
struct Missed {
    #[serde(default)]
    offset: u64,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

/// Returns the first words of a client.
pub(super) fn greeting(channel: &str, token: &str, since: Option<&Position>) -> String {
    let mut connect = json!({ "name": "stentor-bench" });
    if !token.is_empty() {
        connect["token"] = token.into();
    }
    let connect = json!({ "id": SUBSCRIBE - 1, "connect": connect });
    let mut subscribe = json!({ "channel": channel });
    if let Some(Position { epoch, offset }) = since {
        subscribe = json!({
            "channel": channel, "recover": true, "epoch": epoch, "offset": offset
        });
    }
    let subscribe = json!({ "id": SUBSCRIBE, "subscribe": subscribe });
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

/// Follows a client's place through a message of the server.
pub(super) fn follow(message: &[u8], track: &mut Track) {
    for line in message.split(|byte| *byte == b'\n') {
        if line.starts_with(PUSH) {
            track.heard_in(line, last_offset(line));
        } else if let Ok(Subscribed { subscribe }) = serde_json::from_slice(line) {
            if subscribe.was_recovering {
                track.recovered = Some(subscribe.recovered);
            }
            let missed = subscribe.publications.last().map_or(0, |missed| missed.offset);
            let offset = subscribe.offset.max(missed);
            let position = Position { epoch: subscribe.epoch, offset };
            track.position = subscribe.recoverable.then_some(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_asked_for_and_followed() {
        let since = Position { epoch: "e".into(), offset: 4 };
        let words = greeting("a", "", Some(&since));
        let asked = r#""subscribe":{"channel":"a","epoch":"e","offset":4,"recover":true}"#;
        assert!(words.contains(asked), "{words}");
        let mut track = Track::default();
        let push = r#"{"push":{"channel":"a","pub":{"data":"offset","offset":6}}}"#;
        follow(push.as_bytes(), &mut track);
        follow(br#"{"id":2,"subscribe":{"offset":4}}"#, &mut track);
        assert_eq!(track, Track::default(), "there is no history");
        let missed = r#""publications":[{"data":1,"offset":4},{"data":2,"offset":5}]"#;
        let was = r#""was_recovering":true,"recovered":true"#;
        let reply = format!(
            r#"{{"id":2,"subscribe":{{"recoverable":true,"epoch":"e","offset":3,{missed},{was}}}}}"#
        );
        follow(format!("{{}}\n{reply}").as_bytes(), &mut track);
        let place = |offset| Some(Position { epoch: "e".into(), offset });
        assert_eq!(track, Track { position: place(5), recovered: Some(true) });
        follow(format!("{push}\n{{}}").as_bytes(), &mut track);
        assert_eq!(track.position, place(6));
        follow(br#"{"id":7,"error":{"code":103,"message":"no"}}"#, &mut track);
        assert_eq!(track.position, place(6));
    }

    fn all(message: &str) -> Vec<Said> {
        let mut found = Vec::new();
        each_said(message.as_bytes(), |said| found.push(said));
        found
    }

    #[test]
    fn the_first_words_are_two_commands() {
        let words = greeting("a\"b", "", None);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], r#"{"connect":{"name":"stentor-bench"},"id":1}"#);
        assert_eq!(lines[1], r#"{"id":2,"subscribe":{"channel":"a\"b"}}"#);
        assert!(greeting("a", "t", None).contains(r#""token":"t""#));
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
