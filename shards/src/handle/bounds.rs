//! The bounds that a handle checks before it asks a shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::{Config, DuplicateUser};
use crate::error::Untaken;
use crate::rules::{Rules, USER_END};
use crate::wire::name::{APP_USER_BYTES, check_name};

/// Bounds of what the control plane asks for.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    name_bytes: usize,
    /// The most bytes of the names of channels. Those of apps may be longer than others, and a
    /// reload may bring other apps.
    channel_bytes: Arc<AtomicUsize>,
    pub(super) message_bytes: usize,
    /// A user may have several clients.
    pub(super) users_repeat: bool,
}

impl Bounds {
    pub(super) fn of(config: &Config) -> Self {
        let bounds = Self {
            name_bytes: config.name_bytes,
            channel_bytes: Arc::default(),
            message_bytes: config.message_bytes,
            users_repeat: config.duplicate_user == DuplicateUser::Allow,
        };
        bounds.follow(&config.rules);
        bounds
    }

    /// Takes over what other rules say about names.
    pub(super) fn follow(&self, rules: &Rules) {
        let bytes = rules.app_channel_bytes_max().max(self.name_bytes);
        // Relaxed: it is a bound, and orders nothing.
        self.channel_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Takes the name of a channel.
    pub(super) fn channel(&self, name: &str) -> Result<Arc<str>, Untaken> {
        let bytes = self.channel_bytes.load(Ordering::Relaxed);
        check_name(name, bytes).map_err(|_| Untaken::BadName)?;
        Ok(name.into())
    }

    /// Takes the name of a user, which may be that of an app's user.
    pub(super) fn user(&self, name: &str) -> Result<Arc<str>, Untaken> {
        let checked = match name.split_once(USER_END) {
            None => check_name(name, self.name_bytes),
            Some((_, user)) => check_name(user, APP_USER_BYTES),
        };
        checked.map_err(|_| Untaken::BadName)?;
        Ok(name.into())
    }
}
