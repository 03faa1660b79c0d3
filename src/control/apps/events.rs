//! `events` and `batch_events`: a backend sends events to the subscribers of its channels.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use stentor_shards::{App, Body, Details, SocketId, is_too_deep};

use super::{Answer, Attributes, Fault, channels, done};
use crate::control::State;
use crate::control::ask::{Unanswered, ask_one};

/// The beginnings of the names of the protocol's own messages.
const OF_PROTOCOL: [&str; 2] = ["pusher:", "pusher_internal:"];

/// One event, for one channel or for several.
#[derive(Deserialize)]
struct Event {
    name: String,
    data: String,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    batch: Vec<Event>,
}

/// An event that nothing stands against.
struct Accepted {
    channels: Vec<String>,
    details: Arc<Details>,
    body: Body,
    asked: Attributes,
}

impl Event {
    fn accept(self, app: &App) -> Result<Accepted, Fault> {
        let limits = &app.limits;
        if self.name.is_empty() || self.name.len() > limits.event_name_bytes {
            let why = format!("name has 1 to {} bytes", limits.event_name_bytes);
            return Err(Fault::bad(why));
        }
        if OF_PROTOCOL.iter().any(|prefix| self.name.starts_with(prefix)) {
            // Clients would take it for a word of the server.
            return Err(Fault::bad("names that begin with pusher: are the protocol's own"));
        }
        if self.data.len() > limits.event_bytes {
            let why = format!("data is longer than {} bytes", limits.event_bytes);
            return Err(Fault::TooLarge(why));
        }
        let channels = match (self.channel, self.channels) {
            (Some(channel), None) => vec![channel],
            (None, Some(channels)) if !channels.is_empty() => channels,
            (None, _) => return Err(Fault::bad("channel or channels is needed")),
            (Some(_), Some(_)) => {
                return Err(Fault::bad("channel and channels exclude each other"));
            }
        };
        if channels.len() > limits.channels_per_event {
            let why = format!("an event is for at most {} channels", limits.channels_per_event);
            return Err(Fault::bad(why));
        }
        channels.iter().try_for_each(|channel| check_channel(app, channel))?;
        // A channel that is named twice hears the event once.
        let mut seen = HashSet::new();
        let channels: Vec<String> =
            channels.into_iter().filter(|channel| seen.insert(channel.clone())).collect();
        if channels.len() > 1 && channels.iter().any(|name| name.starts_with("private-encrypted-"))
        {
            // Each of them has a key of its own.
            return Err(Fault::bad("an event for an encrypted channel is for no other one"));
        }
        let except = self.socket_id.as_deref().filter(|id| !id.is_empty()).map(socket_id);
        let details = Arc::new(Details::of_event(&self.name, except.transpose()?.flatten()));
        let asked = Attributes::read(self.info.as_deref())?;
        Ok(Accepted { channels, details, body: body(self.data), asked })
    }
}

/// The body as the other protocols tell it: a JSON value if the data is one, else a text.
fn body(data: String) -> Body {
    // Deeper values would stop the parsers of clients.
    let is_json = !is_too_deep(&data) && serde_json::from_str::<IgnoredAny>(&data).is_ok();
    if is_json { Body::Json(data) } else { Body::Text(data) }
}

/// Reads a socket id. One of another server excludes nobody here.
fn socket_id(text: &str) -> Result<Option<SocketId>, Fault> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((first, second)) if is_number(first) && is_number(second) => Ok(text.parse().ok()),
        _ => Err(Fault::bad("socket_id is not two numbers with a dot between them")),
    }
}

/// Refuses what is no name of a channel of an app.
pub(super) fn check_channel(app: &App, name: &str) -> Result<(), Fault> {
    let limit = app.limits.channel_name_bytes;
    if app.is_channel(name) {
        Ok(())
    } else {
        Err(Fault::bad(format!(
            "the name of a channel is 1 to {limit} of the characters a-z A-Z 0-9 _ - = @ , . ; :"
        )))
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|why| Fault::bad(format!("the body: {why}")))
}

/// `POST /apps/ID/events`
pub(super) async fn one(state: &State, app: &App, body: &[u8]) -> Answer {
    let accepted = read::<Event>(body)?.accept(app)?;
    publish(state, app, &accepted).await?;
    if accepted.asked == Attributes::default() {
        return Ok(done());
    }
    let told = channels::attributes(state, app, &accepted.channels, accepted.asked).await?;
    let told: Map<String, Value> = accepted.channels.into_iter().zip(told).collect();
    Ok(json!({ "channels": told }))
}

/// `POST /apps/ID/batch_events`
pub(super) async fn batch(state: &State, app: &App, body: &[u8]) -> Answer {
    let Batch { batch } = read(body)?;
    let most = app.limits.events_per_batch;
    if batch.len() > most {
        return Err(Fault::bad(format!("a batch holds at most {most} events")));
    }
    // All are looked at before any is sent.
    let accepted: Result<Vec<_>, _> = batch.into_iter().map(|event| event.accept(app)).collect();
    let accepted = accepted?;
    let mut told = Vec::with_capacity(accepted.len());
    for event in &accepted {
        publish(state, app, event).await?;
        let mut entry = None;
        if event.asked != Attributes::default() {
            let first = &event.channels[..1];
            entry = channels::attributes(state, app, first, event.asked).await?.pop();
        }
        told.push(entry.unwrap_or_else(done));
    }
    let nothing_asked = accepted.iter().all(|event| event.asked == Attributes::default());
    Ok(if nothing_asked { done() } else { json!({ "batch": told }) })
}

async fn publish(state: &State, app: &App, event: &Accepted) -> Result<(), Fault> {
    for channel in &event.channels {
        let name = app.channel(channel);
        let order = || state.shards.publish(&name, event.body.clone(), Some(&event.details));
        ask_one(order).await?.map_err(Unanswered::from)?;
        app.tally.count_event();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(body: &str) -> Result<Accepted, Fault> {
        read::<Event>(body.as_bytes())?.accept(&App::new("1", "k", "s"))
    }

    fn event(change: impl FnOnce(&mut Value)) -> String {
        let mut event = json!({ "name": "n", "channel": "c", "data": "{}" });
        change(&mut event);
        event.to_string()
    }

    #[test]
    fn events_are_checked() {
        let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
        for (body, part) in [
            ("{".to_owned(), "the body: EOF"),
            ("{}".into(), "missing field `name`"),
            (event(|e| e["name"] = "".into()), "name has 1 to 200 bytes"),
            (event(|e| e["name"] = "n".repeat(201).into()), "name has 1 to 200 bytes"),
            (event(|e| e["name"] = "pusher:error".into()), "are the protocol's own"),
            (event(|e| e["name"] = "pusher_internal:member_added".into()), "protocol's own"),
            (event(|e| e["data"] = json!({})), "invalid type: map, expected a string"),
            (event(|e| drop(e.as_object_mut().unwrap().remove("channel"))), "is needed"),
            (event(|e| e["channels"] = json!(["d"])), "exclude each other"),
            (event(|e| e["channel"] = "a b".into()), "the name of a channel is"),
            (event(|e| e["channel"] = "c".repeat(165).into()), "the name of a channel is"),
            (event(|e| e["socket_id"] = "12".into()), "socket_id is not two numbers"),
            (event(|e| e["socket_id"] = "1.2.3".into()), "socket_id is not two numbers"),
            (event(|e| e["info"] = "users".into()), "info is a list of"),
            (json!({ "name": "n", "data": "", "channels": [] }).to_string(), "is needed"),
            (json!({ "name": "n", "data": "", "channels": many }).to_string(), "at most 100"),
            (
                json!({ "name": "n", "data": "", "channels": ["a", "private-encrypted-b"] })
                    .to_string(),
                "for no other one",
            ),
        ] {
            let Err(Fault::Bad(why)) = accept(&body) else { panic!("{body} is taken") };
            assert!(why.contains(part), "{body}: {why}");
        }
        let long = event(|e| e["data"] = "x".repeat((10 << 10) + 1).into());
        assert!(matches!(accept(&long), Err(Fault::TooLarge(_))));
        assert!(accept(&event(|e| e["data"] = "x".repeat(10 << 10).into())).is_ok());
        let unknown = event(|e| e["tags"] = json!({ "a": 1 }));
        assert!(accept(&unknown).is_ok(), "libraries may say more");
    }

    #[test]
    fn data_that_is_json_is_a_value_for_other_protocols() {
        assert!(matches!(body("{\"a\": 1}".into()), Body::Json(text) if text == "{\"a\": 1}"));
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(matches!(body(deep(128)), Body::Json(_)));
        for text in ["", "hello", "{", "1 2", &deep(129)] {
            assert!(matches!(body(text.into()), Body::Text(same) if same == text));
        }
    }

    #[test]
    fn a_channel_that_is_named_twice_hears_an_event_once() {
        let text = json!({ "name": "n", "data": "", "channels": ["b", "a", "b"] }).to_string();
        assert_eq!(accept(&text).unwrap().channels, ["b", "a"]);
    }

    #[test]
    fn socket_ids_of_other_servers_exclude_nobody() {
        let huge = format!("{}.1", "9".repeat(40));
        assert_eq!(socket_id(&huge), Ok(None));
        assert!(socket_id("1.2").is_ok_and(|id| id.is_some()));
        for wrong in [".", "1.", ".1", "a.1", "1.-1", "1"] {
            assert!(socket_id(wrong).is_err(), "{wrong}");
        }
    }
}
