//! Reads the messages of clients of Pusher's protocol.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::message::Payload;
use crate::wire::command::{Command, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;
use crate::wire::json::{is_too_deep, slice_of};

/// The beginning of the names of events that clients send to each other.
pub(crate) const CLIENT_EVENT: &str = "client-";

/// One message.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    auth: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channel_data: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Unsubscribe<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Deserialize)]
struct SignIn<'a> {
    #[serde(borrow)]
    auth: Cow<'a, str>,
    #[serde(borrow)]
    user_data: Cow<'a, str>,
}

/// Reads one message.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    match said {
        Said::Text(text) => read_text(text),
        Said::Binary(_) => Err(Mistake::new(ErrorCode::Binary, "this protocol speaks text", None)),
    }
}

fn malformed(text: &'static str) -> Mistake {
    Mistake::new(ErrorCode::Malformed, text, None)
}

fn read_text(text: &Utf8Bytes) -> Result<Command<'_>, Mistake> {
    if is_too_deep(text) {
        return Err(malformed("arrays and objects lie too deep in each other"));
    }
    let Envelope { event, channel, data } = serde_json::from_str(text)
        .map_err(|_| malformed("a message is a JSON object with event"))?;
    match &*event {
        "pusher:ping" => Ok(Command::Ping { id: None }),
        "pusher:subscribe" => {
            let wrong = "data of pusher:subscribe is an object with channel, and with auth and \
                         channel_data as texts";
            let Subscribe { channel, auth, channel_data } = object(data, wrong)?;
            Ok(Command::Subscribe { channel, auth, channel_data })
        }
        "pusher:unsubscribe" => {
            let wrong = "data of pusher:unsubscribe is an object with channel";
            let Unsubscribe { channel } = object(data, wrong)?;
            Ok(Command::Leave { channel, id: None })
        }
        "pusher:signin" => {
            let wrong = "data of pusher:signin is an object with auth and user_data as texts";
            let SignIn { auth, user_data } = object(data, wrong)?;
            Ok(Command::SignIn { auth, user_data })
        }
        name if name.starts_with(CLIENT_EVENT) => {
            let Some(channel) = channel else {
                return Err(malformed("an event to other clients has a channel"));
            };
            let data = data.map_or("null", RawValue::get);
            let payload = if data == "null" {
                Payload::Json("null".into())
            } else {
                Payload::Json(slice_of(text, data))
            };
            Ok(Command::Trigger { channel, event, payload })
        }
        // An answer to a ping, or a word of a later version.
        _ => Ok(Command::Nothing),
    }
}

fn object<'a, T: Deserialize<'a>>(
    data: Option<&'a RawValue>,
    wrong: &'static str,
) -> Result<T, Mistake> {
    data.and_then(|data| serde_json::from_str(data.get()).ok()).ok_or_else(|| malformed(wrong))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
