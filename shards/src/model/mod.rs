//! State without sockets, clocks or an executor: what a shard knows, and the rules that keep it
//! true.

pub(crate) mod id;
pub(crate) mod socket;
pub(crate) mod message;
pub(crate) mod past;
pub(crate) mod history;
pub(crate) mod order;
pub(crate) mod keepers;
pub(crate) mod codec;
pub(crate) mod snapshot;
pub(crate) mod facts;
pub(crate) mod told;
pub(crate) mod carried;
pub(crate) mod roll;
pub(crate) mod strangers;
pub(crate) mod shape;
pub(crate) mod members;
pub(crate) mod channel;
pub(crate) mod presence;
pub(crate) mod seating;
pub(crate) mod verdict;
pub(crate) mod attendance;
pub(crate) mod revoked;
pub(crate) mod rooms;
pub(crate) mod watchers;
pub(crate) mod directory;
pub(crate) mod gaps;
pub(crate) mod outbox;
pub(crate) mod bucket;
pub(crate) mod report;
pub(crate) mod counters;
