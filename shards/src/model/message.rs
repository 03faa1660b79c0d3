//! A publication: one message of a client or of the API, numbered by its channel's home and never
//! changed afterwards.

use std::fmt;
use std::slice;
use std::str::FromStr;
use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;
use serde_json::json;

use super::id::ClientId;
use super::socket::SocketId;

/// One numbering of a channel. It changes whenever the offsets begin anew: with every start of the
/// server, and when a home has forgotten the channel meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub(crate) u32);

impl Epoch {
    /// The numbering after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl FromStr for Epoch {
    type Err = ();

    /// Reads an epoch as it is written, and in no other form.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits =
            text.len() == 8 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        if digits { u32::from_str_radix(text, 16).map(Self).map_err(|_| ()) } else { Err(()) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A place in a channel's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The numbering.
    pub epoch: Epoch,
    /// The running number of a publication, from 1; zero before the first one.
    pub offset: u64,
}

impl Position {
    /// Before the first publication of a numbering.
    pub(crate) fn start(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }
}

/// A message's body in the form in which it came.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// A plain client's text.
    Text(Utf8Bytes),
    /// A plain client's bytes.
    Binary(Bytes),
    /// One JSON value, byte for byte.
    Json(Utf8Bytes),
}

impl Payload {
    /// Gives the payload memory of its own: a small one that is kept for long must not keep the
    /// whole buffer that it was read into.
    pub(crate) fn detach(&mut self) {
        match self {
            Self::Text(text) | Self::Json(text) => *text = Utf8Bytes::from(text.as_str()),
            Self::Binary(bytes) => *bytes = Bytes::copy_from_slice(bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// The client that published it.
#[derive(Debug, Clone)]
pub(crate) struct From {
    pub(crate) client: ClientId,
    pub(crate) user: Option<Arc<str>>,
}

/// The details that few publications have: those of the API, and events of Pusher's protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// It is told to subscribers, and not kept.
    pub skip_history: bool,
    /// A JSON object of strings, told beside the body.
    pub tags: Option<Arc<str>>,
    /// A client that does not hear it.
    pub except: Option<SocketId>,
    /// It is left out if the channel has had this version, or a newer one.
    pub version: Option<Version>,
}

impl Details {
    /// The details of an event of Pusher's protocol. Its name is the tag `event`, which every
    /// dialect shows.
    pub fn of_event(name: &str, except: Option<SocketId>) -> Self {
        let tags = Some(json!({ "event": name }).to_string().into());
        Self { tags, except, ..Self::default() }
    }

    /// The details of a publication about which the application's backend has ruled: an event keeps
    /// its name, and the client that does not hear it.
    pub(crate) fn as_ruled(own: Option<Arc<Self>>, ruled: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let (Some(own), Some(ruled)) = (&own, &ruled) else { return ruled.or(own) };
        let skip_history = own.skip_history || ruled.skip_history;
        let (version, own) = (ruled.version.clone(), Self::clone(own));
        Some(Arc::new(Self { skip_history, version, ..own }))
    }

    fn bytes(&self) -> usize {
        let version = self.version.as_ref().map_or(0, |version| version.epoch.len());
        self.tags.as_ref().map_or(0, |tags| tags.len()) + version
    }
}

/// The version of the state that a publication tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The number; a higher one is newer.
    pub number: u64,
    /// The numbering; numbers of different ones cannot be compared, and the later one counts.
    pub epoch: Arc<str>,
}

/// One numbered publication; shared by count from the home on.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) channel: Arc<str>,
    /// The channel's running number, from 1; zero until the home has numbered it.
    pub(crate) offset: u64,
    /// Wall-clock milliseconds, set by the home.
    pub(crate) time_ms: u64,
    /// When the server read it, on the monotonic clock.
    pub(crate) ingress_ns: u64,
    /// `None` for the server's API.
    pub(crate) from: Option<From>,
    pub(crate) details: Option<Arc<Details>>,
    pub(crate) payload: Payload,
}

impl Publication {
    /// Returns the bytes of its body and of its details: the part of its size that has no bound but
    /// those for messages.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len() + self.details.as_ref().map_or(0, |details| details.bytes())
    }

    /// Returns `true` if it is not to be kept, whatever the rules of its channel.
    pub(crate) fn skips_history(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.skip_history)
    }

    /// Returns the version of the state that it tells.
    pub(crate) fn version(&self) -> Option<&Version> {
        self.details.as_ref()?.version.as_ref()
    }

    /// Returns its tags as a JSON object.
    pub(crate) fn tags(&self) -> Option<&str> {
        self.details.as_ref()?.tags.as_deref()
    }

    /// Returns the client that does not hear it.
    pub(crate) fn except(&self) -> Option<SocketId> {
        self.details.as_ref()?.except
    }

    /// Returns `true` if a client that some publications are withheld from does not hear this one:
    /// it has published it, or is excepted.
    pub(crate) fn is_withheld_from(&self, socket: SocketId) -> bool {
        self.from.as_ref().is_some_and(|from| from.client == socket.client)
            || self.except() == Some(socket)
    }
}

/// The publications of a tick in their order, for all members or for a client that some are
/// withheld from.
#[derive(Debug, Clone)]
pub(crate) struct Publications<'a> {
    rest: slice::Iter<'a, Arc<Publication>>,
    withheld_from: Option<SocketId>,
    /// Their numbering, where clients may come back for what they missed.
    epoch: Option<Epoch>,
    /// The publication in front of them.
    before: Option<&'a Publication>,
}

impl<'a> Publications<'a> {
    /// All of them.
    pub(crate) fn all(publications: &'a [Arc<Publication>]) -> Self {
        Self { rest: publications.iter(), withheld_from: None, epoch: None, before: None }
    }

    /// Those that `client` hears.
    pub(crate) fn only_for(publications: &'a [Arc<Publication>], client: SocketId) -> Self {
        Self::heard_by(publications, Some(client))
    }

    /// Those that `client` hears, if some are withheld from one.
    pub(crate) fn heard_by(publications: &'a [Arc<Publication>], client: Option<SocketId>) -> Self {
        Self { rest: publications.iter(), withheld_from: client, epoch: None, before: None }
    }

    /// The same with their numbering, for shapes that tell positions.
    pub(crate) fn numbered(self, epoch: Option<Epoch>) -> Self {
        Self { epoch, ..self }
    }

    /// Returns the position of one of them, if it is to be told.
    pub(crate) fn position_of(epoch: Option<Epoch>, publication: &Publication) -> Option<Position> {
        epoch.map(|epoch| Position { epoch, offset: publication.offset })
    }

    /// Returns their numbering, if it is to be told.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The same behind another one, from which the first may be told by its difference.
    pub(crate) fn behind(self, before: Option<&'a Publication>) -> Self {
        Self { before, ..self }
    }

    pub(crate) fn before(&self) -> Option<&'a Publication> {
        self.before
    }
}

impl<'a> Iterator for Publications<'a> {
    type Item = &'a Publication;

    fn next(&mut self) -> Option<&'a Publication> {
        let withheld = self.withheld_from;
        self.rest
            .by_ref()
            .map(AsRef::as_ref)
            .find(|publication| withheld.is_none_or(|client| !publication.is_withheld_from(client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_ruled_about_keeps_its_name() {
        let own = || Some(Arc::new(Details::of_event("client-x", None)));
        let tags = Some(Arc::from("{\"by\":\"backend\"}"));
        let ruled = Some(Arc::new(Details { skip_history: true, tags, ..Details::default() }));
        assert_eq!(Details::as_ruled(own(), None), own());
        let both = Details::as_ruled(own(), ruled).unwrap();
        assert_eq!(
            (both.skip_history, both.tags.as_deref()),
            (true, Some(r#"{"event":"client-x"}"#))
        );
        let ruled = Some(Arc::new(Details { skip_history: true, ..Details::default() }));
        assert_eq!(Details::as_ruled(None, ruled.clone()), ruled);
    }
}
