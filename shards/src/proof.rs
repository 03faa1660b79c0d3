//! Proofs: what a verified token says about a client, and the trait of the part that verifies one.
//! No cryptography is here: a shard holds a [`Prover`], and knows no key.

use std::fmt::{self, Debug};
use std::sync::Arc;

/// The most patterns that all capabilities of one token may list together.
pub const PATTERNS_MAX: usize = 256;

/// The most bytes of one pattern.
pub const PATTERN_BYTES_MAX: usize = 256;

/// The facts that a token proves about a connection. Whoever made it has checked its signature and
/// its times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The user; `None` for a token of an anonymous client.
    pub user: Option<Arc<str>>,
    /// The Unix time in seconds from which the connection is over, leeway included.
    pub expires: Option<u64>,
    /// The Unix time in seconds at which the token was made.
    pub issued: Option<u64>,
    /// The id of the token, by which its clients can be closed.
    pub id: Option<Arc<str>>,
    /// JSON that presence shows to other clients.
    pub info: Option<Arc<str>>,
    /// JSON that no other client sees.
    pub meta: Option<Arc<str>>,
    /// The channels that the server subscribes the client to.
    pub channels: Vec<Arc<str>>,
    /// The statements of the token about some of these.
    pub grants: Vec<(Arc<str>, Grant)>,
    /// The rights that the token itself carries.
    pub caps: Vec<Cap>,
}

/// The statements of the server's side about one subscription that it gives to a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// JSON that presence shows in this channel, beside the connection's.
    pub info: Option<Arc<str>>,
    /// JSON that the client is told with the subscription.
    pub data: Option<Arc<str>>,
    /// The client hears of joins and leaves, where the rules of the channel have them.
    pub watches: bool,
}

impl Proof {
    /// Returns what the token says about a channel that it names.
    pub fn grant(&self, channel: &str) -> Option<&Grant> {
        self.grants.iter().find(|(name, _)| **name == *channel).map(|(_, grant)| grant)
    }

    /// Returns `true` if a capability of the token allows `right` in `channel`.
    pub fn allows(&self, channel: &str, right: Right) -> bool {
        self.caps.iter().any(|cap| {
            cap.rights.has(right) && cap.channels.iter().any(|pattern| pattern.matches(channel))
        })
    }
}

/// The facts that a subscription token proves: its bearer may subscribe to one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelProof {
    /// The channel that the token names.
    pub channel: Arc<str>,
    /// The Unix time in seconds from which the subscription is over, leeway included.
    pub expires: Option<u64>,
    /// The Unix time in seconds at which the token was made.
    pub issued: Option<u64>,
    /// The id of the token, by which it can be revoked.
    pub id: Option<Arc<str>>,
    /// The statements of the token about the subscription.
    pub grant: Grant,
}

/// The client that asks for a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The channel that it asks for.
    pub channel: &'a str,
    /// Its id, as `welcome` told it.
    pub client: &'a str,
    /// Its user, if it has one.
    pub user: Option<&'a str>,
}

/// One capability: rights in the channels that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The channels.
    pub channels: Vec<Pattern>,
    /// The rights in them.
    pub rights: Rights,
}

/// A name of channels: exact, or a prefix with `*` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The name without the star.
    name: Arc<str>,
    is_prefix: bool,
}

impl Pattern {
    /// Reads a pattern. `None` if it is empty or too long, or has a star before its end.
    pub fn read(text: &str) -> Option<Self> {
        let bare = text.strip_suffix('*');
        let name = bare.unwrap_or(text);
        let sound = !text.is_empty() && text.len() <= PATTERN_BYTES_MAX && !name.contains('*');
        sound.then(|| Self { name: name.into(), is_prefix: bare.is_some() })
    }

    /// Returns `true` if `channel` is one of those that the pattern names.
    pub fn matches(&self, channel: &str) -> bool {
        if self.is_prefix { channel.starts_with(&*self.name) } else { *channel == *self.name }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

/// One thing that a client may do in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Subscribe to it.
    Subscribe = 1,
    /// Publish to it.
    Publish = 2,
    /// Ask who is in it.
    Presence = 4,
    /// Read its history.
    History = 8,
}

impl Right {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Subscribe, "subscribe"),
        (Self::Publish, "publish"),
        (Self::Presence, "presence"),
        (Self::History, "history"),
    ];

    /// Reads the name of a right: the whole word, or the three letters that Centrifugo has for it.
    pub fn read(word: &str) -> Option<Self> {
        let whole = match word {
            "sub" => "subscribe",
            "pub" => "publish",
            "prs" => "presence",
            "hst" => "history",
            whole => whole,
        };
        Self::ALL.into_iter().find(|(_, name)| *name == whole).map(|(right, _)| right)
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Adds a right.
    pub fn add(&mut self, right: Right) {
        self.0 |= right as u8;
    }

    /// Returns `true` if the right is in the set.
    pub fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }
}

/// The reason why a token proves nothing. The answer to the client says no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Its time is over: the client may come back with a newer one.
    Expired,
    /// It is malformed, has a wrong signature, or is meant for somebody else or another time.
    Invalid,
    /// It may be sound, but its key is not known yet: the client may come back with the same token.
    UnknownKey,
    /// The tokens of its user, or this one token, were revoked.
    Revoked,
}

/// The part that verifies tokens. A shard asks it at most once for each request of a client.
pub trait Prover: Send + Sync + Debug {
    /// Verifies the token of a connection at the Unix time `now_s`.
    ///
    /// # Errors
    /// The token proves nothing.
    fn connection(&self, token: &str, now_s: u64) -> Result<Proof, TokenFault>;

    /// Verifies the token of one subscription.
    ///
    /// # Errors
    /// The token proves nothing, or it is for another channel, client or user.
    fn subscription(
        &self,
        token: &str,
        asking: Asking<'_>,
        now_s: u64,
    ) -> Result<ChannelProof, TokenFault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_a_prefix() {
        for (pattern, channel, matches) in [
            ("news", "news", true),
            ("news", "news:a", false),
            ("chat:*", "chat:1", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chat", false),
            ("*", "anything", true),
        ] {
            let read = Pattern::read(pattern).unwrap();
            assert_eq!(read.matches(channel), matches, "{pattern} and {channel}");
        }
        for wrong in ["", "*a", "a*b", "**", &"x".repeat(PATTERN_BYTES_MAX + 1)] {
            assert_eq!(Pattern::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_capability_gives_its_rights_in_its_channels_only() {
        let mut rights = Rights::default();
        rights.add(Right::read("sub").unwrap());
        rights.add(Right::read("history").unwrap());
        let cap = Cap { channels: vec![Pattern::read("chat:*").unwrap()], rights };
        let proof = Proof { caps: vec![cap], ..Proof::default() };
        assert!(proof.allows("chat:1", Right::Subscribe) && proof.allows("chat:1", Right::History));
        assert!(
            !proof.allows("chat:1", Right::Publish) && !proof.allows("chat:1", Right::Presence)
        );
        assert!(!proof.allows("news", Right::Subscribe));
        assert_eq!(Right::read("all"), None);
    }
}
