//! Requests of the JSON dialect against a reading key by key, and what is written in it, read back.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::request::decoded;
use crate::model::id::{ClientId, RequestId, ShardId, Slot};
use crate::model::message::{From, Payload, Publication};
use crate::model::past::{Numbering, Since, Wanted};
use crate::model::presence::Member;
use crate::sim::reader::read_frames;
use crate::wire::command::{Command, ErrorCode, Said};
use crate::wire::dialect::{Dialect, Reading};
use crate::wire::event::Event;
use crate::wire::name::{check_name, percent_decoded};
use crate::wire::plain::read::trim_text;
use crate::wire::plain::write::json_as_text;
use crate::wire::stentor::write::{publication, write};

const READING: Reading = Reading { text_ping: true, trim_text: false };

/// The deepest nesting of a request, and the longest id.
const DEPTH_MAX: usize = 128;
const ID_BYTES_MAX: usize = 64;

/// The text of one message.
///
/// # Panics
/// If the server misreads the message, or writes something that does not read back.
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
    since: Option<Since>,
    limit: usize,
    reverse: bool,
    token: Option<String>,
    id: Option<&'a str>,
}

fn expected(text: &str) -> Result<Request<'_>, ErrorCode> {
    let malformed = ErrorCode::Malformed;
    if depth(text) > DEPTH_MAX {
        return Err(malformed);
    }
    let Pairs(pairs) = serde_json::from_str(text).map_err(|_| malformed)?;
    let known = [
        "type", "channel", "user", "body", "id", "presence", "since", "limit", "reverse", "token",
        "method", "data",
    ];
    let mut values = [None; 12];
    for (key, value) in &pairs {
        let Some(place) = known.iter().position(|known| known == key) else { continue };
        if values[place].replace(value.get()).is_some() {
            return Err(malformed);
        }
    }
    let [kind, channel, user, body, id, presence, since, limit, reverse, token, method, _] = values;
    let string = |raw: Option<&str>| match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str::<Option<String>>(raw).map_err(|_| malformed),
    };
    let (kind, channel) = (string(kind)?, string(channel)?);
    let (user, token, method) = (string(user)?, string(token)?, string(method)?);
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
        "who" | "presence" | "presence_stats" | "history" | "ping" | "refresh" | "rpc"
        | "heartbeat" => (false, false, false),
        _ => return Err(ErrorCode::UnknownType),
    };
    let missing = needs_channel && channel.is_none()
        || needs_user && user.is_none()
        || needs_body && body.is_none()
        || kind == "refresh" && token.is_none()
        || kind == "rpc" && method.is_none();
    if missing {
        return Err(ErrorCode::MissingField);
    }
    // The others do not look at these.
    let (asks, reads) = (kind == "join" || kind == "history", kind == "history");
    let since = since.filter(|_| asks).map_or(Ok(None), heard)?;
    let limit = limit.filter(|_| reads).map_or(Ok(None), serde_json::from_str::<Option<usize>>);
    let reverse = reverse.filter(|_| reads).map_or(Ok(None), serde_json::from_str::<Option<bool>>);
    let limit = limit.map_err(|_| malformed)?.unwrap_or(100);
    let reverse = reverse.map_err(|_| malformed)?.unwrap_or(false);
    Ok(Request { kind, channel, user, body, presence, since, limit, reverse, token, id })
}

fn heard(text: &str) -> Result<Option<Since>, ErrorCode> {
    #[derive(serde::Deserialize)]
    struct Heard {
        epoch: String,
        offset: u64,
    }
    let heard = serde_json::from_str::<Option<Heard>>(text).map_err(|_| ErrorCode::Malformed)?;
    Ok(heard.map(|Heard { epoch, offset }| Since { epoch: Numbering::read(&epoch), offset }))
}

/// Returns the nesting depth of brackets and braces, those in strings left out.
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
    let mut said = Said::Text(text.into());
    let read = Dialect::Stentor.read(&mut said, READING).map_err(|mistake| {
        assert!(mistake.text.len() <= 160, "the answer to a mistake is short");
        mistake.code
    });
    let id = |id: Option<RequestId>| id.map(|id| String::from(id.0));
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let body = |payload: Payload| match payload {
        Payload::Json(json) => Some(json.as_str().to_owned()),
        other => panic!("a body that is not JSON: {other:?}"),
    };
    let (kind, channel, user, body, presence, id) = match read {
        Ok(Command::Publish { channel, payload, id: of }) => {
            ("publish", owned(channel), None, body(payload), None, id(of))
        }
        Ok(Command::Direct { user, payload, id: of }) => {
            ("direct", None, Some(user.into_owned()), body(payload), None, id(of))
        }
        Ok(Command::Join { channel, presence, since, id: of, .. }) => {
            assert_eq!(expected(text).ok().and_then(|request| request.since), since);
            ("join", Some(channel.into_owned()), None, None, Some(presence), id(of))
        }
        Ok(Command::Leave { channel, id: of }) => {
            ("leave", Some(channel.into_owned()), None, None, None, id(of))
        }
        Ok(Command::Who { channel, id: of }) => ("who", owned(channel), None, None, None, id(of)),
        Ok(Command::Presence { channel, id: of }) => {
            ("presence", owned(channel), None, None, None, id(of))
        }
        Ok(Command::PresenceStats { channel, id: of }) => {
            ("presence_stats", owned(channel), None, None, None, id(of))
        }
        Ok(Command::History { channel, wanted, id: of }) => {
            let Wanted { since, limit, newest_first } = wanted;
            let request = expected(text).unwrap();
            assert_eq!((since, limit), (request.since, request.limit));
            assert_eq!(newest_first, request.reverse);
            ("history", owned(channel), None, None, None, id(of))
        }
        Ok(Command::Refresh { channel, token, id: of }) => {
            let wanted = expected(text).ok().and_then(|request| request.token);
            assert_eq!(Some(&*token), wanted.as_deref(), "{text:?}");
            ("refresh", owned(channel), None, None, None, id(of))
        }
        Ok(Command::Call { method, data, id: of }) => {
            let wanted: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            assert!(wanted["method"].is_null() || wanted["method"] == *method, "{text:?}");
            let body = data.map(|data| data.as_str().to_owned());
            ("rpc", None, None, body, None, id(of))
        }
        Ok(Command::Connect(_) | Command::Pong | Command::Nothing) => {
            panic!("its requests have no such one")
        }
        Ok(Command::Ping { id: of }) => ("ping", None, None, None, None, id(of)),
        Ok(Command::Heartbeat) => ("heartbeat", None, None, None, None, None),
        Ok(Command::Subscribe { .. } | Command::SignIn { .. } | Command::Trigger { .. }) => {
            unreachable!("it has no apps")
        }
        Err(code) => return assert_eq!(expected(text), Err(code), "{text:?}"),
    };
    let wanted = expected(text).unwrap_or_else(|code| panic!("{kind} for {code:?}: {text:?}"));
    assert_eq!((kind, id.as_deref()), (wanted.kind.as_str(), wanted.id));
    // Fields that a request does not use are not looked at.
    assert!(channel.is_none() || channel == wanted.channel);
    assert!(user.is_none() || user == wanted.user);
    assert!(body.is_none() || body.as_deref() == wanted.body);
    assert!(presence.is_none_or(|presence| presence == wanted.presence));
    let of_any = matches!(kind, "publish" | "who" | "presence" | "presence_stats" | "history");
    assert!(!of_any || channel == wanted.channel);
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
    let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
    let said = |payload| Publication {
        channel: text.into(),
        offset: 9,
        time_ms: 5,
        ingress_ns: 0,
        details: None,
        from: Some(From { client, user: Some(text.into()) }),
        payload,
    };
    let message = written(|out| publication(out, &said(Payload::Text(text.into()))));
    // A publication without a channel is a direct message.
    let channel = (!text.is_empty()).then_some(text);
    assert_eq!(message["channel"].as_str(), channel);
    for place in [&message["from"]["user"], &message["body"]] {
        assert_eq!(place.as_str(), Some(text));
    }
    let binary = Payload::Binary(text.to_owned().into_bytes().into());
    let message = written(|out| publication(out, &said(binary)));
    let decoded = data_encoding::BASE64.decode(message["body"].as_str().unwrap().as_bytes());
    assert_eq!(decoded.as_deref(), Ok(text.as_bytes()));
    let mut request = Said::Text(text.into());
    if let Ok(Command::Publish { payload: Payload::Json(json), .. }) =
        Dialect::Stentor.read(&mut request, READING)
    {
        let mut out = BytesMut::new();
        publication(&mut out, &said(Payload::Json(json.clone())));
        assert!(read_frames(&out).0[0].text().contains(json.as_str()), "byte for byte");
    }
    let (id, users) = (RequestId("1".into()), [text.into(), "x".into()]);
    let here = Event::Here { channel: text, clients: 2, users: &users, more: false, id: Some(&id) };
    assert_eq!(written(|out| write(out, &here))["users"][0].as_str(), Some(text));
    let member = Member { client, user: Some(text.into()), info: None, channel_info: None };
    let members = Event::Members {
        channel: text,
        clients: 2,
        members: &[member.clone(), member.clone()],
        more: false,
        id: Some(&id),
    };
    assert_eq!(written(|out| write(out, &members))["clients"][1]["user"].as_str(), Some(text));
    let error = Event::Error { code: ErrorCode::Rate, text, id: None };
    assert_eq!(written(|out| write(out, &error))["text"].as_str(), Some(text));
    let news = Event::Presence { joined: true, channel: text, member: &member };
    let joined = written(|out| write(out, &news));
    assert_eq!((joined["channel"].as_str(), joined["user"].as_str()), (Some(text), Some(text)));
}

/// Plain texts, and JSON bodies on their way to plain clients.
fn check_plain(text: &str) {
    let trimmed = trim_text(text);
    assert!(!trimmed.contains(['\r', '\n']) && trimmed.trim() == trimmed);
    assert_eq!(trim_text(&trimmed), trimmed);
    let read = |text_ping| {
        let mut said = Said::Text(text.into());
        let reading = Reading { text_ping, trim_text: false };
        let command = Dialect::Plain.read(&mut said, reading).expect("plain texts are never wrong");
        match command {
            Command::Publish { payload: Payload::Text(said), .. } => {
                assert_eq!(said.as_str(), text);
                "publish"
            }
            Command::Ping { .. } => "ping",
            Command::Heartbeat => "heartbeat",
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(false), "publish");
    let word = match read(true) {
        "ping" => text == "ping",
        "heartbeat" => {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            value == serde_json::json!({"heartbeat": true})
        }
        _ => text != "ping" && text != r#"{"heartbeat":true}"#,
    };
    assert!(word, "{text:?}");
    match serde_json::from_str::<String>(text) {
        Ok(characters) => assert_eq!(json_as_text(text), characters),
        Err(_) => drop(json_as_text(text)),
    }
    let quoted = serde_json::to_string(text).unwrap();
    assert_eq!(json_as_text(&quoted), text);
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
