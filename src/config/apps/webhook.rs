//! The tables `[[app.webhook]]`: where the backend of an app is told what happens, and of what.

use std::fmt::Write as _;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use stentor_shards::AppNews;
use toml::de::{DeTable, DeValue};

use crate::config::file::{Fault, Value, text_of};
use crate::config::hint;
use crate::config::hooks::{endpoint, fixed, show_fixed};
use crate::config::units::names_of;

/// The most webhooks of one app.
pub(super) const WEBHOOKS_MAX: usize = 10;

/// The keys of such a table.
const NAMES: [&str; 5] = ["url", "events", "channel-prefix", "channel-suffix", "headers"];

/// The names of all events of webhooks.
pub(crate) const EVENTS: [&str; 7] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "cache_miss",
    "client_event",
    "subscription_count",
];

/// The number of those in front that are told if a webhook lists none: the others come with every
/// message or every subscription.
const USUAL: usize = 5;

/// An endpoint that is told what happens in the channels of an app.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Webhook {
    pub(crate) url: Uri,
    /// The names of the events that it is told.
    pub(crate) events: Vec<&'static str>,
    /// It is told of channels whose names begin and end so.
    pub(crate) channel_prefix: String,
    pub(crate) channel_suffix: String,
    /// The headers that every post has.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Returns the news that the shards must tell for webhooks.
pub(super) fn news_of(webhooks: &[Webhook]) -> AppNews {
    let wants = |names: &[&str]| {
        webhooks.iter().any(|webhook| names.iter().any(|name| webhook.events.contains(name)))
    };
    AppNews {
        channels: wants(&["channel_occupied", "channel_vacated"]),
        members: wants(&["member_added", "member_removed"]),
        client_events: wants(&["client_event"]),
        cache_misses: wants(&["cache_miss"]),
        counts: wants(&["subscription_count"]),
    }
}

/// Reads the webhooks of an app.
pub(super) fn read(value: &Value<'_>) -> Result<Vec<Webhook>, Fault> {
    let at = value.span().start;
    let DeValue::Array(list) = value.get_ref() else {
        return Err((at, "a webhook is one of several: write [[app.webhook]]".into()));
    };
    if list.len() > WEBHOOKS_MAX {
        return Err((at, format!("{} webhooks are more than {WEBHOOKS_MAX}", list.len())));
    }
    list.iter().map(one).collect()
}

fn one(entry: &Value<'_>) -> Result<Webhook, Fault> {
    let at = entry.span().start;
    let DeValue::Table(table) = entry.get_ref() else {
        return Err((at, "a webhook is a table: write [[app.webhook]] above its keys".into()));
    };
    let mut url = None;
    let mut webhook = Webhook {
        url: Uri::default(),
        events: EVENTS[..USUAL].to_vec(),
        channel_prefix: String::new(),
        channel_suffix: String::new(),
        headers: Vec::new(),
    };
    for (name, value) in sorted(table) {
        let at = value.span().start;
        let wanted = name.get_ref().replace('_', "-");
        let text = text_of(value.get_ref());
        let set = text.map_err(|why| format!("{wanted}: {why}")).and_then(|text| {
            match wanted.as_str() {
                "url" => endpoint(&text).map(|read| url = Some(read)),
                "events" => names_of(EVENTS, &text).map(|read| webhook.events = read),
                "channel-prefix" => {
                    webhook.channel_prefix = text;
                    Ok(())
                }
                "channel-suffix" => {
                    webhook.channel_suffix = text;
                    Ok(())
                }
                "headers" => fixed(&text).map(|read| webhook.headers = read),
                _ => return Err(String::new()),
            }
            .map_err(|why| format!("{wanted}: {why}"))
        });
        set.map_err(|why| match why.as_str() {
            "" => (name.span().start, unknown(name.get_ref(), &wanted)),
            _ => (at, format!("webhook: {why}")),
        })?;
    }
    webhook.url = url.ok_or_else(|| (at, "a webhook needs url".to_owned()))?;
    Ok(webhook)
}

type Entry<'a, 'b> = (&'a crate::config::file::Word<'b>, &'a Value<'b>);

/// The entries of a table in the order of the file, so that the first mistake is told.
fn sorted<'a, 'b>(table: &'a DeTable<'b>) -> Vec<Entry<'a, 'b>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn unknown(name: &str, wanted: &str) -> String {
    let like = |known: &str| strsim::jaro_winkler(known, wanted);
    let near = NAMES.into_iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    let near = near.filter(|known| like(known) > 0.8).map(|known| known.replace('-', "_"));
    format!("webhook: unknown key {name:?}{}", hint(&near.unwrap_or_default()))
}

/// Shows a webhook as a table, without the values of its headers.
pub(crate) fn show(out: &mut String, webhook: &Webhook) {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let (url, events) = (webhook.url.to_string(), webhook.events.join(","));
    let _ = write!(out, "\n[[app.webhook]]\nurl = {}\nevents = {}\n", text(&url), text(&events));
    let headers = show_fixed(&webhook.headers);
    for (name, value) in [
        ("channel_prefix", &webhook.channel_prefix),
        ("channel_suffix", &webhook.channel_suffix),
        ("headers", &headers),
    ] {
        if !value.is_empty() {
            let _ = writeln!(out, "{name} = {}", text(value));
        }
    }
}

/// The keys of a webhook with their defaults and meanings, for the page of settings.
pub(crate) const HELP: [(&str, &str, &str); 5] = [
    ("url", "", "Endpoint to which events are posted, signed with the secret of the app"),
    (
        "events",
        "channel_occupied,channel_vacated,member_added,member_removed,cache_miss",
        "Events that are told: these, client_event, subscription_count",
    ),
    ("channel_prefix", "", "Only channels whose names begin so"),
    ("channel_suffix", "", "Only channels whose names end so"),
    ("headers", "", "Headers of every post: \"NAME: VALUE, NAME: VALUE\""),
];
