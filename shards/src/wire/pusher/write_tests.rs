//! Tests of what clients are told.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::close::CloseReason;
use crate::model::id::{ClientId, RequestId, ShardId, Slot};
use crate::model::message::{Details, Epoch, From, Position, Publications};
use crate::model::shape::Form;
use crate::wire::dialect::Dialect;
use crate::wire::event::Seated;
use crate::wire::frame::server_frame;

const CLIENT: ClientId = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };

/// The text of the one frame in some bytes.
fn text_of(bytes: &[u8]) -> String {
    let (opcode, payload) = server_frame(bytes).expect("a frame");
    assert_eq!((opcode, payload.end), (Opcode::Text, bytes.len()), "one text frame");
    String::from_utf8(bytes[payload].to_vec()).unwrap()
}

fn told(event: &Event<'_>) -> String {
    let mut out = BytesMut::new();
    write(&mut out, event);
    if out.is_empty() { String::new() } else { text_of(&out) }
}

#[test]
fn every_event_has_the_form_that_clients_expect() {
    let position = Position { epoch: Epoch(1), offset: 9 };
    let seated = Seated {
        channel: "shop:private-c",
        position,
        recovered: None,
        left_s: None,
        can_refresh: false,
        keeps_position: true,
        data: None,
        patches: false,
    };
    let id = RequestId("private-c".into());
    for (event, expected) in [
        (
            Event::Joined { seated, id: Some(&id) },
            concat!(
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"private-c","#,
                r#""data":"{}"}"#,
            ),
        ),
        (
            Event::OfApp(OfApp::Present { channel: "shop:presence-c", members: &[] }),
            concat!(
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-c","#,
                r#""data":"{\"presence\":{\"ids\":[],\"hash\":{},\"count\":0}}"}"#,
            ),
        ),
        (
            Event::OfApp(OfApp::Subscribers { channel: "shop:c", clients: 3 }),
            concat!(
                r#"{"event":"pusher_internal:subscription_count","channel":"c","#,
                r#""data":"{\"subscription_count\":3}"}"#,
            ),
        ),
        (Event::Crowd { channel: "shop:c", clients: 3, named: false }, ""),
        (
            Event::OfApp(OfApp::CacheMiss { channel: "shop:cache-c" }),
            r#"{"event":"pusher:cache_miss","channel":"cache-c"}"#,
        ),
        (
            Event::OfApp(OfApp::SignedIn { user_data: r#"{"id":"u"}"# }),
            concat!(
                r#"{"event":"pusher:signin_success","#,
                r#""data":"{\"user_data\":\"{\\\"id\\\":\\\"u\\\"}\"}"}"#,
            ),
        ),
        (
            Event::OfApp(OfApp::Watchlist { online: true, users: &["u"] }),
            concat!(
                r#"{"event":"pusher_internal:watchlist_events","#,
                r#""data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"u\"]}]}"}"#,
            ),
        ),
    ] {
        assert_eq!(told(&event), expected, "{event:?}");
    }
}

#[test]
fn errors_and_pings_have_the_form_that_clients_expect() {
    let id = RequestId("private-c".into());
    let error = |code, id| Event::Error { code, text: "no \"way\"", id };
    for (event, expected) in [
        (
            error(ErrorCode::Denied, Some(&id)),
            concat!(
                r#"{"event":"pusher:subscription_error","channel":"private-c","#,
                r#""data":{"type":"AuthError","error":"no \"way\"","status":401}}"#,
            ),
        ),
        (
            error(ErrorCode::Rate, None),
            r#"{"event":"pusher:error","data":{"code":4301,"message":"no \"way\""}}"#,
        ),
        (
            error(ErrorCode::Malformed, None),
            r#"{"event":"pusher:error","data":{"code":null,"message":"no \"way\""}}"#,
        ),
        (
            Event::Rejected { code: 9, text: "not you", is_passing: false, id: None },
            r#"{"event":"pusher:error","data":{"code":4301,"message":"not you"}}"#,
        ),
        (error(ErrorCode::TakenBack, Some(&id)), ""),
        (Event::Pong { id: None }, r#"{"event":"pusher:pong","data":{}}"#),
        (Event::Ping, r#"{"event":"pusher:ping","data":{}}"#),
        (Event::Left { channel: "shop:c", id: None }, ""),
        (Event::Gap { channel: "shop:c", from: 1, to: 2 }, ""),
    ] {
        assert_eq!(told(&event), expected, "{event:?}");
    }
}

#[test]
fn members_of_presence_channels_are_told_of_users_alone() {
    let member = Member {
        client: CLIENT,
        user: Some("u".into()),
        info: None,
        channel_info: Some("{\"a\":1}".into()),
    };
    let presence = |joined, channel| told(&Event::Presence { joined, channel, member: &member });
    assert_eq!(
        presence(true, "shop:presence-c"),
        concat!(
            r#"{"event":"pusher_internal:member_added","channel":"presence-c","#,
            r#""data":"{\"user_id\":\"u\",\"user_info\":{\"a\":1}}"}"#,
        )
    );
    assert_eq!(
        presence(false, "shop:presence-c"),
        concat!(
            r#"{"event":"pusher_internal:member_removed","channel":"presence-c","#,
            r#""data":"{\"user_id\":\"u\"}"}"#,
        )
    );
    assert_eq!(presence(true, "shop:private-c"), "");
}

#[test]
fn a_last_word_is_an_error_and_a_close_frame() {
    let last_word = Dialect::Pusher.close(CloseReason::Drain).unwrap();
    let mut out = BytesMut::new();
    Dialect::write_close(Dialect::Pusher.shape(false), &mut out, last_word);
    let (_, first) = server_frame(&out).unwrap();
    let error: Value = serde_json::from_slice(&out[first.clone()]).unwrap();
    assert_eq!((&error["event"], &error["data"]["code"]), (&"pusher:error".into(), &4200.into()));
    let close = &out[first.end..];
    let (opcode, payload) = server_frame(close).unwrap();
    assert_eq!((opcode, &close[payload][..2]), (Opcode::Close, &4200_u16.to_be_bytes()[..]));
}

fn publish(channel: &str, payload: Payload, (event, from): (Option<&str>, bool)) -> String {
    let from = from.then(|| From { client: CLIENT, user: Some("ann".into()) });
    let details = event.map(|event| Arc::new(Details::of_event(event, None)));
    let (channel, offset, time_ms, ingress_ns) = (channel.into(), 1, 2, 3);
    let one = Publication { channel, offset, time_ms, ingress_ns, from, details, payload };
    let (mut out, mut ends) = (BytesMut::new(), Vec::new());
    let form = Form::first(Dialect::Pusher.shape(true), false);
    Dialect::write_publications(form, &mut out, &mut ends, Publications::all(&[Arc::new(one)]));
    assert_eq!(ends, [out.len()], "never several messages in one frame");
    text_of(&out)
}

#[test]
fn publications_are_events_whose_data_is_a_text() {
    let json = |text: &str| Payload::Json(text.into());
    for (channel, payload, told_as, expected) in [
        (
            "shop:c",
            json(r#"{"a": "é"}"#),
            (Some("new \"order\""), false),
            r#"{"event":"new \"order\"","channel":"c","data":"{\"a\": \"é\"}"}"#,
        ),
        (
            "shop:c",
            Payload::Text("no json".into()),
            (Some("e"), false),
            r#"{"event":"e","channel":"c","data":"no json"}"#,
        ),
        ("shop:c", json("[1]"), (None, true), r#"{"event":"message","channel":"c","data":"[1]"}"#),
        (
            "shop:c",
            Payload::Binary(Bytes::from_static(b"\x01")),
            (None, true),
            r#"{"event":"message","channel":"c","data":"\"AQ==\""}"#,
        ),
        (
            "shop:private-c",
            json(r#"{"a":1}"#),
            (Some("client-x"), true),
            r#"{"event":"client-x","channel":"private-c","data":{"a":1}}"#,
        ),
        (
            "shop:presence-c",
            json(r#""t""#),
            (Some("client-x"), true),
            r#"{"event":"client-x","channel":"presence-c","data":"t","user_id":"ann"}"#,
        ),
        (
            "shop:presence-c",
            json("1"),
            (Some("client-by-the-backend"), false),
            r#"{"event":"client-by-the-backend","channel":"presence-c","data":"1"}"#,
        ),
        (
            "shop:presence-c",
            json("1"),
            (Some("e"), true),
            r#"{"event":"e","channel":"presence-c","data":"1"}"#,
        ),
    ] {
        assert_eq!(publish(channel, payload, told_as), expected);
    }
}
