//! The API in Centrifugo's shapes, so that its server libraries work here as they are.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Has;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stentor_shards::{Body, NoRoom, Position, Target};

use super::State;
use super::ask::{Unanswered, ask, ask_one};

/// Error codes as Centrifugo numbers them.
const INTERNAL: u32 = 100;
const BAD_REQUEST: u32 = 107;

/// The most channels of one broadcast.
const CHANNELS_MAX: usize = 1000;

/// The longest pattern; each channel's name is held against it.
const PATTERN_BYTES_MAX: usize = 1024;

/// The most channels that each shard lists.
const LIST_MAX: usize = 100_000;

#[derive(Deserialize)]
pub(crate) struct Publish<'a> {
    channel: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct Broadcast<'a> {
    channels: Vec<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct Direct<'a> {
    user: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct Disconnect {
    user: Option<String>,
    client: Option<String>,
}

#[derive(Deserialize, Default)]
pub(crate) struct Channels {
    #[serde(default)]
    pattern: String,
}

fn result(value: Value) -> Response {
    Json(json!({ "result": value })).into_response()
}

fn error(code: u32, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}

/// A request that makes no sense is told so in Centrifugo's way: status 200 and an error.
fn bad(message: &str) -> Response {
    Json(error(BAD_REQUEST, message)).into_response()
}

fn explain(unanswered: Unanswered) -> Value {
    match unanswered {
        Unanswered::Busy => error(INTERNAL, "the shards are busy: try again"),
        Unanswered::BadName => error(BAD_REQUEST, "bad request: the name is not valid"),
        Unanswered::TooLarge => error(BAD_REQUEST, "bad request: the data is too large"),
    }
}

/// The response to what the shards did not answer.
pub(crate) fn unanswered(unanswered: Unanswered) -> Response {
    let body = Json(explain(unanswered));
    if unanswered == Unanswered::Busy {
        let retry = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, body).into_response();
    }
    body.into_response()
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|why| {
        let message = format!("bad request: {why}");
        Box::new((StatusCode::BAD_REQUEST, Json(error(BAD_REQUEST, &message))).into_response())
    })
}

/// An empty body is an empty request.
fn parsed_or_default<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Box<Response>> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { parsed(body) }
}

async fn publish_to(
    state: &State,
    channel: &str,
    data: &RawValue,
) -> Result<Result<Position, NoRoom>, Unanswered> {
    ask_one(|| state.shards.publish(channel, Body::Json(data.get().to_owned()))).await
}

fn shown(position: Position) -> Value {
    json!({ "offset": position.offset, "epoch": position.epoch.to_string() })
}

pub(crate) async fn publish(Has(state): Has<State>, body: Bytes) -> Response {
    let request: Publish<'_> = match parsed(&body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    match publish_to(&state, &request.channel, request.data).await {
        Ok(Err(NoRoom)) => bad("no room for another channel"),
        Ok(Ok(position)) => result(shown(position)),
        Err(why) => unanswered(why),
    }
}

pub(crate) async fn broadcast(Has(state): Has<State>, body: Bytes) -> Response {
    let request: Broadcast<'_> = match parsed(&body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    if request.channels.is_empty() || request.channels.len() > CHANNELS_MAX {
        return bad("bad request: 1 to 1000 channels");
    }
    let mut responses = Vec::with_capacity(request.channels.len());
    let mut busy = false;
    for channel in &request.channels {
        // Once is patience enough: each channel's wait would add to the last one's.
        let published = if busy {
            Err(Unanswered::Busy)
        } else {
            publish_to(&state, channel, request.data).await
        };
        busy |= matches!(published, Err(Unanswered::Busy));
        responses.push(match published {
            Ok(Err(NoRoom)) => error(BAD_REQUEST, "no room for another channel"),
            Ok(Ok(position)) => json!({ "result": shown(position) }),
            Err(why) => explain(why),
        });
    }
    result(json!({ "responses": responses }))
}

pub(crate) async fn direct(Has(state): Has<State>, body: Bytes) -> Response {
    let request: Direct<'_> = match parsed(&body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let data = || Body::Json(request.data.get().to_owned());
    match ask_one(|| state.shards.direct(&request.user, data())).await {
        Ok(0) => bad("unknown user"),
        Ok(clients) => result(json!({ "clients": clients })),
        Err(why) => unanswered(why),
    }
}

pub(crate) async fn disconnect(Has(state): Has<State>, body: Bytes) -> Response {
    let request: Disconnect = match parsed(&body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    // A client is the narrower wish: the libraries send an empty one beside the user.
    let client = request.client.filter(|client| !client.is_empty()).map(Target::Client);
    let user = request.user.filter(|user| !user.is_empty()).map(Target::User);
    let Some(target) = client.or(user) else {
        return bad("bad request: user or client is needed");
    };
    match ask_one(|| state.shards.disconnect(&target)).await {
        Ok(clients) => result(json!({ "clients": clients })),
        Err(why) => unanswered(why),
    }
}

pub(crate) async fn info(Has(state): Has<State>) -> Response {
    let reports = match ask(|| state.shards.reports()).await {
        Ok(reports) => reports,
        Err(why) => return unanswered(why),
    };
    let listed = match ask(|| state.shards.channels(LIST_MAX)).await {
        Ok(listed) => listed,
        Err(why) => return unanswered(why),
    };
    let occupied = || listed.iter().flatten().filter(|info| info.clients > 0);
    let channels: std::collections::HashSet<&str> = occupied().map(|info| &*info.channel).collect();
    let clients: u64 = reports.iter().map(|report| report.clients_now).sum();
    let subscriptions: u64 = occupied().map(|info| info.clients).sum();
    result(json!({ "nodes": [{
        "uid": std::process::id().to_string(),
        "name": "stentor",
        "version": env!("CARGO_PKG_VERSION"),
        "num_clients": clients,
        "num_users": reports.iter().map(|report| report.users_now).sum::<u64>(),
        "num_subs": subscriptions,
        "num_channels": channels.len(),
        "uptime": state.began.elapsed().as_secs(),
    }] }))
}

pub(crate) async fn channels(Has(state): Has<State>, body: Bytes) -> Response {
    let request: Channels = match parsed_or_default(&body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    if request.pattern.len() > PATTERN_BYTES_MAX {
        return bad("bad request: the pattern is too long");
    }
    let listed = match ask(|| state.shards.channels(LIST_MAX)).await {
        Ok(listed) => listed,
        Err(why) => return unanswered(why),
    };
    let mut channels = serde_json::Map::new();
    for info in listed.iter().flatten().filter(|info| info.clients > 0) {
        if !request.pattern.is_empty() && !matches(&request.pattern, &info.channel) {
            continue;
        }
        let entry =
            channels.entry(info.channel.to_string()).or_insert_with(|| json!({ "num_clients": 0 }));
        let before = entry["num_clients"].as_u64().unwrap_or(0);
        entry["num_clients"] = json!(before + info.clients);
    }
    result(json!({ "channels": channels }))
}

/// Whether a name matches a pattern in which `*` stands for any text and `?` for one character.
/// Linear in both: on a mismatch only the last star is tried one further.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("chat:*", "chat:1", true),
            ("chat:*", "news:1", false),
            ("a?c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b", "axxbyyc", false),
            ("", "", true),
            ("x", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// The same by its definition, at any cost.
    fn matches_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], name) => name.is_empty(),
            ([b'*', rest @ ..], name) => {
                (0..=name.len()).any(|from| matches_by_definition(rest, &name[from..]))
            }
            ([wanted, rest @ ..], [first, name @ ..]) => {
                (*wanted == b'?' || wanted == first) && matches_by_definition(rest, name)
            }
            (_, []) => false,
        }
    }

    /// Every text of up to so many of these letters.
    fn texts(letters: &str, len: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut longest = texts.clone();
        for _ in 0..len {
            longest = longest
                .iter()
                .flat_map(|text| letters.chars().map(move |letter| format!("{text}{letter}")))
                .collect();
            texts.extend_from_slice(&longest);
        }
        texts
    }

    #[test]
    fn every_short_pattern_means_what_its_definition_says() {
        let names = texts("ab", 5);
        for pattern in texts("ab*?", 4) {
            for name in &names {
                let expected = matches_by_definition(pattern.as_bytes(), name.as_bytes());
                assert_eq!(matches(&pattern, name), expected, "{pattern} {name}");
            }
        }
    }
}
