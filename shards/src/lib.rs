//! Stentor's data plane: one pinned shard per core, joined by a mesh of bounded lanes.
//!
//! ```text
//! accept -> handshake -> session -> home -> mesh -> fan-out -> socket, or outbox and flush
//! ```
//!
//! A shard is a small single-threaded server. Its stages are files in the order in which a client
//! meets them; what they know is in `model`, what clients speak is in `wire`, and only `rt` knows
//! the runtime. A shard runs in turns: everything that is ready is taken, and what came of it
//! leaves in one send per client.

mod config;
mod rules;
pub mod descriptors;
mod error;
mod handle;
mod shard;
mod client;
mod stage;
mod home;
mod mesh;
mod notice;
mod net;
pub mod tls;
mod watch;
mod sleep;
#[allow(unsafe_code, reason = "the one place: what the runtime and the kernel ask for")]
pub mod rt;
mod run;
mod clock;
mod close;
mod model;
pub mod proof;
mod wire;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "a test of what must be so")]
#[cfg_attr(fuzzing, allow(dead_code, reason = "its own tests are not built for a fuzzer"))]
mod sim;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "a test of what must be so")]
pub mod fuzz;

pub use clock::unix_ms;
pub use config::{
    Config, DuplicateUser, JoinMessages, ProxyProtocol, Ring, UserFrom, is_for_tls, overlaps,
};
pub use error::{RunError, Untaken};
pub use handle::past::Following;
pub use handle::{Body, Handle, MOVED_MAX, Reading, Target};
pub use mesh::bridge::{Crossing, Inbox, Sealed, Visitor};
pub use mesh::bus::{BusLanes, Carried, FromBus, Joined, Opened, Ticket, ToBus};
pub use mesh::link::{Incoming, Link, Message, Outgoing};
pub use mesh::news::{ClientEvent, Happening, News, Whose};
pub use mesh::question::{Arrival, Asker, Grant, Matter, PassedHeaders, Question, Ruling, Subject};
pub use mesh::reply::Answers;
pub use model::channel::NoChannel;
pub use model::counters::{NUMBERS, Number, NumberKind};
pub use model::id::ClientId;
pub use model::message::{Details, Epoch, Position, Version};
pub use model::past::{HistoryFault, HistoryPage, Kept, KeptBody, Numbering, Since};
pub use model::presence::{Here, Member};
pub use model::report::{ChannelFilter, ChannelInfo, ConnectionInfo, Ending, Listing, Report};
pub use model::revoked::{REVOKED_MAX, Revocation};
pub use model::seating::{Placement, Seating, Seatings};
pub use model::socket::{NoSocketId, SocketId};
pub use model::verdict::{Dismissal, Rejection};
pub mod snapshot {
    //! The histories of channels as bytes.
    pub use crate::model::facts::{Fact, read_facts};
    pub use crate::model::id::ProcessId;
    pub use crate::model::snapshot::{
        ChannelPast, Damaged, MAGIC, Past, Saved, put_end, put_revocations, read, read_part,
        read_revocations,
    };
}
pub use rules::{
    App, AppFigures, AppLimits, AppNews, AppTally, ChannelRules, Compression, Delta, Denied,
    HistoryRules, Hook, Hooks, Marks, NewsKinds, Publish, Rules, RulesFault, Secret, SlowClients,
    Standing, Subscribe, Terms, check_app_name, check_namespace, is_cache_channel,
    is_signed_channel,
};
pub use run::{Run, fresh_seed, run};
pub use wire::forwarded::{ForwardedHeader, Network, TrustedProxies};
pub use wire::json::is_too_deep;
pub use wire::name::{APP_USER_BYTES, is_app_user, path_decoded};
pub use wire::origin::{OriginPattern, Origins, Site};
pub use wire::path::{check_path_prefix, local_path, shown_path};
pub use wire::pusher::sign::{
    SignatureFault, SignedParameters, SignedRequest, check_request, signature,
};
