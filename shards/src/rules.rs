//! Rules of channels: what a namespace allows and keeps. Pure, immutable and shared by count; a
//! reload makes new ones.

mod access;
mod apps;
mod compression;
mod fault;
mod hooks;
mod secret;
mod tally;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;

use apps::Apps;

pub use access::{Denied, Standing, Terms};
pub use apps::{App, AppLimits, AppNews, check_app_name, is_cache_channel, is_signed_channel};
pub(crate) use apps::{OF_USER, USER_END, check_channel_name, is_presence_channel};
pub use compression::Compression;
pub use fault::RulesFault;
pub use hooks::{Hook, Hooks, NewsKinds};
pub use secret::Secret;
pub use tally::{AppFigures, AppTally};

/// The mark between a namespace and the rest of a channel's name.
const NAMESPACE_END: char = ':';

/// The most namespaces of a server.
const NAMESPACES_MAX: usize = 1000;

/// The most bytes of a namespace's name.
const NAME_BYTES_MAX: usize = 64;

/// The most bytes of a prefix or separator in names.
const MARK_BYTES_MAX: usize = 8;

/// The clients that may subscribe to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribe {
    /// All of them.
    Anyone,
    /// Those with a user.
    Users,
    /// Those with a token that allows it.
    Token,
    /// None of them: only the API subscribes clients, and the tokens of connections do.
    Nobody,
}

/// The clients that may publish to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// All of them.
    Anyone,
    /// Those with a user.
    Users,
    /// Those that are subscribed to the channel.
    Subscribers,
    /// Those with a token that allows it.
    Token,
    /// None of them: only the API publishes.
    Nobody,
}

/// The policy for a client whose outbox is full or does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClients {
    /// Close it with 3008.
    Disconnect,
    /// Lose the newest frames for this client, and count them.
    Drop,
    /// Keep only the newest frame of each channel.
    Conflate,
}

/// The policy for a client that does not take its frames, and the bound from which it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowRules {
    /// The policy.
    pub(crate) policy: SlowClients,
    /// Most bytes that wait for the client.
    pub(crate) outbox_bytes: usize,
    /// The channel tells clients that come back what they have lost.
    pub(crate) recovers: bool,
}

impl SlowRules {
    /// Returns `true` if clients learn of each publication that they have lost, so that their
    /// positions mean something: by a way out of the channel, and what they missed when they come
    /// back, or because none is ever lost.
    pub(crate) fn keep_positions(self) -> bool {
        self.recovers || self.policy == SlowClients::Disconnect
    }
}

/// Bounds of the history of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRules {
    /// The most publications that are kept; zero keeps none.
    pub size: u32,
    /// How long a publication is kept.
    pub ttl: Duration,
    /// The most bytes of payload that are kept.
    pub bytes: usize,
}

impl HistoryRules {
    /// Returns `true` if any publication is kept.
    pub fn is_on(&self) -> bool {
        self.size > 0
    }
}

/// The way in which a publication may be told by its difference from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// Everybody is told whole publications.
    Off,
    /// Clients that ask for it are told patches in Fossil's format.
    Fossil,
}

/// The rules of all channels of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRules {
    /// The namespace; empty for channels without one.
    pub name: Arc<str>,
    /// The clients that may subscribe.
    pub subscribe: Subscribe,
    /// The clients that may publish.
    pub publish: Publish,
    /// The publications that are kept.
    pub history: HistoryRules,
    /// `true`: a client that comes back gets what it missed.
    pub recovery: bool,
    /// The way in which a publication may be told by its difference from the one before.
    pub delta: Delta,
    /// `true`: clients may ask who is in a channel.
    pub presence: bool,
    /// `true`: clients may hear of joins and leaves.
    pub join_leave: bool,
    /// The time within which a user that returns to a channel has not left it; zero tells of each
    /// client at once.
    pub leave_debounce: Duration,
    /// The policy for slow clients; `None`: the one that `slow-clients` of the server names.
    pub slow_clients: Option<SlowClients>,
    /// The compression of messages; `None`: as for the server.
    pub compression: Option<Compression>,
    /// Most bytes that wait for a client when a message of this namespace is added; `None`: as many
    /// as for the server.
    pub outbox_bytes: Option<usize>,
    /// Most bytes of one message; `None`: as many as for the server.
    pub message_bytes: Option<usize>,
    /// Messages a second from one client into this namespace; `None`: no limit beside the
    /// server's.
    pub messages_per_second: Option<u32>,
    /// The backend is asked about subscriptions.
    pub subscribe_hook: Hook,
    /// The backend is asked about subscriptions whose time is nearly over.
    pub sub_refresh_hook: Hook,
    /// The backend is asked about publications.
    pub publish_hook: Hook,
}

impl ChannelRules {
    /// Returns `true` if a user that leaves a channel may return without an event.
    pub(crate) fn debounces(&self) -> bool {
        self.join_leave && !self.leave_debounce.is_zero()
    }

    /// The rules that a server has without any configuration: everything is allowed and nothing is
    /// kept.
    pub fn open(name: &str) -> Self {
        Self {
            name: name.into(),
            subscribe: Subscribe::Anyone,
            publish: Publish::Anyone,
            history: HistoryRules { size: 0, ttl: Duration::from_mins(5), bytes: 256 << 10 },
            recovery: false,
            delta: Delta::Off,
            presence: true,
            join_leave: true,
            leave_debounce: Duration::ZERO,
            slow_clients: None,
            compression: None,
            outbox_bytes: None,
            message_bytes: None,
            messages_per_second: None,
            subscribe_hook: Hook::Off,
            sub_refresh_hook: Hook::Off,
            publish_hook: Hook::Off,
        }
    }
}

/// The marks in a channel's name that limit who may subscribe, whatever its rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// A channel whose name begins so needs a subscription token; empty: none does.
    pub private_prefix: String,
    /// The users behind the last of these may subscribe, and nobody else; empty: names list no
    /// users.
    pub user_boundary: String,
    /// The mark between two such users.
    pub user_separator: String,
}

impl Default for Marks {
    fn default() -> Self {
        Self { private_prefix: "$".into(), user_boundary: "#".into(), user_separator: ",".into() }
    }
}

/// The rules of a server: those of channels without a namespace, and those of every namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    marks: Marks,
    hooks: Hooks,
    default: Arc<ChannelRules>,
    namespaces: HashMap<Arc<str>, Arc<ChannelRules>, RandomState>,
    apps: Apps,
    /// The rules of some channels have messages compressed, whatever the server does by default.
    compress: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            marks: Marks::default(),
            hooks: Hooks::default(),
            default: Arc::new(ChannelRules::open("")),
            namespaces: HashMap::default(),
            apps: Apps::default(),
            compress: false,
        }
    }
}

impl Rules {
    /// Rules of a default namespace and of the others, checked together.
    ///
    /// # Errors
    /// The first fault.
    pub fn new(
        marks: Marks,
        default: ChannelRules,
        namespaces: Vec<ChannelRules>,
    ) -> Result<Self, RulesFault> {
        check_marks(&marks)?;
        if namespaces.len() > NAMESPACES_MAX {
            return Err(RulesFault::TooMany(namespaces.len()));
        }
        check_history("[channels]", &default)?;
        let mut named: HashMap<_, _, RandomState> = HashMap::default();
        for rules in namespaces {
            check_namespace(&rules.name)?;
            check_history(&format!("the namespace {:?}", rules.name), &rules)?;
            let name = Arc::clone(&rules.name);
            if named.insert(Arc::clone(&name), Arc::new(rules)).is_some() {
                return Err(RulesFault::Twice(name.to_string()));
            }
        }
        let compresses = |rules: &ChannelRules| {
            rules.compression.is_some_and(|compression| compression != Compression::Off)
        };
        let compress = compresses(&default) || named.values().any(|rules| compresses(rules));
        let (hooks, apps) = (Hooks::default(), Apps::default());
        Ok(Self { marks, hooks, default: Arc::new(default), namespaces: named, apps, compress })
    }

    /// The same rules, with questions for the backend that belong to no channel.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    /// Returns the questions for the backend that belong to no channel.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Returns the rules of a channel; `None` for a namespace that does not exist.
    ///
    /// While no namespace exists at all, `:` is a letter like any other, but for the namespaces of
    /// apps.
    pub fn of(&self, channel: &str) -> Option<&Arc<ChannelRules>> {
        if self.namespaces.is_empty() && self.apps.is_empty() {
            return Some(&self.default);
        }
        let Some(name) = self.namespace_of(channel) else { return Some(&self.default) };
        match self.apps.rules_of(name, channel) {
            None if self.namespaces.is_empty() => Some(&self.default),
            None => self.namespaces.get(name),
            of_app => of_app,
        }
    }

    /// Returns `true` if there are rules for a channel and its name lists this user and no other.
    pub fn is_of_one_user(&self, channel: &str, user: &str) -> bool {
        let users = self.marks.users(channel).filter(|_| self.of(channel).is_some());
        users.is_some_and(|users| users.eq([user]))
    }

    /// Returns `true` if messages of any channel may be compressed, where a server does so by
    /// default or not.
    pub(crate) fn compress(&self, by_default: Compression) -> bool {
        by_default != Compression::Off || self.compress
    }

    /// Returns the rules of channels without a namespace.
    pub fn default_rules(&self) -> &Arc<ChannelRules> {
        &self.default
    }

    /// Returns the rules of every namespace, in the order of their names.
    pub fn namespaces(&self) -> Vec<&Arc<ChannelRules>> {
        let mut all: Vec<_> = self.namespaces.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Returns the marks in names that limit who may subscribe.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The part of a channel's name that names its namespace. The prefix of private channels is no
    /// part of it.
    fn namespace_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let name = match self.marks.private_prefix.as_str() {
            "" => channel,
            prefix => channel.strip_prefix(prefix).unwrap_or(channel),
        };
        name.split_once(NAMESPACE_END).map(|(namespace, _)| namespace)
    }
}

/// Checks the name of a namespace.
///
/// # Errors
/// It is none.
pub fn check_namespace(name: &str) -> Result<(), RulesFault> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_allowed) {
        return Err(RulesFault::BadName(name.to_owned()));
    }
    Ok(())
}

fn check_history(of: &str, rules: &ChannelRules) -> Result<(), RulesFault> {
    if rules.recovery && !rules.history.is_on() {
        return Err(RulesFault::RecoveryOfNothing(of.to_owned()));
    }
    Ok(())
}

/// Checks that marks can be told from each other and from what stands around them.
fn check_marks(marks: &Marks) -> Result<(), RulesFault> {
    let Marks { private_prefix, user_boundary, user_separator } = marks;
    let fail =
        |name, mark: &str, why| Err(RulesFault::BadMark { name, mark: mark.to_owned(), why });
    let all = [
        ("private-prefix", private_prefix),
        ("user-boundary", user_boundary),
        ("user-separator", user_separator),
    ];
    for (name, mark) in all {
        if mark.len() > MARK_BYTES_MAX {
            return fail(name, mark, "it is longer than 8 bytes");
        }
        if mark.contains(NAMESPACE_END) {
            return fail(name, mark, "a colon ends the name of a namespace");
        }
        if mark.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return fail(name, mark, "it holds a space or a control character");
        }
    }
    if user_separator.is_empty() && !user_boundary.is_empty() {
        return fail("user-separator", user_separator, "several users could not be told apart");
    }
    if !user_boundary.is_empty() && user_separator.contains(user_boundary.as_str()) {
        return fail("user-separator", user_separator, "it holds the user-boundary");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
