//! Events: everything but publications that a single client is told, whatever its dialect.
//! Publications are written once for all members of a shape.

use std::sync::Arc;
use std::time::Duration;

use super::command::ErrorCode;
use super::refusal::Refusal;
use crate::model::id::{ClientId, RequestId};
use crate::model::message::Position;
use crate::model::past::HistoryPage;
use crate::model::presence::Member;
use crate::model::socket::SocketId;

/// A greeting.
#[derive(Debug)]
pub(crate) struct Welcome<'a> {
    pub(crate) client: ClientId,
    /// Its name in Pusher's protocol.
    pub(crate) socket: SocketId,
    pub(crate) user: Option<&'a str>,
    /// The channels of its entry.
    pub(crate) channels: &'a [Seated<'a>],
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) message_bytes: usize,
    /// Offsets of a channel grow, and have gaps.
    pub(crate) is_sparse: bool,
    /// The seconds for which its token is good, if they are limited.
    pub(crate) left_s: Option<u32>,
    /// JSON of the application's backend.
    pub(crate) data: Option<&'a str>,
    /// The command that it answers, in a dialect that has one.
    pub(crate) id: Option<&'a RequestId>,
    /// The client answers pings.
    pub(crate) pongs: bool,
    /// The names of the client and of this process for requests that speak for the client.
    pub(crate) session: Option<(&'a str, &'a str)>,
}

/// A channel that a client is a member of from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seated<'a> {
    pub(crate) channel: &'a str,
    /// The newest publication before it.
    pub(crate) position: Position,
    /// The client has been told everything behind the publication that it named, if it named one.
    pub(crate) recovered: Option<bool>,
    /// The seconds for which its token for the channel is good, if they are limited.
    pub(crate) left_s: Option<u32>,
    /// The client may go on with a newer one.
    pub(crate) can_refresh: bool,
    /// The client learns of each publication that it loses.
    pub(crate) keeps_position: bool,
    /// JSON of the server's side about this subscription.
    pub(crate) data: Option<&'a str>,
    /// The client is told publications by their difference from the one before.
    pub(crate) patches: bool,
}

/// Something for one client.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Welcome(Welcome<'a>),
    /// The command by which the client said who it is does not let it in: its close frame follows.
    Refused {
        refusal: &'a Refusal,
        id: Option<&'a RequestId>,
    },
    /// The client is a member.
    Joined {
        seated: Seated<'a>,
        id: Option<&'a RequestId>,
    },
    /// The client is a member no longer.
    Left {
        channel: &'a str,
        id: Option<&'a RequestId>,
    },
    /// Publications that the client has lost, by the offsets of the first and the last one.
    Gap {
        channel: &'a str,
        from: u64,
        to: u64,
    },
    /// The server has put the client into a channel.
    Added(Seated<'a>),
    /// The server has taken the client out of a channel.
    Removed {
        channel: &'a str,
    },
    /// The client is a member of a channel no longer, because its time there is over.
    Lapsed {
        channel: &'a str,
    },
    /// Another client came to a channel or left it.
    Presence {
        joined: bool,
        channel: &'a str,
        member: &'a Member,
    },
    /// A channel whose joins and leaves the client hears of has so many members. `named`: it hears
    /// of each from here on; otherwise only of their number.
    Crowd {
        channel: &'a str,
        clients: u64,
        named: bool,
    },
    /// The members of a channel. `more`: there are more users than are named.
    Here {
        channel: &'a str,
        clients: u64,
        users: &'a [Arc<str>],
        more: bool,
        id: Option<&'a RequestId>,
    },
    /// The members of a channel, `clients` in number. `more`: there are more than are named.
    Members {
        channel: &'a str,
        clients: u64,
        members: &'a [Member],
        more: bool,
        id: Option<&'a RequestId>,
    },
    /// The numbers of clients and users in a channel. `exact`: no user counts twice.
    Numbers {
        channel: &'a str,
        clients: u64,
        users: u64,
        exact: bool,
        id: Option<&'a RequestId>,
    },
    /// A part of a channel's history.
    History {
        channel: &'a str,
        page: &'a HistoryPage,
        id: Option<&'a RequestId>,
    },
    /// A publication was taken and numbered.
    Published {
        channel: &'a str,
        position: Position,
        id: &'a RequestId,
    },
    /// The answer of a procedure of the application's backend, in JSON.
    Called {
        data: Option<&'a str>,
        id: &'a RequestId,
    },
    /// The application's backend does not allow a request, in its own words.
    Rejected {
        code: u32,
        text: &'a str,
        is_passing: bool,
        id: Option<&'a RequestId>,
    },
    /// A direct message was delivered to so many clients.
    Reached {
        clients: u64,
        id: &'a RequestId,
    },
    Error {
        code: ErrorCode,
        text: &'a str,
        id: Option<&'a RequestId>,
    },
    /// The client's token ends in so many seconds: that of its connection, or for a channel.
    Expiring {
        channel: Option<&'a str>,
        left_s: u32,
    },
    /// A newer token of the connection or for a channel was taken, which ends in so many seconds,
    /// or never.
    Refreshed {
        channel: Option<&'a str>,
        left_s: Option<u64>,
        id: Option<&'a RequestId>,
    },
    /// The answer to a ping in the dialect's own words.
    Pong {
        id: Option<&'a RequestId>,
    },
    /// The answer to a request for a Pong frame.
    Heartbeat,
    /// The server's own heartbeat request.
    Ping,
    /// A thing that only clients of apps are told.
    OfApp(OfApp<'a>),
    /// The end of a client whose connection cannot say it by itself.
    Closing {
        code: u16,
        reason: &'a str,
    },
}

/// The things that only clients of apps are told.
#[derive(Debug)]
pub(crate) enum OfApp<'a> {
    /// The client is a member of a presence channel, whose members are these.
    Present { channel: &'a str, members: &'a [Member] },
    /// The channel would tell its last event to new members, and has none.
    CacheMiss { channel: &'a str },
    /// The client is the user of this statement of its backend.
    SignedIn { user_data: &'a str },
    /// Users that the client watches have come, or have gone.
    Watchlist { online: bool, users: &'a [&'a str] },
    /// A channel has so many members.
    Subscribers { channel: &'a str, clients: u64 },
    /// The client wants more than it may have, and has a part of it.
    Limited { code: u16, text: &'a str },
}

impl Event<'_> {
    /// Returns `true` if the client is a member of a channel from now on, or no longer: it would
    /// know nothing of publications that come, or wait for some that never do.
    pub(crate) fn is_about_seat(&self) -> bool {
        let ends = matches!(self, Self::Left { .. } | Self::Removed { .. } | Self::Lapsed { .. });
        ends || matches!(
            self,
            Self::Joined { .. } | Self::OfApp(OfApp::Present { .. }) | Self::Added(_)
        )
    }
}
