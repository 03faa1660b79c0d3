//! The link between two processes of which one numbers the publications of both: the ends of the
//! shards, and those of the thread that carries the bytes.
//!
//! The messages of a home wait in one bounded lane of its process for that thread. The thread waits
//! for the other process, and so keeps no shard waiting but by a full lane. Messages for a
//! follower's home have a lane of their own, which waits for nothing but room in deliver lanes: so
//! a follower always takes what its leader numbered, the leader's lane always empties, and no ring
//! of waiting shards can form across the two.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::Mesh;
use super::bridge::{BridgeLane, Inbox, lane};
use super::parcel::{Ask, Deliver, Instruction};
use super::reply::ReplyTo;
use crate::model::id::ShardId;
use crate::model::snapshot::Damaged;
use crate::model::told::{Token, Told};

/// The room that a link has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The most messages that wait for the link's thread.
    pub(crate) out: usize,
    /// The most messages that wait for a follower's home.
    pub(crate) relayed: usize,
    /// The most publications of one home that are on their way to be numbered.
    pub(crate) pending: usize,
}

impl Sizes {
    /// Those of a link between two processes.
    pub(crate) const USUAL: Self = Self { out: 1024, relayed: 256, pending: 256 };
}

/// The longest wait of the link's thread for a home's room, to say that the link is over.
const OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// A shard's way to the other process.
pub(crate) type Out = BridgeLane<Told>;

/// The ends of a follower's shard.
#[derive(Debug)]
pub(crate) struct FollowerEnd {
    pub(crate) out: Out,
    pub(crate) pending_max: usize,
    relayed: Receiver<Told>,
}

impl FollowerEnd {
    /// The next message of the leader.
    pub(crate) fn next(&self) -> Option<Told> {
        match self.relayed.try_recv() {
            Ok(told) => Some(told),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Told::Over),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.relayed.is_empty()
    }
}

/// The two ends of the link's thread, which may work apart from each other.
#[derive(Debug)]
pub struct Link {
    /// The messages to the other process.
    pub outgoing: Outgoing,
    /// The messages from it.
    pub incoming: Incoming,
}

/// The messages to the other process.
#[derive(Debug)]
pub struct Outgoing {
    inbox: Option<Inbox<Told>>,
    mesh: Mesh,
    /// This process numbers.
    leads: bool,
}

/// The messages from the other process.
#[derive(Debug)]
pub struct Incoming {
    mesh: Mesh,
    /// The ways to the homes of a follower; none in a leader.
    relays: Vec<Sender<Told>>,
}

/// A message from the other process.
#[derive(Debug)]
pub struct Message(Told);

impl Link {
    /// The link of a follower, with the ends of its shards.
    pub(crate) fn follower(mesh: &Mesh, sizes: Sizes) -> (Self, Vec<FollowerEnd>) {
        let (out, inbox) = lane(sizes.out);
        let pending_max = sizes.pending;
        let (relays, ends) = (0..mesh.shards())
            .map(|_| {
                let (relay, relayed) = bounded(sizes.relayed);
                (relay, FollowerEnd { out: out.clone(), pending_max, relayed })
            })
            .unzip();
        (Self::new(mesh, inbox, relays), ends)
    }

    /// The link of a leader, with the end of its shards.
    pub(crate) fn leader(mesh: &Mesh, sizes: Sizes) -> (Self, Out) {
        let (out, inbox) = lane(sizes.out);
        (Self::new(mesh, inbox, Vec::new()), out)
    }

    fn new(mesh: &Mesh, inbox: Inbox<Told>, relays: Vec<Sender<Told>>) -> Self {
        Self {
            outgoing: Outgoing { inbox: Some(inbox), mesh: mesh.clone(), leads: relays.is_empty() },
            incoming: Incoming { mesh: mesh.clone(), relays },
        }
    }
}

impl Outgoing {
    /// Waits for something to send, and appends it and what is behind it, about so many bytes.
    /// Returns `false` if nothing will come any more.
    pub async fn take(&mut self, into: &mut Vec<u8>, bytes: usize) -> bool {
        let Some(inbox) = &mut self.inbox else { return false };
        let Some(first) = inbox.receive().await else { return false };
        first.put(into);
        self.take_ready(into, bytes);
        true
    }

    /// Appends what is ready to be sent, about so many bytes.
    pub(crate) fn take_ready(&mut self, into: &mut Vec<u8>, bytes: usize) {
        let Some(inbox) = &mut self.inbox else { return };
        while into.len() < bytes
            && let Some(told) = inbox.try_next()
        {
            told.put(into);
        }
        // A shard that found the lane full may be asleep.
        self.mesh.ring_all();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Before the bells: the shards must see that nobody reads any more.
        drop(self.inbox.take());
        if self.leads {
            for index in 0..self.mesh.shards() {
                let told = Deliver::Instruction(Instruction::LeadNoMore);
                // A shard whose lane is full sees it when it sends the next message.
                let _ = self.mesh.deliver(ShardId::at(index), told);
            }
        }
        self.mesh.ring_all();
    }
}

impl Message {
    /// Reads the first message of some bytes, and the number of its bytes; `None`: it is not there
    /// as a whole yet.
    ///
    /// # Errors
    /// The bytes are no message.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Damaged> {
        Ok(Told::read(bytes)?.map(|(told, length)| (Self(told), length)))
    }

    /// Appends the message that the other side lives.
    pub fn put_ping(into: &mut Vec<u8>) {
        Told::Ping.put(into);
    }
}

impl Incoming {
    /// Hands a message to the shard that it is for, or returns it if there is no room.
    ///
    /// # Errors
    /// There is no room yet.
    pub fn hand_on(&self, Message(told): Message) -> Result<(), Message> {
        let home = match &told {
            Told::Publish { publication, .. } | Told::Numbered { publication, .. } => {
                self.mesh.home_of(&*publication.channel)
            }
            Told::Granted { token: Token { home, .. }, .. }
            | Told::Repeated { token: Token { home, .. }, .. }
            | Told::Refused { token: Token { home, .. }, .. }
            | Told::Reached { token: Token { home, .. }, .. } => *home,
            Told::Direct { user, .. } => self.mesh.home_of(&**user),
            Told::Ping | Told::Over => return Ok(()),
        };
        if home.index() >= self.mesh.shards() {
            return Ok(());
        }
        if let Some(relay) = self.relays.get(home.index()) {
            return match relay.try_send(told) {
                Ok(()) => {
                    self.mesh.ring(home);
                    Ok(())
                }
                Err(TrySendError::Full(told)) => Err(Message(told)),
                Err(TrySendError::Disconnected(_)) => Ok(()),
            };
        }
        let ask = match told {
            Told::Publish { token, publication } => {
                Ask::Publish { publication, reply: ReplyTo::Follower(token) }
            }
            Told::Direct { token, user, publication } => {
                Ask::Direct { user, publication, reply: ReplyTo::Follower(token) }
            }
            Told::Reached { token, clients } => Ask::Reached { number: token.number, clients },
            _ => return Ok(()),
        };
        self.mesh.ask(home, ask).map_err(|ask| Message(told_of(ask, home)))
    }
}

/// The message that an ask was made of, which found no room.
fn told_of(ask: Ask, home: ShardId) -> Told {
    match ask {
        Ask::Publish { publication, reply: ReplyTo::Follower(token) } => {
            Told::Publish { token, publication }
        }
        Ask::Direct { user, publication, reply: ReplyTo::Follower(token) } => {
            Told::Direct { token, user, publication }
        }
        Ask::Reached { number, clients } => {
            Told::Reached { token: Token { home, number }, clients }
        }
        _ => Told::Ping,
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        for (index, relay) in self.relays.iter().enumerate() {
            // A home that has no room for so long sees the end of the lane later.
            let _ = relay.send_timeout(Told::Over, OVER_TIMEOUT);
            self.mesh.ring(ShardId::at(index));
        }
    }
}
