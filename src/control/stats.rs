//! Statistics as JSON: each shard's counters, their sum, and the connections that deserve a look.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Has};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stentor_shards::{ConnectionInfo, Listing, Report};

use super::api::answer::Fault;
use super::apps::figures;
use super::ask::{Unanswered, ask};
use super::numbers::named;
use super::{State, process};
use crate::node_list::Nodes;

/// The most connections that are listed.
const LIMIT_MAX: usize = 10_000;

/// `GET /api/nodes`
pub(super) async fn nodes(Has(state): Has<State>) -> Response {
    let Nodes(nodes) = state.settings.nodes.borrow().clone();
    Json(json!({ "nodes": nodes })).into_response()
}

/// `GET /api/stats`
pub(crate) async fn stats(Has(state): Has<State>) -> Response {
    match reports(&state).await {
        Ok(reports) => Json(value(&state, &reports)).into_response(),
        Err(why) => Fault::from(why).into_response(),
    }
}

/// Asks all shards for their numbers, and sorts these by shard.
pub(super) async fn reports(state: &State) -> Result<Vec<Report>, Unanswered> {
    let mut reports = ask(|| state.shards.reports()).await?;
    reports.sort_by_key(|report| report.shard);
    Ok(reports)
}

/// Returns what `/api/stats` answers, which the dashboard shows as well.
pub(super) fn value(state: &State, reports: &[Report]) -> Value {
    let mut total = Map::new();
    for (name, value) in reports.iter().flat_map(named) {
        let before = total.get(name).and_then(Value::as_u64).unwrap_or(0);
        total.insert(name.into(), (before + value).into());
    }
    let shards: Vec<Value> = reports.iter().map(shard).collect();
    let process = process::read();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.began.elapsed().as_secs(),
        "draining": state.shards.is_draining(),
        "process": {
            "cpu_seconds": process.cpu_seconds,
            "open_fds": process.open_descriptors,
            "resident_bytes": process.resident_bytes,
        },
        "total": total,
        "apps": figures::of_all(&state.settings.rules.borrow()),
        "shards": shards,
    })
}

fn shard(report: &Report) -> Value {
    let mut value = Map::new();
    value.insert("shard".into(), report.shard.into());
    value.insert("core".into(), report.core.into());
    value.extend(named(report).map(|(name, number)| (name.into(), number.into())));
    let by_reason = |counts: &[(&'static str, u64)]| -> Value {
        counts.iter().map(|(reason, count)| ((*reason).to_owned(), Value::from(*count))).collect()
    };
    value.insert("refusals".into(), by_reason(&report.refusals));
    value.insert("disconnects".into(), by_reason(&report.closes));
    value.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    #[serde(default)]
    sort: Sort,
    limit: Option<usize>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Queued,
    Oldest,
}

/// `GET /api/connections?sort=queued|oldest&limit=100`
pub(crate) async fn connections(
    Has(state): Has<State>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let Query(wish) = match wish {
        Ok(wish) => wish,
        Err(why) => return Fault::malformed(why.body_text()).into_response(),
    };
    let limit = wish.limit.unwrap_or(100);
    if limit > LIMIT_MAX {
        let why = format!("limit is {limit}, {LIMIT_MAX} is the most");
        return Fault::malformed(why).into_response();
    }
    let queued = wish.sort == Sort::Queued;
    let listing = if queued { Listing::Fullest } else { Listing::Oldest };
    let mut all: Vec<ConnectionInfo> = match ask(|| state.shards.connections(listing, limit)).await
    {
        Ok(parts) => parts.into_iter().flatten().collect(),
        Err(why) => return Fault::from(why).into_response(),
    };
    let order = |one: &ConnectionInfo| if queued { one.queued_bytes } else { one.connected_s };
    all.sort_by_key(|one| std::cmp::Reverse(order(one)));
    all.truncate(limit);
    let listed: Vec<Value> =
        all.iter().map(|one| connection(one, state.settings.is_unix)).collect();
    Json(json!({ "connections": listed })).into_response()
}

pub(super) fn connection(one: &ConnectionInfo, is_unix: bool) -> Value {
    let peer = one.peer.map(|peer| peer.to_string()).or_else(|| is_unix.then(|| "unix".into()));
    json!({
        "client": one.client,
        "user": one.user.as_deref(),
        "proxy": peer.as_ref().filter(|_| one.behind_proxy.is_some()),
        "peer": one.behind_proxy.map(|client| client.to_string()).or_else(|| peer.clone()),
        "channels": one.channels,
        "protocol": one.dialect,
        "queued_bytes": one.queued_bytes,
        "stalled_ms": one.stalled_ms,
        "quiet_ms": one.quiet_ms,
        "connected_seconds": one.connected_s,
    })
}
