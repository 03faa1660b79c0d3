//! The API in Centrifugo's shapes, so that its server libraries work here as they are. `API.md`
//! beside this file lists methods, parameters and errors.

pub(super) mod answer;
mod batch;
mod everywhere;
mod history;
mod identity;
mod members;
mod once;
mod pattern;
mod presence;
mod publish;

use std::collections::HashSet;

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State as Has};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stentor_shards::{ChannelFilter, ChannelInfo};

use self::answer::{Answer, Fault, Mode, read, written};
pub(super) use self::once::Counts as OnceCounts;
pub(crate) use self::once::Once;
use super::State;
use super::ask::ask;

pub(super) use self::batch::old_form;

/// The longest pattern; each channel's name is held against it.
const PATTERN_BYTES_MAX: usize = 1024;

/// The most channels that each shard lists.
const LIST_MAX: usize = 100_000;

/// The methods that are there.
pub(super) const METHODS: [&str; 16] = [
    "publish",
    "broadcast",
    "direct",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "revoke",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "reload",
    "batch",
];

/// Methods of Centrifugo's API, and of its PRO variant, that are not there.
const NOT_AVAILABLE: [&str; 20] = [
    "rpc",
    "connections",
    "update_user_status",
    "get_user_status",
    "delete_user_status",
    "block_user",
    "unblock_user",
    "revoke_token",
    "invalidate_user_tokens",
    "device_register",
    "device_update",
    "device_remove",
    "device_list",
    "device_topic_list",
    "device_topic_update",
    "user_topic_list",
    "user_topic_update",
    "send_push_notification",
    "update_push_status",
    "cancel_push",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    #[serde(default)]
    pattern: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /api/METHOD`, and `GET` of the methods that only read.
pub(super) async fn method(
    Has(state): Has<State>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let mode = match Mode::of(request.headers()) {
        Ok(mode) => mode,
        Err(fault) => return fault.into_response(),
    };
    let reads = matches!(&*method, "info" | "channels");
    let known = METHODS.contains(&&*method) || NOT_AVAILABLE.contains(&&*method);
    let is_read = reads && matches!(*request.method(), Method::GET | Method::HEAD);
    if known && request.method() != Method::POST && !is_read {
        let allowed = if reads { "GET, POST" } else { "POST" };
        return mode.respond(Err(Fault::Verb(allowed)));
    }
    if known && request.uri().query().is_some_and(|query| !query.is_empty()) {
        let why = "parameters stand in the body, not in the address";
        return mode.respond(Err(Fault::bad(why)));
    }
    match Bytes::from_request(request, &state).await {
        Err(rejection) => mode.respond(Err(rejection.into())),
        Ok(body) if method == "batch" => match batch::batch(&state, &body).await {
            Ok(replies) => axum::Json(replies).into_response(),
            Err(fault) => mode.respond(Err(fault)),
        },
        Ok(body) => mode.respond(call(&state, &method, &body).await),
    }
}

/// One command, here and in other processes of a take-over.
pub(super) async fn call(state: &State, method: &str, params: &[u8]) -> Answer {
    if method == everywhere::USERS {
        return Err(Fault::Unknown(method.to_owned()));
    }
    everywhere::call(state, method, params, None).await
}

/// The same for another process, which does not need to be told of it.
pub(super) async fn call_of_peer(
    state: &State,
    method: &str,
    params: &RawValue,
    from: u64,
) -> Answer {
    everywhere::call(state, method, params.get().as_bytes(), Some(from)).await
}

/// One command in this process.
async fn call_here(state: &State, method: &str, params: &[u8]) -> Answer {
    match method {
        "publish" => publish::publish(state, params).await,
        "broadcast" => publish::broadcast(state, params).await,
        "direct" => publish::direct(state, params).await,
        "subscribe" => members::subscribe(state, params).await,
        "unsubscribe" => members::unsubscribe(state, params).await,
        "disconnect" => identity::disconnect(state, params).await,
        "refresh" => identity::refresh(state, params).await,
        "revoke" => identity::revoke(state, params).await,
        "info" => info(state, params).await,
        "channels" => channels(state, params).await,
        "presence" => presence::presence(state, params).await,
        "presence_stats" => presence::presence_stats(state, params).await,
        everywhere::USERS => presence::presence_users(state, params).await,
        "history" => history::history(state, params).await,
        "history_remove" => history::history_remove(state, params).await,
        "reload" => reload(state, params).await,
        _ if NOT_AVAILABLE.contains(&method) => Err(Fault::NotAvailable(method.to_owned())),
        _ => Err(Fault::Unknown(method.chars().take(64).collect())),
    }
}

/// Reads the rules of channels again.
async fn reload(state: &State, params: &[u8]) -> Answer {
    let Nothing {} = read(params)?;
    let outcome = state.reloads.outcome().await.ok_or(Fault::Busy)?;
    outcome.map(|namespaces| written(&json!({ "namespaces": namespaces }))).map_err(Fault::bad)
}

async fn info(state: &State, params: &[u8]) -> Answer {
    let Nothing {} = read(params)?;
    let reports = ask(|| state.shards.reports()).await?;
    let (listed, is_truncated) = channels_of_all(state, &ChannelFilter::All).await?;
    let occupied = || listed.iter().flatten().filter(|info| info.clients > 0);
    let channels: HashSet<&str> = occupied().map(|info| &*info.channel).collect();
    let clients: u64 = reports.iter().map(|report| report.clients).sum();
    let subscriptions: u64 = occupied().map(|info| info.clients).sum();
    let mut node = json!({
        "uid": std::process::id().to_string(),
        "name": "stentor",
        "version": env!("CARGO_PKG_VERSION"),
        "num_clients": clients,
        "num_users": reports.iter().map(|report| report.users).sum::<u64>(),
        "num_subs": subscriptions,
        "num_channels": channels.len(),
        "uptime": state.began.elapsed().as_secs(),
    });
    mark_truncated(&mut node, is_truncated);
    Ok(written(&json!({ "nodes": [node] })))
}

async fn channels(state: &State, params: &[u8]) -> Answer {
    let asked: Channels = read(params)?;
    let pattern = asked.pattern.unwrap_or_default();
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Fault::bad(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let (listed, is_truncated) = channels_of_all(state, &ChannelFilter::All).await?;
    let mut channels = serde_json::Map::new();
    for info in listed.iter().flatten().filter(|info| info.clients > 0) {
        if !pattern.is_empty() && !pattern::matches(&pattern, &info.channel) {
            continue;
        }
        let entry =
            channels.entry(info.channel.to_string()).or_insert_with(|| json!({ "num_clients": 0 }));
        let before = entry["num_clients"].as_u64().unwrap_or(0);
        entry["num_clients"] = Value::from(before + info.clients);
    }
    let mut answer = json!({ "channels": channels });
    mark_truncated(&mut answer, is_truncated);
    Ok(written(&answer))
}

/// Returns the channels of each shard, and `true` if a shard has more than a list holds.
pub(super) async fn channels_of_all(
    state: &State,
    filter: &ChannelFilter,
) -> Result<(Vec<Vec<ChannelInfo>>, bool), Fault> {
    // One more than is told shows that there are more.
    let mut listed = ask(|| state.shards.channels(filter, LIST_MAX + 1)).await?;
    let is_truncated = truncate(&mut listed, LIST_MAX);
    Ok((listed, is_truncated))
}

/// Shortens each list to `max` entries; `true` if one was longer.
fn truncate<T>(listed: &mut [Vec<T>], max: usize) -> bool {
    let is_truncated = listed.iter().any(|list| list.len() > max);
    for list in listed {
        list.truncate(max);
    }
    is_truncated
}

/// Says in an answer that it does not hold everything. A complete one has no such member, as
/// Centrifugo's has none.
pub(super) fn mark_truncated(answer: &mut Value, is_truncated: bool) {
    if is_truncated {
        answer["truncated"] = true.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_says_so() {
        for (counts, is_cut) in [([3, 2], false), ([4, 2], true), ([0, 9], true)] {
            let mut listed = counts.map(|count| vec!["a channel"; count]);
            assert_eq!(truncate(&mut listed, 3), is_cut, "{counts:?}");
            assert!(listed.iter().all(|list| list.len() <= 3));
            let mut answer = json!({ "channels": {} });
            mark_truncated(&mut answer, is_cut);
            assert_eq!(answer.get("truncated"), is_cut.then_some(&Value::Bool(true)));
        }
    }

    #[test]
    fn the_page_lists_every_method_and_every_bound() {
        let page = include_str!("API.md");
        for method in METHODS.iter().chain(&NOT_AVAILABLE) {
            assert!(page.contains(&format!("`{method}`")), "API.md lacks {method}");
        }
        for (bound, text) in [
            (publish::CHANNELS_MAX, "1 to 1000"),
            (batch::COMMANDS_MAX, "at most 1000"),
            (once::KEY_BYTES_MAX, "at most 256 bytes"),
            (once::KEYS_MAX, "At most 100,000"),
        ] {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            assert!(digits.ends_with(&bound.to_string()), "API.md says {text}, it is {bound}");
            assert!(page.contains(text), "API.md lacks \"{text}\"");
        }
    }
}
