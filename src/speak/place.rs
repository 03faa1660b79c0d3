//! The messages of a server as `stentor sub` reads them, and the place in the channel from which it
//! goes on after a lost connection.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields that are read of a message.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default, borrow)]
    epoch: Option<Cow<'a, str>>,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default, borrow)]
    body: Option<&'a RawValue>,
    #[serde(default, borrow)]
    encoding: Option<Cow<'a, str>>,
    /// A number in `gap`, and the sender in `message`.
    #[serde(default, borrow)]
    from: Option<&'a RawValue>,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
}

/// The meaning of a server's message for the one who reads the output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// This is printed.
    Message(Vec<u8>),
    /// This is a line beside the output.
    Notice(String),
    Nothing,
}

/// A subscriber's place in its channel.
#[derive(Debug)]
pub(super) struct Place {
    channel: String,
    /// Whole messages are printed rather than their texts.
    json: bool,
    /// The epoch and offset of the last message.
    position: Option<(String, u64)>,
}

impl Place {
    pub(super) fn new(channel: &str, json: bool) -> Self {
        Self { channel: channel.to_owned(), json, position: None }
    }

    /// The position as a parameter of the next connection.
    pub(super) fn since(&self) -> Option<String> {
        self.position.as_ref().map(|(epoch, offset)| format!("since={epoch}:{offset}"))
    }

    /// Hears a message of the server.
    ///
    /// # Errors
    /// The message is not one of stentor.v1.
    pub(super) fn hear(&mut self, text: &str) -> Result<Heard, String> {
        let said: Said<'_> = serde_json::from_str(text)
            .map_err(|error| format!("a message that is not one of stentor.v1: {error}"))?;
        let is_own = said.channel.as_deref() == Some(&*self.channel);
        Ok(match &*said.kind {
            "message" => {
                let printed = if self.json { text.as_bytes().to_vec() } else { plain(&said) };
                if let (true, Some(offset), Some(position)) =
                    (is_own, said.offset, &mut self.position)
                {
                    position.1 = offset;
                }
                Heard::Message(printed)
            }
            // Offsets of both are in front of the first message that follows.
            "welcome" | "joined" if is_own => {
                if let (Some(epoch), Some(offset)) = (said.epoch, said.offset) {
                    self.position = Some((epoch.into_owned(), offset));
                }
                match said.recovered {
                    Some(true) => Heard::Notice("back; recovered: true, nothing was lost".into()),
                    Some(false) => Heard::Notice(
                        "back; recovered: false, messages in between may not be printed".into(),
                    ),
                    None => Heard::Nothing,
                }
            }
            "gap" if is_own => {
                let first = said.from.map_or("?", RawValue::get);
                let last = said.to.map_or_else(|| "?".into(), |last| last.to_string());
                let why = "lost, as this client was too slow or the server was replaced";
                Heard::Notice(format!("messages {} to {last} were {why}", shown(first)))
            }
            "left" if is_own => {
                let why = said.reason.as_deref().unwrap_or_default();
                Heard::Notice(format!("the server took this client out: {}", shown(why)))
            }
            "error" => {
                let [code, text] = [&said.code, &said.text];
                let [code, text] = [code, text].map(|one| shown(one.as_deref().unwrap_or("")));
                Heard::Notice(format!("the server says: {code}, {text}"))
            }
            _ => Heard::Nothing,
        })
    }
}

/// The body of a message as a plain client gets it.
fn plain(said: &Said<'_>) -> Vec<u8> {
    // `null` reads as no body.
    let body = said.body.map_or("null", RawValue::get);
    let Ok(text) = serde_json::from_str::<Cow<'_, str>>(body) else {
        return body.as_bytes().to_vec();
    };
    let bytes = said.encoding.as_deref().and_then(|_| STANDARD.decode(&*text).ok());
    bytes.unwrap_or_else(|| text.into_owned().into_bytes())
}

/// Words of the server as a part of a line: nothing of them may move a terminal's cursor.
fn shown(words: &str) -> String {
    words.escape_debug().to_string()
}

/// The target of an address without the parameters that say where to begin: a subscriber that comes
/// back begins where it was.
pub(super) fn without_beginning(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let begins = |part: &&str| matches!(part.split('=').next(), Some("since" | "history"));
    let kept: Vec<&str> = query.split('&').filter(|part| !begins(part)).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, body: &str) -> String {
        let from = r#"{"client":"0-0-1","user":null}"#;
        format!(
            r#"{{"type":"message","channel":"a","offset":{offset},"from":{from},"body":{body}}}"#
        )
    }

    #[test]
    fn the_place_is_behind_the_last_message() {
        let mut place = Place::new("a", false);
        assert_eq!(place.since(), None);
        let welcome = r#"{"type":"welcome","channel":"a","offset":2,"epoch":"e1","user":null}"#;
        assert_eq!(place.hear(welcome), Ok(Heard::Nothing));
        assert_eq!(place.since().unwrap(), "since=e1:2");
        place.hear(&message(3, "1")).unwrap();
        // Messages of other channels, and of users, have no place in this one.
        place.hear(r#"{"type":"message","channel":"b","offset":9,"body":1}"#).unwrap();
        let direct = place.hear(r#"{"type":"message","direct":true,"from":null,"body":"x"}"#);
        assert_eq!(direct, Ok(Heard::Message(b"x".to_vec())));
        assert_eq!(place.since().unwrap(), "since=e1:3");
        let joined = r#"{"type":"joined","channel":"a","offset":0,"epoch":"e2","recovered":false}"#;
        let Ok(Heard::Notice(told)) = place.hear(joined) else { panic!("it is told") };
        assert!(told.contains("recovered: false"), "{told}");
        assert_eq!(place.since().unwrap(), "since=e2:0");
    }

    #[test]
    fn bodies_are_those_of_plain_clients() {
        let mut place = Place::new("a", false);
        for (body, wanted) in [
            (r#""two\nlines \u00e4""#, "two\nlines ä"),
            (r#"{"b": [1,  2]}"#, r#"{"b": [1,  2]}"#),
            ("null", "null"),
            (r#""""#, ""),
        ] {
            let heard = place.hear(&message(1, body));
            assert_eq!(heard, Ok(Heard::Message(wanted.into())), "{body}");
        }
        let bytes = r#""AP8=","encoding":"base64""#;
        assert_eq!(place.hear(&message(1, bytes)), Ok(Heard::Message(vec![0, 0xff])));
        let mut whole = Place::new("a", true);
        assert_eq!(whole.hear(&message(1, bytes)), Ok(Heard::Message(message(1, bytes).into())));
    }

    #[test]
    fn what_is_no_message_is_told_or_passed_over() {
        let mut place = Place::new("a", false);
        for (text, part) in [
            (r#"{"type":"gap","channel":"a","from":4,"to":7}"#, "messages 4 to 7 were lost"),
            (r#"{"type":"left","channel":"a","reason":"server"}"#, "out: server"),
            (r#"{"type":"error","code":"rate","text":"slow\u001bdown"}"#, "rate, slow\\u{1b}down"),
        ] {
            let Ok(Heard::Notice(told)) = place.hear(text) else { panic!("{text}") };
            assert!(told.contains(part), "{told}");
        }
        for other in [r#"{"type":"gap","channel":"b","from":4,"to":7}"#, r#"{"type":"new"}"#] {
            assert_eq!(place.hear(other), Ok(Heard::Nothing), "{other}");
        }
        for wrong in ["", "hello", "[1]", r#"{"type":7}"#, r#"{"channel":"a"}"#] {
            assert!(place.hear(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_says_only_once_where_to_begin() {
        for (target, wanted) in [
            ("/ws", "/ws"),
            ("/ws?history=5", "/ws"),
            ("/ws?a=1&since=e:1&history=2&echo=false", "/ws?a=1&echo=false"),
            ("/ws?since_when=1", "/ws?since_when=1"),
        ] {
            assert_eq!(without_beginning(target), wanted);
        }
    }
}
