//! Requests of the JSON dialect against a reading key by key, and what is written in it, read back.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::request::decoded;
use crate::model::id::{ClientId, ShardId};
use crate::sim::reader::read_frames;
use crate::wire::name::{check_name, percent_decoded};
use crate::wire::plain::read::{PlainCommand, read_text, trim_text};
use crate::wire::stentor::read::{
    BodyRef, Command, ErrorCode, Here, MessageParts, json_body_as_text, put_error, put_message,
    put_presence, put_who, read,
};

/// How deep a request may be, and how long its id.
const DEPTH_MAX: usize = 128;
const ID_BYTES_MAX: usize = 64;

/// The text of one message.
///
/// # Panics
/// Where the server reads it as something else than it is, or writes what does not read back.
pub fn json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_request(&text);
    check_written(&text);
    check_plain(&text);
    check_names(&text);
}

/// An object's keys and values in their order, repeated keys too.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    pairs.push((Cow::Owned(key), value));
                }
                Ok(Pairs(pairs))
            }
        }
        json.deserialize_map(Keys)
    }
}

/// A request as its keys say it.
#[derive(Debug, PartialEq)]
struct Request<'a> {
    kind: String,
    channel: Option<String>,
    user: Option<String>,
    body: Option<&'a str>,
    presence: bool,
    id: Option<&'a str>,
}

fn expected(text: &str) -> Result<Request<'_>, ErrorCode> {
    let malformed = ErrorCode::Malformed;
    if depth(text) > DEPTH_MAX {
        return Err(malformed);
    }
    let Pairs(pairs) = serde_json::from_str(text).map_err(|_| malformed)?;
    let known = ["type", "channel", "user", "body", "id", "presence"];
    let mut values = [None; 6];
    for (key, value) in &pairs {
        let Some(place) = known.iter().position(|known| known == key) else { continue };
        if values[place].replace(value.get()).is_some() {
            return Err(malformed);
        }
    }
    let [kind, channel, user, body, id, presence] = values;
    let string = |raw: Option<&str>| match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str::<Option<String>>(raw).map_err(|_| malformed),
    };
    let (kind, channel, user) = (string(kind)?, string(channel)?, string(user)?);
    let presence = match presence {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(malformed),
    };
    let id = match id {
        None | Some("null") => None,
        Some(id) => {
            let quotes = if id.starts_with('"') { 2 } else { 0 };
            let kind = id.starts_with(['"', '-']) || id.as_bytes()[0].is_ascii_digit();
            if !kind || id.len() - quotes > ID_BYTES_MAX {
                return Err(ErrorCode::BadId);
            }
            Some(id)
        }
    };
    let kind = match kind {
        Some(kind) => kind,
        None if pairs.len() == 1 && pairs[0].0 == "heartbeat" && pairs[0].1.get() == "true" => {
            "heartbeat".into()
        }
        None => return Err(ErrorCode::MissingField),
    };
    let (needs_channel, needs_user, needs_body) = match kind.as_str() {
        "publish" => (false, false, true),
        "direct" => (false, true, true),
        "join" | "leave" => (true, false, false),
        "who" | "ping" | "heartbeat" => (false, false, false),
        _ => return Err(ErrorCode::UnknownType),
    };
    let missing = needs_channel && channel.is_none()
        || needs_user && user.is_none()
        || needs_body && body.is_none();
    if missing {
        return Err(ErrorCode::MissingField);
    }
    Ok(Request { kind, channel, user, body, presence, id })
}

/// How deep brackets and braces lie in each other, those in strings left out.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut chars = text.chars();
    let mut string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if string => drop(chars.next()),
            '"' => string = !string,
            '[' | '{' if !string => depth += 1,
            ']' | '}' if !string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn check_request(text: &str) {
    let read = read(text).map_err(|mistake| {
        assert!(mistake.text.len() <= 160, "the answer to a mistake is short");
        mistake.code
    });
    let id = |id: Option<crate::wire::stentor::read::Id<'_>>| id.map(|id| id.as_str().to_owned());
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let (kind, channel, user, body, presence, id) = match read {
        Ok(Command::Publish { channel, body, id: of }) => {
            ("publish", owned(channel), None, Some(body.get()), None, id(of))
        }
        Ok(Command::Direct { user, body, id: of }) => {
            ("direct", None, Some(user.into_owned()), Some(body.get()), None, id(of))
        }
        Ok(Command::Join { channel, presence, id: of }) => {
            ("join", Some(channel.into_owned()), None, None, Some(presence), id(of))
        }
        Ok(Command::Leave { channel, id: of }) => {
            ("leave", Some(channel.into_owned()), None, None, None, id(of))
        }
        Ok(Command::Who { channel, id: of }) => ("who", owned(channel), None, None, None, id(of)),
        Ok(Command::Ping { id: of }) => ("ping", None, None, None, None, id(of)),
        Ok(Command::Heartbeat) => ("heartbeat", None, None, None, None, None),
        Err(code) => return assert_eq!(expected(text), Err(code), "{text:?}"),
    };
    let wanted = expected(text).unwrap_or_else(|code| panic!("{kind} for {code:?}: {text:?}"));
    assert_eq!((kind, id.as_deref()), (wanted.kind.as_str(), wanted.id));
    // What a request does not use is not looked at.
    assert!(channel.is_none() || channel == wanted.channel);
    assert!(user.is_none() || user == wanted.user);
    assert!(body.is_none() || body == wanted.body);
    assert!(presence.is_none_or(|presence| presence == wanted.presence));
    assert!(kind != "publish" && kind != "who" || channel == wanted.channel);
}

fn written(write: impl FnOnce(&mut BytesMut)) -> serde_json::Value {
    let mut out = BytesMut::new();
    write(&mut out);
    let (frames, used) = read_frames(&out);
    assert_eq!((frames.len(), used), (1, out.len()), "one whole frame");
    serde_json::from_str(frames[0].text()).expect("the server writes JSON")
}

/// Any text in any place reads back as it was.
fn check_written(text: &str) {
    let from = ClientId { generation: 3, slot: 2, shard: ShardId(1) };
    let parts = MessageParts {
        channel: Some(text),
        offset: 9,
        from: Some((from, Some(text))),
        time_ms: 5,
        body: BodyRef::Text(text),
    };
    let message = written(|out| put_message(out, &parts));
    for place in [&message["channel"], &message["from"]["user"], &message["body"]] {
        assert_eq!(place.as_str(), Some(text));
    }
    let binary = MessageParts { body: BodyRef::Binary(text.as_bytes()), ..parts };
    let message = written(|out| put_message(out, &binary));
    let decoded = data_encoding::BASE64.decode(message["body"].as_str().unwrap().as_bytes());
    assert_eq!(decoded.as_deref(), Ok(text.as_bytes()));
    if let Ok(Command::Publish { body, .. }) = read(text) {
        let json = MessageParts { body: BodyRef::Json(body.get()), ..parts };
        let mut out = BytesMut::new();
        put_message(&mut out, &json);
        assert!(read_frames(&out).0[0].text().contains(body.get()), "byte for byte");
    }
    let here = Here { channel: text, clients: 2, more: false };
    let who = written(|out| put_who(out, &here, [text, "x"].into_iter(), Some("1")));
    assert_eq!(who["users"][0].as_str(), Some(text));
    let error = written(|out| put_error(out, ErrorCode::Rate, text, None));
    assert_eq!(error["text"].as_str(), Some(text));
    let joined = written(|out| put_presence(out, true, text, "1-2-3", Some(text)));
    assert_eq!((joined["channel"].as_str(), joined["user"].as_str()), (Some(text), Some(text)));
}

/// Plain texts, and JSON bodies on their way to plain clients.
fn check_plain(text: &str) {
    let trimmed = trim_text(text);
    assert!(!trimmed.contains(['\r', '\n']) && trimmed.trim() == trimmed);
    assert_eq!(trim_text(&trimmed), trimmed);
    assert_eq!(read_text(text, false), PlainCommand::Publish);
    let word = match read_text(text, true) {
        PlainCommand::TextPing => text == "ping",
        PlainCommand::Heartbeat => {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            value == serde_json::json!({"heartbeat": true})
        }
        PlainCommand::Publish => text != "ping" && text != r#"{"heartbeat":true}"#,
    };
    assert!(word, "{text:?}");
    match serde_json::from_str::<String>(text) {
        Ok(characters) => assert_eq!(json_body_as_text(text), characters),
        Err(_) => drop(json_body_as_text(text)),
    }
    let quoted = serde_json::to_string(text).unwrap();
    assert_eq!(json_body_as_text(&quoted), text);
}

fn check_names(text: &str) {
    assert_eq!(percent_decoded(text), decoded(text), "{text:?}");
    if check_name(text, 64).is_ok() {
        assert!((1..=64).contains(&text.len()) && !text.contains(char::is_control));
    }
    if let Ok(id) = text.parse::<ClientId>() {
        assert_eq!(id.to_string(), text, "a client has one name");
    }
}
