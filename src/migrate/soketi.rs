//! `stentor config from-soketi [FILE]`: the settings of soketi, from its JSON, from a file of
//! variables or from the environment, become a `stentor.toml`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::found::Found;
use super::{BYTES_MAX, Sheet, Translated};
use crate::config::apps::webhook::EVENTS;

/// Its variables, with and without `SOKETI_` in front, and the keys that they set. Those of an app
/// are of the first one.
const VARIABLES: [(&str, &str); 34] = [
    ("HOST", "host"),
    ("PORT", "port"),
    ("PATH_PREFIX", "pathPrefix"),
    ("DEBUG", "debug"),
    ("ADAPTER_DRIVER", "adapter.driver"),
    ("APP_MANAGER_DRIVER", "appManager.driver"),
    ("CACHE_DRIVER", "cache.driver"),
    ("QUEUE_DRIVER", "queue.driver"),
    ("RATE_LIMITER_DRIVER", "rateLimiter.driver"),
    ("CHANNEL_LIMITS_MAX_NAME_LENGTH", "channelLimits.maxNameLength"),
    ("EVENT_MAX_BATCH_SIZE", "eventLimits.maxBatchSize"),
    ("EVENT_MAX_CHANNELS_AT_ONCE", "eventLimits.maxChannelsAtOnce"),
    ("EVENT_MAX_NAME_LENGTH", "eventLimits.maxNameLength"),
    ("EVENT_MAX_SIZE_IN_KB", "eventLimits.maxPayloadInKb"),
    ("PRESENCE_MAX_MEMBER_SIZE", "presence.maxMemberSizeInKb"),
    ("PRESENCE_MAX_MEMBERS", "presence.maxMembersPerChannel"),
    ("METRICS_ENABLED", "metrics.enabled"),
    ("METRICS_SERVER_PORT", "metrics.port"),
    ("SHUTDOWN_GRACE_PERIOD", "shutdownGracePeriod"),
    ("SSL_CERT", "ssl.certPath"),
    ("SSL_KEY", "ssl.keyPath"),
    ("SSL_PASS", "ssl.passphrase"),
    ("DEFAULT_APP_ID", "app.id"),
    ("DEFAULT_APP_KEY", "app.key"),
    ("DEFAULT_APP_SECRET", "app.secret"),
    ("DEFAULT_APP_MAX_CONNS", "app.maxConnections"),
    ("DEFAULT_APP_MAX_CONNECTIONS", "app.maxConnections"),
    ("DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "app.enableClientMessages"),
    ("DEFAULT_APP_ENABLED", "app.enabled"),
    ("DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC", "app.maxBackendEventsPerSecond"),
    ("DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC", "app.maxClientEventsPerSecond"),
    ("DEFAULT_APP_MAX_READ_REQ_PER_SEC", "app.maxReadRequestsPerSecond"),
    ("DEFAULT_APP_USER_AUTHENTICATION", "app.enableUserAuthentication"),
    ("DEFAULT_APP_WEBHOOKS", "app.webhooks"),
];

const PREFIX: &str = "SOKETI_";

/// The place of the apps in its JSON.
const APPS: &str = "appManager.array.apps";

/// The most apps that are looked for.
const APPS_MAX: usize = 1000;

/// The largest size of an event or of a member that is translated.
const KIBIBYTES_MAX: f64 = 1_048_576.0;

/// Translates a file, or the environment if there is none.
///
/// # Errors
/// It cannot be read, with the reason in one line.
pub(crate) fn translate(
    path: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Translated, String> {
    let Some(path) = path else {
        let text = |text: OsString| text.into_string().ok();
        let pairs = environment.filter_map(|(name, value)| text(name).zip(text(value)));
        // Without the prefix they may be anybody's.
        let ours = pairs.filter(|(name, _)| name.starts_with(PREFIX));
        return Ok(translate_value(&of_variables(ours)));
    };
    let named = |why: String| format!("{}: {why}", path.display());
    let text =
        crate::config::file::text_in(path, BYTES_MAX).map_err(|why| named(why.to_string()))?;
    let is_json = path.extension().is_some_and(|kind| kind == "json");
    if !is_json {
        return Ok(translate_value(&of_variables(lines(&text))));
    }
    let value: Value = serde_json::from_str(&text).map_err(|why| named(why.to_string()))?;
    if !value.is_object() {
        return Err(named("it is not an object".into()));
    }
    Ok(translate_value(&value))
}

/// The variables in a file such as `.env`.
fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let bare = ['"', '\'']
            .iter()
            .find_map(|mark| value.strip_prefix(*mark).and_then(|value| value.strip_suffix(*mark)));
        Some((name.trim().to_owned(), bare.unwrap_or(value).to_owned()))
    })
}

/// The JSON that variables stand for.
fn of_variables(variables: impl Iterator<Item = (String, String)>) -> Value {
    let (mut all, mut app) = (Map::new(), Map::new());
    for (name, text) in variables {
        let short = name.strip_prefix(PREFIX).unwrap_or(&name);
        let known = VARIABLES.iter().find(|(known, _)| *known == short).map(|(_, key)| *key);
        let value = match known {
            // A name or a secret stays as it is, also where it looks like a number or a switch.
            Some("app.id" | "app.key" | "app.secret") => Value::String(text),
            _ => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
        match (known, known.and_then(|key| key.strip_prefix("app."))) {
            (_, Some(key)) => drop(app.insert(key.to_owned(), value)),
            (Some(key), None) => drop(all.insert(key.to_owned(), value)),
            (None, None) => drop(all.insert(name, value)),
        }
    }
    if !app.is_empty() {
        all.insert(APPS.to_owned(), json!([app]));
    }
    all.into()
}

fn translate_value(value: &Value) -> Translated {
    let (mut found, mut sheet) = (Found::of(value), Sheet::new("from-soketi"));
    server(&mut found, &mut sheet);
    let limits = limits(&mut found, &mut sheet);
    apps(&mut found, &mut sheet, &limits);
    for key in found.rest() {
        let is_tls = key.starts_with("ssl.");
        let text = if is_tls { "set up TLS anew, here or in front" } else { "no counterpart" };
        sheet.note(&key, text);
    }
    Translated { file: sheet.write(), notes: sheet.notes }
}

fn server(found: &mut Found, sheet: &mut Sheet) {
    let host = found.text("host").unwrap_or_else(|| "0.0.0.0".into());
    let port = found.number("port").unwrap_or(6001);
    sheet.set("listen", format!("{host}:{port}"), "port");
    let prefix = found.text("pathPrefix").unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() {
        sheet.set("path-prefix", format!("/{prefix}"), "pathPrefix");
    }
    if let Some(port) = found.number("metrics.port") {
        sheet.set("admin", format!("127.0.0.1:{port}"), "metrics.port");
    }
    if found.switch("metrics.enabled") {
        sheet.note("metrics.enabled", "/metrics is at the admin address, which is of this host");
    }
    if let Some(ms) = found.number("shutdownGracePeriod") {
        sheet.set("drain-timeout", format!("{ms}ms"), "shutdownGracePeriod");
    }
    if found.switch("debug") {
        sheet.set("log-level", "debug", "debug");
    }
    // Its clients speak Pusher's protocol and no other.
    sheet.set_rule("subscribe", "nobody".into());
    sheet.set_rule("publish", "nobody".into());
    sheet.note("[channels]", "clients of other protocols are let into no channel: as before");
}

/// Keys of an app that soketi has for all of them.
fn limits(found: &mut Found, sheet: &mut Sheet) -> Vec<(&'static str, i64)> {
    // Its default is ten times Pusher's.
    let event_bytes = kibibytes(found, sheet, "eventLimits.maxPayloadInKb").unwrap_or(100 << 10);
    if event_bytes > 48 << 10 {
        // An event and what stands around it.
        sheet.set("message-bytes", event_bytes + (16 << 10), "eventLimits.maxPayloadInKb");
    }
    let mut limits = vec![("event_bytes", event_bytes)];
    for (key, name, default) in [
        ("channelLimits.maxNameLength", "channel_name_bytes", Some(200)),
        ("eventLimits.maxChannelsAtOnce", "channels_per_event", None),
        ("eventLimits.maxNameLength", "event_name_bytes", None),
        ("eventLimits.maxBatchSize", "events_per_batch", None),
        ("presence.maxMembersPerChannel", "presence_members", None),
    ] {
        let value = found.number(key).or(default);
        limits.extend(value.map(|value| (name, value)));
    }
    let member_bytes = kibibytes(found, sheet, "presence.maxMemberSizeInKb");
    limits.extend(member_bytes.map(|value| ("presence_member_bytes", value)));
    limits
}

/// Takes a number of kibibytes, in bytes. One that is no size is noted.
fn kibibytes(found: &mut Found, sheet: &mut Sheet, key: &str) -> Option<i64> {
    let value = found.take(key)?;
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let Some(number) = number.filter(|number| (0.0..=KIBIBYTES_MAX).contains(number)) else {
        sheet.note(key, &format!("it is no size up to {KIBIBYTES_MAX} KiB: the default is taken"));
        return None;
    };
    // Its sizes may have fractions.
    #[expect(clippy::cast_possible_truncation, reason = "the number is between 0 and 2^31")]
    Some((number * 1024.0).ceil() as i64)
}

fn apps(found: &mut Found, sheet: &mut Sheet, limits: &[(&'static str, i64)]) {
    match found.text("appManager.driver").as_deref() {
        None | Some("array") => {}
        Some(_) => sheet.note(
            "appManager.driver",
            "apps are in the file here: add an [[app]] for each that the database has",
        ),
    }
    let count = (0..APPS_MAX).take_while(|at| found.has_below(&format!("{APPS}[{at}]"))).count();
    if count == 0 {
        let text = "no app is declared, and soketi's own one has a secret that is known to all: \
                    add an [[app]]";
        sheet.note(APPS, text);
    }
    for at in 0..count {
        app(found, sheet, &format!("{APPS}[{at}]"), limits);
    }
}

/// Names of keys as databases have them, for those of its JSON.
fn aliases(key: &str) -> [String; 3] {
    let mut snake = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    let pascal = key[..1].to_ascii_uppercase() + &key[1..];
    [key.to_owned(), pascal, snake.replace("per_second", "per_sec").replace("requests", "req")]
}

fn app(found: &mut Found, sheet: &mut Sheet, at: &str, limits: &[(&'static str, i64)]) {
    let paths = |key: &str| aliases(key).map(|alias| format!("{at}.{alias}"));
    let text = |found: &mut Found, key: &str| {
        let shown = paths(key).iter().find_map(|path| found.name(path));
        let named = format!("{at}.App{}{}", key[..1].to_ascii_uppercase(), &key[1..]);
        shown.or_else(|| found.name(&named))
    };
    let number =
        |found: &mut Found, key: &str| paths(key).iter().find_map(|path| found.number(path));
    let switch =
        |found: &mut Found, key: &str| paths(key).iter().find_map(|path| found.maybe_switch(path));
    let mut lines: Vec<(&'static str, toml::Value)> = Vec::new();
    // No default: soketi's own secret is known to all.
    for key in ["id", "key", "secret"] {
        match text(found, key) {
            Some(value) => lines.push((key, value.into())),
            None => sheet.note(&format!("{at}.{key}"), "it is missing or no text: add it"),
        }
    }
    if switch(found, "enabled") == Some(false) {
        lines.push(("enabled", false.into()));
    }
    let has_client_events = switch(found, "enableClientMessages").unwrap_or(false);
    lines.push(("client_events", has_client_events.into()));
    if let Some(clients) = number(found, "maxConnections").filter(|count| *count >= 0) {
        lines.push(("max_clients", clients.into()));
    }
    // Without a limit there, the highest one here.
    let events = number(found, "maxClientEventsPerSecond").filter(|count| *count > 0);
    lines.push(("client_events_per_second", events.unwrap_or(1 << 24).into()));
    for key in ["maxBackendEventsPerSecond", "maxReadRequestsPerSecond"] {
        if number(found, key).is_some_and(|count| count >= 0) {
            sheet.note(&format!("{at}.{key}"), "no counterpart: requests at once are bounded");
        }
    }
    // Users may always sign in here.
    let _ = switch(found, "enableUserAuthentication");
    lines.extend(limits.iter().map(|(name, value)| (*name, toml::Value::from(*value))));
    sheet.put_table("[[app]]", &lines);
    webhooks(found, sheet, at);
}

fn webhooks(found: &mut Found, sheet: &mut Sheet, at: &str) {
    // In a variable and in a database they are JSON in a text.
    for path in aliases("webhooks").map(|alias| format!("{at}.{alias}")) {
        let text = found.text(&path).unwrap_or_default();
        if let Ok(Value::Array(list)) = serde_json::from_str(&text) {
            found.put_below(&path, &list.into());
        }
        // An empty list has nothing below it.
        if found.take(&path).is_some_and(|list| list != json!([])) {
            sheet.note(&path, "it is no list of webhooks");
        }
        let mut nth = 0;
        while found.has_below(&format!("{path}[{nth}]")) {
            webhook(found, sheet, &format!("{path}[{nth}]"));
            nth += 1;
        }
    }
}

fn webhook(found: &mut Found, sheet: &mut Sheet, at: &str) {
    let wanted = found.texts(&format!("{at}.event_types"));
    let (known, other): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|name| EVENTS.contains(&name.as_str()));
    for name in other {
        sheet.note(&format!("{at}.event_types"), &format!("{name} is told by no webhook here"));
    }
    let headers = found.texts_below(&format!("{at}.headers"));
    let prefix = found.text(&format!("{at}.filter.channel_name_starts_with"));
    let suffix = found.text(&format!("{at}.filter.channel_name_ends_with"));
    let Some(url) = found.text(&format!("{at}.url")) else {
        return sheet.note(at, "it has no url: functions are not called here");
    };
    let mut lines: Vec<(&'static str, toml::Value)> =
        vec![("url", url.into()), ("events", known.join(",").into())];
    lines.extend(prefix.map(|text| ("channel_prefix", text.into())));
    lines.extend(suffix.map(|text| ("channel_suffix", text.into())));
    if !headers.is_empty() {
        let headers = headers.iter().fold(String::new(), |mut all, (name, value)| {
            let _ = write!(all, "{}{name}: {value}", if all.is_empty() { "" } else { ", " });
            all
        });
        lines.push(("headers", headers.into()));
    }
    sheet.put_table("[[app.webhook]]", &lines);
}

#[cfg(test)]
#[path = "soketi_tests.rs"]
mod tests;
