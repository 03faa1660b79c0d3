//! The admin address: health, metrics, statistics and the API.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as Has};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use hdrhistogram::Histogram;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::{Notify, Semaphore, watch};

use super::api::answer::Fault;
use super::dashboard::{self, Rights};
use super::private::Private;
use super::{State, api, apps, ask, metrics, openapi, pages, stats};

/// The bytes by which an API request may be larger than the message in it.
const ENVELOPE_BYTES: usize = 64 << 10;

/// The most connections of the admin address. They take descriptors that clients could have.
const CONNECTIONS_MAX: u32 = 128;

/// The longest time for a request's head, and for which a connection may lie idle before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time for a request's body and its answer together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause in accepting after an error, which is mostly that descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin listener until it is over, and then until all are answered.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    is_over: watch::Receiver<bool>,
    state: State,
) {
    let tls = state.settings.certificates.admin();
    let listener = listener.map(tokio::net::TcpListener::from_std);
    let Some(Ok(listener)) = listener else { return };
    let api = methods()
        .route("/connections", get(stats::connections).fallback(not_by_this_verb))
        .route("/nodes", get(stats::nodes).fallback(only_get))
        .route("/stats", get(stats::stats).fallback(only_get))
        .route("/latency.hgrm", get(latency).fallback(only_get))
        .route("/live", get(dashboard::live).fallback(only_get))
        .route("/drain", post(dashboard::drain).fallback(only_post));
    #[cfg(debug_assertions)]
    let api = api.route("/break/{shard}", post(break_shard));
    let api = described(api.layer(from_fn_with_state(state.clone(), check_key)), &state);
    let router = dashboard::pages(pages::health(api))
        .merge(apps::routes(&state))
        .route("/metrics", get(metrics::scrape))
        .layer(from_fn(answer_in_time))
        .with_state(state);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    accept_until(is_over, listener, router, &room, tls).await;
    let _ = room.acquire_many(CONNECTIONS_MAX).await;
}

/// Accepts until it is over. Later connections are for the process that listens there then: this
/// one may have no shards any more.
async fn accept_until(
    mut is_over: watch::Receiver<bool>,
    listener: tokio::net::TcpListener,
    router: Router,
    room: &Arc<Semaphore>,
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
) {
    let others = is_over.clone();
    tokio::select! {
        biased;
        _ = is_over.wait_for(|over| *over) => {}
        () = accept(listener, router, room, others, tls) => {}
    }
}

/// The methods of the API.
fn methods() -> Router<State> {
    Router::new()
        .route("/", post(api::old_form).fallback(only_post))
        .route("/{method}", any(api::method))
        .fallback(nothing_here)
}

/// Puts an API in its place, with its description and with bounds of what it takes and from whom.
fn described(api: Router<State>, state: &State) -> Router<State> {
    let limit = DefaultBodyLimit::max(state.settings.message_bytes * 2 + ENVELOPE_BYTES);
    let api = api.layer(from_fn_with_state(state.clone(), refuse_other_pages)).layer(limit);
    Router::new()
        .route("/api/openapi.json", get(openapi::description).fallback(only_get))
        .nest("/api", api)
}

/// Returns the API for the clients' address, with and without the prefix of a proxy. Nobody calls
/// it there without the key, also if a reload takes that away.
pub(super) fn for_clients_address(state: &State) -> Router<State> {
    let api = methods().layer(from_fn_with_state(state.clone(), demand_key));
    let api = described(api, state);
    match &*state.settings.path_prefix {
        "" => api,
        prefix => api.clone().nest(prefix, api),
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    router: Router,
    room: &Arc<Semaphore>,
    is_over: watch::Receiver<bool>,
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
) {
    while let Ok(place) = Arc::clone(room).acquire_owned().await {
        if *is_over.borrow() {
            return;
        }
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let mut is_over = is_over.clone();
        let asked = Arc::new(Notify::new());
        let answer = service_fn({
            let asked = Arc::clone(&asked);
            move |request| {
                asked.notify_one();
                service.call(request)
            }
        });
        let tls = tls.borrow().clone();
        tokio::spawn(async move {
            let _place = place;
            let Some(stream) = Private::begin(socket, tls).await else { return };
            let mut served = std::pin::pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), answer)
            );
            // An accepted connection is answered once; its next request is for another process.
            let enough = async {
                let _ = is_over.wait_for(|over| *over).await;
                asked.notified().await;
            };
            // An error here is the asker's: it went, or made no sense and was told so.
            tokio::select! {
                _ = &mut served => return,
                () = enough => {}
            }
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        });
    }
}

async fn answer_in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    }
}

/// Refuses what a page of another origin sends. Without a key, a browser on this host would
/// otherwise publish for any page that it shows: such a request needs no leave from us.
async fn refuse_other_pages(Has(state): Has<State>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let open = state.settings.api_key.borrow().is_none();
    if is_of_other_page(headers) || (open && !is_named_as_local(headers)) {
        let body = "{\"error\":{\"code\":103,\"message\":\"permission denied: another origin\"}}\n";
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (StatusCode::FORBIDDEN, json, body).into_response();
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_of_other_page(headers: &HeaderMap) -> bool {
    let Some(origin) = text(headers, header::ORIGIN) else { return false };
    let named = origin.split_once("://").map(|(_, host)| host);
    named.is_none() || named != text(headers, header::HOST)
}

/// Returns `true` if the host is named by an address or as localhost. Any other name may be one
/// that a page has had resolved to this host, which makes it the same origin in the browser's eyes.
fn is_named_as_local(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// A fault on purpose: in builds for tests, and in no other.
#[cfg(debug_assertions)]
async fn break_shard(
    Has(state): Has<State>,
    axum::extract::Path(shard): axum::extract::Path<usize>,
) -> StatusCode {
    match state.shards.break_shard(shard) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn only_post() -> Fault {
    Fault::Verb("POST")
}

async fn only_get() -> Fault {
    Fault::Verb("GET")
}

/// `POST /api/connections` is a method of Centrifugo PRO; our list of connections is a `GET`.
async fn not_by_this_verb(verb: Method) -> Fault {
    if verb == Method::POST {
        Fault::NotAvailable("connections".into())
    } else {
        Fault::Verb("GET")
    }
}

async fn nothing_here(asked: Uri) -> Fault {
    Fault::Unknown(asked.path().trim_start_matches('/').chars().take(64).collect())
}

/// Lets a request to the API pass if it has the key or none is set, and one that only reads if it
/// has the key for reading.
async fn check_key(Has(state): Has<State>, mut request: Request, next: Next) -> Response {
    let is_open = state.settings.api_key.borrow().is_none();
    let reads = {
        let key = state.settings.api_read_key.borrow();
        !is_open && key.as_ref().is_some_and(|key| shows(request.headers(), key))
    };
    if reads && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let body = "{\"error\":{\"code\":103,\"message\":\"permission denied: this key only \
                    reads\"}}\n";
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (StatusCode::FORBIDDEN, json, body).into_response();
    }
    let rights = if reads { Rights::Read } else { Rights::Act };
    request.extensions_mut().insert(rights);
    if is_open || reads {
        next.run(request).await
    } else {
        demand_key(Has(state), request, next).await
    }
}

/// Lets a request to the API pass if it has the key.
async fn demand_key(Has(state): Has<State>, request: Request, next: Next) -> Response {
    let has_key = {
        let key = state.settings.api_key.borrow();
        key.as_ref().is_some_and(|key| shows(request.headers(), key))
    };
    if has_key {
        return next.run(request).await;
    }
    let body = "{\"error\":{\"code\":101,\"message\":\"unauthorized\"}}\n";
    let json = [
        (header::CONTENT_TYPE, "application/json"),
        (header::WWW_AUTHENTICATE, "apikey realm=\"stentor\""),
    ];
    (StatusCode::UNAUTHORIZED, json, body).into_response()
}

/// Looks for the key in `X-API-Key`, and in `Authorization` behind the scheme `apikey`.
fn shows(headers: &HeaderMap, key: &str) -> bool {
    let plain = headers.get("x-api-key").map(HeaderValue::as_bytes);
    let scheme = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let mut shown = [plain, scheme.and_then(credentials)].into_iter().flatten();
    shown.any(|shown| same(shown, key.as_bytes()))
}

/// The scheme's name has no case, and one space or more stand behind it (RFC 9110, 11.1 and 11.4).
fn credentials(authorization: &[u8]) -> Option<&[u8]> {
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, shown) = authorization.split_at(space);
    scheme.eq_ignore_ascii_case(b"apikey").then(|| shown.trim_ascii_start())
}

/// Compares without telling by its time how much is right: it goes through all that was shown, and
/// the compiler may not know that the rest does not matter.
fn same(shown: &[u8], key: &[u8]) -> bool {
    let mut differs = u8::from(shown.len() != key.len());
    for (byte, own) in shown.iter().zip(key.iter().cycle()) {
        differs = std::hint::black_box(differs | (byte ^ own));
    }
    differs == 0
}

/// The server-side latency of all shards as an `HdrHistogram` percentile distribution, in
/// milliseconds.
async fn latency(Has(state): Has<State>) -> Response {
    match ask::ask(|| state.shards.latency()).await {
        Err(unanswered) => Fault::from(unanswered).into_response(),
        Ok(parts) => match merged(&parts) {
            Some(whole) => {
                stentor_hgrm::write(&whole, stentor_hgrm::Unit::Microseconds).into_response()
            }
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
    }
}

/// Returns one histogram of all shards' ones.
pub(super) fn merged(parts: &[(usize, Histogram<u64>)]) -> Option<Histogram<u64>> {
    let mut parts = parts.iter().map(|(_, part)| part);
    let mut whole = parts.next()?.clone();
    for part in parts {
        whole.add(part).ok()?;
    }
    Some(whole)
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
