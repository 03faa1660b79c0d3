//! The settings of apps of Pusher's protocol: the keys of `[[app]]`, the flag for the first minute,
//! and the checks of all apps together.

mod table;
pub(crate) mod webhook;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(any(test, fuzzing))]
use stentor_shards::Secret;
use stentor_shards::{App, AppLimits, Config, Rules, check_app_name};
use stentor_units::quantity::show_size;
use stentor_units::time::show as show_time;

use super::keys::{Key, number, show_bytes, size, time};
use super::peers::{origins, show_origins};
use super::units::read_switch;

pub(super) use table::lay_apps;
use webhook::Webhook;

/// The heading of the flag.
pub(crate) const GROUP: &str = "Apps of Pusher's protocol";

const GIB: usize = 1 << 30;
const WINDOW_MAX: Duration = Duration::from_hours(24);

/// A secret that is not to be shown, in its place.
pub(super) const HIDDEN: &str = "***";

/// The apps as they are set, before they are checked together.
#[derive(Debug, Clone)]
pub(crate) struct Apps {
    /// Those of the flag or its variable.
    pub(crate) named: Vec<App>,
    /// Those of the file.
    pub(crate) declared: Vec<Declared>,
    /// The time for which a post to a webhook is tried again.
    pub(crate) webhook_retry: Duration,
}

impl Default for Apps {
    fn default() -> Self {
        let webhook_retry = Duration::from_mins(5);
        Self { named: Vec::new(), declared: Vec::new(), webhook_retry }
    }
}

/// An app of the file, and the place where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) app: App,
    /// The file that its secret was read from.
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) place: String,
}

/// One key of `[[app]]`. Its id, key and secret are read apart.
#[derive(Debug)]
pub(crate) struct AppKey {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) get: fn(&App) -> String,
    pub(super) set: fn(&mut App, &str) -> Result<(), String>,
}

macro_rules! switch {
    ($name:literal, $field:ident, $help:literal) => {
        AppKey {
            name: $name,
            help: $help,
            get: |app| app.$field.to_string(),
            set: |app, text| {
                app.$field = read_switch(text)?;
                Ok(())
            },
        }
    };
}

macro_rules! limit {
    ($name:literal, $field:ident, $min:literal to $max:expr, $help:literal) => {
        AppKey {
            name: $name,
            help: $help,
            get: |app| app.limits.$field.to_string(),
            set: |app, text| {
                app.limits.$field = number(text, $min, $max)?;
                Ok(())
            },
        }
    };
    ($name:literal, $field:ident, bytes to $max:expr, $help:literal) => {
        AppKey {
            name: $name,
            help: $help,
            get: |app| show_bytes(app.limits.$field),
            set: |app, text| {
                app.limits.$field = size(text, 1, $max)?;
                Ok(())
            },
        }
    };
}

/// The keys of an app beside its id, key and secret, in the order in which people read them.
pub(crate) const APP_KEYS: &[AppKey] = &[
    AppKey {
        name: "namespace",
        help: "Declared namespace that its channels are in, for clients of other protocols too; \
               \"\": one of its own",
        get: |app| if is_apart(app) { String::new() } else { app.namespace.to_string() },
        set: |app, text| {
            let apart = App::new(&app.id, &app.key, "").namespace;
            app.namespace = if text.is_empty() { apart } else { text.into() };
            Ok(())
        },
    },
    switch!("enabled", enabled, "Serve its clients and its backend"),
    switch!("client-events", client_events, "Its clients may send events to each other"),
    switch!(
        "subscription-count",
        subscription_count,
        "Its clients are told how many subscribers their channels have"
    ),
    switch!("watchlist", watchlist, "Its users may watch when others come and go"),
    AppKey {
        name: "allowed-origins",
        help: "Origins of its pages, as for the server; \"\": any",
        get: |app| app.origins.as_ref().map(show_origins).unwrap_or_default(),
        set: |app, text| {
            app.origins = if text.is_empty() { None } else { Some(origins(text)?) };
            Ok(())
        },
    },
    AppKey {
        name: "signature-window",
        help: "Time by which the clock of its backend may differ; a signed request can be \
               repeated for so long",
        get: |app| show_time(app.signature_window),
        set: |app, text| {
            app.signature_window = time(text, Duration::from_secs(1), WINDOW_MAX)?;
            Ok(())
        },
    },
    limit!("max-clients", clients, 0 to u32::MAX, "Most clients of the app; 0 = as for the server"),
    AppKey {
        name: "channels-per-client",
        help: "Most channels of one client; \"\": as for the server",
        get: |app| app.limits.channels_per_client.map(|n| n.to_string()).unwrap_or_default(),
        set: |app, text| {
            let read = |text| number(text, 1, 1 << 16);
            app.limits.channels_per_client = if text.is_empty() { None } else { Some(read(text)?) };
            Ok(())
        },
    },
    limit!(
        "client-events-per-second",
        client_events_per_second,
        1 to 1 << 24,
        "Events a second that one client may send to others"
    ),
    limit!("event-bytes", event_bytes, bytes to GIB, "Most bytes of an event's data"),
    limit!("event-name-bytes", event_name_bytes, 1 to 1024, "Most bytes of an event's name"),
    limit!("channel-name-bytes", channel_name_bytes, 1 to 900, "Most bytes of a channel's name"),
    limit!("channels-per-event", channels_per_event, 1 to 10_000, "Most channels of one event"),
    limit!("events-per-batch", events_per_batch, 1 to 10_000, "Most events of one batch"),
    limit!("presence-members", presence_members, 1 to 10_000, "Most users of a presence channel"),
    limit!(
        "presence-member-bytes",
        presence_member_bytes,
        bytes to 1 << 20,
        "Most bytes of what a presence channel shows about a user"
    ),
    limit!("watched-users", watched_users, 1 to 10_000, "Most users that one user watches"),
];

/// The flag of the first minute, and the setting that all webhooks share.
pub(super) const KEYS: &[Key] = &[APP, RETRY];

const RETRY: Key = Key {
    name: "webhook-retry",
    group: GROUP,
    value: "TIME",
    help: "Time for which a post to a webhook is tried again; then its events are dropped",
    secret: false,
    get: |s| show_time(s.apps.webhook_retry),
    set: |s, text| {
        s.apps.webhook_retry = time(text, Duration::ZERO, Duration::from_hours(24))?;
        Ok(())
    },
};

const APP: Key = Key {
    name: "pusher-app",
    group: GROUP,
    value: "ID:KEY:SECRET",
    help: "App for clients and backends of Pusher's protocol; several with a space between; \
           [[app]] in the file can say more",
    // It is shown without the secret.
    secret: false,
    get: |s| {
        let shown = s.apps.named.iter().map(|app| format!("{}:{}:{HIDDEN}", app.id, app.key));
        shown.collect::<Vec<_>>().join(" ")
    },
    set: |s, text| {
        s.apps.named = text.split_whitespace().map(named).collect::<Result<_, _>>()?;
        Ok(())
    },
};

/// Reads `ID:KEY:SECRET`. The error does not quote it: the secret is in it.
fn named(text: &str) -> Result<App, String> {
    let mut parts = text.splitn(3, ':');
    let parts = parts.next().zip(parts.next()).zip(parts.next());
    let ((id, key), secret) = parts.ok_or("an app is ID:KEY:SECRET, with two colons")?;
    check_app_name(id).and_then(|()| check_app_name(key)).map_err(|fault| fault.to_string())?;
    check_secret(secret)?;
    Ok(App::new(id, key, secret))
}

/// Refuses secrets that nothing could be signed with.
pub(super) fn check_secret(secret: &str) -> Result<(), String> {
    if secret.is_empty() {
        return Err("the secret is empty".into());
    }
    if secret.chars().any(char::is_control) {
        return Err("the secret holds a control character".into());
    }
    Ok(())
}

/// Returns `true` if the channels of an app are in a namespace of its own.
fn is_apart(app: &App) -> bool {
    app.namespace.strip_prefix("app-").is_some_and(|id| *id == *app.id)
}

impl Apps {
    /// Puts the apps into the rules, and checks them against these and the server's bounds.
    pub(super) fn put_into(&self, rules: Rules, server: &Config) -> Result<Rules, String> {
        for Declared { app, place, .. } in &self.declared {
            let named = |why: String| format!("{place}: app {:?}: {why}", app.id);
            fit(app, server).map_err(named)?;
            let is_declared = rules.namespaces().iter().any(|known| known.name == app.namespace);
            if !is_apart(app) && !is_declared {
                return Err(named(format!(
                    "namespace {:?} is not declared: add [[namespace]] with name = {0:?}",
                    app.namespace
                )));
            }
        }
        let apps = self.all().cloned().map(|mut app| {
            // The flag cannot say more: those of the file fit already.
            app.limits.event_bytes = app.limits.event_bytes.min(server.message_bytes);
            app
        });
        let apps = apps.collect();
        rules.with_apps(apps).map_err(|fault| fault.to_string())
    }

    /// Returns all apps.
    pub(crate) fn all(&self) -> impl Iterator<Item = &App> {
        self.named.iter().chain(self.declared.iter().map(|declared| &declared.app))
    }

    /// Gives all apps the same secret, where the real ones do not matter.
    #[cfg(any(test, fuzzing))]
    pub(super) fn set_secrets(&mut self, secret: &str) {
        let declared = self.declared.iter_mut().map(|declared| &mut declared.app);
        for app in self.named.iter_mut().chain(declared) {
            app.secret = Secret::new(secret);
        }
    }
}

/// Checks an app against the bounds of the server.
fn fit(app: &App, server: &Config) -> Result<(), String> {
    let AppLimits { event_bytes, .. } = app.limits;
    if event_bytes > server.message_bytes {
        let show = |bytes: usize| show_size(bytes as u64);
        return Err(format!(
            "event-bytes is {} and message-bytes {}: the server's is the most",
            show(event_bytes),
            show(server.message_bytes)
        ));
    }
    Ok(())
}
