//! The admin address: health, metrics, statistics and the API.

use std::net::TcpListener;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as Has};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{State, api, ask, hgrm, metrics, pages, stats};

/// How much an API request is larger than the message in it.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Serves the admin listener; without one it waits for ever.
pub(crate) async fn serve(listener: Option<TcpListener>, state: State) {
    let listener = listener.map(tokio::net::TcpListener::from_std);
    let Some(Ok(listener)) = listener else { return std::future::pending().await };
    let limit = DefaultBodyLimit::max(state.settings.message_bytes * 2 + ENVELOPE_BYTES);
    let api = Router::new()
        .route("/publish", post(api::publish))
        .route("/broadcast", post(api::broadcast))
        .route("/direct", post(api::direct))
        .route("/disconnect", post(api::disconnect))
        .route("/info", get(api::info).post(api::info))
        .route("/channels", get(api::channels).post(api::channels))
        .route("/connections", get(stats::connections))
        .route("/stats", get(stats::stats))
        .route("/latency.hgrm", get(latency))
        .layer(from_fn_with_state(state.clone(), check_key))
        .layer(limit);
    let router = pages::health(Router::new())
        .route("/metrics", get(metrics::scrape))
        .nest("/api", api)
        .with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Lets a request to the API pass if it has the key, or none is set.
async fn check_key(Has(state): Has<State>, request: Request, next: Next) -> Response {
    if let Some(key) = &state.settings.api_key
        && !shows(request.headers(), key)
    {
        let body = "{\"error\":{\"code\":101,\"message\":\"unauthorized\"}}\n";
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (StatusCode::UNAUTHORIZED, json, body).into_response();
    }
    next.run(request).await
}

fn shows(headers: &HeaderMap, key: &str) -> bool {
    let plain = headers.get("x-api-key").map(axum::http::HeaderValue::as_bytes);
    let scheme = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    let shown = plain.or_else(|| scheme?.strip_prefix(b"apikey "));
    shown.is_some_and(|shown| same(shown, key.as_bytes()))
}

/// Compares without telling by its time how much is right.
fn same(shown: &[u8], key: &[u8]) -> bool {
    let mut differs = u8::from(shown.len() != key.len());
    for (index, byte) in shown.iter().enumerate() {
        differs |= byte ^ key.get(index % key.len().max(1)).copied().unwrap_or(0);
    }
    std::hint::black_box(differs) == 0
}

/// The server-side latency of all shards as an `HdrHistogram` percentile distribution, in
/// milliseconds.
async fn latency(Has(state): Has<State>) -> Response {
    match ask::ask(|| state.shards.latency()).await {
        Err(unanswered) => api::unanswered(unanswered),
        Ok(parts) => match hgrm::merged(&parts) {
            Some(whole) => hgrm::write(&whole).into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_is_the_key() {
        assert!(same(b"secret", b"secret"));
        for wrong in [&b"secreT"[..], b"secre", b"secrets", b"", b"secretsecret"] {
            assert!(!same(wrong, b"secret"), "{wrong:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "apikey k".parse().unwrap());
        assert!(shows(&headers, "k") && !shows(&headers, "other"));
    }
}
