//! Messages of clients of Pusher's protocol, names of their channels, and what is written for them.

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;

use crate::model::message::{Details, Payload, Publication};
use crate::rules::{App, Rules, check_channel_name};
use crate::sim::reader::read_frames;
use crate::wire::command::{Command, Said};
use crate::wire::dialect::{Dialect, Reading};
use crate::wire::event::{Event, OfApp};
use crate::wire::pusher::names::{Kind, own_name};
use crate::wire::pusher::{presence, users};

const READING: Reading = Reading { text_ping: true, trim_text: false };

/// A command says what a reader of plain JSON finds in its message, and whatever stands in a
/// message is written as one frame with one object, whose data reads back as it was.
pub fn pusher(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut said = Said::Text(text.into());
    let Ok(command) = Dialect::Pusher.read(&mut said, READING) else { return };
    let value: Value = serde_json::from_str(text).expect("what is read is JSON");
    let data = &value["data"];
    match command {
        Command::Subscribe { channel, auth, channel_data } => {
            assert_eq!(data["channel"], *channel);
            assert_eq!(data["auth"].as_str(), auth.as_deref());
            assert_eq!(data["channel_data"].as_str(), channel_data.as_deref());
            check_member(channel_data.as_deref().unwrap_or_default());
        }
        Command::Leave { channel, id: None } => assert_eq!(data["channel"], *channel),
        Command::SignIn { auth, user_data } => {
            assert_eq!(
                (&data["auth"], &data["user_data"]),
                (&(*auth).into(), &(*user_data).into())
            );
            if let Some((name, _)) = users::read(&user_data) {
                assert!(!name.is_empty() && !name.chars().any(char::is_control));
            }
            let signed_in = Event::OfApp(OfApp::SignedIn { user_data: &user_data });
            let told = data_of(&object(&signed_in));
            assert_eq!(told["user_data"], *user_data);
        }
        Command::Trigger { channel, event, payload: Payload::Json(json) } => {
            assert!(event.starts_with("client-") && value["channel"] == *channel);
            let body: Value = serde_json::from_str(&json).expect("data is JSON");
            assert!(body == *data || json.contains(|c: char| c.is_numeric()));
            check_written(&channel, &event, &json);
        }
        Command::Ping { id: None } | Command::Nothing => {}
        other => panic!("it has no such command: {other:?}"),
    }
}

/// A name that is taken leads to a channel of its app and of no other, and back.
pub fn pusher_names(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else { return };
    let (one, other) = (App::new("1", "k", "s"), App::new("1-x", "l", "s"));
    let channel = one.channel(name);
    assert_eq!((own_name(&channel), one.own_name(&channel)), (name, Some(name)));
    assert_eq!(other.own_name(&channel), None);
    if check_channel_name(name, 164).is_err() {
        return;
    }
    assert!(!name.is_empty() && name.len() <= 164 && !name.chars().any(char::is_control));
    let rules = Rules::default().with_apps(vec![one, other]).expect("two apps");
    let app = rules.app_of_channel(&channel).expect("its app");
    assert_eq!(&*app.id, "1");
    let kind = Kind::of(name);
    assert_eq!(matches!(kind, Kind::User(_)), name.starts_with('#'));
    let terms = rules.terms(&channel).expect("its namespace is there");
    assert_eq!(terms.is_presence(), kind == Kind::Presence);
    assert!(!terms.publish_is_free(), "nobody else publishes there");
}

fn check_member(channel_data: &str) {
    let Some((user, info)) = presence::read(channel_data) else { return };
    assert!(!user.is_empty() && !user.chars().any(char::is_control));
    if let Some(info) = info {
        serde_json::from_str::<Value>(info).expect("info is JSON");
    }
}

/// The object in the one frame of an event.
fn object(event: &Event<'_>) -> Value {
    let mut out = BytesMut::new();
    Dialect::write_event(Dialect::Pusher.shape(false), &mut out, event);
    let frames = read_frames(&out).0;
    assert_eq!(frames.len(), 1);
    serde_json::from_str(frames[0].text()).expect("one JSON object")
}

/// The JSON in the data of a message.
fn data_of(message: &Value) -> Value {
    serde_json::from_str(message["data"].as_str().expect("a text")).expect("JSON")
}

/// Writes the data of an event as if a backend had sent it.
fn check_written(channel: &str, event: &str, json: &str) {
    let publication = Arc::new(Publication {
        channel: format!("app-1:{channel}").into(),
        offset: 1,
        time_ms: 0,
        ingress_ns: 0,
        from: None,
        details: Some(Arc::new(Details::of_event(event, None))),
        payload: Payload::Json(json.into()),
    });
    let (mut out, mut ends) = (BytesMut::new(), Vec::new());
    let form = crate::model::shape::Form::first(Dialect::Pusher.shape(false), false);
    let each = crate::model::message::Publications::all(std::slice::from_ref(&publication));
    Dialect::write_publications(form, &mut out, &mut ends, each);
    let frames = read_frames(&out).0;
    assert_eq!((frames.len(), &ends[..]), (1, &[out.len()][..]));
    let told: Value = serde_json::from_str(frames[0].text()).expect("one JSON object");
    assert_eq!((&told["event"], &told["channel"]), (&event.into(), &channel.into()));
    assert_eq!(told["data"], json, "byte for byte");
}
