//! A client of Pusher's protocol as one of its app.

use std::sync::Arc;

use super::Clients;
use crate::model::id::{ChannelIndex, Slot};
use crate::net::Net;
use crate::rules::{App, AppTally};

/// The app of a client, and the user that the client has signed in as.
#[derive(Debug)]
pub(crate) struct AppClient {
    /// The id of the app. Its rules are looked up by that, as they may change.
    pub(crate) id: Arc<str>,
    /// The namespace of the app's channels.
    pub(crate) namespace: Arc<str>,
    pub(crate) user: Option<AppUser>,
    /// The figures of the app, in which the client is counted for as long as this is here.
    tally: Arc<AppTally>,
}

impl AppClient {
    /// A client of an app; `None` if the app has as many as it may have.
    pub(crate) fn of(app: &App) -> Option<Self> {
        let (id, namespace) = (Arc::clone(&app.id), Arc::clone(&app.namespace));
        let tally = Arc::clone(&app.tally);
        let has_come = tally.come(app.limits.clients);
        has_come.then(|| Self { id, namespace, user: None, tally })
    }
}

impl Drop for AppClient {
    fn drop(&mut self) {
        self.tally.go();
    }
}

/// A user of an app.
#[derive(Debug)]
pub(crate) struct AppUser {
    /// The name that the app's backend gives it.
    pub(crate) name: Arc<str>,
    /// The users whose comings and goings the client is told, as the server names them.
    pub(crate) watched: Vec<Arc<str>>,
}

/// The form in which others are told of a client in one channel, where it differs from that of its
/// connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its user in this channel.
    pub(crate) user: Option<Arc<str>>,
    /// JSON of the statement with which it came into this channel.
    pub(crate) info: Option<Arc<str>>,
}

impl<N: Net> Clients<N> {
    /// The app of a client, in the dialect that has apps.
    pub(crate) fn app(&self, slot: Slot) -> Option<&AppClient> {
        self.roster.get(slot)?.extra.as_ref()?.app.as_deref()
    }

    /// The form in which others are told of a client in a channel, if there is one for it.
    pub(crate) fn shown(&self, slot: Slot, index: ChannelIndex) -> Option<&Shown> {
        let extra = self.roster.get(slot)?.extra.as_ref()?;
        extra.shown.iter().find(|(channel, _)| *channel == index).map(|(_, shown)| shown)
    }

    /// The user of a client as others are told of it in a channel.
    pub(crate) fn user_in(&self, slot: Slot, index: ChannelIndex) -> Option<&Arc<str>> {
        let client = self.roster.get(slot)?;
        client.shown_user(index).or(client.user.as_ref())
    }
}
