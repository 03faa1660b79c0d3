//! The figures of apps, as `/api/stats` and `/metrics` tell them.

use serde_json::{Map, Value};
use stentor_shards::{AppFigures, Rules};

/// One figure.
pub(in crate::control) struct Figure {
    /// Its name in `/api/stats`; counters end in `_total`.
    pub(in crate::control) name: &'static str,
    pub(in crate::control) help: &'static str,
    pub(in crate::control) of: fn(&AppFigures) -> u64,
}

const fn figure(name: &'static str, help: &'static str, of: fn(&AppFigures) -> u64) -> Figure {
    Figure { name, help, of }
}

/// All figures of an app.
pub(in crate::control) const FIGURES: [Figure; 10] = [
    figure("clients", "Clients of an app that are connected", |of| of.clients),
    figure("connections_total", "Clients of an app that were let in", |of| of.connections),
    figure(
        "refused_total",
        "Clients that were refused because their app had as many as it may have",
        |of| of.refused,
    ),
    figure("client_events_total", "Events that clients of an app have sent to others", |of| {
        of.client_events
    }),
    figure("api_requests_total", "Signed requests of an app's backend", |of| of.api_requests),
    figure("api_refused_total", "Requests to an app whose signature was not good", |of| {
        of.api_refused
    }),
    figure(
        "api_events_total",
        "Events that an app's backend has sent, once for each channel",
        |of| of.api_events,
    ),
    figure("webhook_events_total", "Events that the webhooks of an app have taken", |of| {
        of.webhook_events
    }),
    figure("webhook_failures_total", "Posts that a webhook of an app has not taken", |of| {
        of.webhook_failures
    }),
    figure(
        "webhook_drops_total",
        "Events that a webhook of an app was not told: too many waited, or none was taken",
        |of| of.webhook_drops,
    ),
];

/// Returns the figures of all apps by their ids.
pub(in crate::control) fn of_all(rules: &Rules) -> Value {
    let of_app = |figures: &AppFigures| -> Map<String, Value> {
        FIGURES.iter().map(|one| (one.name.to_owned(), (one.of)(figures).into())).collect()
    };
    let all = rules.apps().into_iter();
    all.map(|app| (app.id.to_string(), of_app(&app.tally.figures()).into()))
        .collect::<Map<_, _>>()
        .into()
}
