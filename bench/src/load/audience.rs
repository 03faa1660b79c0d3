//! The clients that a message is for, where that is not all of them.

use serde::{Deserialize, Serialize};

use crate::units;

/// Channels, or messages to one client each.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub(crate) struct Audience {
    /// Channels, each with clients (--members) and publishers (-P) of its own: $C stands for the
    /// number of the client's channel wherever $N stands for its own.
    #[arg(long, value_name = "N", value_parser = units::count, requires = "members")]
    pub(super) channels: Option<usize>,
    /// Clients of each channel; with it -c is not needed.
    #[arg(
        long, value_name = "M", value_parser = units::count, requires = "channels",
        conflicts_with = "clients"
    )]
    pub(super) members: Option<usize>,
    /// Direct messages: each is for one client, all in turn; $TO in --message is its number.
    #[arg(long, conflicts_with = "channels")]
    pub(super) direct: bool,
}

impl Audience {
    /// Returns `true` if messages are for all clients.
    pub(crate) fn is_everyone(&self) -> bool {
        self.channels.is_none() && !self.direct
    }
}
