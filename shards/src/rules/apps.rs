//! The apps of Pusher's protocol: their keys and secrets, what each of them allows, and the
//! namespace that its channels lie in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;

use super::{AppTally, ChannelRules, NAMESPACE_END, Publish, Rules, RulesFault, Secret, Subscribe};
use crate::wire::name::{APP_USER_BYTES, is_app_user};
use crate::wire::origin::Origins;

/// The most apps of a server.
pub(super) const APPS_MAX: usize = 1000;

/// The most bytes of an app's id and of its key.
pub(super) const ID_BYTES_MAX: usize = 60;

/// The beginning of the names of channels that are for one user.
pub(crate) const OF_USER: &str = "#server-to-user-";

/// The mark between the id of an app and the name of its user.
pub(crate) const USER_END: char = '\u{1f}';

/// The time for which a cache channel keeps its last event, unless its namespace keeps more.
const CACHE_TTL: Duration = Duration::from_mins(30);

/// Room for one event of the largest size that an app may allow.
const CACHE_BYTES: usize = 1 << 30;

/// The bounds of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLimits {
    /// The most clients of the app on this server; zero: no limit beside the server's.
    pub clients: u32,
    /// The most channels of one client; `None`: as many as for the server.
    pub channels_per_client: Option<usize>,
    /// The most events a second that one client may send to others.
    pub client_events_per_second: u32,
    /// The most bytes of an event's data.
    pub event_bytes: usize,
    /// The most bytes of an event's name.
    pub event_name_bytes: usize,
    /// The most bytes of a channel's name.
    pub channel_name_bytes: usize,
    /// The most channels of one event.
    pub channels_per_event: usize,
    /// The most events of one batch.
    pub events_per_batch: usize,
    /// The most users of a presence channel.
    pub presence_members: usize,
    /// The most bytes of what a presence channel shows about a user.
    pub presence_member_bytes: usize,
    /// The most users that one user watches.
    pub watched_users: usize,
}

impl Default for AppLimits {
    fn default() -> Self {
        Self {
            clients: 0,
            channels_per_client: None,
            client_events_per_second: 10,
            event_bytes: 10 << 10,
            event_name_bytes: 200,
            channel_name_bytes: 164,
            channels_per_event: 100,
            events_per_batch: 10,
            presence_members: 100,
            presence_member_bytes: 2 << 10,
            watched_users: 100,
        }
    }
}

/// The news about an app's channels that its backend is told.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppNews {
    /// A channel has its first subscriber, or has lost its last one.
    pub channels: bool,
    /// A user has come to a presence channel, or has left it.
    pub members: bool,
    /// A client has sent an event to others.
    pub client_events: bool,
    /// A cache channel had nothing for a new subscriber.
    pub cache_misses: bool,
    /// The number of a channel's subscribers has changed.
    pub counts: bool,
}

impl AppNews {
    /// Returns `true` if the backend is told anything.
    pub fn any(self) -> bool {
        self.channels || self.members || self.client_events || self.cache_misses || self.counts
    }
}

/// One app.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The name that its backend calls it by.
    pub id: Arc<str>,
    /// The name that its clients call it by.
    pub key: Arc<str>,
    /// The secret that signs for it.
    pub secret: Secret,
    /// A channel `c` of the app is the channel `namespace:c` of the server.
    pub namespace: Arc<str>,
    /// `false`: its clients are refused, and its backend too.
    pub enabled: bool,
    /// `true`: its clients may send events to each other.
    pub client_events: bool,
    /// `true`: its clients are told the number of subscribers of their channels.
    pub subscription_count: bool,
    /// `true`: its users may watch when others come and go.
    pub watchlist: bool,
    /// The pages whose clients it takes; `None`: all, as no cookie lets anybody in.
    pub origins: Option<Origins>,
    /// The time by which the clock of its backend may differ.
    pub signature_window: Duration,
    /// Its bounds.
    pub limits: AppLimits,
    /// The news that its backend is told.
    pub news: AppNews,
    /// Its figures.
    pub tally: Arc<AppTally>,
}

impl App {
    /// An app with everything else at its default.
    pub fn new(id: &str, key: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            key: key.into(),
            secret: Secret::new(secret),
            namespace: format!("app-{id}").into(),
            enabled: true,
            client_events: true,
            subscription_count: false,
            watchlist: true,
            origins: None,
            signature_window: Duration::from_mins(10),
            limits: AppLimits::default(),
            news: AppNews::default(),
            tally: Arc::default(),
        }
    }

    /// Returns the server's name of one of the app's channels.
    pub fn channel(&self, name: &str) -> String {
        format!("{}{NAMESPACE_END}{name}", self.namespace)
    }

    /// Returns the server's name of one of the app's users. No client can name itself so.
    pub fn user(&self, name: &str) -> String {
        format!("{}{USER_END}{name}", self.id)
    }

    /// Returns the app's name of one of the server's channels; `None` for those of others.
    pub fn own_name<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&*self.namespace)?.strip_prefix(NAMESPACE_END)
    }

    /// Returns `true` if a text can be the name of one of its channels.
    pub fn is_channel(&self, name: &str) -> bool {
        check_channel_name(name, self.limits.channel_name_bytes).is_ok()
    }

    /// Returns the most bytes of the server's name of one of its channels.
    pub fn channel_bytes_max(&self) -> usize {
        let of_user = OF_USER.len() + APP_USER_BYTES;
        let own = self.limits.channel_name_bytes.max(of_user);
        self.namespace.len() + NAMESPACE_END.len_utf8() + own
    }
}

/// Checks the app's own name of a channel; the error names its fault.
pub(crate) fn check_channel_name(name: &str, bytes_max: usize) -> Result<(), &'static str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=@,.;:".contains(&byte);
    // Users have the names that their backend gives them, as long as those may be that sign in.
    if name.strip_prefix(OF_USER).is_some_and(is_app_user) {
        return Ok(());
    }
    if name.len() > bytes_max {
        return Err("the name of the channel is too long");
    }
    if name.is_empty() || !name.bytes().all(is_letter) {
        return Err("the name of a channel has one or more of the characters \
                    a-z A-Z 0-9 - _ = @ , . ; :");
    }
    Ok(())
}

/// Checks an app's id or its key.
///
/// # Errors
/// It could not stand in a path or in the name of a namespace.
pub fn check_app_name(name: &str) -> Result<(), RulesFault> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // A dot alone would be a step in a path.
    let is_step = name.bytes().all(|byte| byte == b'.');
    if name.len() > ID_BYTES_MAX || is_step || !name.bytes().all(is_allowed) {
        return Err(RulesFault::BadAppName(name.to_owned()));
    }
    Ok(())
}

/// Returns `true` for the channels of an app that keep their last event for new subscribers.
pub fn is_cache_channel(name: &str) -> bool {
    let kind = ["private-encrypted-", "private-", "presence-"];
    let rest = kind.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
    rest.starts_with("cache-")
}

/// Returns `true` for the channels of an app whose members are told who is there.
pub(crate) fn is_presence_channel(name: &str) -> bool {
    name.starts_with("presence-")
}

/// Returns `true` for the channels of an app that are for clients with a signature.
pub fn is_signed_channel(name: &str) -> bool {
    ["private-", "presence-", "#"].iter().any(|kind| name.starts_with(kind))
}

/// The rules of an app's channels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OfApp {
    app: Arc<App>,
    /// The rules of its channels, and those of its cache channels.
    rules: Arc<ChannelRules>,
    cached: Arc<ChannelRules>,
    /// Clients of other dialects cannot get in.
    is_apart: bool,
}

/// The changes of a channel that the clients of an app are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Nothing,
    /// Each user that comes and goes.
    Users,
    /// Their number.
    Number,
}

/// All apps of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Apps {
    ids: HashMap<Arc<str>, Arc<App>, RandomState>,
    keys: HashMap<Arc<str>, Arc<App>, RandomState>,
    namespaces: HashMap<Arc<str>, OfApp, RandomState>,
}

impl Apps {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the rules of a channel in the namespace of an app.
    pub(super) fn rules_of(&self, namespace: &str, channel: &str) -> Option<&Arc<ChannelRules>> {
        let of_app = self.namespaces.get(namespace)?;
        let is_cache = of_app.app.own_name(channel).is_some_and(is_cache_channel);
        Some(if is_cache { &of_app.cached } else { &of_app.rules })
    }

    /// Returns `true` if no client of another dialect may know the channels of a namespace.
    pub(super) fn is_apart(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|of_app| of_app.is_apart)
    }

    /// Returns what the clients of an app are told of each other in one of its channels.
    pub(super) fn company(&self, namespace: &str, channel: &str) -> Company {
        let Some(OfApp { app, .. }) = self.namespaces.get(namespace) else {
            return Company::Nothing;
        };
        match app.own_name(channel) {
            Some(name) if is_presence_channel(name) => Company::Users,
            Some(_) if app.subscription_count => Company::Number,
            _ => Company::Nothing,
        }
    }

    /// Returns `true` if a channel is for clients of its app with a signature, and for those of
    /// other dialects with a token.
    pub(super) fn is_signed(&self, namespace: &str, channel: &str) -> bool {
        let of_app = self.namespaces.get(namespace);
        of_app.and_then(|of| of.app.own_name(channel)).is_some_and(is_signed_channel)
    }
}

impl Rules {
    /// The same rules, with apps of Pusher's protocol. The channels of an app whose namespace is
    /// not declared are for its own clients alone.
    ///
    /// # Errors
    /// The first fault.
    pub fn with_apps(mut self, apps: Vec<App>) -> Result<Self, RulesFault> {
        if apps.len() > APPS_MAX {
            return Err(RulesFault::TooManyApps(apps.len()));
        }
        self.apps = Apps::default();
        for app in apps {
            check_app_name(&app.id)?;
            check_app_name(&app.key)?;
            super::check_namespace(&app.namespace)?;
            let app = Arc::new(app);
            let declared = self.namespaces.get(&app.namespace).map(Arc::clone);
            let is_apart = declared.is_none();
            let rules = declared.unwrap_or_else(|| Arc::new(rules_apart(&app.namespace)));
            let cached = Arc::new(rules_of_cache(&rules));
            let of_app = OfApp { app: Arc::clone(&app), rules, cached, is_apart };
            let (id, key) = (Arc::clone(&app.id), Arc::clone(&app.key));
            if self.apps.ids.insert(Arc::clone(&id), Arc::clone(&app)).is_some() {
                return Err(RulesFault::AppTwice("id", id.to_string()));
            }
            if self.apps.keys.insert(Arc::clone(&key), Arc::clone(&app)).is_some() {
                return Err(RulesFault::AppTwice("key", key.to_string()));
            }
            let namespace = Arc::clone(&app.namespace);
            if self.apps.namespaces.insert(Arc::clone(&namespace), of_app).is_some() {
                return Err(RulesFault::AppTwice("namespace", namespace.to_string()));
            }
        }
        Ok(self)
    }

    /// The same rules, whose apps go on with the figures that they have in other rules.
    #[must_use]
    pub fn continuing(&self, before: &Self) -> Self {
        let apps = self.apps().into_iter().map(|app| {
            let tally = &before.app(&app.id).unwrap_or(app).tally;
            App { tally: Arc::clone(tally), ..App::clone(app) }
        });
        let apps = apps.collect();
        self.clone().with_apps(apps).expect("nothing but figures has changed")
    }

    /// Returns the most bytes of a channel's name in any app; zero without apps.
    pub fn app_channel_bytes_max(&self) -> usize {
        self.apps.ids.values().map(|app| app.channel_bytes_max()).max().unwrap_or(0)
    }

    /// Finds an app by the key that its clients show.
    pub fn app_of_key(&self, key: &str) -> Option<&Arc<App>> {
        self.apps.keys.get(key)
    }

    /// Finds an app by the id that its backend calls it by.
    pub fn app(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.ids.get(id)
    }

    /// Finds the app that one of the server's channels belongs to.
    pub fn app_of_channel(&self, channel: &str) -> Option<&Arc<App>> {
        if self.apps.is_empty() {
            return None;
        }
        let (namespace, _) = channel.split_once(NAMESPACE_END)?;
        self.apps.namespaces.get(namespace).map(|of_app| &of_app.app)
    }

    /// Returns all apps, in the order of their ids.
    pub fn apps(&self) -> Vec<&Arc<App>> {
        let mut all: Vec<_> = self.apps.ids.values().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}

/// The rules of channels that only the clients of one app know.
fn rules_apart(namespace: &str) -> ChannelRules {
    let (subscribe, publish) = (Subscribe::Nobody, Publish::Nobody);
    ChannelRules { subscribe, publish, ..ChannelRules::open(namespace) }
}

/// The rules of cache channels, which keep an event at least.
fn rules_of_cache(rules: &ChannelRules) -> ChannelRules {
    let mut rules = rules.clone();
    if !rules.history.is_on() {
        rules.history.size = 1;
        rules.history.ttl = CACHE_TTL;
        rules.history.bytes = CACHE_BYTES;
    }
    rules
}

#[cfg(test)]
#[path = "apps_tests.rs"]
mod tests;
