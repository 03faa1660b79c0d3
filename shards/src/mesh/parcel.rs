//! Parcels: asks to a home or an owner, and what is delivered to the shards of clients.

use std::sync::Arc;

use hdrhistogram::Histogram;
use rustls::ServerConfig;

use super::link::FollowerEnd;
use super::question::Ruled;
use super::recall::{Recall, Recalled};
use super::reply::{Reply, ReplyTo};
use crate::close::CloseReason;
use crate::model::channel::NoChannel;
use crate::model::directory::{Claim, Verdict};
use crate::model::history::Query;
use crate::model::id::{ClientId, RequestId, ShardId};
use crate::model::message::{Epoch, Position, Publication};
use crate::model::past::{HistoryFault, HistoryPage, Since};
use crate::model::presence::{Here, Member, Question};
use crate::model::report::{ChannelFilter, ChannelInfo, ConnectionInfo, Listing, Report};
use crate::model::revoked::Revocation;
use crate::model::roll::Roll;
use crate::model::seating::{Placement, Seatings};
use crate::model::snapshot::Saved;
use crate::model::told::Told;
use crate::proof::Prover;
use crate::rules::Rules;
use crate::wire::command::Said;

/// The sender of a question for the members of a channel.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A client, in its request of that number.
    Client { client: ClientId, request: u32 },
    /// A thread that is no shard.
    Bridge(Reply<Result<Here, NoChannel>>),
    /// A home that another process has asked, in its question of that number.
    Home { home: ShardId, number: u64 },
}

/// On the publish lane: to a channel's home, a user's owner, or every shard.
#[derive(Debug)]
pub(crate) enum Ask {
    Publish {
        publication: Arc<Publication>,
        reply: ReplyTo<Result<Position, NoChannel>>,
    },
    Direct {
        user: Arc<str>,
        publication: Arc<Publication>,
        reply: ReplyTo<u64>,
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
    /// The clients are replaced. The home of their channel sends them away, behind all that it
    /// numbered before the newer client sat there.
    Replace {
        channel: Arc<str>,
        clients: Vec<ClientId>,
    },
    Who {
        channel: Arc<str>,
        question: Question,
        asker: Asker,
    },
    /// The home of a channel asks other processes of a take-over for their members.
    Elsewhere {
        channel: Arc<str>,
        question: Question,
        client: ClientId,
        request: u32,
    },
    Watch {
        channel: Arc<str>,
        by: ShardId,
        on: bool,
    },
    /// A client is told when users of its app come and go, or no longer.
    WatchUsers {
        client: ClientId,
        users: Vec<Arc<str>>,
        on: bool,
    },
    Presence(Arc<Presence>),
    /// A follower tells something about members.
    Roll(Roll),
    /// The number of members of a channel on one shard, which its home has asked for.
    Count {
        channel: Arc<str>,
        by: ShardId,
        members: u32,
    },
    /// A client comes back, and its shard has subscribed before this.
    Recall(Recall),
    History {
        channel: Arc<str>,
        since: Option<Since>,
        query: Query,
        reply: ReplyTo<Result<HistoryPage, HistoryFault>>,
    },
    RemoveHistory {
        channel: Arc<str>,
        reply: Reply<bool>,
    },
    DisconnectUser {
        user: Arc<str>,
        /// Clients that stay.
        but: Vec<ClientId>,
        reply: Reply<u64>,
    },
    /// A request on another shard speaks for a client of this one.
    Emulate {
        client: ClientId,
        words: Said,
    },
    /// The clients of a user, for the API.
    ClientsOf {
        user: Arc<str>,
        reply: Reply<Vec<ClientId>>,
    },
}

/// A client came to a channel or left it.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) channel: Arc<str>,
    pub(crate) member: Member,
    pub(crate) joined: bool,
    /// The number of members on its shard after that.
    pub(crate) members: u32,
}

/// The outcome of a client's request that another shard decided.
#[derive(Debug)]
pub(crate) enum Outcome {
    Published {
        channel: Arc<str>,
        position: Position,
    },
    /// A direct message was delivered to so many clients.
    Reached(u64),
    /// A part of a channel's history.
    History {
        channel: Arc<str>,
        found: Result<HistoryPage, HistoryFault>,
    },
    /// The home cannot have the channel.
    NoChannel(NoChannel),
}

/// On the deliver lane, whose receiver never waits for anything.
#[derive(Debug)]
pub(crate) enum Deliver {
    Publication(Arc<Publication>),
    Direct {
        to: Vec<ClientId>,
        publication: Arc<Publication>,
    },
    Answer {
        to: ClientId,
        id: Option<RequestId>,
        outcome: Outcome,
    },
    Subscribed {
        channel: Arc<str>,
        newest: Position,
        watched: bool,
    },
    Unsubscribable {
        channel: Arc<str>,
        why: NoChannel,
    },
    Claimed {
        client: ClientId,
        claim: Claim,
        verdict: Verdict,
    },
    Close {
        client: ClientId,
        reason: CloseReason,
    },
    Here {
        to: ClientId,
        request: u32,
        here: Here,
    },
    /// A shard's part of the answer to a question of another process.
    Part {
        number: u64,
        here: Here,
    },
    /// A follower's answer. It is no ask: a home that takes no asks may wait for it.
    Told(Box<Told>),
    Watched {
        channel: Arc<str>,
        on: bool,
    },
    Presence(Arc<Presence>),
    /// A channel with watchers has so many members. `named`: joins and leaves are told with names.
    Counted {
        channel: Arc<str>,
        clients: u64,
        named: bool,
    },
    /// A channel of an app has so many members, and its clients are told their number.
    Subscribers {
        channel: Arc<str>,
        clients: u64,
    },
    /// Users of an app have come or gone, for clients that watch them.
    Watchlist {
        to: Vec<ClientId>,
        online: bool,
        users: Vec<Arc<str>>,
    },
    Recalled(Box<Recalled>),
    /// The offsets of a channel go on behind another position, which is not the next one.
    Renumbered {
        channel: Arc<str>,
        newest: Position,
    },
    /// The backend has ruled about what a client wants.
    Ruled(Box<Ruled>),
    Enlist(Box<Enlist>),
    Dismiss(Box<Dismiss>),
    Instruction(Instruction),
}

/// The API puts some clients of a shard into a channel.
#[derive(Debug)]
pub(crate) struct Enlist {
    pub(crate) clients: Vec<ClientId>,
    pub(crate) channel: Arc<str>,
    pub(crate) placement: Placement,
    /// Only asks how far they are, and begins no join.
    pub(crate) asks_only: bool,
    /// Gets one answer for each client, in their order.
    pub(crate) reply: Reply<Seatings>,
}

/// The API takes some clients of a shard out of a channel.
#[derive(Debug)]
pub(crate) struct Dismiss {
    pub(crate) clients: Vec<ClientId>,
    pub(crate) channel: Arc<str>,
    /// Gets the number of those that were in it, or on their way there.
    pub(crate) reply: Reply<Result<u64, NoChannel>>,
}

/// The clients that a wish of the control plane is about.
#[derive(Debug, Clone)]
pub(crate) enum Whom {
    User(Arc<str>),
    Client(ClientId),
    /// Those that came with the token of this id.
    Token(Arc<str>),
}

/// The end of a client that the control plane wishes for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Close(CloseReason),
    /// At a Unix time in seconds, or never.
    End(Option<u64>),
}

/// The control plane's wish, for the shard itself.
#[derive(Debug)]
pub(crate) enum Instruction {
    Report(Reply<Report>),
    Channels {
        filter: ChannelFilter,
        limit: usize,
        reply: Reply<Vec<ChannelInfo>>,
    },
    Connections {
        listing: Listing,
        limit: usize,
        reply: Reply<Vec<ConnectionInfo>>,
    },
    Latency(Reply<(usize, Histogram<u64>)>),
    /// Save histories from a place on.
    Save {
        place: usize,
        /// Also channels that keep nothing.
        all: bool,
        reply: Reply<Saved>,
    },
    /// Another process numbers publications from now on. Channels that are met for the first time
    /// begin with an epoch of it.
    Follow {
        end: FollowerEnd,
        epoch: Epoch,
        reply: Reply<()>,
    },
    /// Appends what this home and owner knows beside histories, in the form of facts.
    Facts(Reply<Vec<u8>>),
    /// Read some revocations behind one of them.
    Revocations {
        behind: Option<Revocation>,
        reply: Reply<Vec<Revocation>>,
    },
    /// Puts other rules of channels in force.
    Rules {
        rules: Arc<Rules>,
        reply: Reply<()>,
    },
    Disconnect {
        client: ClientId,
        reply: Reply<u64>,
    },
    /// Later handshakes of TLS are done with these settings.
    Tls {
        config: Arc<ServerConfig>,
        reply: Reply<()>,
    },
    /// Tokens are verified by this from now on.
    Prover(Arc<dyn Prover>),
    Revoke {
        revocation: Revocation,
        reply: Reply<u64>,
    },
    /// Clients of this shard end, now or at a time.
    Decide {
        whom: Whom,
        fate: Fate,
        reply: Reply<u64>,
    },
    /// With a successor, which holds the listeners from now on, or without. The answer of a shard
    /// with a successor says that it accepts nobody any more.
    Drain {
        successor: bool,
        reply: Reply<()>,
    },
    /// A fault on purpose, for the test of what follows from one.
    #[cfg(debug_assertions)]
    Panic,
}

/// An element of a lane.
pub(super) trait Parcel {
    /// Returns `true` if this one parcel may cause sends to many clients, each on its own.
    fn is_broad(&self) -> bool;
}

impl Parcel for Ask {
    fn is_broad(&self) -> bool {
        match self {
            Self::Presence(_) | Self::Who { .. } | Self::Recall(_) => true,
            Self::History { reply, .. } => !matches!(reply, ReplyTo::Bridge(_)),
            // A parcel from outside waits for no shard, and so must not make clients wait.
            Self::Direct { reply, .. } => {
                !matches!(reply, ReplyTo::Bridge(_) | ReplyTo::Follower(_))
            }
            _ => false,
        }
    }
}

impl Parcel for Deliver {
    fn is_broad(&self) -> bool {
        matches!(
            self,
            Self::Presence(_)
                | Self::Counted { .. }
                | Self::Subscribers { .. }
                | Self::Watchlist { .. }
                | Self::Direct { .. }
                | Self::Here { .. }
                | Self::Recalled(_)
        )
    }
}
