//! A client's entry: the facts that its admission is decided by, whatever the dialect in which the
//! client has stated them.

use std::net::IpAddr;
use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;

use super::dialect::Dialect;
use super::extension::Terms;
use super::refusal::AppFault;
use super::transport::Transport;
use crate::model::past::{Behind, Since};
use crate::model::seating::Placement;
use crate::model::shape::Shape;

/// The part of an entry that is for the application's backend, and what that has said already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Presented {
    /// The headers of its request that are passed on.
    pub(crate) headers: Vec<(Box<str>, Box<str>)>,
    /// JSON of the client for the backend.
    pub(crate) data: Option<Utf8Bytes>,
    /// The name and the version of the client's software.
    pub(crate) software: (Box<str>, Box<str>),
    /// The backend has let the client in, or need not be asked.
    pub(crate) is_let_in: bool,
    /// The channels that the backend has let it into, and its terms for each.
    pub(crate) channels: Vec<(Arc<str>, Placement)>,
    /// JSON of the backend for the client.
    pub(crate) greeting: Option<Arc<str>>,
}

/// A channel that a client names when it comes. It is a member from the start if its token or the
/// rules let it in; otherwise the channel is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wished {
    pub(crate) channel: Arc<str>,
    /// The last publication that it has heard, if it wants those behind it.
    pub(crate) since: Option<Since>,
}

/// The app that a client of Pusher's protocol asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedApp {
    /// The key that it shows.
    pub(crate) key: Box<str>,
    /// The fault in the version of the protocol that it speaks, if there is one.
    pub(crate) fault: Option<AppFault>,
}

/// The facts that one client states when it comes, and those that its request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) dialect: Dialect,
    pub(crate) transport: Transport,
    /// The terms on which its messages may be compressed, if they may be.
    pub(crate) deflate: Option<Terms>,
    /// The subprotocol to name in the answer to its request.
    pub(crate) subprotocol: Option<&'static str>,
    /// The user that the client claims to be.
    pub(crate) user: Option<Arc<str>>,
    /// A token with which the client proves its user and rights.
    pub(crate) token: Option<Box<str>>,
    /// The channels of which the client is a member from the start.
    pub(crate) channels: Vec<Arc<str>>,
    /// The one of them that nobody has named: it is there because each user has one.
    pub(crate) personal: Option<Arc<str>>,
    /// The channels that its command names, sorted by their names.
    pub(crate) wished: Vec<Wished>,
    /// The older messages of its first channel that it is told before the live ones.
    pub(crate) behind: Option<Behind>,
    /// The client's own messages come back to it.
    pub(crate) echo: bool,
    /// The texts of a tick are joined for the client; `None`: as the settings say.
    pub(crate) joined: Option<bool>,
    /// The client's address, as a trusted proxy says.
    pub(crate) address: Option<IpAddr>,
    /// Some proxy, trusted or not, names a client.
    pub(crate) is_forwarded: bool,
    pub(crate) origin: Option<Box<str>>,
    pub(crate) host: Option<Box<str>>,
    /// The host that the client asked a trusted proxy for.
    pub(crate) proxied_host: Option<Box<str>>,
    /// The app that it asks for, in the dialect that has apps.
    pub(crate) app: Option<Box<AskedApp>>,
    /// `None` unless the backend is asked about clients.
    pub(crate) presented: Option<Box<Presented>>,
}

impl Entry {
    /// An entry of a client that has stated nothing but its dialect.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            transport: Transport::WebSocket,
            deflate: None,
            subprotocol: None,
            user: None,
            token: None,
            channels: Vec::new(),
            personal: None,
            wished: Vec::new(),
            behind: None,
            echo: true,
            joined: None,
            address: None,
            is_forwarded: false,
            origin: None,
            host: None,
            proxied_host: None,
            app: None,
            presented: None,
        }
    }

    /// Returns the channel that requests without one mean.
    pub(crate) fn main_channel(&self) -> Option<&Arc<str>> {
        self.channels.first().filter(|first| self.personal.as_ref() != Some(first))
    }

    /// Returns `true` if its client has named a channel by a command.
    pub(crate) fn wishes(&self, channel: &str) -> bool {
        self.place_of(channel).is_some()
    }

    /// Leaves a channel out.
    pub(crate) fn pass_over(&mut self, channel: &str) {
        self.wished.retain(|wished| *wished.channel != *channel);
        self.channels.retain(|known| **known != *channel);
    }

    fn place_of(&self, channel: &str) -> Option<usize> {
        self.wished.binary_search_by(|wished| (*wished.channel).cmp(channel)).ok()
    }

    /// The last publication of a channel that the client has heard, if it names one.
    pub(crate) fn since(&self, channel: &str) -> Option<Since> {
        self.place_of(channel).and_then(|place| self.wished[place].since)
    }

    /// The shape of publications for the client; `joined`, unless it says otherwise.
    pub(crate) fn shape(&self, joined: bool) -> Shape {
        let joined = self.joined.unwrap_or(joined) && !self.transport.is_stream();
        self.transport().shape(self.dialect.shape(joined))
    }

    /// The transport, now that the channels are known: ids of several channels would be one muddle.
    pub(crate) fn transport(&self) -> Transport {
        let several = self.channels.len() > 1;
        if several { self.transport.for_several_channels() } else { self.transport }
    }
}
