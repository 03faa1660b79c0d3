//! What travels between shards: asks to a home or an owner, and what is delivered to the shards of
//! clients.

use std::net::IpAddr;
use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::close::CloseReason;
use crate::handle::{ChannelInfo, ConnectionInfo, Reply, Report};
use crate::model::directory::Verdict;
use crate::model::id::{ClientId, ShardId};
use crate::model::message::Publication;
use crate::wire::stentor::read::IdBuf;

/// Who wants to hear that a publication was taken.
#[derive(Debug)]
pub(crate) enum AckTo {
    Nobody,
    Client(ClientId, IdBuf),
    Api(Reply<u64>),
}

/// What a client claims for itself at its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    User(Arc<str>),
    Address(IpAddr),
}

/// On the publish lane: to a channel's home, a user's owner, or every shard.
#[derive(Debug)]
pub(crate) enum Ask {
    Publish {
        publication: Arc<Publication>,
        ack: AckTo,
    },
    Direct {
        user: Arc<str>,
        publication: Arc<Publication>,
        ack: AckTo,
    },
    Subscribe {
        channel: Arc<str>,
        by: ShardId,
    },
    Unsubscribe {
        channel: Arc<str>,
        by: ShardId,
    },
    Claim {
        client: ClientId,
        claim: Claim,
    },
    Release {
        client: ClientId,
        claim: Claim,
    },
    /// A client that replaces others is open, in `channel` if it named one.
    Settle {
        client: ClientId,
        user: Arc<str>,
        channel: Option<Arc<str>>,
    },
    /// Its channel's home sees to it that they hear all that was numbered before it sat there.
    Replace {
        clients: Vec<ClientId>,
    },
    Who {
        channel: Arc<str>,
        asker: ClientId,
        request: u32,
    },
    Watch {
        channel: Arc<str>,
        by: ShardId,
        on: bool,
    },
    Presence(Arc<Presence>),
    DisconnectUser {
        user: Arc<str>,
        reply: Reply<u64>,
    },
}

/// Somebody came to a channel or left it.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) channel: Arc<str>,
    pub(crate) client: ClientId,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) joined: bool,
}

/// On the deliver lane, whose receiver never waits for anything.
#[derive(Debug)]
pub(crate) enum Deliver {
    Publication(Arc<Publication>),
    Direct { to: Vec<ClientId>, publication: Arc<Publication> },
    Published { to: ClientId, id: IdBuf, channel: Arc<str>, offset: u64 },
    Reached { to: ClientId, id: Option<IdBuf>, clients: u64 },
    NoRoom { to: ClientId, id: Option<IdBuf> },
    Subscribed { channel: Arc<str>, offset: u64, watched: bool },
    Unsubscribable { channel: Arc<str> },
    Claimed { client: ClientId, claim: Claim, verdict: Verdict },
    Close { client: ClientId, reason: CloseReason },
    Who { to: ClientId, request: u32, clients: u64, users: Vec<Arc<str>> },
    Watched { channel: Arc<str>, on: bool },
    Presence(Arc<Presence>),
    Order(Order),
}

/// What the control plane wants of a shard.
#[derive(Debug)]
pub(crate) enum Order {
    Report(Reply<Report>),
    Channels {
        limit: usize,
        reply: Reply<Vec<ChannelInfo>>,
    },
    Connections {
        queued: bool,
        limit: usize,
        reply: Reply<Vec<ConnectionInfo>>,
    },
    Latency(Reply<(usize, Histogram<u64>)>),
    Disconnect {
        client: ClientId,
        reply: Reply<u64>,
    },
    /// With a successor, which holds the listeners from now on, or without.
    Drain {
        successor: bool,
    },
    /// A fault on purpose, for the test of what follows from one.
    #[cfg(debug_assertions)]
    Panic,
}
