//! The messages between a coordinator and its agents, in the order in which they are sent.

use serde::{Deserialize, Serialize};

use super::clock::Source;
use crate::coordination::{AgentShare, Note};
use crate::live::Snapshot;
use crate::load::AnyLoad;
use crate::run::Host;

/// Both sides speak the same one, and are of one version: a load is told as its fields are.
pub(crate) const PROTOCOL: u32 = 2;

/// Most bytes of what a stranger says.
pub(crate) const GREETING_BYTES_MAX: usize = 4 << 10;

/// Most bytes of an order.
pub(crate) const ORDER_BYTES_MAX: usize = 4 << 20;

/// Most bytes of a report: an hour's findings of one thread are a few MB.
pub(crate) const REPORT_BYTES_MAX: usize = 256 << 20;

/// A coordinator's greeting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Of the tool.
    pub(crate) version: String,
    pub(crate) protocol: u32,
    pub(crate) token: Option<String>,
}

impl Hello {
    /// This tool's.
    pub(crate) fn with(token: Option<String>) -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL, token }
    }
}

/// A message of the coordinator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Hello(Hello),
    /// Asks for the agent's time, before the work and after it.
    Time,
    Load(Box<LoadOrder>),
    /// All clients of all agents are there. On the run's clock.
    Begin {
        at_ns: u64,
    },
    /// All have come to where they meet, for so many times.
    Met {
        rounds: usize,
    },
    /// How many messages of a publisher have reached everyone.
    Complete(Vec<(u32, u32)>),
    /// Nothing is to be said from then on, which is earlier than was planned.
    End {
        at_ns: u64,
    },
    /// Still here.
    Beat,
    /// All has been said.
    Enough,
}

/// A message of an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report<T> {
    Welcome(Welcome),
    /// Why not.
    Refused {
        why: String,
    },
    Time {
        at_ns: u64,
    },
    /// All its clients are there, so many of them.
    Ready {
        open: usize,
    },
    /// How many clients have come so far; it says so twice a second, from the first connect on.
    Arrived {
        clients: u64,
    },
    /// How it goes with one of its threads, twice a second where someone looks.
    Snapshot(Box<Snapshot>),
    /// Its threads have come to where they meet, for so many times.
    Met {
        rounds: usize,
    },
    Notes(Vec<Note>),
    /// The result of one worker.
    Found(Box<T>),
    /// All threads' findings have been told.
    Done(Done),
    /// It cannot go on.
    Failed {
        why: String,
    },
}

/// Where an agent runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) source: Source,
    /// Its limit of open descriptors.
    pub(crate) descriptors: u64,
}

/// An agent's last message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) host: Host,
    /// Notes that found no room.
    pub(crate) notes_lost: u64,
}

/// A load, and which part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoadOrder {
    pub(crate) load: AnyLoad,
    pub(crate) share: AgentShare,
}
