//! Faults of rules that are found when they are taken together.

use super::apps::{APPS_MAX, ID_BYTES_MAX};
use super::{NAME_BYTES_MAX, NAMESPACES_MAX};

/// A fault of rules taken together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesFault {
    /// Two namespaces have one name.
    #[error("the namespace {0:?} stands twice")]
    Twice(String),
    /// The name of a namespace is none.
    #[error(
        "{0:?} is not a name of a namespace: 1 to {NAME_BYTES_MAX} of the characters \
         a-z A-Z 0-9 - _ ."
    )]
    BadName(String),
    /// There are too many namespaces.
    #[error("{0} namespaces are more than {NAMESPACES_MAX}")]
    TooMany(usize),
    /// A mark in names cannot be told from something else.
    #[error("{name} is {mark:?}: {why}")]
    BadMark {
        /// The name of the setting.
        name: &'static str,
        /// Its value.
        mark: String,
        /// The fault in it.
        why: &'static str,
    },
    /// Recovery is on, and nothing is kept.
    #[error("{0} has recovery without history: set its history-size as well")]
    RecoveryOfNothing(String),
    /// The id or the key of an app is none.
    #[error(
        "{0:?} is not an id or a key of an app: 1 to {ID_BYTES_MAX} of the characters \
         a-z A-Z 0-9 - _ ."
    )]
    BadAppName(String),
    /// Two apps have the same id, key or namespace.
    #[error("two apps have the {0} {1:?}")]
    AppTwice(&'static str, String),
    /// There are too many apps.
    #[error("{0} apps are more than {APPS_MAX}")]
    TooManyApps(usize),
}
