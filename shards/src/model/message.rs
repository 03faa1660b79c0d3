//! A publication: what one client or the API said, numbered by the channel's home and never changed
//! afterwards.

use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;

use super::id::ClientId;

/// What is said, in the form in which it came.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// A plain client's text.
    Text(Utf8Bytes),
    /// A plain client's bytes.
    Binary(Bytes),
    /// One JSON value, byte for byte.
    Json(Utf8Bytes),
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Who said it.
#[derive(Debug, Clone)]
pub(crate) struct From {
    pub(crate) client: ClientId,
    pub(crate) user: Option<Arc<str>>,
}

/// One numbered publication; shared by count from the home on.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) channel: Arc<str>,
    /// The channel's running number, from 1; zero until the home has numbered it.
    pub(crate) offset: u64,
    /// Wall-clock milliseconds, set by the home.
    pub(crate) time_ms: u64,
    /// When the server read it, on the monotonic clock.
    pub(crate) ingress_ns: u64,
    /// `None` for the server's API.
    pub(crate) from: Option<From>,
    pub(crate) payload: Payload,
}

impl Publication {
    /// Whether `client` said it.
    pub(crate) fn is_from(&self, client: ClientId) -> bool {
        self.from.as_ref().is_some_and(|from| from.client == client)
    }
}
