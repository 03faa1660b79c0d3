//! The past of a channel: positions that clients name, and parts of its history.

use std::sync::Arc;

use super::message::{Epoch, Payload, Position, Publication};

/// The last publication that a client has heard, as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The numbering.
    pub epoch: Numbering,
    /// The offset in it; zero before the first publication.
    pub offset: u64,
}

/// The numbering of a position that a client names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// This epoch's.
    Is(Epoch),
    /// The one in force, whichever it is; Centrifugo's clients may ask so.
    Any,
    /// One that cannot be this server's.
    Foreign,
}

impl Numbering {
    /// Reads an epoch.
    pub fn read(text: &str) -> Self {
        text.parse().map_or(Self::Foreign, Self::Is)
    }

    /// Reads an epoch where an empty one stands for any.
    pub fn read_or_any(text: &str) -> Self {
        if text.is_empty() { Self::Any } else { Self::read(text) }
    }

    /// Returns `true` if an epoch is meant.
    pub(crate) fn means(self, epoch: Epoch) -> bool {
        self == Self::Any || self == Self::Is(epoch)
    }
}

/// The publications that a client is told before the live ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// All behind the one that it heard last.
    Since(Since),
    /// The newest ones, this many at most.
    Last(u32),
    /// The rest of what it is being told, behind the page before.
    Rest(Since),
    /// None yet: the client asks whether all behind the one that it heard last is there.
    Check(Since),
}

/// The part of a history that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Only what lies behind this publication; in front of it, if the newest come first.
    pub(crate) since: Option<Since>,
    /// The most publications.
    pub(crate) limit: usize,
    pub(crate) newest_first: bool,
}

/// A part of a channel's history, as it was when its home answered.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    pub(crate) publications: Vec<Arc<Publication>>,
    /// The newest position of the channel.
    pub newest: Position,
    /// There are more in the direction of the query.
    pub more: bool,
}

/// A kept publication, for the control plane.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a>(&'a Publication);

impl HistoryPage {
    /// Returns the publications in the order that was asked for.
    pub fn publications(&self) -> impl Iterator<Item = Kept<'_>> {
        self.publications.iter().map(|publication| Kept(publication))
    }
}

impl<'a> Kept<'a> {
    /// Returns its offset.
    pub fn offset(self) -> u64 {
        self.0.offset
    }

    /// Returns the time at which its home numbered it, in milliseconds since 1970.
    pub fn time_ms(self) -> u64 {
        self.0.time_ms
    }

    /// Returns the id and the user of the client that published it; `None` for the API.
    pub fn from(self) -> Option<(String, Option<&'a str>)> {
        let from = self.0.from.as_ref()?;
        Some((from.client.to_string(), from.user.as_deref()))
    }

    /// Returns its tags as a JSON object.
    pub fn tags(self) -> Option<&'a str> {
        self.0.tags()
    }

    /// Returns its body.
    pub fn body(self) -> KeptBody<'a> {
        match &self.0.payload {
            Payload::Text(text) => KeptBody::Text(text),
            Payload::Binary(bytes) => KeptBody::Binary(bytes),
            Payload::Json(json) => KeptBody::Json(json),
        }
    }
}

/// The body of a kept publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBody<'a> {
    /// A plain client's text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// One JSON value.
    Json(&'a str),
}

/// The reason why a history cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFault {
    /// The rules of the channel keep nothing.
    #[error("no history is kept here")]
    Off,
    /// Its offsets began again since.
    #[error("the epoch is not the channel's")]
    OtherEpoch,
}
