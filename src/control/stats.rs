//! Statistics as JSON: each shard's counters, their sum, and the connections that deserve a look.

use axum::Json;
use axum::extract::{Query, State as Has};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stentor_shards::{ConnectionInfo, Report};

use super::ask::ask;
use super::{State, api, process};

/// The most connections that are listed.
const LIMIT_MAX: usize = 10_000;

/// Every plain number of a report, by its name in JSON and metrics.
pub(crate) fn numbers(report: &Report) -> [(&'static str, u64); 32] {
    [
        ("clients", report.clients_now),
        ("users", report.users_now),
        ("channels", report.channels_now),
        ("handshakes", report.handshakes_now),
        ("accepts_total", report.accepts),
        ("accept_pauses_total", report.accept_pauses),
        ("visitors_total", report.visitors),
        ("messages_in_total", report.messages_in),
        ("bytes_in_total", report.bytes_in),
        ("deliveries_total", report.deliveries),
        ("bytes_out_total", report.bytes_out),
        ("sends_total", report.sends),
        ("ticks_total", report.ticks),
        ("tick_publications_total", report.tick_publications),
        ("publications_total", report.publications),
        ("outbox_bytes", report.outbox_bytes_now),
        ("blocked_clients", report.blocked_now),
        ("dropped_total", report.dropped),
        ("conflated_total", report.conflated),
        ("pings_total", report.pings),
        ("publish_lane_depth", report.publish_depth_now),
        ("deliver_lane_depth", report.deliver_depth_now),
        ("rings_total", report.rings),
        ("holds_total", report.holds),
        ("held_clients", report.held_now),
        ("stalls_total", report.stalls),
        ("absences_total", report.absences),
        ("rate_limited_total", report.rate_limited),
        ("errors_total", report.errors),
        ("forgotten_channels_total", report.forgotten_channels),
        ("turns_total", report.turns),
        ("busy_microseconds_total", report.busy_us),
    ]
}

/// `GET /api/stats`
pub(crate) async fn stats(Has(state): Has<State>) -> Response {
    let reports = match ask(|| state.shards.reports()).await {
        Ok(mut reports) => {
            reports.sort_by_key(|report| report.shard);
            reports
        }
        Err(why) => return api::unanswered(why),
    };
    let mut total = Map::new();
    for (name, value) in reports.iter().flat_map(numbers) {
        let before = total.get(name).and_then(Value::as_u64).unwrap_or(0);
        total.insert(name.into(), (before + value).into());
    }
    let shards: Vec<Value> = reports.iter().map(shard).collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.began.elapsed().as_secs(),
        "draining": state.shards.is_draining(),
        "process": {
            "cpu_seconds": process::cpu_seconds(),
            "open_fds": process::open_descriptors(),
            "resident_bytes": process::resident_bytes(),
        },
        "total": total,
        "shards": shards,
    }))
    .into_response()
}

fn shard(report: &Report) -> Value {
    let mut value = Map::new();
    value.insert("shard".into(), report.shard.into());
    value.insert("core".into(), report.core.into());
    value.extend(numbers(report).map(|(name, number)| (name.into(), number.into())));
    let by_reason = |counts: &[(&'static str, u64)]| -> Value {
        counts.iter().map(|(reason, count)| ((*reason).to_owned(), Value::from(*count))).collect()
    };
    value.insert("refusals".into(), by_reason(&report.refusals));
    value.insert("disconnects".into(), by_reason(&report.closes));
    value.into()
}

#[derive(Deserialize)]
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
pub(crate) async fn connections(Has(state): Has<State>, Query(wish): Query<Wish>) -> Response {
    let limit = wish.limit.unwrap_or(100).min(LIMIT_MAX);
    let queued = wish.sort == Sort::Queued;
    let mut all: Vec<ConnectionInfo> = match ask(|| state.shards.connections(queued, limit)).await {
        Ok(parts) => parts.into_iter().flatten().collect(),
        Err(why) => return api::unanswered(why),
    };
    let order = |one: &ConnectionInfo| if queued { one.queued_bytes } else { one.connected_s };
    all.sort_by_key(|one| std::cmp::Reverse(order(one)));
    all.truncate(limit);
    let listed: Vec<Value> = all.iter().map(connection).collect();
    Json(json!({ "connections": listed })).into_response()
}

fn connection(one: &ConnectionInfo) -> Value {
    json!({
        "client": one.client,
        "user": one.user.as_deref(),
        "peer": one.peer.map(|peer| peer.to_string()),
        "channels": one.channels,
        "protocol": one.dialect,
        "queued_bytes": one.queued_bytes,
        "stalled_ms": one.stalled_ms,
        "quiet_ms": one.quiet_ms,
        "connected_seconds": one.connected_s,
    })
}
