//! Questions of a shard for the application's backend, and the backend's rulings on their way back.
//!
//! A shard sends a question over the bridge of the hooks and goes on. The ruling comes back as a
//! parcel, and names the client and the number of its question: both may be gone by then.

use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;

use crate::model::id::ClientId;
use crate::model::message::{Details, Payload};
use crate::model::verdict::{Dismissal, Rejection};
use crate::proof::Proof;

/// Request headers that a client came with, by name, of those that the settings pass on.
pub type PassedHeaders = Arc<[(Box<str>, Box<str>)]>;

/// A question about what one client wants.
#[derive(Debug)]
pub struct Question {
    /// The client.
    pub client: ClientId,
    /// The number of the question on its shard.
    pub(crate) request: u32,
    /// The name of the dialect that the client speaks.
    pub dialect: &'static str,
    /// Its user, if it has one.
    pub user: Option<Arc<str>>,
    /// JSON about its connection that no other client sees.
    pub meta: Option<Arc<str>>,
    /// The headers of its request that are passed on.
    pub headers: Option<PassedHeaders>,
    /// The request that is asked about.
    pub subject: Subject,
}

impl Question {
    /// Returns the address of the ruling.
    pub fn asker(&self) -> Asker {
        Asker { client: self.client, request: self.request }
    }
}

/// The receiver of a ruling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub(crate) client: ClientId,
    pub(crate) request: u32,
}

/// The request of a client that a question is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// It connects.
    Connect(Box<Arrival>),
    /// Its time is nearly over.
    Refresh,
    /// It subscribes to a channel.
    Subscribe {
        /// The channel.
        channel: Arc<str>,
        /// The endpoint of the channel's namespace; `None`: the usual one.
        endpoint: Option<Arc<str>>,
        /// JSON of the client for the backend.
        data: Option<Utf8Bytes>,
    },
    /// Its time in a channel is nearly over.
    SubRefresh {
        /// The channel.
        channel: Arc<str>,
        /// The endpoint of the channel's namespace; `None`: the usual one.
        endpoint: Option<Arc<str>>,
    },
    /// It publishes to a channel.
    Publish {
        /// The channel.
        channel: Arc<str>,
        /// The endpoint of the channel's namespace; `None`: the usual one.
        endpoint: Option<Arc<str>>,
        /// The body of its message.
        body: Matter,
    },
    /// It calls a procedure of the backend.
    Call {
        /// The name of the procedure.
        method: Arc<str>,
        /// JSON of the client for the procedure.
        data: Option<Utf8Bytes>,
    },
}

/// The facts that a client states when it comes.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// JSON of the client for the backend.
    pub data: Option<Utf8Bytes>,
    /// The name that the client's software gives itself.
    pub name: Box<str>,
    /// The version of that.
    pub version: Box<str>,
    /// The channels that the client asks for.
    pub channels: Vec<Arc<str>>,
}

/// The body of a message, in the form in which it came or is to go.
#[derive(Debug, Clone)]
pub enum Matter {
    /// A plain client's text.
    Text(Utf8Bytes),
    /// A plain client's bytes.
    Binary(Bytes),
    /// One JSON value.
    Json(Utf8Bytes),
}

impl From<Payload> for Matter {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Text(text) => Self::Text(text),
            Payload::Binary(bytes) => Self::Binary(bytes),
            Payload::Json(json) => Self::Json(json),
        }
    }
}

impl From<Matter> for Payload {
    fn from(matter: Matter) -> Self {
        match matter {
            Matter::Text(text) => Self::Text(text),
            Matter::Binary(bytes) => Self::Binary(bytes),
            Matter::Json(json) => Self::Json(json),
        }
    }
}

/// The backend's answer to a question.
#[derive(Debug, Clone)]
pub enum Ruling {
    /// The client may.
    Granted(Box<Grant>),
    /// The client is answered with an error.
    Rejected(Rejection),
    /// The client is sent away.
    Dismissed(Dismissal),
    /// There is no answer: the settings say what holds then.
    Unanswered,
}

/// The terms on which a client may do what it wants. Each kind of question uses its own fields.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// The identity of the client: an answer to `connect` proves as much as a token.
    pub proof: Option<Arc<Proof>>,
    /// JSON for the client.
    pub data: Option<Arc<str>>,
    /// The Unix time in seconds from which the connection or subscription is over; `None`: never.
    pub expires: Option<u64>,
    /// It is over now.
    pub is_expired: bool,
    /// JSON that presence shows to other clients.
    pub info: Option<Arc<str>>,
    /// The client hears of joins and leaves, where the rules of the channel have them.
    pub watches: bool,
    /// JSON that no other client sees.
    pub meta: Option<Arc<str>>,
    /// The body that is published in the place of the client's.
    pub body: Option<Matter>,
    /// Details of the publication.
    pub details: Option<Arc<Details>>,
}

/// A ruling on its way to the shard of the client.
#[derive(Debug)]
pub(crate) struct Ruled {
    pub(crate) to: Asker,
    pub(crate) ruling: Ruling,
}
