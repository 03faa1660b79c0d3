//! How far a client is on its way into a channel, for those who put it there from outside.

use super::channel::NoChannel;
use super::id::ClientId;
use super::past::Since;
use crate::proof::Grant;

/// The place of each client that was asked for, or the reason for which there is no such channel.
pub type Seatings = Result<Vec<(ClientId, Seating)>, NoChannel>;

/// The party that may set a later end of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    Nobody,
    /// The client, which is told before or waited for.
    Client,
    /// The application's backend, which is asked before.
    Backend,
}

/// The end of a subscription as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatEnd {
    /// The second of the shard's clock from which the client's token, or the grant of the API or
    /// the application's backend, is over.
    pub(crate) at_s: u32,
    pub(crate) renewal: Renewal,
}

/// The terms on which the server's side puts clients into a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The clients are told everything behind this publication.
    pub since: Option<Since>,
    /// The statements about the subscription.
    pub grant: Grant,
    /// The Unix time in seconds from which it is over.
    pub ends: Option<u64>,
}

/// The place of a client in a channel, or the reason for which it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seating {
    /// It is a member.
    Member,
    /// It waits for the channel's home, and will be a member.
    UnderWay,
    /// It is not a member, and not on its way.
    Outside,
    /// It is in as many channels as a client may be.
    Full,
    /// It is not here any more, or not open yet.
    Gone,
    /// There is no room for the channel.
    NoRoom,
}
