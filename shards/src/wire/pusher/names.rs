//! Names of channels as an app has them: the beginning says what kind of channel it is.

use crate::rules::OF_USER;

/// The kind of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Every client of the app may subscribe.
    Public,
    /// Clients with a signature may.
    Private,
    /// Likewise, and only its members can read what is said there.
    Encrypted,
    /// Clients with a signature may, each as a user whom the others are told of.
    Presence,
    /// Only clients that have signed in as this user may.
    User(&'a str),
}

impl<'a> Kind<'a> {
    /// The kind of a channel by the app's own name of it.
    pub(crate) fn of(name: &'a str) -> Self {
        if let Some(user) = name.strip_prefix(OF_USER) {
            Self::User(user)
        } else if name.starts_with("private-encrypted-") {
            Self::Encrypted
        } else if name.starts_with("private-") {
            Self::Private
        } else if name.starts_with("presence-") {
            Self::Presence
        } else {
            Self::Public
        }
    }

    /// Returns `true` if its clients may send events to each other.
    pub(crate) fn takes_client_events(self) -> bool {
        matches!(self, Self::Private | Self::Presence)
    }
}

/// Returns the app's own name of one of the server's channels.
pub(crate) fn own_name(channel: &str) -> &str {
    channel.split_once(':').map_or(channel, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_says_the_kind() {
        for (name, kind) in [
            ("news", Kind::Public),
            ("cache-news", Kind::Public),
            ("privately", Kind::Public),
            ("private-x", Kind::Private),
            ("private-cache-x", Kind::Private),
            ("private-encrypted-x", Kind::Encrypted),
            ("private-encrypted-cache-x", Kind::Encrypted),
            ("presence-x", Kind::Presence),
            ("presence-cache-x", Kind::Presence),
            ("#server-to-user-7", Kind::User("7")),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
            let takes = matches!(kind, Kind::Private | Kind::Presence);
            assert_eq!(kind.takes_client_events(), takes, "{name}");
        }
    }

    #[test]
    fn an_app_does_not_see_its_namespace() {
        for (channel, own) in [("shop:news", "news"), ("shop:a:b", "a:b"), ("news", "news")] {
            assert_eq!(own_name(channel), own);
        }
    }
}
