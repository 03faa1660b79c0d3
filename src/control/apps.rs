//! The HTTP API of Pusher's protocol, below `/apps/ID`: each request is signed with the secret of
//! its app. It stands at the clients' address and at the admin address; `docs/PUSHER.md` lists the
//! calls.

mod channels;
mod events;
mod fault;
pub(super) mod figures;
mod members;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Has};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use data_encoding::HEXLOWER;
use hyper::body::Body as _;
use md5::{Digest as _, Md5};
use serde_json::Value;
use stentor_shards::{
    App, AppLimits, SignedParameters, SignedRequest, check_request, path_decoded, unix_ms,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::fault::{Answer, Fault};
use super::{State, pages};

/// Presence channels are those whose users are known.
pub(super) const PRESENCE: &str = "presence-";

/// The most requests of all apps that are answered at once. Visitors of the page and probes of its
/// health have the other places.
const REQUESTS_MAX: usize = 128;

/// The most requests of one app, beside other apps: some places are left for those.
const REQUESTS_OF_APP_MAX: u64 = 32;

/// The longest wait for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a body, whatever an app allows.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The bytes by which a body may be larger than what stands in it.
const ENVELOPE_BYTES: usize = 16 << 10;

/// The most bytes of a body that are read for nothing.
const DISCARDED_BYTES_MAX: usize = 4 << 20;

/// The most that an event's data grows when it is written as a JSON string, save for control
/// characters.
const ESCAPED_MAX: usize = 3;

/// The places for requests of apps.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(REQUESTS_MAX)))
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// Returns the routes, with and without the prefix of a proxy.
pub(super) fn routes(state: &State) -> Router<State> {
    let at = |prefix: &str| {
        Router::new()
            .route(&format!("{prefix}/apps/{{*rest}}"), any(call))
            .route(&format!("{prefix}/users/{{*rest}}"), any(call))
            .route(&format!("{prefix}/up"), get(pages::alive))
    };
    match &*state.settings.path_prefix {
        "" => at(""),
        prefix => at("").merge(at(prefix)),
    }
}

/// Answers a request to an app.
async fn call(Has(state): Has<State>, request: Request) -> Response {
    let answered = answer(&state, request).await;
    answered.map_or_else(Fault::into_response, fault::good)
}

/// The parts of a request, checked but for its body.
struct Call {
    app: Arc<App>,
    /// The number of apps.
    apps: u64,
    method: Method,
    /// The path behind the id of the app.
    path: String,
    parameters: SignedParameters,
}

async fn answer(state: &State, request: Request) -> Answer {
    let call = check(state, request.method(), request.uri())?;
    call.app.tally.count_request();
    // Only requests with a good signature take a place, and none of them keeps it for long.
    let most = (REQUESTS_MAX as u64 / call.apps).max(REQUESTS_OF_APP_MAX);
    let Some(_own) = call.app.tally.take_place(most) else { return Err(Fault::Busy) };
    let Some(_place) = state.settings.app_places.take() else { return Err(Fault::Busy) };
    let body = body(&call, request.headers().clone(), request.into_body());
    let body = timeout(BODY_TIMEOUT, body).await.unwrap_or(Err(Fault::TooSlow))?;
    let path = call.path.as_str();
    let (app, parameters) = (&call.app, &call.parameters);
    match (&call.method, path) {
        (&Method::POST, "events") => events::one(state, app, &body).await,
        (&Method::POST, "batch_events") => events::batch(state, app, &body).await,
        (&Method::GET, "channels") => channels::list(state, app, parameters).await,
        (&Method::GET, "connections") => Ok(members::connections(app)),
        (_, "events" | "batch_events") => Err(Fault::Verb("POST")),
        (_, "channels" | "connections") => Err(Fault::Verb("GET")),
        (method, path) => {
            let user = path.strip_prefix("users/");
            let user = user.and_then(|rest| rest.strip_suffix("/terminate_connections"));
            let channel = path.strip_prefix("channels/");
            match (user, channel.map(|rest| rest.strip_suffix("/users").ok_or(rest))) {
                (Some(user), _) if *method == Method::POST => {
                    members::terminate(state, app, user).await
                }
                (Some(_), _) => Err(Fault::Verb("POST")),
                (None, Some(_)) if *method != Method::GET => Err(Fault::Verb("GET")),
                (None, Some(Ok(channel))) => members::users(state, app, channel).await,
                (None, Some(Err(channel))) => channels::one(state, app, channel, parameters).await,
                (None, None) => Err(Fault::NotFound("no call of this API has this path")),
            }
        }
    }
}

/// Finds the app of a request, and checks the signature.
fn check(state: &State, method: &Method, uri: &Uri) -> Result<Call, Fault> {
    let prefix = &*state.settings.path_prefix;
    let malformed = || Fault::bad("the path is malformed");
    let path = path_decoded(uri.path()).ok_or_else(malformed)?;
    // Names may hold slashes, two in a row too: the path is parted as it came.
    let came = uri.path().strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    let came = came.unwrap_or(uri.path());
    let local = path_decoded(came).ok_or_else(malformed)?;
    let query = uri.query().unwrap_or_default();
    let rules = state.settings.rules.borrow().clone();
    let (app, rest) = if let Some(rest) = came.strip_prefix("/apps/") {
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        (path_decoded(id).and_then(|id| rules.app(&id)), rest)
    } else {
        // PyPI's library asks for the end of connections so: the key names the app.
        let key = query.split('&').find_map(|part| part.strip_prefix("auth_key="));
        (key.and_then(|key| rules.app_of_key(key)), came.trim_start_matches('/'))
    };
    let rest = path_decoded(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(malformed)?;
    let app = app.ok_or(Fault::NotFound("no app has this id"))?;
    // A proxy may cut a prefix off that was signed, or put one on that was not.
    let with_prefix = format!("{prefix}{}", uri.path());
    let paths = [uri.path(), &path, &with_prefix, &local];
    let signed = SignedRequest { method: method.as_str(), paths: &paths, query };
    let parameters = check_request(app, signed, unix_ms() / 1000).map_err(|why| {
        app.tally.count_refused_request();
        Fault::Unsigned(why.to_string())
    })?;
    if !app.enabled {
        return Err(Fault::Forbidden("this app is disabled"));
    }
    let (app, apps) = (Arc::clone(app), rules.apps().len() as u64);
    Ok(Call { app, apps, method: method.clone(), path: rest, parameters })
}

/// Reads the body, which is as long as the app's bounds allow and has the hash that was signed.
async fn body(call: &Call, headers: HeaderMap, body: Body) -> Result<Bytes, Fault> {
    let bytes_max = body_bytes_max(&call.app.limits);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|bytes: usize| bytes > bytes_max) {
        discard(body).await;
        return Err(Fault::TooLarge(format!("the body is longer than {bytes_max} bytes")));
    }
    let body = collect(body, bytes_max).await?;
    let shown = call.parameters.get("body_md5");
    if body.is_empty() && shown.is_none() {
        return Ok(body);
    }
    let shown = shown.ok_or_else(|| Fault::Unsigned("body_md5 is missing".into()))?;
    // It is no secret: the signature is over it.
    if *shown != HEXLOWER.encode(&Md5::digest(&body)) {
        return Err(Fault::Unsigned("body_md5 is not the MD5 in hex of the body".into()));
    }
    Ok(body)
}

/// Reads a body whose length is not known before.
async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
        let frame = frame.map_err(|_| Fault::bad("the body ends early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            discard(body).await;
            return Err(Fault::TooLarge(format!("the body is longer than {bytes_max} bytes")));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}

/// Reads a part of a body that nobody wants: a connection that ends with bytes unread is reset, and
/// its client may not see the answer.
async fn discard(mut body: Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while left > 0
        && let Some(Ok(frame)) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await
    {
        left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
    }
}

/// The most bytes of a body: those of a full batch, or of an event for as many channels as it may
/// be for.
fn body_bytes_max(limits: &AppLimits) -> usize {
    let event = limits.event_bytes.saturating_add(limits.event_name_bytes);
    let event = event.saturating_mul(ESCAPED_MAX);
    let one = event.saturating_add(limits.channel_name_bytes + 256);
    let batch = limits.events_per_batch.saturating_mul(one);
    let channels = limits.channels_per_event.saturating_mul(limits.channel_name_bytes + 8);
    let most = batch.max(event.saturating_add(channels)).saturating_add(ENVELOPE_BYTES);
    most.min(BODY_BYTES_MAX)
}

/// The attributes of channels that a request asks for in `info`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Attributes {
    users: bool,
    subscriptions: bool,
    cache: bool,
}

impl Attributes {
    fn read(info: Option<&str>) -> Result<Self, Fault> {
        let mut asked = Self::default();
        for one in info.unwrap_or_default().split(',').map(str::trim) {
            match one {
                "" => {}
                "user_count" => asked.users = true,
                "subscription_count" => asked.subscriptions = true,
                "cache" => asked.cache = true,
                _ => {
                    let why = "info is a list of user_count, subscription_count and cache";
                    return Err(Fault::bad(why));
                }
            }
        }
        Ok(asked)
    }
}

/// An empty object, which says that all is well.
fn done() -> Value {
    Value::Object(serde_json::Map::new())
}
