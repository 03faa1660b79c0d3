//! Requests of clients that wait: for the ruling of the application's backend, or for the members
//! of a channel.

use std::sync::Arc;

use crate::model::channel::JoinRequest;
use crate::model::id::{RequestId, ShardId};
use crate::model::message::Publication;
use crate::model::presence::{Here, Question};

/// A request of a client that waits for the ruling of the application's backend.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The number of the question.
    pub(crate) request: u32,
    pub(crate) want: Want,
}

/// The request that a ruling decides about.
#[derive(Debug)]
pub(crate) enum Want {
    /// To come in.
    Entry,
    /// To be in a channel of its entry.
    EntryChannel(Arc<str>),
    /// To subscribe.
    Join { channel: Arc<str>, join: JoinRequest },
    /// To publish to a channel with this home.
    Publish { home: ShardId, publication: Arc<Publication>, id: Option<RequestId> },
    /// To call a procedure.
    Call { id: RequestId },
    /// To stay for longer. The client has not asked for it, and goes on meanwhile.
    Refresh,
    /// To stay in a channel beyond this second of the shard's clock; likewise.
    Stay { channel: Arc<str>, over_s: u32 },
}

/// A question for the members of a channel that waits for shards.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) request: u32,
    pub(crate) id: Option<RequestId>,
    pub(crate) channel: Arc<str>,
    pub(crate) question: Question,
    /// The number of shards that have not answered yet.
    pub(crate) awaited: usize,
    /// The answers so far, taken together.
    pub(crate) here: Here,
}
