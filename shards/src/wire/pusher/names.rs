//! Names of channels as an app has them: the beginning says what kind of channel it is.

/// The beginning of the name of the channel of one user.
pub(crate) const OF_USER: &str = "#server-to-user-";

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

/// Checks the app's own name of a channel; the error names its fault.
pub(crate) fn check(name: &str, bytes_max: usize) -> Result<(), &'static str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=@,.;:".contains(&byte);
    if name.len() > bytes_max {
        return Err("the name of the channel is too long");
    }
    let letters = match name.strip_prefix(OF_USER) {
        // Users have the names that their backend gives them.
        Some(user) if !user.is_empty() && !user.chars().any(char::is_control) => return Ok(()),
        _ => name,
    };
    if letters.is_empty() || !letters.bytes().all(is_letter) {
        return Err("the name of a channel has one or more of the characters \
                    a-z A-Z 0-9 - _ = @ , . ; :");
    }
    Ok(())
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
    fn names_have_few_characters() {
        let long = "x".repeat(165);
        for good in ["a", "private-a:b;c,d.e=f@g_h-I", "#server-to-user-é 7", &long[1..]] {
            assert_eq!(check(good, 164), Ok(()), "{good}");
        }
        for bad in ["", "a b", "ä", "a/b", "#x", "#server-to-user-", "a\n", "*", "!", &long] {
            assert!(check(bad, 164).is_err(), "{bad:?}");
        }
        assert!(check("#server-to-user-\u{1f}", 164).is_err());
    }

    #[test]
    fn an_app_does_not_see_its_namespace() {
        for (channel, own) in [("shop:news", "news"), ("shop:a:b", "a:b"), ("news", "news")] {
            assert_eq!(own_name(channel), own);
        }
    }
}
