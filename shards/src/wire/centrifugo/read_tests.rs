//! Commands as clients of Centrifugo write them in JSON.

use super::*;
use crate::model::message::Epoch;

const READING: Reading = Reading { text_ping: false, trim_text: false };

fn with<T>(text: &str, check: impl FnOnce(Result<Command<'_>, Mistake>) -> T) -> T {
    check(read(&mut Said::Text(text.into()), READING))
}

#[test]
fn a_message_falls_into_its_lines() {
    let mut said = Said::Text("{\"id\":1}\n{\"id\":2}\n\n".into());
    let left = split(&mut said);
    assert!(matches!(&said, Said::Text(first) if first.as_str() == "{\"id\":1}"));
    let mut left = left.unwrap();
    assert!(split(&mut left).is_none(), "nothing stands behind the last one");
    assert!(split(&mut Said::Binary(bytes::Bytes::from_static(b"\n1"))).is_none());
}

#[test]
fn commands_are_read() {
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c","flag":3,"recover":true,
        "epoch":"0000abcd","offset":7,"join_leave":true,"delta":"fossil","token":""}}"#;
    with(subscribe, |read| match read {
        Ok(Command::Join {
            channel,
            presence,
            patches,
            since: Some(since),
            must_recover,
            token,
            id,
            ..
        }) => {
            assert_eq!((&*channel, presence, must_recover, token), ("c", true, true, None));
            assert!(patches);
            assert_eq!((since.epoch, since.offset), (Numbering::Is(Epoch(0xabcd)), 7));
            assert_eq!(id, Some(RequestId("2".into())));
        }
        other => panic!("{other:?}"),
    });
    with(r#"{"id":3,"publish":{"channel":"c","data": {"a" : 1.50} }}"#, |read| match read {
        Ok(Command::Publish { payload: Payload::Json(json), .. }) => {
            assert_eq!(json.as_str(), r#"{"a" : 1.50}"#, "byte for byte");
        }
        other => panic!("{other:?}"),
    });
    let limit = |limit: &str| {
        let text = format!(r#"{{"id":4,"history":{{"channel":"c"{limit}}}}}"#);
        with(&text, |read| match read {
            Ok(Command::History { wanted, .. }) => wanted.limit,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!([limit(""), limit(",\"limit\":5"), limit(",\"limit\":-1")], [0, 5, HISTORY_MAX]);
    for pong in ["{}", " {}\r", "{ \t}"] {
        with(pong, |read| assert!(matches!(read, Ok(Command::Pong)), "{pong}"));
    }
    let send = r#"{"send":{"data":1}}"#;
    with(send, |read| assert!(matches!(read, Ok(Command::Nothing)), "{send}"));
}

#[test]
fn what_is_no_command_is_told_from_what_is_not_to_be_had() {
    let code = |text: &str| with(text, |read| read.unwrap_err().code);
    let deep = format!(r#"{{"id":1,"publish":{{"channel":"c","data":{}}}}}"#, "[".repeat(200));
    let malformed = [
        "",
        "x",
        "[]",
        "{",
        r#"{"id":1}"#,
        r#"{"id":0,"ping":{}}"#,
        r#"{"id":-1,"ping":{}}"#,
        r#"{"id":1,"subscribe":{}}"#,
        r#"{"id":1,"unknown":{}}"#,
        &deep,
    ];
    for text in malformed {
        assert_eq!(code(text), ErrorCode::Malformed, "{text}");
    }
    let map = r#"{"id":1,"subscribe":{"channel":"c","type":1}}"#;
    assert_eq!(code(map), ErrorCode::NotAvailable);
    let nothing = r#"{"id":1,"publish":{"channel":"c","data":null}}"#;
    assert_eq!(code(nothing), ErrorCode::MissingField);
}
