//! The application's part: the wants of clients about which its backend is asked, and the news that
//! it is told.

use std::sync::Arc;

/// The rule about questions for the application's backend in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hook {
    /// It is not.
    #[default]
    Off,
    /// It is, at the usual endpoint for questions of this kind.
    On,
    /// It is, at an endpoint of the namespace's own.
    At(Arc<str>),
}

impl Hook {
    /// Returns `true` if the backend is asked.
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }

    /// Returns the endpoint of the namespace's own.
    pub fn endpoint(&self) -> Option<Arc<str>> {
        match self {
            Self::At(endpoint) => Some(Arc::clone(endpoint)),
            Self::Off | Self::On => None,
        }
    }
}

/// The questions for the application's backend that belong to no channel.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Clients without a token are asked about when they connect.
    pub connect: bool,
    /// Clients whose time is nearly over are asked about.
    pub refresh: bool,
    /// Clients may call procedures of the backend.
    pub call: bool,
    /// Where there is no answer, the rules alone decide; otherwise the client may not.
    pub rules_decide: bool,
    /// The headers of a client's request that are passed on.
    pub headers: Arc<[Box<str>]>,
}

/// The news that are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewsKinds {
    /// Clients that connect and disconnect.
    pub clients: bool,
    /// Clients that subscribe and unsubscribe.
    pub subscriptions: bool,
    /// Channels that get their first subscriber and lose their last one.
    pub channels: bool,
}

impl NewsKinds {
    /// Returns `true` if there is anything to tell.
    pub fn any(self) -> bool {
        self.clients || self.subscriptions || self.channels
    }
}
