//! The engine as it is reached: a connection, and the stream of a cluster with its settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use stentor_shards::{Epoch, fresh_seed};
use tokio::sync::mpsc;

use super::names::Names;
use crate::config::engine::Engine as Settings;
use crate::tls::{Trust, client_config};

/// The longest wait for the engine to answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without traffic is tried so often; three silent tries end it.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// The live publications of one bucket that may wait for the bus.
const WAITING_MAX: usize = 8192;

/// The time for which the engine knows the numbers of publications.
const KNOWN: Duration = Duration::from_mins(2);

/// The code of the engine's error for a stream that is there already, under another name.
const OVERLAPS: u64 = 10065;

/// A connection to the engine.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Events of the connection.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// The stream of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: Epoch,
}

#[derive(Debug, Deserialize)]
struct Answer {
    error: Option<Fault>,
    #[serde(default)]
    streams: Option<Vec<String>>,
    config: Option<Value>,
    state: Option<State>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// The first and the last publication of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct State {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// Connects to one of the servers.
///
/// # Errors
/// One line.
pub(crate) async fn connect(settings: &Settings) -> Result<Link, String> {
    let servers: Result<Vec<ServerAddr>, _> =
        settings.servers.iter().map(|server| server.parse::<ServerAddr>()).collect();
    let servers = servers.map_err(|error| format!("engine: {error}"))?;
    let (sender, events) = mpsc::channel(64);
    let is_up = Arc::new(AtomicBool::new(false));
    let was_up = Arc::clone(&is_up);
    let mut options = ConnectOptions::new()
        .name("stentor")
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(ANSWER_TIMEOUT))
        .ping_interval(PING_PERIOD)
        .subscription_capacity(WAITING_MAX)
        .skip_subject_validation(true)
        // A connection that has ended is never mended: what still waits on it would reach the
        // engine in front of what is sent again.
        .reconnect_delay_callback(move |_| {
            if was_up.load(Ordering::Relaxed) { Duration::from_hours(24) } else { Duration::ZERO }
        })
        .event_callback(move |event| {
            let sender = sender.clone();
            async move {
                let _ = sender.try_send(event);
            }
        });
    if settings.servers.iter().any(|server| server.starts_with("tls://")) {
        options = options.require_tls(true);
    }
    if settings.tls_ca.is_some() || settings.servers.iter().any(|one| one.starts_with("tls://")) {
        let trust = settings.tls_ca.clone().map_or(Trust::Host, Trust::File);
        options = options.tls_client_config(client_config(&trust)?);
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(file) = &settings.credentials {
        let read = options.credentials_file(file).await;
        options =
            read.map_err(|error| format!("engine-credentials: {}: {error}", file.display()))?;
    }
    let client = options
        .connect(servers)
        .await
        .map_err(|error| format!("engine: {}: {}", settings.servers.join(","), chain(&error)))?;
    is_up.store(true, Ordering::Relaxed);
    Ok(Link { client, events })
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

async fn call(client: &Client, subject: &str, body: &Value) -> Result<Answer, String> {
    let subject = format!("$JS.API.{subject}");
    let asked = client.request(subject, Bytes::from(body.to_string()));
    let answer = asked.await.map_err(|error| match error.kind() {
        async_nats::RequestErrorKind::NoResponders => {
            "engine: no JetStream there: start nats-server with -js".to_owned()
        }
        _ => format!("engine: {}", chain(&error)),
    })?;
    serde_json::from_slice(&answer.payload).map_err(|error| format!("engine: {error}"))
}

/// The settings of the stream that a cluster needs.
fn wanted(settings: &Settings, names: &Names) -> Value {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "subjects": [names.all_stored()],
        "retention": "limits",
        "discard": "old",
        "storage": if settings.in_files { "file" } else { "memory" },
        "num_replicas": settings.replicas,
        "max_msgs_per_subject": settings.history,
        "max_age": ns(settings.history_ttl),
        "max_bytes": settings.bytes,
        "duplicate_window": ns(KNOWN.min(settings.history_ttl)),
        "allow_direct": true,
        "republish": { "src": names.all_stored(), "dest": names.all_live() },
    })
}

/// The first setting in which a stream differs from the one that is wanted.
fn difference(stream: &str, have: &Value, want: &Value) -> Option<String> {
    let want = want.as_object()?;
    want.iter().find_map(|(name, value)| {
        let other = match &have[name] {
            Value::Object(object) if name == "republish" => {
                json!({ "src": object.get("src"), "dest": object.get("dest") })
            }
            other => other.clone(),
        };
        (other != *value).then(|| {
            format!(
                "engine: the stream {stream} has {name} {other}, and the settings of this node \
                 ask for {value}: change one of them (nats stream edit, or the setting)"
            )
        })
    })
}

/// Finds the stream of a cluster; `None`: there is none.
///
/// # Errors
/// The engine does not answer, or has another stream in its place, or one with other settings.
pub(crate) async fn find(
    client: &Client,
    settings: &Settings,
    names: &Names,
) -> Result<Option<Stream>, String> {
    let listed = call(client, "STREAM.NAMES", &json!({ "subject": names.all_stored() })).await?;
    if let Some(fault) = listed.error {
        return Err(format!("engine: {}", fault.description));
    }
    let Some(name) = listed.streams.unwrap_or_default().into_iter().next() else {
        return Ok(None);
    };
    let Some(epoch) = names.epoch_of(&name) else {
        return Err(format!(
            "engine: the stream {name} has the subjects {}, and is none of Stentor's: \
             choose another engine-cluster",
            names.all_stored()
        ));
    };
    let info = call(client, &format!("STREAM.INFO.{name}"), &json!({})).await?;
    if let Some(fault) = info.error {
        return Err(format!("engine: {}", fault.description));
    }
    let have = info.config.unwrap_or_default();
    match difference(&name, &have, &wanted(settings, names)) {
        Some(difference) => Err(difference),
        None => Ok(Some(Stream { name: name.into(), epoch })),
    }
}

/// Creates the stream of a cluster. Returns `false` if another node was faster.
///
/// # Errors
/// The engine does not create it.
async fn create(client: &Client, settings: &Settings, names: &Names) -> Result<bool, String> {
    let name = names.stream(fresh_seed().1);
    let mut config = wanted(settings, names);
    config["name"] = json!(name);
    let created = call(client, &format!("STREAM.CREATE.{name}"), &config).await?;
    match created.error {
        None => Ok(true),
        Some(fault) if fault.err_code == OVERLAPS => Ok(false),
        Some(fault) => Err(format!("engine: {}", fault.description)),
    }
}

/// Finds the stream of a cluster, or creates it.
///
/// # Errors
/// As of [`find`], or the engine does not create it.
pub(crate) async fn find_or_create(
    client: &Client,
    settings: &Settings,
    names: &Names,
) -> Result<(Stream, bool), String> {
    if let Some(stream) = find(client, settings, names).await? {
        return Ok((stream, false));
    }
    let is_new = create(client, settings, names).await?;
    let found = find(client, settings, names).await?;
    found.map(|stream| (stream, is_new)).ok_or_else(|| "engine: the stream is gone".into())
}

/// Returns the first and the last publication of the stream.
pub(crate) async fn state(client: &Client, stream: &Stream) -> Result<State, String> {
    let info = call(client, &format!("STREAM.INFO.{}", stream.name), &json!({})).await?;
    match (info.error, info.state) {
        (None, Some(state)) => Ok(state),
        (Some(fault), _) => Err(format!("engine: {}", fault.description)),
        (None, None) => Err("engine: a stream without a state".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_other_settings_is_named_with_the_first_of_them() {
        let (settings, names) = (Settings::default(), Names::new("blue"));
        let want = wanted(&settings, &names);
        let mut have = want.clone();
        have["republish"]["headers_only"] = json!(false);
        have["name"] = json!("stentor_blue_00000001");
        assert_eq!(difference("s", &have, &want), None);
        have["max_age"] = json!(60_000_000_000_u64);
        let text = difference("s", &have, &want).unwrap();
        assert!(text.contains("max_age 60000000000") && text.contains("300000000000"), "{text}");
    }
}
