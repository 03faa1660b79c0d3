//! The question of a client for what it missed, or for who is there, and the answer of a home.

use std::sync::Arc;

use crate::model::channel::NoChannel;
use crate::model::id::ClientId;
use crate::model::message::{Position, Publication};
use crate::model::past::Behind;
use crate::model::presence::Member;

/// A client's question for the publications that it missed.
#[derive(Debug)]
pub(crate) struct Recall {
    pub(crate) channel: Arc<str>,
    pub(crate) to: ClientId,
    /// The number of the client's request.
    pub(crate) request: u32,
    pub(crate) behind: Behind,
    /// The most bytes of payload in the answer.
    pub(crate) bytes: usize,
    /// The most publications in it.
    pub(crate) count: usize,
    /// The user as which the client wants to be in a presence channel. It is told all users there.
    pub(crate) user: Option<Arc<str>>,
}

/// A page of what a client missed. On its lane it follows everything up to `newest`, and precedes
/// everything after that.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) to: ClientId,
    pub(crate) request: u32,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// There are more: another question is to be asked.
    pub(crate) more: bool,
    /// `false`: a part of what was missed is not here any more, and nothing is told.
    pub(crate) recovered: bool,
    pub(crate) newest: Position,
    /// The users of a presence channel, if they were asked for.
    pub(crate) present: Option<Result<Vec<Member>, NoChannel>>,
}
