//! The connections of this shard: small hot slots that the fan-out walks, and the rest of each
//! client beside them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;

use super::app::{AppClient, Shown};
use super::bodies::Posted;
use super::hot::{Hot, Pings};
use super::identity::Identity;
use super::pending::Pending;
use super::sealing::Secured;
use super::state::{Phase, State};
use super::wants::{Asked, Gathering};
use crate::mesh::parcel::Ask;
use crate::mesh::question::PassedHeaders;
use crate::model::bucket::Bucket;
use crate::model::channel::JoinRequest;
use crate::model::directory::Claim;
use crate::model::id::{ChannelIndex, ClientId, Place, ProcessId, ShardId, Slot, next_generation};
use crate::model::outbox::Outbox;
use crate::model::past::Behind;
use crate::model::shape::Shape;
use crate::model::verdict::Dismissal;
use crate::net::Net;
use crate::rules::ChannelRules;
use crate::wire::machine::Machine;

/// A client's place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) channel: ChannelIndex,
    pub(crate) place: Place,
    /// The client hears of joins and leaves.
    pub(crate) presence: bool,
    /// The client takes publications by their difference from the one before.
    pub(crate) patches: bool,
    /// The server has chosen the channel: the client does not join it again by itself.
    pub(crate) by_server: bool,
}

/// A client's way into a channel, while it is told what it missed.
#[derive(Debug)]
pub(crate) struct Recalling {
    pub(crate) request: u32,
    pub(crate) channel: ChannelIndex,
    /// The publications that it is to be told.
    pub(crate) behind: Behind,
    pub(crate) join: JoinRequest,
    /// The home has been asked for the next page, and has not answered.
    pub(crate) asked: bool,
    /// The answer admits the client: its request waits for it.
    pub(crate) admits: bool,
    /// The client was told that it is in before it was told what it missed.
    pub(crate) is_answered: bool,
}

/// The part of a client that few have: small, as it stays for as long as the client does.
#[derive(Default)]
pub(crate) struct Extra {
    /// Claims to release at the end, the user aside.
    pub(crate) claims: Vec<Claim>,
    /// Seats beside the first.
    pub(crate) seats: Vec<Seat>,
    /// The forms in which others are told of it in single channels that it is in or about to be in.
    pub(crate) shown: Vec<(ChannelIndex, Shown)>,
    /// Its app, in the dialect that has apps.
    pub(crate) app: Option<Box<AppClient>>,
    /// The channel of the URL, for requests that name none. A plain client has it here only if the
    /// API has moved the client.
    pub(crate) url_channel: Option<Arc<str>>,
    /// The identity that it has proven, and the end of that.
    pub(crate) identity: Option<Box<Identity>>,
    /// The headers of its request that are passed on to the backend.
    pub(crate) headers: Option<PassedHeaders>,
    /// The close frame that the backend has chosen for it.
    pub(crate) farewell: Option<Box<Dismissal>>,
    brief: Option<Box<Brief>>,
}

/// The rest of a client's rate in a namespace that has one of its own.
#[derive(Debug)]
pub(crate) struct NamespaceRate {
    pub(crate) rules: Arc<ChannelRules>,
    pub(crate) bucket: Bucket,
}

/// The part of a client that is there for a short time: while it shakes hands or waits for
/// something, or has lately used up some of a limit.
#[derive(Default)]
pub(crate) struct Brief {
    /// The beginning of a request head.
    pub(crate) head: Vec<u8>,
    pub(crate) posted: Option<Box<Posted>>,
    /// The origin of the page that may read a refusal.
    pub(crate) origin: Option<Box<str>>,
    pub(crate) pending: Option<Box<Pending>>,
    pub(crate) messages: Option<Bucket>,
    pub(crate) bytes: Option<Bucket>,
    pub(crate) errors: Option<Bucket>,
    /// Of namespaces with a rate of their own; there are never more of these than namespaces.
    pub(crate) rates: Vec<NamespaceRate>,
    /// Of events to other clients of its app, of which it may send so many a second.
    pub(crate) events: Option<(u32, Bucket)>,
    pub(crate) held: Option<(ShardId, Ask)>,
    /// Questions to the backend: one for a request of the client, which is held meanwhile, and one
    /// for its refresh.
    pub(crate) asked: Vec<Asked>,
    /// Joins that wait for a home.
    pub(crate) joining: usize,
    pub(crate) gatherings: Vec<Gathering>,
    pub(crate) recalls: Vec<Recalling>,
    /// It is among those that ask for pages in a later turn.
    pub(crate) recall_waits: bool,
}

impl Brief {
    /// Returns `true` if nothing in it is needed any more.
    fn is_over(&self) -> bool {
        self.head.is_empty()
            && self.posted.is_none()
            && self.origin.is_none()
            && self.pending.is_none()
            && self.messages.is_none()
            && self.bytes.is_none()
            && self.errors.is_none()
            && self.rates.is_empty()
            && self.events.is_none()
            && self.held.is_none()
            && self.asked.is_empty()
            && self.joining == 0
            && self.gatherings.is_empty()
            && self.recalls.is_empty()
            && !self.recall_waits
    }
}

/// One connection.
pub(crate) struct Client<N: Net> {
    pub(crate) stream: N::Stream,
    pub(crate) outbox: Option<Box<Outbox>>,
    pub(crate) machine: Option<Box<Machine>>,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) seat: Option<Seat>,
    pub(crate) since_s: u32,
}

impl<N: Net> Client<N> {
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(crate) fn brief(&mut self) -> &mut Brief {
        self.extra().brief.get_or_insert_default()
    }

    pub(crate) fn brief_mut(&mut self) -> Option<&mut Brief> {
        self.extra.as_mut()?.brief.as_deref_mut()
    }

    pub(crate) fn brief_ref(&self) -> Option<&Brief> {
        self.extra.as_ref()?.brief.as_deref()
    }

    /// Its ways into channels, while it is told what it missed.
    pub(crate) fn recalls(&self) -> impl Iterator<Item = &Recalling> {
        self.brief_ref().into_iter().flat_map(|brief| &brief.recalls)
    }

    /// Frees the memory that is no longer needed.
    pub(crate) fn shed(&mut self) {
        let Some(extra) = &mut self.extra else { return };
        if extra.brief.as_ref().is_some_and(|brief| brief.is_over()) {
            extra.brief = None;
        }
        let unused = extra.brief.is_none()
            && extra.claims.is_empty()
            && extra.seats.is_empty()
            && extra.shown.is_empty()
            && extra.app.is_none()
            && extra.url_channel.is_none()
            && extra.identity.is_none()
            && extra.headers.is_none()
            && extra.farewell.is_none();
        if unused {
            self.extra = None;
        }
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seat.iter().chain(self.extra.iter().flat_map(|extra| extra.seats.iter()))
    }

    /// The number of channels that it is in or on its way to. Joins that a home has not answered
    /// count as well: they may all come true.
    pub(crate) fn channels_taken(&self) -> usize {
        let under_way = self.brief_ref().map_or(0, |one| one.joining + one.recalls.len());
        self.seats().count() + under_way
    }

    /// The user as which others are told of it in a channel, where that is not its own.
    pub(crate) fn shown_user(&self, channel: ChannelIndex) -> Option<&Arc<str>> {
        let shown = self.extra.iter().flat_map(|extra| &extra.shown);
        let mut here = shown.filter(|(index, _)| *index == channel);
        here.next().and_then(|(_, shown)| shown.user.as_ref())
    }

    pub(crate) fn seat_mut(&mut self, channel: ChannelIndex) -> Option<&mut Seat> {
        let others = self.extra.iter_mut().flat_map(|extra| extra.seats.iter_mut());
        self.seat.iter_mut().chain(others).find(|seat| seat.channel == channel)
    }

    /// Takes the seat in `channel` away.
    pub(crate) fn unseat(&mut self, channel: ChannelIndex) -> Option<Seat> {
        if self.seat.is_some_and(|seat| seat.channel == channel) {
            return self.seat.take();
        }
        let seats = &mut self.extra.as_mut()?.seats;
        let index = seats.iter().position(|seat| seat.channel == channel)?;
        Some(seats.swap_remove(index))
    }
}

/// All slots of a shard.
pub(crate) struct Roster<N: Net> {
    pub(crate) me: ShardId,
    /// It is set before the first client comes.
    pub(crate) process: ProcessId,
    hot: Vec<Hot>,
    clients: Slab<Client<N>>,
    /// The addresses of clients that a trusted proxy named, by slot; few servers have any.
    told: HashMap<usize, IpAddr, foldhash::fast::RandomState>,
    /// The sessions of clients that speak TLS, by slot: no longer than the last such slot.
    pub(super) sessions: Vec<Option<Box<Secured>>>,
    pub(super) secured: usize,
}

impl<N: Net> Roster<N> {
    pub(crate) fn new(me: ShardId) -> Self {
        Self {
            me,
            process: ProcessId::default(),
            hot: Vec::new(),
            clients: Slab::new(),
            told: HashMap::default(),
            sessions: Vec::new(),
            secured: 0,
        }
    }

    /// Returns the number of connections, whatever their phase.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Returns the number of slots, the vacant ones included.
    pub(crate) fn slots(&self) -> usize {
        self.hot.len()
    }

    /// Puts a connection into a slot, and returns that.
    pub(crate) fn add(&mut self, stream: N::Stream, now_ms: u32, since_s: u32) -> Slot {
        let entry = self.clients.vacant_entry();
        let slot = Slot::at(entry.key());
        let fd = N::fd(&stream);
        entry.insert(Client {
            stream,
            outbox: None,
            machine: None,
            extra: None,
            user: None,
            seat: None,
            since_s,
        });
        let fresh = Hot {
            fd,
            generation: self.process.first_generation(),
            heard_ms: now_ms,
            pinged_ms: now_ms,
            state: State::ACCEPTED,
            shape: Shape::default(),
            pings: Pings::default(),
        };
        if let Some(hot) = self.hot.get_mut(slot.index()) {
            *hot = Hot { generation: hot.generation, ..fresh };
        } else {
            self.hot.push(fresh);
        }
        slot
    }

    /// Takes a connection out; its stream may be dropped afterwards.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Client<N>> {
        let client = self.clients.try_remove(slot.index())?;
        if !self.told.is_empty() {
            self.told.remove(&slot.index());
        }
        self.take_session(slot);
        let hot = &mut self.hot[slot.index()];
        hot.fd = -1;
        hot.state = State::VACANT;
        hot.generation = next_generation(hot.generation);
        Some(client)
    }

    /// Keeps the client's address as a proxy told it.
    pub(crate) fn tell_address(&mut self, slot: Slot, address: IpAddr) {
        if self.get(slot).is_some() {
            self.told.insert(slot.index(), address.to_canonical());
        }
    }

    /// Returns the client's address as a proxy told it.
    pub(crate) fn told_address(&self, slot: Slot) -> Option<IpAddr> {
        self.told.get(&slot.index()).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Client<N>> {
        self.clients.get(slot.index())
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Client<N>> {
        self.clients.get_mut(slot.index())
    }

    pub(crate) fn hot(&self, slot: Slot) -> Hot {
        self.hot[slot.index()]
    }

    pub(crate) fn hot_mut(&mut self, slot: Slot) -> &mut Hot {
        &mut self.hot[slot.index()]
    }

    pub(crate) fn all_hot_mut(&mut self) -> impl Iterator<Item = &mut Hot> {
        self.hot.iter_mut()
    }

    pub(crate) fn state(&self, slot: Slot) -> State {
        self.hot[slot.index()].state
    }

    pub(crate) fn state_mut(&mut self, slot: Slot) -> &mut State {
        &mut self.hot[slot.index()].state
    }

    pub(crate) fn phase(&self, slot: Slot) -> Phase {
        self.state(slot).phase()
    }

    pub(crate) fn id(&self, slot: Slot) -> ClientId {
        ClientId { generation: self.hot[slot.index()].generation, slot, shard: self.me }
    }

    /// Returns the slot of a client, unless another one or none has it by now.
    pub(crate) fn slot_of(&self, client: ClientId) -> Option<Slot> {
        let hot = self.hot.get(client.slot.index())?;
        let same = hot.generation == client.generation && hot.state != State::VACANT;
        same.then_some(client.slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Client<N>)> {
        self.clients.iter().map(|(slot, client)| (Slot::at(slot), client))
    }

    /// Holds the slots against the connections.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        for (index, hot) in self.hot.iter().enumerate() {
            hot.state.check();
            let vacant = !self.clients.contains(index);
            debug_assert_eq!(hot.state == State::VACANT, vacant, "slot {index}");
            let sealed = self.sessions.get(index).is_some_and(Option::is_some);
            debug_assert_eq!(sealed, hot.state.is_any(super::state::Flags::TLS), "slot {index}");
        }
        debug_assert_eq!(self.secured, self.sessions.iter().flatten().count());
    }
}
