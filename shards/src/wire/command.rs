//! A client's request, whatever its dialect, and the mistakes that one can have.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;

use crate::model::channel::NoChannel;
use crate::model::id::RequestId;
use crate::model::message::Payload;
use crate::model::past::{Since, Wanted};

/// One whole message of a client, before its dialect reads it.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Text(Utf8Bytes),
    Binary(Bytes),
}

impl Said {
    /// Returns `true` if it holds nothing, or nothing but white space.
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Text(text) => text.as_str().trim_ascii().is_empty(),
            Self::Binary(bytes) => bytes.is_empty(),
        }
    }

    /// Returns its size in bytes, without frame headers.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// The facts that a client states by a command, in a dialect that has one for it.
#[derive(Debug, Default)]
pub(crate) struct Connect<'a> {
    /// The user that the client claims to be.
    pub(crate) user: Option<Cow<'a, str>>,
    /// A token with which it proves its user and rights.
    pub(crate) token: Option<Cow<'a, str>>,
    /// The channels of which it would be a member from the start, or was one: each with the last
    /// publication that it heard, if it wants those behind it.
    pub(crate) channels: Vec<(Cow<'a, str>, Option<Since>)>,
    /// JSON for the application's backend.
    pub(crate) data: Option<Utf8Bytes>,
    /// The name and the version of its software.
    pub(crate) software: (Cow<'a, str>, Cow<'a, str>),
    pub(crate) id: Option<RequestId>,
}

/// A client's request.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// Say who one is: the first request of a client whose dialect has this one.
    Connect(Connect<'a>),
    /// Publish to a channel; without a name, to the one of the client's URL.
    Publish { channel: Option<Cow<'a, str>>, payload: Payload, id: Option<RequestId> },
    /// Send to all clients of a user.
    Direct { user: Cow<'a, str>, payload: Payload, id: Option<RequestId> },
    /// Become a member of a channel, and with `presence` hear who comes and goes.
    /// Behind `since`, it is told what it missed first.
    Join {
        channel: Cow<'a, str>,
        presence: bool,
        /// Take publications by their difference from the one before, where the rules allow it.
        patches: bool,
        since: Option<Since>,
        /// The client would rather not join than miss anything behind `since`.
        must_recover: bool,
        /// A token for this channel.
        token: Option<Cow<'a, str>>,
        /// JSON for the application's backend.
        data: Option<Utf8Bytes>,
        id: Option<RequestId>,
    },
    /// Be a member no longer.
    Leave { channel: Cow<'a, str>, id: Option<RequestId> },
    /// Ask who is in a channel; without a name, in the one of the client's URL.
    Who { channel: Option<Cow<'a, str>>, id: Option<RequestId> },
    /// Ask for the members of a channel, each with what its token says about it.
    Presence { channel: Option<Cow<'a, str>>, id: Option<RequestId> },
    /// Ask how many clients and users are in a channel.
    PresenceStats { channel: Option<Cow<'a, str>>, id: Option<RequestId> },
    /// Read what a channel has kept; without a name, the one of the client's URL.
    History { channel: Option<Cow<'a, str>>, wanted: Wanted, id: Option<RequestId> },
    /// Call a procedure of the application's backend.
    Call { method: Cow<'a, str>, data: Option<Utf8Bytes>, id: Option<RequestId> },
    /// Go on with a newer token: of the connection, or for a channel that one is a member of.
    Refresh { channel: Option<Cow<'a, str>>, token: Cow<'a, str>, id: Option<RequestId> },
    /// Subscribe to a channel of one's app, with a signature of the app's backend where the channel
    /// needs one, over the statement about the member too.
    Subscribe {
        channel: Cow<'a, str>,
        auth: Option<Cow<'a, str>>,
        channel_data: Option<Cow<'a, str>>,
    },
    /// Be a user of one's app, by a signature of the app's backend over the statement about it.
    SignIn { auth: Cow<'a, str>, user_data: Cow<'a, str> },
    /// Send an event to the other subscribers of a channel of one's app.
    Trigger { channel: Cow<'a, str>, event: Cow<'a, str>, payload: Payload },
    /// Ask for a sign of life in the dialect's own words.
    Ping { id: Option<RequestId> },
    /// Ask for a Pong frame.
    Heartbeat,
    /// Answer a ping of the server, in a dialect that has one.
    Pong,
    /// Nothing: a message that only other servers understand.
    Nothing,
}

/// The kind of a mistake. Each dialect has its own names or numbers for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    Malformed,
    UnknownType,
    MissingField,
    BadName,
    BadId,
    Binary,
    Rate,
    UnknownUser,
    NotJoined,
    /// A leave has taken the join back.
    TakenBack,
    TooManyChannels,
    NoRoom,
    NoHistory,
    WrongEpoch,
    /// No rules know channels of its namespace.
    UnknownNamespace,
    /// The rules of the channel do not allow it.
    Denied,
    /// The rules of the channel have it turned off.
    NotAvailable,
    /// The message is larger than the rules of the channel allow.
    TooLarge,
    /// The token is not one to go on with.
    BadToken,
    /// The token is one no longer: a newer one may do.
    ExpiredToken,
    /// The same request may succeed a little later.
    TryAgain,
    /// The engine that orders publications cannot be reached.
    Unavailable,
}

impl ErrorCode {
    /// Returns `true` if a message is no request at all.
    pub(crate) fn is_of_reading(self) -> bool {
        matches!(self, Self::Malformed | Self::UnknownType | Self::BadId | Self::Binary)
    }

    /// The code for a channel that cannot be had.
    pub(crate) fn of(why: NoChannel) -> Self {
        match why {
            NoChannel::NoRoom => Self::NoRoom,
            NoChannel::UnknownNamespace => Self::UnknownNamespace,
            NoChannel::Unavailable => Self::Unavailable,
        }
    }
}

/// A request that cannot be performed, and why.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) code: ErrorCode,
    /// For people, in English, one sentence without a full stop.
    pub(crate) text: Cow<'static, str>,
    pub(crate) id: Option<RequestId>,
}

impl Mistake {
    pub(crate) fn new(
        code: ErrorCode,
        text: impl Into<Cow<'static, str>>,
        id: Option<RequestId>,
    ) -> Self {
        Self { code, text: text.into(), id }
    }
}
