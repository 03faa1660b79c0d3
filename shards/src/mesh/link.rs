//! The link between two processes of which one numbers the publications of both: the ends of the
//! shards, and those of the thread that carries the bytes.
//!
//! The messages of a home wait in one bounded lane of its process for that thread. The thread waits
//! for the other process, and so keeps no shard waiting but by a full lane. Messages for a
//! follower's home have a lane of their own, which waits for nothing but room in deliver lanes: so
//! a follower always takes what its leader numbered, the leader's lane always empties, and no ring
//! of waiting shards can form across the two.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::Mesh;
use super::bridge::{BridgeLane, Inbox, lane};
use super::parcel::{Ask, Deliver};
use super::reply::ReplyTo;
use crate::model::directory::Claim;
use crate::model::id::ShardId;
use crate::model::roll::{Address, Roll};
use crate::model::snapshot::Damaged;
use crate::model::told::Told;

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
#[derive(Debug, Clone)]
pub(crate) struct Out {
    lane: BridgeLane<Told>,
    /// The link's thread.
    thread: Weak<()>,
}

impl Out {
    /// Sends a message, or returns it: there is no room, or the link is over.
    pub(crate) fn send(&self, told: Told) -> Result<(), TrySendError<Told>> {
        self.lane.send(told)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lane.is_full()
    }

    /// Returns `true` if nothing will be taken any more.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.strong_count() == 0
    }
}

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
    /// The shards see when it goes.
    thread: Option<Arc<()>>,
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
        let (out, outgoing) = Outgoing::new(mesh, sizes);
        let pending_max = sizes.pending;
        let (relays, ends) = (0..mesh.shards())
            .map(|_| {
                let (relay, relayed) = bounded(sizes.relayed);
                (relay, FollowerEnd { out: out.clone(), pending_max, relayed })
            })
            .unzip();
        (Self { outgoing, incoming: Incoming { mesh: mesh.clone(), relays } }, ends)
    }

    /// Ends the link of a follower whose leader has numbered nothing, and never will: its homes go
    /// on where they stopped.
    pub fn give_back(self) {
        for relay in &self.incoming.relays {
            // Nothing was handed on before, so there is room.
            let _ = relay.try_send(Told::Back);
        }
    }

    /// The link of a leader, with the end of its shards.
    pub(crate) fn leader(mesh: &Mesh, sizes: Sizes) -> (Self, Out) {
        let (out, outgoing) = Outgoing::new(mesh, sizes);
        (Self { outgoing, incoming: Incoming { mesh: mesh.clone(), relays: Vec::new() } }, out)
    }
}

impl Outgoing {
    fn new(mesh: &Mesh, sizes: Sizes) -> (Out, Self) {
        let (lane, inbox) = lane(sizes.out);
        let thread = Arc::new(());
        let out = Out { lane, thread: Arc::downgrade(&thread) };
        (out, Self { inbox: Some(inbox), mesh: mesh.clone(), thread: Some(thread) })
    }

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
        drop((self.inbox.take(), self.thread.take()));
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
        let Some(home) = self.home_of(&told).filter(|home| home.index() < self.mesh.shards())
        else {
            return Ok(());
        };
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
        if matches!(told, Told::Reached { .. } | Told::Roll(Roll::Here { .. })) {
            let handed = self.mesh.deliver(home, Deliver::Told(Box::new(told)));
            return handed.map_err(|parcel| match parcel {
                Deliver::Told(told) => Message(*told),
                _ => Message(Told::Ping),
            });
        }
        let Some(ask) = ask_of(told) else { return Ok(()) };
        self.mesh.ask(home, ask).map_err(|ask| Message(told_of(ask)))
    }

    /// The home or owner that a message is for.
    fn home_of(&self, told: &Told) -> Option<ShardId> {
        Some(match told {
            Told::Publish { publication, .. } | Told::Numbered { publication, .. } => {
                self.mesh.home_of(&*publication.channel)
            }
            Told::Granted { token, .. }
            | Told::Repeated { token, .. }
            | Told::Refused { token, .. }
            | Told::Reached { token, .. } => token.home,
            Told::Direct { user: name, .. }
            | Told::Settle { user: name, .. }
            | Told::Replace { name, .. }
            | Told::Removed { channel: name } => self.mesh.home_of(&**name),
            Told::Claim { claim, .. }
            | Told::Claimed { claim, .. }
            | Told::Release { claim, .. } => match claim {
                Claim::User(user) => self.mesh.home_of(&**user),
                Claim::Address(address) => self.mesh.home_of(address),
            },
            Told::Roll(roll) => match roll.address() {
                Address::Channel(channel) => self.mesh.home_of(&**channel),
                Address::Home(home) => home,
            },
            Told::Ping | Told::Over | Told::Back => return None,
        })
    }
}

/// The ask that a follower's message stands for.
fn ask_of(told: Told) -> Option<Ask> {
    Some(match told {
        Told::Publish { token, publication } => {
            Ask::Publish { publication, reply: ReplyTo::Follower(token) }
        }
        Told::Direct { token, user, publication } => {
            Ask::Direct { user, publication, reply: ReplyTo::Follower(token) }
        }
        Told::Claim { client, claim } => Ask::Claim { client, claim },
        Told::Release { client, claim } => Ask::Release { client, claim },
        Told::Settle { client, user, channel } => Ask::Settle { client, user, channel },
        Told::Roll(roll) => Ask::Roll(roll),
        _ => return None,
    })
}

/// The message that an ask was made of, which found no room.
fn told_of(ask: Ask) -> Told {
    match ask {
        Ask::Publish { publication, reply: ReplyTo::Follower(token) } => {
            Told::Publish { token, publication }
        }
        Ask::Direct { user, publication, reply: ReplyTo::Follower(token) } => {
            Told::Direct { token, user, publication }
        }
        Ask::Roll(roll) => Told::Roll(roll),
        Ask::Claim { client, claim } => Told::Claim { client, claim },
        Ask::Release { client, claim } => Told::Release { client, claim },
        Ask::Settle { client, user, channel } => Told::Settle { client, user, channel },
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
