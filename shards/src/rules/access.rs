//! The decisions: may this client subscribe to this channel, or publish to it.

use std::sync::Arc;

use super::apps::Company;
use super::{ChannelRules, Marks, Publish, Rules, Subscribe};

/// The facts about a client that rules ask for.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The user that the client claims or has proved to be.
    pub user: Option<&'a str>,
    /// A token allows this client what it asks for in this channel.
    pub token: bool,
    /// The token of its connection names the channel as one of the client's.
    pub named: bool,
    /// The client is subscribed to the channel.
    pub subscribed: bool,
    /// The client is one of the app that the channel belongs to, whose signatures decide.
    pub of_app: bool,
}

/// A client may not do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rules say anything about such channels.
    #[error("unknown namespace")]
    UnknownNamespace,
    /// Only clients with a user may.
    #[error("only clients with a user may do this here")]
    NotAUser,
    /// The channel's name lists users, and the client's is not among them.
    #[error("this channel is for the users in its name")]
    NotThisUser,
    /// Only clients with a token may.
    #[error("a token that allows this is needed here")]
    NeedsToken,
    /// Only subscribers may.
    #[error("only subscribers may do this here")]
    NotASubscriber,
    /// No client may.
    #[error("no client may do this here")]
    Nobody,
}

/// The state of a channel's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    There,
    /// It is an app's, and clients of other dialects may not know it.
    Apart,
    /// A reload took it away.
    Gone,
}

/// All that rules say about one channel: those of its namespace, and what its name says.
///
/// A shard keeps the terms of every channel that it knows, so that a publication costs no look-up.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The rules of its namespace.
    pub rules: Arc<ChannelRules>,
    /// Its name begins with the prefix of private channels, or is that of a signed one of an app.
    private: bool,
    /// Its name lists users.
    limited: bool,
    namespace: Namespace,
    /// Any client may publish what the server itself takes.
    publish_is_free: bool,
    /// The changes that the clients of its app are told.
    company: Company,
}

impl Terms {
    /// Returns `true` if any client may publish all that the server itself takes, as often as that
    /// allows.
    pub fn publish_is_free(&self) -> bool {
        self.publish_is_free
    }

    /// Returns `true` if the backend is asked about subscriptions. A private channel needs a token
    /// all the same, and the users in a channel's name need nobody's word.
    pub fn asks_to_subscribe(&self) -> bool {
        self.rules.subscribe_hook.is_on() && !self.private && !self.limited
    }

    /// Returns `true` for a presence channel of an app, whose members know each user once.
    pub(crate) fn is_presence(&self) -> bool {
        self.company == Company::Users
    }

    /// Returns `true` if clients of its app are told how many members it has.
    pub(crate) fn is_counted(&self) -> bool {
        self.company == Company::Number
    }

    /// Returns `true` if the home of the channel keeps a list of its users.
    pub(crate) fn attends(&self) -> bool {
        self.is_presence() || self.rules.debounces()
    }

    /// Returns `true` if the namespace exists no longer.
    pub fn is_gone(&self) -> bool {
        self.namespace == Namespace::Gone
    }

    /// The terms of a channel whose namespace is there no longer: its rules stay for the members
    /// that it has, and nobody else comes in.
    #[must_use]
    pub fn gone(self) -> Self {
        Self { namespace: Namespace::Gone, publish_is_free: false, ..self }
    }
}

impl Rules {
    /// Returns the terms of a channel; `None` for a namespace that does not exist.
    pub fn terms(&self, channel: &str) -> Option<Terms> {
        let rules = Arc::clone(self.of(channel)?);
        let of_app = if self.apps.is_empty() { None } else { self.namespace_of(channel) };
        let private = self.marks.is_private(channel)
            || of_app.is_some_and(|name| self.apps.is_signed(name, channel));
        let is_apart = of_app.is_some_and(|name| self.apps.is_apart(name));
        let limited = self.marks.users(channel).is_some();
        let publish_is_free = rules.publish == Publish::Anyone
            && !private
            && !limited
            && rules.message_bytes.is_none()
            && rules.messages_per_second.is_none()
            && !rules.publish_hook.is_on();
        let namespace = if is_apart { Namespace::Apart } else { Namespace::There };
        let company = of_app.map_or(Company::Nothing, |name| self.apps.company(name, channel));
        Some(Terms { rules, private, limited, namespace, publish_is_free, company })
    }

    /// Decides about a subscription.
    ///
    /// # Errors
    /// The client may not, and why.
    pub fn may_subscribe(
        &self,
        terms: &Terms,
        channel: &str,
        client: Standing<'_>,
    ) -> Result<(), Denied> {
        self.check_name(terms, channel, client)?;
        // The issuer of the token or the signature has decided.
        if client.named || client.of_app {
            return Ok(());
        }
        if terms.private && !client.token {
            return Err(Denied::NeedsToken);
        }
        match terms.rules.subscribe {
            Subscribe::Anyone => Ok(()),
            Subscribe::Users => needs_user(client),
            Subscribe::Token => needs_token(client),
            Subscribe::Nobody => Err(Denied::Nobody),
        }
    }

    /// Decides about a publication. A private channel takes it only from its subscribers, and from
    /// clients whose token allows it: others could not even listen.
    ///
    /// # Errors
    /// The client may not, and why.
    pub fn may_publish(
        &self,
        terms: &Terms,
        channel: &str,
        client: Standing<'_>,
    ) -> Result<(), Denied> {
        if terms.publish_is_free {
            return Ok(());
        }
        self.check_name(terms, channel, client)?;
        if client.of_app {
            return Ok(());
        }
        if terms.private && !client.token && !client.subscribed {
            return Err(Denied::NeedsToken);
        }
        match terms.rules.publish {
            Publish::Anyone => Ok(()),
            Publish::Users => needs_user(client),
            Publish::Subscribers if client.subscribed || client.token => Ok(()),
            Publish::Subscribers => Err(Denied::NotASubscriber),
            Publish::Token => needs_token(client),
            Publish::Nobody => Err(Denied::Nobody),
        }
    }

    /// Applies the conditions in a channel's name, which hold for every request.
    fn check_name(&self, terms: &Terms, channel: &str, client: Standing<'_>) -> Result<(), Denied> {
        if terms.is_gone() {
            return Err(Denied::UnknownNamespace);
        }
        if client.of_app {
            return Ok(());
        }
        if terms.namespace == Namespace::Apart {
            return Err(Denied::UnknownNamespace);
        }
        if terms.limited
            && let Some(mut users) = self.marks.users(channel)
            && !users.any(|user| client.user == Some(user))
        {
            return Err(Denied::NotThisUser);
        }
        Ok(())
    }
}

impl Marks {
    fn is_private(&self, channel: &str) -> bool {
        !self.private_prefix.is_empty() && channel.starts_with(&self.private_prefix)
    }

    /// The users that a channel's name lists; `None` if it lists none.
    pub(super) fn users<'a>(&'a self, channel: &'a str) -> Option<impl Iterator<Item = &'a str>> {
        if self.user_boundary.is_empty() {
            return None;
        }
        let (_, users) = channel.rsplit_once(self.user_boundary.as_str())?;
        Some(users.split(self.user_separator.as_str()))
    }
}

/// A token that allows it speaks for a client that names no user.
fn needs_user(client: Standing<'_>) -> Result<(), Denied> {
    if client.user.is_some() || client.token { Ok(()) } else { Err(Denied::NotAUser) }
}

fn needs_token(client: Standing<'_>) -> Result<(), Denied> {
    if client.token { Ok(()) } else { Err(Denied::NeedsToken) }
}
