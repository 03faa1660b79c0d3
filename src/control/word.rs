//! The words that the control planes of two processes of a take-over say to each other.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A message from one control plane to another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// Perform this for your own clients.
    Call { number: u64, method: String, params: Box<RawValue> },
    /// The outcome of the call of that number.
    Answer { number: u64, answer: Answer },
    /// A publication was made under this key.
    Key(KnownKey),
}

/// The result of a command, or the fault for which there is none. The result is JSON that is
/// written: what clients have published stands in it byte for byte.
pub(crate) type Answer = Result<Box<RawValue>, Fault>;

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The shards have more to do than they can take: try again.
    Busy,
    /// The request makes no sense; the text says why.
    Bad(String),
    /// The request cannot be read at all: it is no JSON, or its address has a wrong parameter.
    Malformed(String),
    /// The body is larger than the largest that makes sense.
    TooLarge,
    /// A client is in as many channels as it may be.
    LimitExceeded,
    /// The position is not one of the channel as it is now.
    Unrecoverable,
    /// A method of Centrifugo's API that this server does not have, or a feature that is off.
    NotAvailable(String),
    /// No rules know channels of this namespace.
    UnknownNamespace,
    /// No method of this name is known.
    Unknown(String),
    /// The method is asked for by another verb. It is never told to another process.
    Verb(#[serde(skip)] &'static str),
}

/// A key whose publication was made, as one process tells another of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownKey {
    pub(super) channel: String,
    pub(super) key: String,
    /// The time since it was first asked for.
    pub(super) age_ms: u64,
    pub(super) epoch: String,
    pub(super) offset: u64,
}
