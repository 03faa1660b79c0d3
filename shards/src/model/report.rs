//! Reports of shards to the control plane.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::counters::numbers;
use super::message::Position;
use super::snapshot::Saved;

/// The end of a shard: its last report, and the histories that it leaves if they are to be saved.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Its last report.
    pub report: Report,
    /// The histories of its channels.
    pub saved: Saved,
}

/// The channels that are asked for.
#[derive(Debug, Clone)]
pub enum ChannelFilter {
    /// All of them.
    All,
    /// Those whose names begin so.
    Prefix(Arc<str>),
    /// Those with these names.
    Named(Arc<[String]>),
}

/// One channel on one shard.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// Its name.
    pub channel: Arc<str>,
    /// Clients of it on the shard that answers.
    pub clients: u64,
    /// Users of a presence channel of an app, each counted once: told by its home.
    pub users: u64,
    /// Newest position known there: exact on its home.
    pub newest: Position,
}

/// The clients of an operator's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// All clients, the fullest outbox first.
    Fullest,
    /// All clients, the oldest first.
    Oldest,
    /// Only those with something in their outbox, the fullest first. The shard has a list of them
    /// and looks at no other client.
    Blocked,
}

/// One client, for the operator's list.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its id.
    pub client: String,
    /// Its user, if it named one.
    pub user: Option<Arc<str>>,
    /// The other end of its connection; `None` if it has no address, or none any more.
    pub peer: Option<SocketAddr>,
    /// The client's address, if that other end is a proxy that told it.
    pub behind_proxy: Option<IpAddr>,
    /// The number of channels it is subscribed to.
    pub channels: u32,
    /// Its dialect's name.
    pub dialect: &'static str,
    /// Bytes in its outbox.
    pub queued_bytes: u64,
    /// The time since the outbox last moved, in milliseconds.
    pub stalled_ms: u64,
    /// The time since something was heard from it, in milliseconds.
    pub quiet_ms: u64,
    /// The time since it connected, in seconds.
    pub connected_s: u64,
}

macro_rules! report {
    (
        measured { $($measured:ident: $kind:ident, $help:literal;)* }
        counted { $($counted:ident: $counter:ident, $meaning:literal;)* }
    ) => {
        /// One shard's numbers: gauges at the moment of the report, counters since the start.
        #[derive(Debug, Clone, Default)]
        pub struct Report {
            /// The number of the shard.
            pub shard: usize,
            /// The core that the shard is pinned to.
            pub core: usize,
            /// Handshakes refused, by reason.
            pub refusals: Vec<(&'static str, u64)>,
            /// Clients gone, by reason.
            pub closes: Vec<(&'static str, u64)>,
            $(#[doc = concat!($help, ".")] pub $measured: u64,)*
            $(#[doc = concat!($meaning, ".")] pub $counted: u64,)*
        }

        /// The numbers that are read from the parts of a shard when it reports.
        #[derive(Debug)]
        pub(crate) struct Measured {
            $(pub(crate) $measured: u64,)*
        }
    };
}
numbers!(report);
