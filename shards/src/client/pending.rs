//! The admission of a client while it is not decided yet.

use bytes::Bytes;

use crate::model::id::{ChannelIndex, RequestId};
use crate::model::message::Position;
use crate::wire::entry::Entry;

/// The form in which a client is told the outcome of its admission.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer to an HTTP request. `accept` answers the key of a request for a WebSocket.
    Http { accept: Option<String> },
    /// Events of its dialect, behind the 101.
    Event { id: Option<RequestId> },
}

impl Answer {
    /// Returns the id of the command that is answered.
    pub(crate) fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Http { .. } => None,
            Self::Event { id } => id.as_ref(),
        }
    }
}

/// The position of a client in a channel that it comes back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed {
    pub(crate) channel: ChannelIndex,
    /// The last publication that it has heard, if it can be told all behind that one.
    pub(crate) position: Option<Position>,
}

/// An admission that is not decided yet: it waits for the answers of homes and owners.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) entry: Entry,
    pub(crate) answer: Answer,
    /// The number of answers that are still to come.
    pub(crate) awaited: usize,
    /// Older clients of its user go when it is open.
    pub(crate) replaces: bool,
    /// Channels that are not forgotten here while the answers about others are still to come.
    pub(crate) kept: Vec<ChannelIndex>,
    /// The answers of homes about channels that it comes back to.
    pub(crate) resumed: Vec<Resumed>,
    /// Bytes that the client sent behind its request.
    pub(crate) rest: Bytes,
}

impl Pending {
    pub(crate) fn new(entry: Entry, answer: Answer, rest: Bytes) -> Self {
        let (kept, resumed) = (Vec::new(), Vec::new());
        Self { entry, answer, awaited: 0, replaces: false, kept, resumed, rest }
    }
}
