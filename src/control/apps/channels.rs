//! `channels` and `channels/NAME`: which channels of an app are in use, and what is known of one.

use serde_json::{Map, Value, json};
use stentor_shards::{App, KeptBody, Reading, SignedParameters, is_cache_channel, unix_ms};

use super::events::check_channel;
use super::members::Members;
use super::{Answer, Attributes, Fault};
use crate::control::State;
use crate::control::api::{self, mark_truncated};
use crate::control::ask::ask_one;

/// The most channels whose users are counted in one answer: each is asked for on every shard.
const COUNTED_MAX: usize = 5000;

/// Presence channels are those whose users are known.
pub(super) const PRESENCE: &str = "presence-";

/// `GET /apps/ID/channels`
pub(super) async fn list(state: &State, app: &App, parameters: &SignedParameters) -> Answer {
    let asked = Attributes::read(parameters.get("info"))?;
    let prefix = parameters.get("filter_by_prefix").unwrap_or_default();
    if asked.users && !prefix.starts_with(PRESENCE) {
        return Err(Fault::bad("user_count is known of presence channels: filter_by_prefix"));
    }
    if asked.cache {
        return Err(Fault::bad("cache is told of one channel at a time"));
    }
    let pattern = json!({ "pattern": format!("{}:*", app.namespace) }).to_string();
    let answer = api::call(state, "channels", pattern.as_bytes()).await?;
    let found: Value = serde_json::from_str(answer.get()).unwrap_or_default();
    let all = found["channels"].as_object().into_iter().flatten();
    let named = all.filter_map(|(channel, info)| Some((app.own_name(channel)?, info)));
    let wanted: Vec<_> = named.filter(|(name, _)| name.starts_with(prefix)).collect();
    if asked.users && wanted.len() > COUNTED_MAX {
        let why =
            format!("the users of more than {COUNTED_MAX} channels: a longer filter_by_prefix");
        return Err(Fault::bad(why));
    }
    let mut told = Map::new();
    for (name, info) in wanted {
        let mut entry = Map::new();
        if asked.users {
            let users = Members::of(state, app, name).await?.users();
            entry.insert("user_count".into(), users.into());
        }
        if asked.subscriptions {
            entry.insert("subscription_count".into(), info["num_clients"].clone());
        }
        told.insert(name.to_owned(), entry.into());
    }
    let mut told = json!({ "channels": told });
    mark_truncated(&mut told, found["truncated"] == true);
    Ok(told)
}

/// `GET /apps/ID/channels/NAME`
pub(super) async fn one(
    state: &State,
    app: &App,
    channel: &str,
    parameters: &SignedParameters,
) -> Answer {
    check_channel(app, channel)?;
    let asked = Attributes::read(parameters.get("info"))?;
    if asked.users && !channel.starts_with(PRESENCE) {
        return Err(Fault::bad("user_count is known of presence channels alone"));
    }
    let members = Members::of(state, app, channel).await?;
    let mut told = json!({ "occupied": members.clients() > 0 });
    tell(&mut told, &members, channel, asked);
    if asked.cache && is_cache_channel(channel) {
        told["cache"] = cached(state, app, channel).await?;
    }
    Ok(told)
}

/// The attributes of a channel that an event was sent to.
pub(super) async fn attributes(
    state: &State,
    app: &App,
    channel: &str,
    asked: Attributes,
) -> Answer {
    let members = Members::of(state, app, channel).await?;
    let mut told = Value::Object(Map::new());
    tell(&mut told, &members, channel, asked);
    Ok(told)
}

fn tell(told: &mut Value, members: &Members, channel: &str, asked: Attributes) {
    if asked.users && channel.starts_with(PRESENCE) {
        told["user_count"] = members.users().into();
    }
    if asked.subscriptions {
        told["subscription_count"] = members.clients().into();
    }
    mark_truncated(told, members.is_truncated());
}

/// The last event of a cache channel, with the seconds for which it will be kept; null: none.
async fn cached(state: &State, app: &App, channel: &str) -> Answer {
    let name = app.channel(channel);
    let reading = Reading { since: None, limit: 1, newest_first: true, bytes: usize::MAX };
    let page = ask_one(|| state.shards.history(&name, &reading)).await?;
    let Ok(page) = page else { return Ok(Value::Null) };
    let Some(kept) = page.publications().next() else { return Ok(Value::Null) };
    let rules = state.settings.rules.borrow().clone();
    let ttl = rules.of(&name).map(|rules| rules.history.ttl).unwrap_or_default();
    let age_s = unix_ms().saturating_sub(kept.time_ms()) / 1000;
    let data = match kept.body() {
        KeptBody::Text(text) | KeptBody::Json(text) => text.to_owned(),
        KeptBody::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    Ok(json!({ "data": data, "ttl": ttl.as_secs().saturating_sub(age_s) }))
}
