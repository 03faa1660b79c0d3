//! Commands as clients of Centrifugo write them in Protobuf.

use super::*;
use crate::model::message::Epoch;
use crate::model::past::{Numbering, Since};

const READING: Reading = Reading { text_ping: false, trim_text: false };

/// Commands behind their lengths, as a client writes them.
fn message(commands: &[messages::Command]) -> Bytes {
    commands.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn with<T>(bytes: Bytes, check: impl FnOnce(Result<Command<'_>, Mistake>) -> T) -> T {
    check(read(&mut Said::Binary(bytes), READING))
}

fn one<T>(command: messages::Command, check: impl FnOnce(Result<Command<'_>, Mistake>) -> T) -> T {
    with(message(&[command]), check)
}

fn publish(data: &'static [u8]) -> messages::Command {
    let publish = messages::PublishRequest { channel: "c".into(), data: data.into() };
    messages::Command { id: 3, publish: Some(publish), ..Default::default() }
}

#[test]
fn commands_of_a_message_are_read_one_by_one() {
    let long = messages::RefreshRequest { token: "t".repeat(300) };
    let refresh = messages::Command { id: 2, refresh: Some(long), ..Default::default() };
    let all = message(&[publish(b"1"), messages::Command::default(), refresh]);
    let mut said = Said::Binary(all);
    let mut kinds = Vec::new();
    loop {
        let left = split(&mut said);
        kinds.push(match read(&mut said, READING) {
            Ok(Command::Publish { .. }) => "publish",
            Ok(Command::Pong) => "pong",
            Ok(Command::Refresh { token, .. }) if token.len() == 300 => "refresh",
            other => panic!("{other:?}"),
        });
        let Some(left) = left else { break };
        said = left;
    }
    assert_eq!(kinds, ["publish", "pong", "refresh"]);
    assert!(split(&mut Said::Text("\u{1}x\u{1}x".into())).is_none());
}

#[test]
fn a_subscription_says_the_same_as_in_json() {
    let subscribe = messages::SubscribeRequest {
        channel: "c".into(),
        recover: true,
        epoch: "0000abcd".into(),
        offset: 7,
        join_leave: true,
        delta: "fossil".into(),
        ..Default::default()
    };
    let command = messages::Command { id: 2, subscribe: Some(subscribe), ..Default::default() };
    one(command, |read| match read {
        Ok(Command::Join { channel, presence, patches, since: Some(since), token, id, .. }) => {
            assert_eq!((&*channel, presence, patches, token), ("c", true, true, None));
            assert_eq!((since.epoch, since.offset), (Numbering::Is(Epoch(0xabcd)), 7));
            assert_eq!(id, Some(RequestId("2".into())));
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_newer_token_is_for_the_connection_or_a_channel() {
    let request = |channel: &str, token: &str, kind| {
        let (channel, token) = (channel.into(), token.into());
        let sub_refresh = Some(messages::SubRefreshRequest { channel, token, kind });
        messages::Command { id: 2, sub_refresh, ..Default::default() }
    };
    one(request("c", "t", 0), |read| match read {
        Ok(Command::Refresh { channel, token, .. }) => {
            assert_eq!((channel.as_deref(), &*token), (Some("c"), "t"));
        }
        other => panic!("{other:?}"),
    });
    let code = |command| one(command, |read| read.unwrap_err().code);
    assert_eq!(code(request("c", "", 0)), ErrorCode::MissingField);
    assert_eq!(code(request("", "t", 0)), ErrorCode::Malformed);
    assert_eq!(code(request("c", "t", 1)), ErrorCode::NotAvailable);
    let refresh = Some(messages::RefreshRequest { token: "t".into() });
    one(messages::Command { id: 2, refresh, ..Default::default() }, |read| {
        assert!(matches!(read, Ok(Command::Refresh { channel: None, .. })));
    });
}

#[test]
fn a_body_is_json_if_its_bytes_are() {
    let payload = |data| match one(publish(data), |read| match read {
        Ok(Command::Publish { payload, .. }) => payload,
        other => panic!("{other:?}"),
    }) {
        Payload::Json(json) => Ok(json.to_string()),
        Payload::Binary(bytes) => Err(bytes.to_vec()),
        Payload::Text(text) => panic!("{text}"),
    };
    for json in ["{\"a\" : 1.50}", " [1,\n2] ", "null", "\"x\""] {
        assert_eq!(payload(json.as_bytes()), Ok(json.into()), "byte for byte");
    }
    let deep: &'static [u8] = [b"[".repeat(200), b"]".repeat(200)].concat().leak();
    for other in [&b"{"[..], b"\xff", b"hello", b"1 2", b"\"\xff\"", deep] {
        assert_eq!(payload(other), Err(other.to_vec()));
    }
    let missing = one(publish(b""), |read| read.unwrap_err().code);
    assert_eq!(missing, ErrorCode::MissingField);
}

#[test]
fn the_backend_is_told_json() {
    let told = |data: &'static [u8]| {
        let rpc = messages::RpcRequest { data: data.into(), method: "m".into() };
        let command = messages::Command { id: 4, rpc: Some(rpc), ..Default::default() };
        one(command, |read| match read {
            Ok(Command::Call { method, data, .. }) if method == "m" => {
                data.map(|it| it.to_string())
            }
            other => panic!("{other:?}"),
        })
    };
    let cases: [(&[u8], Option<&str>); 4] = [
        (b"", None),
        (b"null", None),
        (b"{\"a\": 1}", Some("{\"a\": 1}")),
        (b"\x00\xff", Some("\"AP8=\"")),
    ];
    for (data, expected) in cases {
        assert_eq!(told(data).as_deref(), expected, "{data:x?}");
    }
    let since = messages::SubscribeRequest {
        recover: true,
        epoch: "0000abcd".into(),
        offset: 7,
        ..Default::default()
    };
    let subs = [("a".to_owned(), since), ("b".to_owned(), messages::SubscribeRequest::default())];
    let connect = messages::ConnectRequest {
        subs: subs.into(),
        data: "1".into(),
        name: "js".into(),
        version: "5".into(),
        ..Default::default()
    };
    let command = messages::Command { id: 1, connect: Some(connect), ..Default::default() };
    one(command, |read| match read {
        Ok(Command::Connect(Connect {
            token: None, data: Some(data), software, channels, ..
        })) => {
            let since = Since { epoch: Numbering::Is(Epoch(0xabcd)), offset: 7 };
            assert_eq!(channels, [("a".into(), Some(since)), ("b".into(), None)]);
            assert_eq!((data.as_str(), &*software.0, &*software.1), ("1", "js", "5"));
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn messages_that_are_no_commands_are_malformed() {
    let code = |bytes: &'static [u8]| with(bytes.into(), |read| read.unwrap_err().code);
    let malformed: [&[u8]; 12] = [
        b"",
        // A length beyond the message, one without an end, and one beyond 64 bits.
        b"\x05\x08\x01",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // A number alone, and a ping without one.
        b"\x02\x08\x01",
        b"\x02\x5a\x00",
        // A nested length beyond its message; a group; a wrong wire type; a name that is no text.
        b"\x04\x08\x01\x2a\x7f",
        b"\x03\x08\x01\x2b",
        b"\x04\x08\x01\x28\x01",
        b"\x07\x08\x01\x2a\x03\x0a\x01\xff",
        // More follows, which `split` would have taken.
        b"\x00\x00",
    ];
    for bytes in malformed {
        assert_eq!(code(bytes), ErrorCode::Malformed, "{bytes:x?}");
    }
    let text = read(&mut Said::Text("{}".into()), READING).map(|_| ()).unwrap_err().code;
    assert_eq!(text, ErrorCode::Binary);
}

#[test]
fn unknown_fields_are_skipped() {
    // A ping with its number, and a field of a later version beside it.
    with(Bytes::from_static(b"\x08\x08\x01\x5a\x00\xa2\x06\x01x"), |read| {
        assert!(matches!(read, Ok(Command::Ping { .. })));
    });
    with(Bytes::from_static(b"\x04\x62\x02\x0a\x00"), |read| {
        assert!(matches!(read, Ok(Command::Nothing)), "a message to the server");
    });
}
