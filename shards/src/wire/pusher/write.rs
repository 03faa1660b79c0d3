//! Writes events and publications in Pusher's protocol: one JSON object a frame, whose `data` is
//! JSON in a text, as its clients expect.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::Deserialize;
use serde_json::json;

use super::codes;
use super::names::{Kind, own_name};
use super::read::CLIENT_EVENT;
use super::{ACTIVITY_TIMEOUT_S, presence};
use crate::model::message::{Payload, Publication};
use crate::model::presence::Member;
use crate::wire::command::ErrorCode;
use crate::wire::event::{Event, OfApp, Welcome};
use crate::wire::frame::{Opcode, put_frame};
use crate::wire::json::{framed, put, put_display, put_str};

/// The name under which publications of other dialects are told.
const UNNAMED: &str = "message";

/// The tags of a publication, as far as they mean something here.
#[derive(Deserialize)]
struct Tags<'a> {
    #[serde(borrow, default)]
    event: Option<Name<'a>>,
}

/// A text that is copied only if it holds escapes: a bare `Cow` in an `Option` always is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the name of the event that a publication with these tags is.
pub(crate) fn event_name(tags: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Tags<'_>>(tags).ok()?.event.map(|name| name.0)
}

/// Appends an event as one frame, if this protocol has a message for it.
pub(crate) fn write(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Welcome(ref welcome) => put_established(out, welcome),
        Event::Refused { refusal, .. } => {
            let (code, text) = codes::refusal(refusal);
            put_error(out, Some(code), text);
        }
        Event::Closing { code, reason } => put_error(out, Some(code), reason),
        Event::Joined { seated, .. } | Event::Added(seated) => {
            put_of_channel(out, "pusher_internal:subscription_succeeded", seated.channel, "{}");
        }
        Event::OfApp(OfApp::Present { channel, members }) => {
            let data = presence::roster(members);
            put_of_channel(out, "pusher_internal:subscription_succeeded", channel, &data);
        }
        Event::Presence { joined, channel, member }
            if Kind::of(own_name(channel)) == Kind::Presence =>
        {
            put_presence(out, channel, (member, joined));
        }
        Event::OfApp(OfApp::Subscribers { channel, clients }) => {
            let data = json!({ "subscription_count": clients }).to_string();
            put_of_channel(out, "pusher_internal:subscription_count", channel, &data);
        }
        Event::OfApp(OfApp::CacheMiss { channel }) => framed(out, |out| {
            put(out, "{\"event\":\"pusher:cache_miss\",\"channel\":");
            put_str(out, own_name(channel));
            put(out, "}");
        }),
        Event::OfApp(OfApp::SignedIn { user_data }) => {
            let data = json!({ "user_data": user_data }).to_string();
            put_plain(out, "pusher:signin_success", &data);
        }
        Event::OfApp(OfApp::Watchlist { online, users }) => {
            let name = if online { "online" } else { "offline" };
            let data = json!({ "events": [{ "name": name, "user_ids": users }] }).to_string();
            put_plain(out, "pusher_internal:watchlist_events", &data);
        }
        Event::Rejected { text, .. } => put_error(out, Some(codes::EVENT_REFUSED), text),
        Event::OfApp(OfApp::Limited { code, text }) => put_error(out, Some(code), text),
        Event::Removed { channel } | Event::Lapsed { channel } => {
            let text = "the server has ended this subscription";
            put_subscription_error(out, own_name(channel), ErrorCode::Denied, text);
        }
        // The id of a request is the name of its channel.
        Event::Error { code, text, id: Some(id) } if code != ErrorCode::TakenBack => {
            put_subscription_error(out, &id.0, code, text);
        }
        Event::Error { code, text, id: None } => put_error(out, number_of(code), text),
        Event::Pong { .. } => framed(out, |out| put(out, r#"{"event":"pusher:pong","data":{}}"#)),
        Event::Ping => framed(out, |out| put(out, r#"{"event":"pusher:ping","data":{}}"#)),
        Event::Heartbeat => put_frame(out, Opcode::Pong, b""),
        // Clients ask for none of these, and miss none of them. Nobody waits for the outcome of a
        // join of a channel that was left before it was done.
        Event::Error { .. }
        | Event::Left { .. }
        | Event::Gap { .. }
        | Event::Presence { .. }
        | Event::Crowd { .. }
        | Event::Here { .. }
        | Event::Members { .. }
        | Event::Numbers { .. }
        | Event::History { .. }
        | Event::Published { .. }
        | Event::Called { .. }
        | Event::Reached { .. }
        | Event::Expiring { .. }
        | Event::Refreshed { .. } => {}
    }
}

/// The number of an error that concerns no subscription; most of these have none.
fn number_of(code: ErrorCode) -> Option<u16> {
    let of_event = matches!(
        code,
        ErrorCode::Rate
            | ErrorCode::TooLarge
            | ErrorCode::Denied
            | ErrorCode::NotJoined
            | ErrorCode::NotAvailable
    );
    of_event.then_some(codes::EVENT_REFUSED)
}

fn put_established(out: &mut BytesMut, welcome: &Welcome<'_>) {
    let data = json!({
        "socket_id": welcome.socket.to_string(),
        "activity_timeout": ACTIVITY_TIMEOUT_S,
    });
    put_plain(out, "pusher:connection_established", &data.to_string());
}

/// Members of other dialects may have no user: here they are none.
fn put_presence(out: &mut BytesMut, channel: &str, (member, joined): (&Member, bool)) {
    let Some(user) = member.user() else { return };
    let (name, data) = if joined {
        ("pusher_internal:member_added", presence::added(user, member.info_here()))
    } else {
        ("pusher_internal:member_removed", presence::removed(user))
    };
    put_of_channel(out, name, channel, &data);
}

fn put_error(out: &mut BytesMut, code: Option<u16>, text: &str) {
    framed(out, |out| {
        put(out, "{\"event\":\"pusher:error\",\"data\":{\"code\":");
        match code {
            Some(code) => put_display(out, code),
            None => put(out, "null"),
        }
        put(out, ",\"message\":");
        put_str(out, text);
        put(out, "}}");
    });
}

fn put_subscription_error(out: &mut BytesMut, channel: &str, code: ErrorCode, text: &str) {
    let (kind, status) = codes::subscription(code);
    framed(out, |out| {
        put(out, "{\"event\":\"pusher:subscription_error\",\"channel\":");
        put_str(out, channel);
        put(out, ",\"data\":{\"type\":\"");
        put(out, kind);
        put(out, "\",\"error\":");
        put_str(out, text);
        put(out, ",\"status\":");
        put_display(out, status);
        put(out, "}}");
    });
}

/// Writes a message about no channel, whose data is JSON in a text.
fn put_plain(out: &mut BytesMut, event: &str, data: &str) {
    framed(out, |out| {
        put(out, "{\"event\":\"");
        put(out, event);
        put(out, "\",\"data\":");
        put_str(out, data);
        put(out, "}");
    });
}

/// Writes a message about a channel, whose data is JSON in a text.
fn put_of_channel(out: &mut BytesMut, event: &str, channel: &str, data: &str) {
    framed(out, |out| {
        put(out, "{\"event\":\"");
        put(out, event);
        put(out, "\",\"channel\":");
        put_str(out, own_name(channel));
        put(out, ",\"data\":");
        put_str(out, data);
        put(out, "}");
    });
}

/// Appends a publication as one frame. The data of an event that a client has sent is its own JSON;
/// all other data is a text.
pub(crate) fn publication(out: &mut BytesMut, publication: &Publication) {
    let name = publication.tags().and_then(event_name).unwrap_or(Cow::Borrowed(UNNAMED));
    let channel = own_name(&publication.channel);
    let sender = publication.from.as_ref().filter(|_| name.starts_with(CLIENT_EVENT));
    framed(out, |out| {
        put(out, "{\"event\":");
        put_str(out, &name);
        put(out, ",\"channel\":");
        put_str(out, channel);
        put(out, ",\"data\":");
        match &publication.payload {
            Payload::Json(json) if sender.is_some() => put(out, json.as_bytes()),
            Payload::Text(text) | Payload::Json(text) => put_str(out, text),
            Payload::Binary(bytes) => {
                put_str(out, &format!("\"{}\"", data_encoding::BASE64.encode(bytes)));
            }
        }
        let user = sender.and_then(|from| from.user.as_deref());
        if let Some(user) = user.filter(|_| Kind::of(channel) == Kind::Presence) {
            put(out, ",\"user_id\":");
            put_str(out, user);
        }
        put(out, "}");
    });
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
