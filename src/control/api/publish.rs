//! `publish`, `broadcast` and `direct`: messages through the API, and their parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;
use stentor_shards::{Body, Details, NoChannel, Position, Version};

use tokio::sync::RwLockReadGuard;

use super::answer::{Answer, Fault, read, written};
use super::once::{KEY_BYTES_MAX, KnownKey, Published};
use crate::control::State;
use crate::control::ask::{Unanswered, ask_one, ask_until_answered};

/// The most channels of one broadcast.
pub(super) const CHANNELS_MAX: usize = 1000;

/// The most bytes of all tags together.
pub(super) const TAGS_BYTES_MAX: usize = 4096;

/// The parameters of `publish` and `broadcast`. They differ in the one that names the channels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    channel: Option<String>,
    channels: Option<Vec<String>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    idempotency_key: Option<String>,
    skip_history: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
    /// It changes nothing: the rules of the channel decide.
    #[serde(rename = "delta")]
    _delta: Option<bool>,
    version: Option<u64>,
    version_epoch: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Direct<'a> {
    user: String,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
}

/// Tells `null`, which can be published, from nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Said<'_> {
    /// Refuses the parameters that are known and not to be had. One that says nothing is let pass:
    /// libraries write their defaults.
    fn refuse_unavailable(&self) -> Result<(), Fault> {
        if self.details().is_none_or(|details| details.version.is_none())
            && self.version_epoch.as_ref().is_some_and(|epoch| !epoch.is_empty())
        {
            return Err(Fault::bad("version_epoch belongs to a version"));
        }
        // A channel keeps the latest one for as long as it is known.
        if self.version_epoch.as_ref().is_some_and(|epoch| epoch.len() > KEY_BYTES_MAX) {
            return Err(Fault::bad(format!("version_epoch is longer than {KEY_BYTES_MAX} bytes")));
        }
        let tags = self.tags.iter().flatten();
        let bytes: usize = tags.map(|(name, value)| name.len() + value.len()).sum();
        if bytes > TAGS_BYTES_MAX {
            return Err(Fault::bad(format!("tags are longer than {TAGS_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// The details of the publication, if it has any.
    fn details(&self) -> Option<Arc<Details>> {
        let tags = self.tags.as_ref().filter(|tags| !tags.is_empty());
        let version = self.version.filter(|version| *version > 0).map(|number| Version {
            number,
            epoch: self.version_epoch.as_deref().unwrap_or_default().into(),
        });
        let details = Details {
            skip_history: self.skip_history == Some(true),
            tags: tags.map(|tags| json!(tags).to_string().into()),
            version,
            ..Details::default()
        };
        (details != Details::default()).then(|| Arc::new(details))
    }

    /// The body and the key, if nothing stands against the rest.
    fn accept(&self) -> Result<(Body, Option<&str>), Fault> {
        self.refuse_unavailable()?;
        let body = body(self.data, self.b64data.as_deref())?;
        let key = self.idempotency_key.as_deref().filter(|key| !key.is_empty());
        if key.is_some_and(|key| key.len() > KEY_BYTES_MAX) {
            let why = format!("idempotency_key is longer than {KEY_BYTES_MAX} bytes");
            return Err(Fault::bad(why));
        }
        Ok((body, key))
    }
}

/// Returns the body to publish: one JSON value as it was written, or the bytes that base64 stands
/// for.
fn body(data: Option<&RawValue>, base64: Option<&str>) -> Result<Body, Fault> {
    let Some(base64) = base64.filter(|text| !text.is_empty()) else {
        let data = data.ok_or_else(|| Fault::bad("data or b64data is needed"))?;
        return Ok(Body::Json(data.get().to_owned()));
    };
    // Libraries that insist on data send an empty one beside b64data.
    if data.is_some_and(|data| !matches!(data.get(), "null" | "\"\"")) {
        return Err(Fault::bad("data and b64data exclude each other"));
    }
    let bytes = STANDARD.decode(base64).or_else(|_| STANDARD_NO_PAD.decode(base64));
    let bytes = bytes.map_err(|why| Fault::bad(format!("b64data is not base64: {why}")))?;
    Ok(Body::Binary(bytes.into()))
}

/// Publishes to one channel, under a key once.
async fn publish_to(
    state: &State,
    channel: &str,
    body: &Body,
    details: Option<&Arc<Details>>,
    key: Option<&str>,
) -> Answer {
    let published: Published<Position> = match key {
        None => placed(ask_one(|| state.shards.publish(channel, body.clone(), details)).await),
        Some(key) => {
            let (shards, channel, body) = (state.shards.clone(), channel.to_owned(), body.clone());
            let (key, details) = ((channel.clone(), key.to_owned()), details.cloned());
            let (peers, known) = (state.settings.peers.clone(), key.clone());
            let order = async move {
                let order = || shards.publish(&channel, body.clone(), details.as_ref());
                let published = placed(ask_until_answered(order).await);
                if let Ok(place) = published {
                    peers.tell_key(&KnownKey::new(known.0, known.1, place)).await;
                }
                published
            };
            state.settings.once.publish(key, order).await
        }
    };
    let position = published.map_err(|why| Fault::about("channel", why))?;
    Ok(written(&json!({ "offset": position.offset, "epoch": position.epoch.to_string() })))
}

fn placed(answer: Result<Result<Position, NoChannel>, Unanswered>) -> Published<Position> {
    answer.and_then(|placed| placed.map_err(Unanswered::from))
}

/// In a take-over one process knows the keys of both: its answer is the error, if something is to
/// be published under a key and another process is that one. Otherwise no other process becomes it
/// while the guard lives.
async fn keys_in_force<'a>(
    state: &'a State,
    key: Option<&str>,
    (method, params): (&str, &[u8]),
) -> Result<Option<RwLockReadGuard<'a, ()>>, Answer> {
    if key.is_none() {
        return Ok(None);
    }
    let peers = &state.settings.peers;
    let calm = peers.calm().await;
    let Some(asked) = peers.ask_leader(method, params).await else { return Ok(Some(calm)) };
    drop(calm);
    match asked.answer().await {
        Some(answer) => Err(answer),
        None => Ok(Some(peers.calm().await)),
    }
}

pub(crate) async fn publish(state: &State, params: &[u8]) -> Answer {
    let said: Said<'_> = read(params)?;
    let (body, key) = said.accept()?;
    let _calm = match keys_in_force(state, key, ("publish", params)).await {
        Ok(calm) => calm,
        Err(answer) => return answer,
    };
    match (&said.channel, &said.channels) {
        (Some(channel), None) => {
            publish_to(state, channel, &body, said.details().as_ref(), key).await
        }
        _ => Err(Fault::bad("publish takes one channel, in the parameter channel")),
    }
}

pub(crate) async fn broadcast(state: &State, params: &[u8]) -> Answer {
    let said: Said<'_> = read(params)?;
    let (body, key) = said.accept()?;
    let (None, Some(channels)) = (&said.channel, &said.channels) else {
        return Err(Fault::bad("broadcast takes a list of channels, in the parameter channels"));
    };
    if channels.is_empty() || channels.len() > CHANNELS_MAX {
        return Err(Fault::bad(format!("1 to {CHANNELS_MAX} channels are possible")));
    }
    let _calm = match keys_in_force(state, key, ("broadcast", params)).await {
        Ok(calm) => calm,
        Err(answer) => return answer,
    };
    let details = said.details();
    let mut responses = Vec::with_capacity(channels.len());
    let mut busy = false;
    for channel in channels {
        // Once is patience enough: each channel's wait would add to the last one's.
        let published = if busy {
            Err(Fault::Busy)
        } else {
            publish_to(state, channel, &body, details.as_ref(), key).await
        };
        busy |= matches!(published, Err(Fault::Busy));
        responses.push(match published {
            Ok(position) => json!({ "result": position }),
            Err(fault) => json!({ "error": fault.body() }),
        });
    }
    Ok(written(&json!({ "responses": responses })))
}

pub(crate) async fn direct(state: &State, params: &[u8]) -> Answer {
    let asked: Direct<'_> = read(params)?;
    let body = body(asked.data, asked.b64data.as_deref())?;
    let sent = ask_one(|| state.shards.direct(&asked.user, body.clone())).await;
    match sent.map_err(|why| Fault::about("user", why))? {
        0 => Err(Fault::bad("unknown user")),
        clients => Ok(written(&json!({ "clients": clients }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(params: &str) -> Result<Body, Fault> {
        let asked: Direct<'_> = read(params.as_bytes())?;
        body(asked.data, asked.b64data.as_deref())
    }

    #[test]
    fn data_is_json_or_base64_and_not_both() {
        for (params, json) in [
            (r#"{"user":"u","data":{"a" : 1}}"#, r#"{"a" : 1}"#),
            (r#"{"user":"u","data":null}"#, "null"),
            (r#"{"user":"u","data":"","b64data":""}"#, "\"\""),
        ] {
            let body = bodies(params).unwrap();
            assert!(matches!(&body, Body::Json(text) if text == json), "{params}: {body:?}");
        }
        for (params, bytes) in [
            (r#"{"user":"u","b64data":"AP/+"}"#, &[0, 255, 254][..]),
            (r#"{"user":"u","b64data":"AA=="}"#, &[0]),
            (r#"{"user":"u","b64data":"AA"}"#, &[0]),
            (r#"{"user":"u","b64data":"AA==","data":""}"#, &[0]),
        ] {
            let body = bodies(params).unwrap();
            assert!(matches!(&body, Body::Binary(found) if found == bytes), "{params}: {body:?}");
        }
        for params in [
            r#"{"user":"u"}"#,
            r#"{"user":"u","b64data":""}"#,
            r#"{"user":"u","b64data":"A"}"#,
            r#"{"user":"u","b64data":"A-_A"}"#,
            r#"{"user":"u","b64data":"AA==","data":1}"#,
            r#"{"user":"u","b64data":7}"#,
        ] {
            assert!(matches!(bodies(params), Err(Fault::Bad(_))), "{params}");
        }
    }

    #[test]
    fn parameters_are_honoured_or_refused() {
        let refused = |more: &str| {
            let params = format!(r#"{{"channel":"c","data":1,{more}}}"#);
            let said = read::<Said<'_>>(params.as_bytes());
            match said.and_then(|said| said.accept().map(|(_, key)| key.map(str::to_owned))) {
                Ok(_) => String::new(),
                Err(fault) => fault.body()["message"].to_string(),
            }
        };
        for (more, name) in [
            (r#""delta":"yes""#, "yes"),
            (r#""tags":{"a":1}"#, "tags"),
            (r#""version_epoch":"x""#, "version_epoch"),
            (r#""unheard_of":1"#, "unheard_of"),
            (r#""skip_history":"yes""#, "yes"),
        ] {
            assert!(refused(more).contains(name), "{more}: {}", refused(more));
        }
        for none in [
            r#""tags":{},"delta":false,"version":0,"version_epoch":"""#,
            r#""tags":null,"delta":true,"version":null,"skip_history":true"#,
        ] {
            assert_eq!(refused(none), "", "{none}");
        }
        let with_key =
            |bytes: usize| refused(&format!(r#""idempotency_key":"{}""#, "k".repeat(bytes)));
        assert_eq!((with_key(0), with_key(KEY_BYTES_MAX)), (String::new(), String::new()));
        assert!(with_key(KEY_BYTES_MAX + 1).contains("idempotency_key"));
        let with_epoch = |bytes: usize| {
            refused(&format!(r#""version":1,"version_epoch":"{}""#, "e".repeat(bytes)))
        };
        assert_eq!(with_epoch(KEY_BYTES_MAX), "");
        assert!(with_epoch(KEY_BYTES_MAX + 1).contains("version_epoch"));
    }
}
