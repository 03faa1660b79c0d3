//! Tests of what clients say.

use super::*;
use crate::wire::dialect::Dialect;

const READING: Reading = Reading { text_ping: false, trim_text: false };

/// The command of a message in a few words, or the mistake in it.
fn read_one(text: &str) -> Result<String, ErrorCode> {
    let mut said = Said::Text(text.into());
    let show = |text: Option<Cow<'_, str>>| text.map_or("-".to_owned(), Cow::into_owned);
    match Dialect::Pusher.read(&mut said, READING) {
        Ok(Command::Subscribe { channel, auth, channel_data }) => {
            Ok(format!("subscribe {channel} {} {}", show(auth), show(channel_data)))
        }
        Ok(Command::Leave { channel, id: None }) => Ok(format!("leave {channel}")),
        Ok(Command::SignIn { auth, user_data }) => Ok(format!("signin {auth} {user_data}")),
        Ok(Command::Trigger { channel, event, payload: Payload::Json(json) }) => {
            Ok(format!("trigger {channel} {event} {json}"))
        }
        Ok(Command::Ping { id: None }) => Ok("ping".into()),
        Ok(Command::Nothing) => Ok("nothing".into()),
        Ok(other) => panic!("{other:?}"),
        Err(mistake) => Err(mistake.code),
    }
}

#[test]
fn messages_of_clients_become_commands() {
    for (text, expected) in [
        (r#"{"event":"pusher:subscribe","data":{"channel":"c"}}"#, "subscribe c - -"),
        (r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"c"}}"#, "subscribe c  -"),
        (
            r#"{"event":"pusher:subscribe","data":{"auth":"k:s","channel":"presence-c",
                "channel_data":"{\"user_id\":\"7\"}","more":[1]}}"#,
            r#"subscribe presence-c k:s {"user_id":"7"}"#,
        ),
        (r#"{"event":"pusher:unsubscribe","data":{"channel":"c\u00e9"}}"#, "leave cé"),
        (r#"{"event":"pusher:ping","data":{}}"#, "ping"),
        (r#" {"event":"pusher:ping"} "#, "ping"),
        (r#"{"event":"pusher:pong","data":{}}"#, "nothing"),
        (r#"{"event":"pusher:of_tomorrow","data":1}"#, "nothing"),
        (r#"{"event":"of-the-backend","channel":"c","data":1}"#, "nothing"),
        (r#"{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{}"}}"#, "signin k:s {}"),
        (
            r#"{"event":"client-x","channel":"private-c","data":{"a": [1, 2]}}"#,
            r#"trigger private-c client-x {"a": [1, 2]}"#,
        ),
        (r#"{"event":"client-x","channel":"c","data":"t"}"#, r#"trigger c client-x "t""#),
        (r#"{"event":"client-x","channel":"c"}"#, "trigger c client-x null"),
        (r#"{"event":"client-x","channel":"c","data":null}"#, "trigger c client-x null"),
    ] {
        assert_eq!(read_one(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn other_messages_are_mistakes() {
    let deep = format!(
        r#"{{"event":"client-x","channel":"c","data":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for text in [
        "",
        "[]",
        "7",
        "{}",
        r#"{"event":7}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":{}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"c","auth":{}}}"#,
        r#"{"event":"pusher:unsubscribe","data":"c"}"#,
        r#"{"event":"pusher:signin","data":{"auth":"k:s"}}"#,
        r#"{"event":"client-x","data":1}"#,
        r#"{"event":"pusher:ping"}{"event":"pusher:ping"}"#,
        &deep,
    ] {
        assert_eq!(read_one(text), Err(ErrorCode::Malformed), "{text}");
    }
    let mut bytes = Said::Binary(bytes::Bytes::from_static(b"{}"));
    let mistake = Dialect::Pusher.read(&mut bytes, READING).unwrap_err();
    assert_eq!(mistake.code, ErrorCode::Binary);
}
