//! Rules of channels as settings: the keys of `[channels]` and `[[namespace]]`, those of them that
//! are flags, and the checks of all of them together.

use std::sync::Arc;
use std::time::Duration;

use stentor_shards::{
    ChannelRules, Compression, Config, Delta, Hook, Marks, Publish, Rules, SlowClients, Subscribe,
};
use stentor_units::quantity::show_size;
use stentor_units::time::show as show_time;

use super::Settings;
use super::hooks::{Hooks, read_hook, show_hook};
use super::keys::{Key, choice, number, show_bytes, size, time};
use super::units::read_switch;

/// The heading of the flags.
pub(crate) const GROUP: &str = "Channels without a namespace";

const GIB: usize = 1 << 30;
const DEBOUNCE_MAX: Duration = Duration::from_hours(1);
const TTL_MAX: Duration = Duration::from_hours(24 * 365);

/// The rules as they are set, before they are checked together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channels {
    pub(crate) marks: Marks,
    /// The rules of channels without a namespace.
    pub(crate) default: DefaultRules,
    pub(crate) namespaces: Vec<Namespace>,
}

/// The rules of channels without a namespace.
#[derive(Debug, Clone)]
pub(crate) struct DefaultRules(pub(crate) ChannelRules);

impl Default for DefaultRules {
    fn default() -> Self {
        Self(ChannelRules::open(""))
    }
}

/// A namespace, and the place in the file where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    pub(crate) rules: ChannelRules,
    pub(crate) place: String,
}

/// One key of `[channels]` and of `[[namespace]]`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// The flag that sets it for channels without a namespace.
    pub(crate) flag: Option<&'static str>,
    pub(crate) help: &'static str,
    pub(crate) get: fn(&ChannelRules) -> String,
    pub(crate) set: fn(&mut ChannelRules, &str) -> Result<(), String>,
}

impl Rule {
    /// Finds a rule by its name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.name == name)
    }

    /// The rule whose name is most like `name`, if any is like it at all.
    pub(crate) fn nearest(name: &str) -> Option<&'static Self> {
        let like = |rule: &Self| strsim::jaro_winkler(rule.name, name);
        RULES.iter().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|rule| like(rule) > 0.8)
    }

    /// The key of its flag.
    pub(crate) fn key(&self) -> Option<&'static Key> {
        self.flag.and_then(super::keys::find)
    }
}

/// Rules that are flags as well, and those that only the file can set.
macro_rules! rules {
    (
        flags { $($flag:ident: $key:literal $value:literal = $name:literal $help:literal, $get:expr, $set:expr;)+ }
        file { $($file:literal $what:literal, $read:expr, $write:expr;)+ }
    ) => {
        $(const $flag: Rule = Rule { name: $name, flag: Some($key), help: $help, get: $get, set: $set };)+

        /// All keys of a namespace, in the order in which people read them.
        pub(crate) const RULES: &[Rule] = &[
            $($flag,)+
            $(Rule { name: $file, flag: None, help: $what, get: $read, set: $write },)+
        ];

        /// The flags for channels without a namespace.
        pub(super) const KEYS: &[Key] = &[$(Key {
            name: $key, group: GROUP, value: $value, help: $help, secret: false,
            get: |s| ($flag.get)(&s.channels.default.0),
            set: |s, text| ($flag.set)(&mut s.channels.default.0, text),
        },)+];
    };
}

#[rustfmt::skip]
rules! {
    flags {
        SUBSCRIBE: "subscribe" "WHO" = "subscribe" "Clients that may subscribe: anyone, users, token or nobody",
            |r| show_subscribe(r.subscribe).into(),
            |r, text| { r.subscribe = choice!(text, "anyone" => Subscribe::Anyone, "users" => Subscribe::Users, "token" => Subscribe::Token, "nobody" => Subscribe::Nobody)?; Ok(()) };
        PUBLISH: "publish" "WHO" = "publish" "Clients that may publish: anyone, users, subscribers, token or nobody (but the API)",
            |r| show_publish(r.publish).into(),
            |r, text| { r.publish = choice!(text, "anyone" => Publish::Anyone, "users" => Publish::Users, "subscribers" => Publish::Subscribers, "token" => Publish::Token, "nobody" => Publish::Nobody)?; Ok(()) };
        SIZE: "history" "N" = "history-size" "Messages of a channel that are kept; 0 = none",
            |r| r.history.size.to_string(),
            |r, text| { r.history.size = number(text, 0, 1 << 20)?; Ok(()) };
        TTL: "history-ttl" "TIME" = "history-ttl" "How long such a message is kept",
            |r| show_time(r.history.ttl),
            |r, text| { r.history.ttl = time(text, Duration::from_millis(100), TTL_MAX)?; Ok(()) };
        BYTES: "history-bytes" "BYTES" = "history-bytes" "Most bytes of one channel that are kept",
            |r| show_bytes(r.history.bytes),
            |r, text| { r.history.bytes = size(text, 1, GIB)?; Ok(()) };
        RECOVERY: "recovery" "BOOL" = "recovery" "A client that comes back gets what it missed, from the history",
            |r| r.recovery.to_string(),
            |r, text| { r.recovery = read_switch(text)?; Ok(()) };
        DELTA: "delta" "WAY" = "delta" "How clients may be told messages by their difference from the one before: off or fossil",
            |r| String::from(if r.delta == Delta::Off { "off" } else { "fossil" }),
            |r, text| { r.delta = choice!(text, "off" => Delta::Off, "fossil" => Delta::Fossil)?; Ok(()) };
        PRESENCE: "presence" "BOOL" = "presence" "Clients may ask who is in a channel",
            |r| r.presence.to_string(),
            |r, text| { r.presence = read_switch(text)?; Ok(()) };
        JOIN_LEAVE: "join-leave" "BOOL" = "join-leave" "Clients may hear of joins and leaves",
            |r| r.join_leave.to_string(),
            |r, text| { r.join_leave = read_switch(text)?; Ok(()) };
        DEBOUNCE: "leave-debounce" "TIME" = "leave-debounce" "A user that returns to a channel within this time causes no leave and no join; 0 = off",
            |r| show_time(r.leave_debounce),
            |r, text| { r.leave_debounce = time(text, Duration::ZERO, DEBOUNCE_MAX)?; Ok(()) };
    }
    file {
        "slow-clients" "Treatment of a slow client: disconnect, drop or conflate; \"\": as for the server",
            |r| r.slow_clients.map(show_slow).unwrap_or_default().into(),
            |r, text| {
                r.slow_clients = if text.is_empty() { None } else { Some(read_slow(text)?) };
                Ok(())
            };
        "compression" "Compression of messages: off, on or shared; \"\": as for the server",
            |r| r.compression.map(show_compression).unwrap_or_default().into(),
            |r, text| { r.compression = some(text, read_compression)?; Ok(()) };
        "outbox-bytes" "Most bytes that wait for a client when a message of these channels comes; \"\": as for the server",
            |r| r.outbox_bytes.map(show_bytes).unwrap_or_default(),
            |r, text| { r.outbox_bytes = some(text, |text| size(text, 1024, GIB))?; Ok(()) };
        "message-bytes" "Most bytes of one message; \"\": as for the server",
            |r| r.message_bytes.map(show_bytes).unwrap_or_default(),
            |r, text| { r.message_bytes = some(text, |text| size(text, 1, GIB))?; Ok(()) };
        "messages-per-second" "Messages a second from one client into these channels; \"\": no limit of their own",
            |r| r.messages_per_second.map(|rate| rate.to_string()).unwrap_or_default(),
            |r, text| { r.messages_per_second = some(text, |text| number(text, 1, 1 << 24))?; Ok(()) };
        "subscribe-hook" "The backend decides who may subscribe: off, on (at hook-subscribe) or a URL",
            |r| show_hook(&r.subscribe_hook),
            |r, text| { r.subscribe_hook = read_hook(text)?; Ok(()) };
        "sub-refresh-hook" "The backend is asked about subscriptions that end soon: off, on (at hook-sub-refresh) or a URL",
            |r| show_hook(&r.sub_refresh_hook),
            |r, text| { r.sub_refresh_hook = read_hook(text)?; Ok(()) };
        "publish-hook" "The backend decides about each message: off, on (at hook-publish) or a URL",
            |r| show_hook(&r.publish_hook),
            |r, text| { r.publish_hook = read_hook(text)?; Ok(()) };
    }
}

/// The keys that say what names of channels mean.
#[rustfmt::skip]
pub(super) const MARKS: &[Key] = &[
    mark("private-prefix", "Channels whose names begin so need a subscription token, whatever rules say; or off",
        |s| show_mark(&s.channels.marks.private_prefix), |s, text| { s.channels.marks.private_prefix = read_mark(text); Ok(()) }),
    mark("user-boundary", "Text before the users of a channel that is for nobody else, as in chat#ana,bob; or off",
        |s| show_mark(&s.channels.marks.user_boundary), |s, text| { s.channels.marks.user_boundary = read_mark(text); Ok(()) }),
    mark("user-separator", "Text between two such users",
        |s| show_mark(&s.channels.marks.user_separator), |s, text| { s.channels.marks.user_separator = read_mark(text); Ok(()) }),
];

const fn mark(
    name: &'static str,
    help: &'static str,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), String>,
) -> Key {
    Key { name, group: "Names of channels", value: "TEXT", help, secret: false, get, set }
}

fn read_mark(text: &str) -> String {
    if text.eq_ignore_ascii_case("off") { String::new() } else { text.to_owned() }
}

fn show_mark(mark: &str) -> String {
    if mark.is_empty() { "off".to_owned() } else { mark.to_owned() }
}

/// Reads a value that may be empty for none.
fn some<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

pub(super) fn show_subscribe(who: Subscribe) -> &'static str {
    match who {
        Subscribe::Anyone => "anyone",
        Subscribe::Users => "users",
        Subscribe::Token => "token",
        Subscribe::Nobody => "nobody",
    }
}

fn show_publish(who: Publish) -> &'static str {
    match who {
        Publish::Anyone => "anyone",
        Publish::Users => "users",
        Publish::Subscribers => "subscribers",
        Publish::Token => "token",
        Publish::Nobody => "nobody",
    }
}

pub(super) fn show_slow(policy: SlowClients) -> &'static str {
    match policy {
        SlowClients::Disconnect => "disconnect",
        SlowClients::Drop => "drop",
        SlowClients::Conflate => "conflate",
    }
}

pub(super) fn read_slow(text: &str) -> Result<SlowClients, String> {
    choice!(text, "disconnect" => SlowClients::Disconnect, "drop" => SlowClients::Drop, "conflate" => SlowClients::Conflate)
}

pub(super) fn show_compression(how: Compression) -> &'static str {
    match how {
        Compression::Off => "off",
        Compression::On => "on",
        Compression::Shared => "shared",
    }
}

pub(super) fn read_compression(text: &str) -> Result<Compression, String> {
    choice!(text, "off" => Compression::Off, "on" => Compression::On, "shared" => Compression::Shared)
}

impl Channels {
    /// Checks all rules together, and against what the server itself allows.
    pub(super) fn rules(&self, server: &Config) -> Result<Rules, String> {
        fit(&self.default.0, server).map_err(|why| format!("[channels]: {why}"))?;
        for Namespace { rules, place } in &self.namespaces {
            fit(rules, server)
                .map_err(|why| format!("{place}: namespace {:?}: {why}", rules.name))?;
        }
        let namespaces = self.namespaces.iter().map(|namespace| namespace.rules.clone()).collect();
        Rules::new(self.marks.clone(), self.default.0.clone(), namespaces)
            .map_err(|fault| fault.to_string())
    }

    /// Checks that there is an endpoint wherever the backend is to be asked.
    pub(super) fn check_hooks(&self, hooks: &Hooks) -> Result<(), String> {
        hooks.check(&self.default.0).map_err(|why| format!("[channels]: {why}"))?;
        for Namespace { rules, place } in &self.namespaces {
            hooks
                .check(rules)
                .map_err(|why| format!("{place}: namespace {:?}: {why}", rules.name))?;
        }
        Ok(())
    }

    /// The endpoints that namespaces have of their own.
    pub(crate) fn hook_endpoints(&self) -> impl Iterator<Item = Arc<str>> {
        let all = self.namespaces.iter().map(|namespace| &namespace.rules);
        let all = all.chain([&self.default.0]);
        all.flat_map(|rules| [&rules.subscribe_hook, &rules.sub_refresh_hook, &rules.publish_hook])
            .filter_map(Hook::endpoint)
    }

    /// Names the channels to which anyone may publish; `None`: there are none.
    pub(super) fn open_to_anyone(&self) -> Option<String> {
        let is_open =
            |rules: &ChannelRules| rules.publish == Publish::Anyone && !rules.publish_hook.is_on();
        let named = self.namespaces.iter().filter(|namespace| is_open(&namespace.rules));
        let names: Vec<&str> = named.map(|namespace| &*namespace.rules.name).collect();
        let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = match names.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match (is_open(&self.default.0), names.is_empty()) {
            (false, true) => None,
            (true, true) => Some("channels without a namespace".into()),
            (false, false) => Some(format!("channels of {shown}{more}")),
            (true, false) => {
                Some(format!("channels without a namespace and to those of {shown}{more}"))
            }
        }
    }
}

/// Returns `true` if a reload reads this key again.
pub(crate) fn is_reloaded(key: &Key) -> bool {
    key.group == GROUP
        || key.group == super::hooks::GROUP
        || key.group == super::apps::GROUP
        || MARKS.iter().any(|mark| mark.name == key.name)
}

/// The most namespaces that a warning names.
const NAMED_MAX: usize = 5;

/// Checks a namespace against the bounds of the server.
fn fit(rules: &ChannelRules, server: &Config) -> Result<(), String> {
    let show = |bytes: usize| show_size(bytes as u64);
    let message = rules.message_bytes.unwrap_or(server.message_bytes);
    if message > server.message_bytes {
        return Err(format!(
            "message-bytes is {} and that of the server {}: the server's is the most",
            show(message),
            show(server.message_bytes)
        ));
    }
    let outbox = rules.outbox_bytes.unwrap_or(server.outbox_bytes);
    if outbox < message {
        return Err(format!(
            "outbox-bytes is {} and message-bytes {}: a message must fit into an outbox",
            show(outbox),
            show(message)
        ));
    }
    if outbox > server.outbox_total_bytes {
        return Err(format!(
            "outbox-bytes is {} and outbox-total-bytes {}: one outbox must fit into all",
            show(outbox),
            show(server.outbox_total_bytes)
        ));
    }
    Ok(())
}
