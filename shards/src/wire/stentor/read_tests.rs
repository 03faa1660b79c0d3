//! Requests that are read, requests that are not, and frames that read back.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::model::id::{ClientId, ShardId, Slot};
use crate::model::message::{Epoch, From, Position, Publication};
use crate::wire::event::{Event, Seated};
use crate::wire::plain::write::json_as_text;
use crate::wire::stentor::write::{name_of, publication, write};

/// Reads a text, whose memory is kept for good.
fn read(text: &str) -> Result<Command<'static>, Mistake> {
    read_text(Box::leak(Box::new(Utf8Bytes::from(text.to_owned()))))
}

fn json_of(payload: &Payload) -> &str {
    let Payload::Json(json) = payload else { panic!("not JSON: {payload:?}") };
    json
}

/// The JSON in a frame, and that the frame is whole.
fn unframed(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81);
    let (len, start) = match frame[1] {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        127 => panic!("no test frame is that large"),
        len => (usize::from(len), 2),
    };
    assert_eq!(frame.len(), start + len);
    std::str::from_utf8(&frame[start..]).unwrap()
}

fn written(write: impl FnOnce(&mut BytesMut)) -> serde_json::Value {
    let mut out = BytesMut::new();
    write(&mut out);
    serde_json::from_str(unframed(&out)).unwrap()
}

fn code_of(text: &str) -> (ErrorCode, Option<String>) {
    let mistake = read(text).unwrap_err();
    (mistake.code, mistake.id.map(|id| id.0.into()))
}

#[test]
fn requests_are_read() {
    let text = r#" {"body": {"a" : 1.00e2 },"type":"publish","channel":"x","id":7,"other":[1]}"#;
    let Ok(Command::Publish { channel, payload, id }) = read(text) else { panic!() };
    assert_eq!(channel.as_deref(), Some("x"));
    assert_eq!(json_of(&payload), r#"{"a" : 1.00e2 }"#, "a body passes byte for byte");
    assert_eq!(id, Some(RequestId("7".into())));
    assert!(matches!(
        read(r#"{"type":"join","channel":"\u0061","presence":true}"#),
        Ok(Command::Join { channel, presence: true, since: None, token: None, data: None, .. })
            if channel == "a"
    ));
    let since = Since { epoch: Numbering::Is(Epoch(10)), offset: 7 };
    let text = r#"{"type":"join","channel":"a","since":{"epoch":"0000000a","offset":7}}"#;
    assert!(matches!(read(text), Ok(Command::Join { since: Some(read), .. }) if read == since));
    let text = r#"{"type":"history","since":{"epoch":"?","offset":7},"limit":2,"reverse":true}"#;
    let Ok(Command::History { wanted, .. }) = read(text) else { panic!() };
    let since = Some(Since { epoch: Numbering::Foreign, offset: 7 });
    assert_eq!(wanted, Wanted { since, limit: 2, newest_first: true });
    assert!(matches!(read(r#"{"type":"who"}"#), Ok(Command::Who { channel: None, id: None })));
    assert!(matches!(read(r#"{"heartbeat": true}"#), Ok(Command::Heartbeat)));
}

#[test]
fn mistakes_are_named() {
    let deep =
        format!("{{\"type\":\"publish\",\"body\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for (text, code, id) in [
        ("nonsense", ErrorCode::Malformed, None),
        ("[]", ErrorCode::Malformed, None),
        (r#"["publish","x",null,1,7,true]"#, ErrorCode::Malformed, None),
        (r#"{"type":"ping","type":"ping"}"#, ErrorCode::Malformed, None),
        (r#"{"type":"publish","channel":5,"body":1}"#, ErrorCode::Malformed, None),
        (r#"{"type":"fly","id":"a"}"#, ErrorCode::UnknownType, Some("\"a\"")),
        (r#"{"id":1}"#, ErrorCode::MissingField, Some("1")),
        (r#"{"type":"publish","channel":"x","id":1}"#, ErrorCode::MissingField, Some("1")),
        (r#"{"type":"direct","body":1}"#, ErrorCode::MissingField, None),
        (r#"{"type":"join"}"#, ErrorCode::MissingField, None),
        (r#"{"type":"ping","id":{}}"#, ErrorCode::BadId, None),
        (r#"{"type":"ping","id":true}"#, ErrorCode::BadId, None),
        (r#"{"type":"publish","channel":5,"id":"q"}"#, ErrorCode::Malformed, Some("\"q\"")),
        (r#"{"type":"ping","type":"ping","id":1}"#, ErrorCode::Malformed, Some("1")),
        (r#"{"type":"ping","id":1,"id":2}"#, ErrorCode::Malformed, None),
        (r#"{"type":"ping","id":1"#, ErrorCode::Malformed, None),
        (&deep, ErrorCode::Malformed, None),
    ] {
        assert_eq!(code_of(text), (code, id.map(str::to_owned)), "{text:.60}");
    }
}

#[test]
fn an_id_may_be_64_bytes_long() {
    let with = |id: &str| format!("{{\"type\":\"ping\",\"id\":{id}}}");
    for (longest, quote) in [("a", "\""), ("7", "")] {
        let fits = with(&format!("{quote}{}{quote}", longest.repeat(64)));
        assert!(matches!(read(&fits), Ok(Command::Ping { id: Some(_) })));
        let over = with(&format!("{quote}{}{quote}", longest.repeat(65)));
        assert_eq!(code_of(&over).0, ErrorCode::BadId);
    }
}

#[test]
fn the_answer_to_a_mistake_is_short_however_long_the_mistake_was() {
    let long = "\u{7f}".repeat(60_000);
    for text in [
        format!(r#"{{"type":"join","presence":"{long}"}}"#),
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"ping","id":"{long}"}}"#),
        long,
    ] {
        let mistake = read(&text).unwrap_err();
        assert!(mistake.text.len() <= 160, "{}", mistake.text.len());
        assert_eq!(mistake.id, None);
    }
}

#[test]
fn names_are_copied_only_if_they_are_escaped() {
    let channel = |text| match read(text) {
        Ok(Command::Join { channel, .. }) => channel,
        other => panic!("{other:?}"),
    };
    assert!(matches!(channel(r#"{"type":"join","channel":"a"}"#), Cow::Borrowed("a")));
    assert!(
        matches!(channel(r#"{"type":"join","channel":"\n"}"#), Cow::Owned(name) if name == "\n")
    );
}

#[test]
fn the_protocol_page_lists_every_error_code() {
    let page = include_str!("../../../PROTOCOL.md");
    for code in [
        ErrorCode::Malformed,
        ErrorCode::UnknownType,
        ErrorCode::MissingField,
        ErrorCode::BadName,
        ErrorCode::BadId,
        ErrorCode::Binary,
        ErrorCode::Rate,
        ErrorCode::UnknownUser,
        ErrorCode::NotJoined,
        ErrorCode::TooManyChannels,
        ErrorCode::NoRoom,
        ErrorCode::UnknownNamespace,
        ErrorCode::Denied,
        ErrorCode::NotAvailable,
        ErrorCode::TooLarge,
    ] {
        assert!(page.contains(&format!("`{}`", name_of(code))), "{code:?}");
    }
}

#[test]
fn depth_is_bounded_and_strings_do_not_count() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!("{{\"type\":\"publish\",\"body\":{open}{close}}}")
    };
    assert!(read(&nested(127)).is_ok());
    assert!(read(&nested(128)).is_err());
    assert!(read(&nested(50_000)).is_err());
    let text = format!("{{\"type\":\"publish\",\"body\":\"\\\"{}\"}}", "[".repeat(500));
    assert!(read(&text).is_ok());
    let wide = format!("{{\"type\":\"publish\",\"body\":[{}1]}}", "[],".repeat(5000));
    assert!(read(&wide).is_ok());
}

#[test]
fn a_body_in_base64_is_bytes() {
    let text = r#"{"type":"publish","channel":"x","encoding":"base64","body":"AP8="}"#;
    let Ok(Command::Publish { payload: Payload::Binary(bytes), .. }) = read(text) else {
        panic!("not bytes");
    };
    assert_eq!(&bytes[..], [0, 255]);
    for (encoding, body) in [("base64", "\"AP8\""), ("base64", "[0]"), ("hex", "\"00ff\"")] {
        let text =
            format!(r#"{{"type":"direct","user":"u","encoding":"{encoding}","body":{body}}}"#);
        let mistake = read(&text).unwrap_err();
        assert_eq!(mistake.code, ErrorCode::Malformed, "{text}");
    }
    let text = r#"{"type":"publish","encoding":null,"body":"AP8="}"#;
    assert!(matches!(read(text), Ok(Command::Publish { payload: Payload::Json(_), .. })));
}

#[test]
fn a_null_body_is_a_body() {
    let Ok(Command::Publish { payload, .. }) = read(r#"{"type":"publish","body":null}"#) else {
        panic!("null is a JSON value")
    };
    assert_eq!(json_of(&payload), "null");
}

#[test]
fn string_bodies_become_text_and_others_stay() {
    assert_eq!(json_as_text(r#""a\n\u00e4""#), "a\nä");
    assert_eq!(json_as_text(r#""\ud800""#), r#""\ud800""#);
    assert_eq!(json_as_text("[1, 2]"), "[1, 2]");
    assert_eq!(json_as_text(" \"a\"\n"), "a");
    assert!(matches!(json_as_text("\"plain\""), Cow::Borrowed("plain")));
    for odd in ["", "\"", "\"\\\""] {
        assert_eq!(json_as_text(odd), odd, "no JSON, no harm");
    }
}

/// A publication in channel `a"b`, or a direct message.
fn said(direct: bool, payload: Payload) -> Publication {
    let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
    Publication {
        channel: if direct { "" } else { "a\"b" }.into(),
        offset: 9,
        time_ms: 5,
        ingress_ns: 0,
        details: None,
        from: (!direct).then(|| From { client, user: Some("bob".into()) }),
        payload,
    }
}

#[test]
fn messages_read_back() {
    let message = said(false, Payload::Text("line\n\u{1}".into()));
    let value = written(|out| publication(out, &message));
    assert_eq!(
        value,
        serde_json::json!({"type": "message", "channel": "a\"b", "offset": 9,
            "from": {"client": "1-2-3", "user": "bob"}, "time": 5, "body": "line\n\u{1}"})
    );
    let direct = said(true, Payload::Binary(vec![0, 255].into()));
    let value = written(|out| publication(out, &direct));
    assert_eq!(
        value,
        serde_json::json!({"type": "message", "direct": true, "from": null, "time": 5,
            "encoding": "base64", "body": "AP8="})
    );
}

#[test]
fn answers_read_back() {
    let id = RequestId("\"q\"".into());
    let error = Event::Error { code: ErrorCode::Rate, text: "slow \"down\"", id: Some(&id) };
    assert_eq!(
        written(|out| write(out, &error)),
        serde_json::json!({"type": "error", "code": "rate", "text": "slow \"down\"", "id": "q"})
    );
    let users = ["a".into(), "b".into()];
    let here = Event::Here { channel: "x", clients: 3, users: &users, more: false, id: None };
    assert_eq!(
        written(|out| write(out, &here)),
        serde_json::json!({"type": "who", "channel": "x", "clients": 3, "users": ["a", "b"],
            "more": false})
    );
    let (id, position) = (RequestId("1".into()), Position { epoch: Epoch(255), offset: 4 });
    let seated = |recovered, left_s, data| Seated {
        channel: "x",
        position,
        recovered,
        left_s,
        can_refresh: true,
        keeps_position: true,
        data,
        patches: false,
    };
    let joined = |left_s| Event::Joined { seated: seated(None, left_s, None), id: Some(&id) };
    assert_eq!(
        written(|out| write(out, &joined(None))),
        serde_json::json!({"type": "joined", "channel": "x", "offset": 4, "epoch": "000000ff",
            "id": 1})
    );
    assert_eq!(written(|out| write(out, &joined(Some(60))))["expires"], 60);
    assert_eq!(
        written(|out| write(out, &Event::Lapsed { channel: "x" })),
        serde_json::json!({"type": "left", "channel": "x", "reason": "expired"})
    );
    let expiring = Event::Expiring { channel: Some("x"), left_s: 5 };
    assert_eq!(
        written(|out| write(out, &expiring)),
        serde_json::json!({"type": "expiring", "channel": "x", "in": 5})
    );
    let refreshed = Event::Refreshed { channel: Some("x"), left_s: Some(9), id: Some(&id) };
    assert_eq!(
        written(|out| write(out, &refreshed)),
        serde_json::json!({"type": "refreshed", "channel": "x", "expires": 9, "id": 1})
    );
    let added = Event::Added(seated(Some(true), None, Some("[1]")));
    assert_eq!(
        written(|out| write(out, &added)),
        serde_json::json!({"type": "joined", "channel": "x", "offset": 4, "epoch": "000000ff",
            "recovered": true, "data": [1], "reason": "server"})
    );
    assert_eq!(
        written(|out| write(out, &Event::Removed { channel: "x" })),
        serde_json::json!({"type": "left", "channel": "x", "reason": "server"})
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = read(&text);
        let _ = json_as_text(&text);
    }

    #[test]
    fn every_text_body_reads_back(text in ".{0,300}") {
        let message = said(false, Payload::Text(text.as_str().into()));
        let value = written(|out| publication(out, &message));
        prop_assert_eq!(value["body"].as_str(), Some(text.as_str()));
    }

    /// A request with any body and id is read back as it was written, its keys in either order.
    #[test]
    fn every_request_reads_back(
        name in ".{1,20}", body in ".{0,60}", id in any::<i64>(), turned in any::<bool>(),
    ) {
        let (name_json, body_json) =
            (serde_json::to_string(&name).unwrap(), serde_json::to_string(&[&body]).unwrap());
        let (head, tail) = (
            format!("\"type\":\"publish\",\"channel\":{name_json}"),
            format!("\"body\":{body_json},\"id\":{id}"),
        );
        let text =
            if turned { format!("{{{tail},{head}}}") } else { format!("{{{head},{tail}}}") };
        let Ok(Command::Publish { channel, payload, id: Some(read_id) }) = read(&text) else {
            return Err(TestCaseError::fail(text));
        };
        prop_assert_eq!(channel.as_deref(), Some(name.as_str()));
        prop_assert_eq!(json_of(&payload), body_json);
        prop_assert_eq!(&*read_id.0, id.to_string());
    }

    /// Bytes that are nearly requests: a good one with a few of its bytes changed or cut off.
    #[test]
    fn no_damaged_request_panics(
        changes in proptest::collection::vec((0..70_usize, 32_u8..127), 0..6), end in 0..80_usize,
    ) {
        let mut text =
            br#"{"type":"publish","channel":"a","body":{"k":["\u0061",1e9]},"id":"x"}"#.to_vec();
        for (at, byte) in changes {
            let len = text.len();
            text[at % len] = byte;
        }
        text.truncate(end.max(1));
        let text = String::from_utf8(text).unwrap();
        let _ = read(&text);
        let _ = json_as_text(&text);
    }
}
