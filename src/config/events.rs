//! The settings of events: what the application is told of, where, and how much may wait.

use std::time::Duration;

use hyper::Uri;
use stentor_shards::NewsKinds;
use stentor_units::time::show as show_time;

use super::hooks::endpoint;
use super::keys::{Key, number, time};
use super::units::{names_of, unless_empty};

/// The heading of the flags.
pub(crate) const GROUP: &str = "Events";

/// The names of all events.
pub(crate) const NAMES: [&str; 6] = [
    "connected",
    "disconnected",
    "subscribed",
    "unsubscribed",
    "channel_occupied",
    "channel_vacated",
];

/// The settings of events, as they were set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Events {
    /// Where they are posted to; `None`: nobody is told.
    pub(crate) url: Option<Uri>,
    /// The secret that signs what is posted.
    pub(crate) secret: Option<String>,
    /// The names of those that are told.
    pub(crate) wanted: Vec<&'static str>,
    /// The most events of one post.
    pub(crate) batch: usize,
    /// The longest wait for a post to become full.
    pub(crate) delay: Duration,
    /// A channel that is in use again within this time was not vacated.
    pub(crate) debounce: Duration,
    /// The most events that wait.
    pub(crate) queue: usize,
    /// The longest that one post may take.
    pub(crate) timeout: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            wanted: vec!["disconnected", "unsubscribed", "channel_occupied", "channel_vacated"],
            batch: 100,
            delay: Duration::from_millis(100),
            debounce: Duration::from_secs(3),
            queue: 65_536,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Events {
    /// The news that shards tell.
    pub(super) fn kinds(&self) -> NewsKinds {
        let wants = |names: [&str; 2]| {
            self.url.is_some() && names.iter().any(|name| self.wanted.contains(name))
        };
        NewsKinds {
            clients: wants(["connected", "disconnected"]),
            subscriptions: wants(["subscribed", "unsubscribed"]),
            channels: wants(["channel_occupied", "channel_vacated"]),
        }
    }
}

/// One row of the table.
macro_rules! row {
    ($name:literal, $value:literal, $help:literal, $secret:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: GROUP,
            value: $value,
            help: $help,
            secret: $secret,
            get: $get,
            set: |s, text| {
                let set: fn(&mut Events, &str) -> Result<(), String> = $set;
                set(&mut s.events, text)
            },
        }
    };
}

/// The settings of events, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    row!(
        "events-url",
        "URL",
        "Endpoint to which events of clients and channels are posted; unset = none are told",
        false,
        |s| s.events.url.as_ref().map(ToString::to_string).unwrap_or_default(),
        |e, text| {
            e.url = if text.is_empty() { None } else { Some(endpoint(text)?) };
            Ok(())
        }
    ),
    row!(
        "events",
        "LIST",
        "Events that are told: connected, disconnected, subscribed, unsubscribed, \
         channel_occupied, channel_vacated",
        false,
        |s| s.events.wanted.join(","),
        |e, text| {
            e.wanted = names_of(NAMES, text)?;
            Ok(())
        }
    ),
    row!(
        "events-secret",
        "SECRET",
        "Secret for X-Stentor-Signature, the HMAC-SHA256 of each post in hex",
        true,
        |s| s.events.secret.clone().unwrap_or_default(),
        |e, text| {
            e.secret = unless_empty(text);
            Ok(())
        }
    ),
    row!(
        "events-batch",
        "N",
        "Most events of one post",
        false,
        |s| s.events.batch.to_string(),
        |e, text| {
            e.batch = number(text, 1, 10_000)?;
            Ok(())
        }
    ),
    row!(
        "events-delay",
        "TIME",
        "Longest wait for a post to become full",
        false,
        |s| show_time(s.events.delay),
        |e, text| {
            e.delay = time(text, Duration::ZERO, Duration::from_mins(1))?;
            Ok(())
        }
    ),
    row!(
        "events-debounce",
        "TIME",
        "A channel that is in use again within this time causes no event",
        false,
        |s| show_time(s.events.debounce),
        |e, text| {
            e.debounce = time(text, Duration::ZERO, Duration::from_hours(1))?;
            Ok(())
        }
    ),
    row!(
        "events-queue",
        "N",
        "Most events that wait; further ones are dropped and counted",
        false,
        |s| s.events.queue.to_string(),
        |e, text| {
            e.queue = number(text, 1, 1 << 24)?;
            Ok(())
        }
    ),
    row!(
        "events-timeout",
        "TIME",
        "Longest that one post may take before it is tried again",
        false,
        |s| show_time(s.events.timeout),
        |e, text| {
            e.timeout = time(text, Duration::from_millis(10), Duration::from_mins(5))?;
            Ok(())
        }
    ),
];
