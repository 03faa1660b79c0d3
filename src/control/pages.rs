//! The pages of the public port: the chat page with its files, and the health checks.

use axum::extract::State as Has;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rust_embed::{Embed, EmbeddedFile};
use stentor_shards::{local_path, shown_path};

use super::{State, admin, apps};

/// The files of the page, part of the binary.
#[derive(Embed)]
#[folder = "src/web/"]
struct Files;

/// The page loads nothing from elsewhere, runs no inline code and stands in no frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(crate) fn router(state: State) -> Router {
    // Paths are compared without slashes too many and without the prefix, which routes cannot do.
    let api = state.settings.public_api.then(|| admin::for_clients_address(&state));
    let apps = apps::routes(&state);
    api.unwrap_or_default().merge(apps).fallback(visit).with_state(state)
}

/// Answers any request of the public port.
async fn visit(Has(state): Has<State>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [("Allow", "GET, HEAD")], "GET or HEAD\n")
            .into_response();
    }
    let prefix = &state.settings.path_prefix;
    if !prefix.is_empty() && uri.path() == &**prefix {
        // The page names its files from where it stands.
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let to = [(header::LOCATION, format!("{prefix}/{query}"))];
        return (StatusCode::PERMANENT_REDIRECT, to).into_response();
    }
    match &*local_path(uri.path(), prefix) {
        "/ws" => upgrade_wanted(),
        "/health" | "/healthz" => alive().await.into_response(),
        "/ready" => ready(Has(state)).await,
        "/" => file("index.html", &headers).unwrap_or_else(|| nothing(&uri, &headers)),
        path => file(&path[1..], &headers).unwrap_or_else(|| nothing(&uri, &headers)),
    }
}

/// The two routes that the admin port has as well.
pub(crate) fn health(router: Router<State>) -> Router<State> {
    router.route("/health", get(alive)).route("/healthz", get(alive)).route("/ready", get(ready))
}

pub(super) async fn alive() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}\n")
}

async fn ready(Has(state): Has<State>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    if state.shards.is_draining() || crate::signals::is_leaving() {
        (StatusCode::SERVICE_UNAVAILABLE, json, "{\"status\":\"draining\"}\n").into_response()
    } else if state.settings.bus.is_away() {
        (StatusCode::SERVICE_UNAVAILABLE, json, "{\"status\":\"engine away\"}\n").into_response()
    } else {
        (json, "{\"status\":\"ready\"}\n").into_response()
    }
}

fn upgrade_wanted() -> Response {
    let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
    (StatusCode::UPGRADE_REQUIRED, headers, "this is a WebSocket endpoint\n").into_response()
}

/// Says what is not there, and what is.
fn nothing(uri: &Uri, headers: &HeaderMap) -> Response {
    let path = shown_path(uri.path());
    let json = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("application/json"));
    if json {
        let body = serde_json::json!({ "error": "nothing is at this path", "path": path });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    }
    let text = format!("nothing is at {path}: the page is at /, WebSockets are at /ws\n");
    let plain = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, plain, text).into_response()
}

/// A file of the page, unless there is none of that name.
fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    Files::get(name).map(|file| embedded(file, name, headers))
}

/// Answers with an embedded file, unless the browser has it.
pub(super) fn embedded(file: EmbeddedFile, name: &str, headers: &HeaderMap) -> Response {
    let tag = tag_of(&file.metadata.sha256_hash());
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|listed| listed.to_str().ok())
        .any(|listed| has_tag(listed, &tag));
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { file.data.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(type_of(name)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if type_of(name).starts_with("text/javascript") {
        // The client library is for any page.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// Returns `true` if `If-None-Match` names a tag. Weak tags count: a proxy that compresses weakens
/// ours.
fn has_tag(listed: &str, tag: &str) -> bool {
    listed.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn tag_of(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut tag = String::from("\"");
    for byte in hash.iter().take(12) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ts") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists_and_when_weak() {
        for listed in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*"] {
            assert!(has_tag(listed, "\"a\""), "{listed}");
        }
        assert!(!has_tag("\"b\"", "\"a\"") && !has_tag("", "\"a\""));
    }
}
