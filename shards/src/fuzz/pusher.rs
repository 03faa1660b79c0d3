//! Messages of clients of Pusher's protocol, names of their channels, and what is written for them.

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;

use crate::model::id::{ClientId, ShardId, Slot};
use crate::model::message::{Details, From, Payload, Publication};
use crate::rules::{App, Rules, check_channel_name};
use crate::sim::reader::read_frames;
use crate::wire::command::{Command, Said};
use crate::wire::dialect::{Dialect, Reading};
use crate::wire::event::{Event, OfApp};
use crate::wire::name::APP_USER_BYTES;
use crate::wire::pusher::names::{Kind, own_name};
use crate::wire::pusher::{presence, sign, users};

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
            assert_eq!(body, *data);
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
    let bytes_max = if name.starts_with('#') { 16 + APP_USER_BYTES } else { 164 };
    assert!(!name.is_empty() && name.len() <= bytes_max && !name.chars().any(char::is_control));
    assert!(one.is_channel(name), "the control plane takes it as well");
    check_signatures(&one, name);
    let rules = Rules::default().with_apps(vec![one, other]).expect("two apps");
    let app = rules.app_of_channel(&channel).expect("its app");
    assert_eq!(&*app.id, "1");
    let kind = Kind::of(name);
    assert_eq!(matches!(kind, Kind::User(_)), name.starts_with('#'));
    let terms = rules.terms(&channel).expect("its namespace is there");
    assert_eq!(terms.is_presence(), kind == Kind::Presence);
    assert!(!terms.publish_is_free(), "nobody else publishes there");
}

/// A signature for one channel, with data or without, is good for no other channel and other data.
fn check_signatures(app: &App, name: &str) {
    const SOCKET: &str = "1.2";
    let auth = |text: &str| format!("k:{}", sign::signature(&app.secret, text.as_bytes()));
    let private = auth(&format!("{SOCKET}:{name}"));
    assert!(sign::lets_into_private(app, &private, SOCKET, (name, None)));
    // A user's channel, whose name may hold anything, is nobody's by signature.
    let colons = name.match_indices(':').filter(|_| !name.starts_with('#'));
    for (at, _) in colons {
        let (channel, data) = (&name[..at], &name[at + 1..]);
        for data in [None, Some(data)] {
            assert!(!sign::lets_into_private(app, &private, SOCKET, (channel, data)));
        }
        assert!(!sign::lets_into_presence(app, &private, SOCKET, (channel, data)));
    }
    let data = "{\"user_id\":\"u\"}";
    let presence = auth(&format!("{SOCKET}:{name}:{data}"));
    assert!(sign::lets_into_presence(app, &presence, SOCKET, (name, data)));
    assert!(sign::lets_into_private(app, &presence, SOCKET, (name, Some(data))));
    for other in [None, Some(""), Some("{}")] {
        assert!(!sign::lets_into_private(app, &presence, SOCKET, (name, other)));
    }
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

/// Writes an event as if a backend had sent it, or a client: then the data is no text but JSON.
fn check_written(channel: &str, event: &str, json: &str) {
    let told = written(channel, event, json, None);
    assert_eq!(told["data"], json, "byte for byte");
    let client = ClientId { generation: 1, slot: Slot(2), shard: ShardId(0) };
    let from = From { client, user: Some("\"},{\"event\":\"x".into()) };
    let told = written(channel, event, json, Some(from));
    assert_eq!(told["data"], serde_json::from_str::<Value>(json).expect("JSON"));
    let of_presence = Kind::of(channel) == Kind::Presence;
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(3 + usize::from(of_presence)));
}

fn written(channel: &str, event: &str, json: &str, from: Option<From>) -> Value {
    let publication = Arc::new(Publication {
        channel: format!("app-1:{channel}").into(),
        offset: 1,
        time_ms: 0,
        ingress_ns: 0,
        from,
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
    told
}
