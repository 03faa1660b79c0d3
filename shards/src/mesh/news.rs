//! News of a shard for the application: clients that come and go, and channels that are in use.

use std::sync::Arc;

use crate::model::id::ClientId;
use crate::rules::Rules;

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
    /// A user has come to a presence channel of an app.
    MemberAdded(Arc<str>, Arc<str>),
    /// The last client of a user has left such a channel.
    MemberRemoved(Arc<str>, Arc<str>),
    /// A client of an app has sent an event to others.
    ClientEvent(Box<ClientEvent>),
    /// A cache channel of an app had no event for a new subscriber.
    CacheMissed(Arc<str>),
    /// The number of a channel's subscribers has changed.
    Subscribers(Arc<str>, u64),
    /// From here on the process that takes over tells what happens in the channels of a home.
    HandedOver,
}

impl Happening {
    /// Returns the channel, if it is news that the webhooks of an app may be told.
    pub fn of_app(&self) -> Option<&Arc<str>> {
        match self {
            Self::Occupied(channel)
            | Self::Vacated(channel)
            | Self::MemberAdded(channel, _)
            | Self::MemberRemoved(channel, _)
            | Self::CacheMissed(channel)
            | Self::Subscribers(channel, _) => Some(channel),
            Self::ClientEvent(event) => Some(&event.channel),
            Self::Connected(_)
            | Self::Disconnected(..)
            | Self::Subscribed(..)
            | Self::Unsubscribed(..)
            | Self::HandedOver => None,
        }
    }
}

impl Rules {
    /// Counts news that found no room, for the app whose webhooks are not told of them.
    pub(crate) fn count_dropped(&self, what: &Happening) {
        if let Some(app) = what.of_app().and_then(|channel| self.app_of_channel(channel))
            && app.news.any()
        {
            app.tally.count_dropped(1);
        }
    }
}

/// An event that a client of an app has sent to others.
#[derive(Debug, Clone)]
pub struct ClientEvent {
    /// The channel.
    pub channel: Arc<str>,
    /// The name of the event.
    pub event: Box<str>,
    /// The data, as JSON.
    pub data: Box<str>,
    /// The socket id of the client.
    pub socket_id: Box<str>,
    /// The user of the client, in a presence channel.
    pub user: Option<Arc<str>>,
}
