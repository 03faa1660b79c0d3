//! `channels` and `channels/NAME`: which channels of an app are in use, and what is known of one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stentor_shards::{
    App, ChannelFilter, KeptBody, Reading, SignedParameters, is_cache_channel, unix_ms,
};

use super::events::check_channel;
use super::members::clients_of;
use super::{Answer, Attributes, Fault, PRESENCE};
use crate::control::State;
use crate::control::api::{self, mark_truncated};
use crate::control::ask::ask_one;

/// The clients and users of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    clients: u64,
    users: u64,
}

/// Asks all shards once for the clients and users of channels, by the app's own names of these.
/// `true`: there are more than the shards have told.
async fn numbers(
    state: &State,
    app: &App,
    filter: &ChannelFilter,
) -> Result<(BTreeMap<String, Numbers>, bool), Fault> {
    let (listed, is_truncated) = api::channels_of_all(state, filter).await?;
    let mut told: BTreeMap<String, Numbers> = BTreeMap::new();
    for info in listed.iter().flatten() {
        let Some(name) = app.own_name(&info.channel) else { continue };
        let numbers = told.entry(name.to_owned()).or_default();
        numbers.clients += info.clients;
        numbers.users += info.users;
    }
    Ok((told, is_truncated))
}

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
    // The shards look for it, so the channels of other apps take no room in the list.
    let filter = ChannelFilter::Prefix(app.channel(prefix).into());
    let (found, is_truncated) = numbers(state, app, &filter).await?;
    let occupied = found.into_iter().filter(|(_, numbers)| numbers.clients > 0);
    let told: Map<String, Value> = occupied
        .map(|(name, numbers)| {
            let mut entry = Map::new();
            if asked.users {
                entry.insert("user_count".into(), numbers.users.into());
            }
            if asked.subscriptions {
                entry.insert("subscription_count".into(), numbers.clients.into());
            }
            (name, entry.into())
        })
        .collect();
    let mut told = json!({ "channels": told });
    mark_truncated(&mut told, is_truncated);
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
    let clients = clients_of(state, app, channel).await?;
    let mut told = json!({ "occupied": clients > 0 });
    if asked.subscriptions {
        told["subscription_count"] = clients.into();
    }
    if asked.users {
        let filter = ChannelFilter::Named([app.channel(channel)].into());
        let (found, _) = numbers(state, app, &filter).await?;
        told["user_count"] = found.get(channel).copied().unwrap_or_default().users.into();
    }
    if asked.cache && is_cache_channel(channel) {
        told["cache"] = cached(state, app, channel).await?;
    }
    Ok(told)
}

/// The attributes of the channels that an event was sent to.
pub(super) async fn attributes(
    state: &State,
    app: &App,
    channels: &[String],
    asked: Attributes,
) -> Result<Vec<Value>, Fault> {
    let mut users = BTreeMap::new();
    if asked.users {
        let presence = channels.iter().filter(|channel| channel.starts_with(PRESENCE));
        let names = presence.map(|channel| app.channel(channel)).collect();
        (users, _) = numbers(state, app, &ChannelFilter::Named(names)).await?;
    }
    let mut told = Vec::with_capacity(channels.len());
    for channel in channels {
        let mut entry = Value::Object(Map::new());
        if asked.users && channel.starts_with(PRESENCE) {
            let numbers = users.get(channel).copied().unwrap_or_default();
            entry["user_count"] = numbers.users.into();
        }
        if asked.subscriptions {
            entry["subscription_count"] = clients_of(state, app, channel).await?.into();
        }
        told.push(entry);
    }
    Ok(told)
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
