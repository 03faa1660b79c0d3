//! Secrets of apps, which sign for them.

use std::fmt;
use std::sync::Arc;

use ring::hmac;

/// The secret of an app. It is never shown.
#[derive(Clone)]
pub struct Secret {
    text: Arc<str>,
    key: hmac::Key,
}

impl Secret {
    /// A secret, as the app's backend has it.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()) }
    }

    /// Returns the key that signs and verifies.
    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}
