//! `/metrics` for Prometheus: the shards' counters, collected when they are asked for and at no
//! other time. `METRICS.md` beside this file lists all families.

mod accept;
mod apps;
mod buckets;
mod engine;
mod families;
mod hooks;
mod plain;
mod tls;

use axum::extract::State as Has;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::accept::Format;
use self::apps::Apps;
use self::engine::Engine;
use self::families::Scrape;
use self::hooks::Backend;
use self::tls::Tls;
use super::api::answer::Fault;
use super::ask::{Unanswered, ask};
use super::{State, process, stats};

/// `GET /metrics`
pub(crate) async fn scrape(Has(state): Has<State>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let Some(format) = accept::choose(accept) else {
        let formats = [Format::Text, Format::OpenMetrics].map(Format::content_type).join("\n");
        return (StatusCode::NOT_ACCEPTABLE, format!("{formats}\n")).into_response();
    };
    let scrape = match collect(&state).await {
        Ok(scrape) => scrape,
        Err(why) => return Fault::from(why).into_response(),
    };
    let Ok(mut text) = scrape.write() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if format == Format::Text {
        text = plain::from_open_metrics(&text);
    }
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    (headers, text).into_response()
}

async fn collect(state: &State) -> Result<Scrape, Unanswered> {
    let reports = stats::reports(state).await?;
    let mut latencies = ask(|| state.shards.latency()).await?;
    latencies.sort_by_key(|(shard, _)| *shard);
    Ok(Scrape {
        reports,
        latencies,
        once: state.settings.once.counts().await,
        unanswered: state.settings.peers.unanswered(),
        reloads: state.reloads.counts(),
        keys: state.settings.keyring.counts(),
        tls: Tls {
            counts: state.settings.certificates.counts(),
            expiries: state.settings.certificates.expiries(),
        },
        backend: Backend {
            hooks: state.settings.hook_counts.figures(),
            events: state.settings.event_counts(),
        },
        engine: Engine(state.settings.bus.clone()),
        apps: Apps::of(&state.settings.rules.borrow()),
        process: process::read(),
        uptime_s: state.began.elapsed().as_secs(),
    })
}
