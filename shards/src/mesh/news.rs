//! News of a shard for the application: clients that come and go, and channels that are in use.

use std::sync::Arc;

use crate::model::id::ClientId;

/// One thing that has happened, and when.
#[derive(Debug, Clone)]
pub struct News {
    /// Unix time in milliseconds.
    pub time_ms: u64,
    /// The thing itself.
    pub what: Happening,
}

/// A client, as the application knows it.
#[derive(Debug, Clone)]
pub struct Whose {
    /// Its id.
    pub client: ClientId,
    /// Its user, if it has one.
    pub user: Option<Arc<str>>,
}

/// The things that can happen.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A client was let in.
    Connected(Whose),
    /// A client has gone, for a reason that the counters name.
    Disconnected(Whose, &'static str),
    /// A client has become a member of a channel.
    Subscribed(Whose, Arc<str>),
    /// A client is a member no longer.
    Unsubscribed(Whose, Arc<str>),
    /// A channel has its first subscriber.
    Occupied(Arc<str>),
    /// A channel has lost its last subscriber.
    Vacated(Arc<str>),
}
