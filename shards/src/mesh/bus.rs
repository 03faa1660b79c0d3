//! The lanes between homes and the bus: the thread that has an engine order the publications of
//! several nodes.
//!
//! All homes share one bounded lane to the bus, and each home has a bounded lane from it. A home
//! waits for nothing: what finds no room waits in it, and publishers are held. The bus waits for
//! room at a home, which waits for room in deliver lanes only; so no ring of waiting threads can
//! form.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Mesh;
use super::bridge::{BridgeLane, Inbox, lane};
use crate::model::id::ShardId;
use crate::model::message::{Epoch, Position};

/// The most messages that wait for the bus.
const ASKED_MAX: usize = 1024;

/// The most messages that wait for a home.
const TOLD_MAX: usize = 1024;

/// A publication of a home, on its way to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) home: ShardId,
    pub(crate) number: u64,
}

impl Ticket {
    /// The ticket of a home's publication, for tests of the bus.
    pub fn of(home: usize, number: u64) -> Self {
        Self { home: ShardId::at(home), number }
    }

    /// Returns the running number of the publication at its home.
    pub fn number(self) -> u64 {
        self.number
    }
}

/// A publication that the engine is to put into the order of its channel.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The name that its home has for it.
    pub ticket: Ticket,
    /// Its channel.
    pub channel: Arc<str>,
    /// The publication.
    pub body: Bytes,
}

/// A message of a home to the bus.
#[derive(Debug, Clone)]
pub enum ToBus {
    /// Put this into the order.
    Publish(Carried),
    /// Tell this home of all that is published to a channel from now on. Before that, tell it the
    /// newest position, and the publications that the engine has kept if there is a history.
    Open {
        /// The channel.
        channel: Arc<str>,
        /// It has a history.
        keeps: bool,
    },
    /// Forget what the engine has kept of a channel.
    Purge {
        /// The channel.
        channel: Arc<str>,
        /// The last publication to forget.
        up_to: u64,
    },
    /// Tell this home of a channel no longer.
    Close {
        /// The channel.
        channel: Arc<str>,
    },
}

/// A channel as the engine has it.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The channel.
    pub channel: Arc<str>,
    /// Its newest position.
    pub newest: Position,
    /// All publications above this offset are among those kept.
    pub floor: u64,
    /// Publications that are kept, in their order, each with its offset.
    pub kept: Vec<(u64, Bytes)>,
}

/// A message of the bus to a home.
#[derive(Debug, Clone)]
pub enum FromBus {
    /// A channel was opened, or has lost publications and goes on behind another position.
    Opened(Box<Opened>),
    /// The next publication of an open channel.
    Numbered {
        /// The channel.
        channel: Arc<str>,
        /// Its offset.
        offset: u64,
        /// The publication.
        body: Bytes,
    },
    /// A publication has its place in the order.
    Accepted {
        /// The name that its home has for it.
        ticket: Ticket,
        /// Its place.
        position: Position,
    },
    /// A publication is not in the order, and will not be.
    Refused {
        /// The name that its home has for it.
        ticket: Ticket,
    },
    /// The engine has been away for so long that publishers are told, or is there again.
    Away(bool),
    /// The positions of the engine begin anew, in another numbering.
    Renamed(Epoch),
}

/// The node as the engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The numbering of the engine.
    pub epoch: Epoch,
    /// The number of this node, drawn at random when it starts.
    pub node: u64,
}

/// The ends of a home.
#[derive(Debug)]
pub(crate) struct BusEnd {
    out: BridgeLane<ToBus>,
    told: Receiver<FromBus>,
    /// The bus's thread.
    thread: Weak<()>,
    pub(crate) joined: Joined,
}

/// The ends of the bus's thread.
#[derive(Debug)]
pub struct BusLanes {
    inbox: Inbox<ToBus>,
    homes: Vec<Sender<FromBus>>,
    mesh: Mesh,
    /// The shards see when it goes.
    thread: Arc<()>,
}

/// Builds the lanes of the bus, and the ends of all homes.
pub(crate) fn build(mesh: &Mesh, joined: Joined) -> (BusLanes, Vec<BusEnd>) {
    let (out, inbox) = lane(ASKED_MAX);
    let thread = Arc::new(());
    let (homes, ends) = (0..mesh.shards())
        .map(|_| {
            let (home, told) = bounded(TOLD_MAX);
            (home, BusEnd { out: out.clone(), told, thread: Arc::downgrade(&thread), joined })
        })
        .unzip();
    (BusLanes { inbox, homes, mesh: mesh.clone(), thread }, ends)
}

impl BusEnd {
    /// Sends a message, or returns it: there is no room. Nobody takes it if the bus has ended,
    /// which ends the process.
    pub(crate) fn send(&self, message: ToBus) -> Result<(), ToBus> {
        match self.out.send(message) {
            Err(TrySendError::Full(message)) => Err(message),
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.out.is_full() || self.thread.strong_count() == 0
    }

    /// The next message of the bus.
    pub(crate) fn next(&self) -> Option<FromBus> {
        self.told.try_recv().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

impl BusLanes {
    /// Waits for the next message of a home; `None` when all shards have gone.
    pub async fn receive(&mut self) -> Option<ToBus> {
        let received = self.inbox.receive().await;
        self.mesh.ring_all_if(self.inbox.is_half_full());
        received
    }

    /// Returns the next message of a home if there is one already.
    pub fn try_next(&mut self) -> Option<ToBus> {
        // Before it is taken: a home that found the lane full may be asleep, and half a lane lies
        // between that and the last ring.
        let was_half_full = self.inbox.is_half_full();
        let next = self.inbox.try_next();
        self.mesh.ring_all_if(was_half_full);
        next
    }

    /// Returns the number of homes.
    pub fn homes(&self) -> usize {
        self.homes.len()
    }

    /// Hands a message to the home that it is for, or to one home if it is for all.
    ///
    /// # Errors
    /// There is no room yet.
    pub fn hand_on(&self, message: FromBus, to_home: usize) -> Result<(), FromBus> {
        let home = match &message {
            FromBus::Opened(opened) => self.mesh.home_of(&*opened.channel),
            FromBus::Numbered { channel, .. } => self.mesh.home_of(&**channel),
            FromBus::Accepted { ticket, .. } | FromBus::Refused { ticket } => ticket.home,
            FromBus::Away(_) | FromBus::Renamed(_) => ShardId::at(to_home),
        };
        let Some(lane) = self.homes.get(home.index()) else { return Ok(()) };
        match lane.try_send(message) {
            Ok(()) => {
                self.mesh.ring(home);
                Ok(())
            }
            Err(TrySendError::Full(message)) => Err(message),
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

impl Drop for BusLanes {
    fn drop(&mut self) {
        self.homes.clear();
        self.thread = Arc::new(());
        self.mesh.ring_all();
    }
}
