//! A home whose order is made by an engine, for several nodes: it sends what its clients publish to
//! the bus, and tells its subscribers what comes back.
//!
//! A channel is *open* while it has subscribers here. The bus proves for open channels that nothing
//! was left out, so offsets grow and are not dense. An ask that needs the position or the history
//! of a channel that is not open waits until the bus has told both.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Home;
use super::engine::{Engine, PublishReply};
use super::number::Behind;
use crate::mesh::bus::{BusEnd, Carried, FromBus, Opened, Ticket, ToBus};
use crate::mesh::parcel::{Ask, Deliver, Outcome};
use crate::mesh::reply::ReplyTo;
use crate::model::carried;
use crate::model::channel::NoChannel;
use crate::model::id::{ChannelIndex, ClientId, shards_of};
use crate::model::message::{Epoch, Position, Publication};

/// The most publications of one home on their way to the engine.
const PENDING_MAX: usize = 1024;

/// The most asks of one home that wait for channels to be opened, until it causes no more.
const OPENING_MAX: usize = 16 << 10;

/// A home's side of the bus.
#[derive(Debug)]
pub(crate) struct Bus {
    end: BusEnd,
    /// Messages to the bus that wait for room, in order.
    waiting: VecDeque<ToBus>,
    next: u64,
    /// Publications on their way, by the numbers of their tickets.
    pending: BTreeMap<u64, Pending>,
    channels: HashMap<Arc<str>, Tracked, RandomState>,
    /// Asks that wait for channels to be opened.
    opening: usize,
    /// The engine has been away for so long that publishers are told.
    is_away: bool,
}

/// A publication on its way.
#[derive(Debug)]
struct Pending {
    channel: Arc<str>,
    author: Option<ClientId>,
    reply: PublishReply,
}

/// A channel that the bus is to tell of.
#[derive(Debug)]
enum Tracked {
    Opening(Vec<Ask>),
    Open,
}

impl Bus {
    pub(crate) fn new(end: BusEnd) -> Self {
        let (waiting, pending, channels) = Default::default();
        Self { end, waiting, next: 0, pending, channels, opening: 0, is_away: false }
    }

    fn send(&mut self, message: ToBus) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(message);
        } else if let Err(message) = self.end.send(message) {
            self.waiting.push_back(message);
        }
    }

    /// Sends what waits for room.
    pub(super) fn retry(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = self.end.send(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }

    /// Returns `true` if publishers must wait.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX || !self.waiting.is_empty() || self.opening >= OPENING_MAX
    }

    /// Returns `true` if there is something to do that waits for nothing.
    pub(super) fn has_work(&self) -> bool {
        !self.end.is_empty() || !self.waiting.is_empty() && self.end.has_room()
    }

    /// Returns the number of publications that have no place in the order yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns `true` if the bus tells of a channel.
    pub(super) fn is_open(&self, channel: &str) -> bool {
        matches!(self.channels.get(channel), Some(Tracked::Open))
    }

    pub(crate) fn next(&self) -> Option<FromBus> {
        self.end.next()
    }
}

/// The channel that must be open before an ask can be answered.
fn channel_of(ask: &Ask) -> Option<&Arc<str>> {
    match ask {
        Ask::Subscribe { channel, .. }
        | Ask::History { channel, .. }
        | Ask::RemoveHistory { channel, .. } => Some(channel),
        _ => None,
    }
}

impl Home<'_> {
    fn bus(&mut self) -> Option<&mut Bus> {
        self.engine.as_deref_mut()?.bus.as_deref_mut()
    }

    /// Has an engine make the order from now on.
    pub(crate) fn board(&mut self, end: BusEnd) {
        self.rooms.channels.set_epoch(end.joined.epoch);
        self.engine.get_or_insert_default().bus = Some(Box::new(Bus::new(end)));
    }

    /// Sends a publication to the engine.
    pub(super) fn carry(&mut self, mut publication: Arc<Publication>, reply: PublishReply) {
        let channel = Arc::clone(&publication.channel);
        let author = publication.from.as_ref().map(|from| from.client);
        let index = self.rooms.channels.find(&channel);
        let is_gone = match index {
            Some(index) => self.rooms.channels.get(index).terms.is_gone(),
            None => self.rooms.channels.rules().terms(&channel).is_none(),
        };
        if is_gone {
            return self.refuse(reply, NoChannel::UnknownNamespace);
        }
        if let (Some(index), Some(version)) = (index, publication.version()) {
            let order = &self.rooms.channels.get(index).order;
            let newest = order.newest;
            if order.has_had(version) {
                return self.answer_published(&channel, newest, reply);
            }
        }
        let home = self.port.me;
        let Some(bus) = self.bus() else { return };
        if bus.is_away {
            return self.refuse_for_now(author, reply);
        }
        // The publisher keeps no other reference, so this copies nothing.
        Arc::make_mut(&mut publication).time_ms = crate::clock::unix_ms();
        let body = carried::write(bus.end.joined.node, &publication);
        let ticket = Ticket { home, number: bus.next };
        bus.next += 1;
        bus.pending.insert(ticket.number, Pending { channel: Arc::clone(&channel), author, reply });
        bus.send(ToBus::Publish(Carried { ticket, channel, body }));
        self.note_room();
    }

    /// Tells a publisher that the engine is away; its author if it awaits no answer.
    fn refuse_for_now(&mut self, author: Option<ClientId>, reply: PublishReply) {
        match (author, reply) {
            (Some(to), ReplyTo::Nobody) => {
                let outcome = Outcome::NoChannel(NoChannel::Unavailable);
                self.port.deliver(to.shard, Deliver::Answer { to, id: None, outcome });
            }
            (_, reply) => self.refuse(reply, NoChannel::Unavailable),
        }
    }

    /// Returns `true` if an ask needs a channel that the bus does not tell of yet.
    pub(super) fn waits_for_bus(&self, ask: &Ask) -> bool {
        let bus = self.engine.as_deref().and_then(|engine| engine.bus.as_deref());
        let Some((bus, channel)) = bus.zip(channel_of(ask)) else { return false };
        !bus.is_open(channel) && self.rooms.channels.rules().terms(channel).is_some()
    }

    /// Has an ask wait until its channel is open.
    pub(super) fn wait_for_bus(&mut self, ask: Ask) {
        let is_away = self.bus().is_some_and(|bus| bus.is_away);
        let waits = if is_away { self.turn_away(ask) } else { Some(ask) };
        let Some(ask) = waits else { return };
        if let Some(channel) = channel_of(&ask).cloned() {
            self.open(&channel, ask);
        }
    }

    /// Refuses an ask whose asker should not wait for an engine that is away, or returns it.
    fn turn_away(&mut self, ask: Ask) -> Option<Ask> {
        let Ask::Subscribe { channel, by } = ask else { return Some(ask) };
        let why = NoChannel::Unavailable;
        self.port.deliver(by, Deliver::Unsubscribable { channel, why });
        None
    }

    /// Refuses what waits for channels to be opened, as far as its askers should not wait.
    fn turn_all_away(&mut self) {
        let Some(bus) = self.bus() else { return };
        let opening = bus.channels.values_mut().filter_map(|tracked| match tracked {
            Tracked::Opening(asks) => Some(asks),
            Tracked::Open => None,
        });
        let (asked, stay): (Vec<Ask>, Vec<Ask>) =
            opening.flat_map(mem::take).partition(|ask| matches!(ask, Ask::Subscribe { .. }));
        bus.opening = stay.len();
        for ask in stay {
            if let Some(channel) = channel_of(&ask)
                && let Some(Tracked::Opening(asks)) = bus.channels.get_mut(channel)
            {
                asks.push(ask);
            }
        }
        for ask in asked {
            self.turn_away(ask);
        }
    }

    /// Opens a channel for an ask.
    fn open(&mut self, channel: &Arc<str>, ask: Ask) {
        let keeps = self.rooms.channels.rules_of(channel).history.is_on();
        let Some(bus) = self.bus() else { return };
        bus.opening += 1;
        match bus.channels.get_mut(channel) {
            Some(Tracked::Opening(asks)) => asks.push(ask),
            Some(Tracked::Open) => debug_assert!(false, "it needs not wait"),
            None => {
                bus.channels.insert(Arc::clone(channel), Tracked::Opening(vec![ask]));
                bus.send(ToBus::Open { channel: Arc::clone(channel), keeps });
            }
        }
        self.note_room();
    }

    /// Has the engine forget what it has kept of a channel.
    pub(super) fn purge(&mut self, channel: &Arc<str>) {
        let Some(index) = self.rooms.channels.find(channel) else { return };
        let up_to = self.rooms.channels.get(index).order.newest.offset;
        if let Some(bus) = self.bus() {
            bus.send(ToBus::Purge { channel: Arc::clone(channel), up_to });
            self.note_room();
        }
    }

    /// Closes a channel without subscribers. What it has kept here is let go: it gets no newer.
    pub(crate) fn close_if_unused(&mut self, channel: &Arc<str>) {
        let index = self.rooms.channels.find(channel);
        let is_used = index.is_some_and(|index| self.rooms.channels.get(index).order.shards != 0);
        let Some(bus) = self.bus().filter(|bus| !is_used && bus.is_open(channel)) else { return };
        bus.channels.remove(channel);
        bus.send(ToBus::Close { channel: Arc::clone(channel) });
        if let Some(index) = index {
            self.rooms.remove_history(index);
        }
        self.note_room();
    }

    /// Takes what the bus tells.
    pub(crate) fn take_from_bus(&mut self, message: FromBus) {
        match message {
            FromBus::Numbered { channel, offset, body } => self.hear(&channel, offset, &body),
            FromBus::Opened(opened) => self.take_opened(*opened),
            FromBus::Accepted { ticket, position } => {
                if let Some(Pending { channel, reply, .. }) = self.no_longer_carried(ticket) {
                    self.tally.publications += 1;
                    self.answer_published(&channel, position, reply);
                }
            }
            FromBus::Refused { ticket } => {
                if let Some(Pending { author, reply, .. }) = self.no_longer_carried(ticket) {
                    self.refuse_for_now(author, reply);
                }
            }
            FromBus::Away(is_away) => {
                if let Some(bus) = self.bus() {
                    bus.is_away = is_away;
                }
                if is_away {
                    self.turn_all_away();
                }
            }
            FromBus::Renamed(epoch) => self.rename(epoch),
        }
        self.note_room();
    }

    /// The engine's numbering is another one: channels that are met from now on begin in it.
    fn rename(&mut self, epoch: Epoch) {
        self.rooms.channels.set_epoch(epoch);
        if let Some(bus) = self.bus() {
            bus.end.joined.epoch = epoch;
        }
    }

    fn no_longer_carried(&mut self, ticket: Ticket) -> Option<Pending> {
        self.bus()?.pending.remove(&ticket.number)
    }

    /// Takes the next publication of an open channel.
    fn hear(&mut self, channel: &Arc<str>, offset: u64, body: &[u8]) {
        if !self.bus().is_some_and(|bus| bus.is_open(channel)) {
            return;
        }
        let Some(index) = self.rooms.channels.find(channel) else { return };
        self.tally.followed_publications += 1;
        let publication = self.read_carried(channel, (offset, body));
        let order = &mut self.rooms.channels.at(index).order;
        order.newest.offset = offset;
        let Some(publication) = publication else { return };
        if publication.version().is_some_and(|version| !order.takes(version)) {
            return;
        }
        self.spread(index, publication, ReplyTo::Nobody, Behind::Publications);
    }

    /// Reads a publication that came from the engine. One that cannot be read is left out and
    /// counted.
    fn read_carried(
        &mut self,
        channel: &Arc<str>,
        (offset, body): (u64, &[u8]),
    ) -> Option<Arc<Publication>> {
        let node = self.bus()?.end.joined.node;
        let Ok(mut publication) = carried::read(body, node, channel) else {
            self.tally.damaged_publications += 1;
            return None;
        };
        if publication.payload.len() > self.config.message_bytes {
            self.tally.damaged_publications += 1;
            return None;
        }
        let numbered = Arc::make_mut(&mut publication);
        (numbered.offset, numbered.ingress_ns) = (offset, self.now.ns);
        Some(publication)
    }

    /// Goes on with a channel as the engine has it, and with the asks that waited for it.
    fn take_opened(&mut self, opened: Opened) {
        let channel = Arc::clone(&opened.channel);
        let Some(bus) = self.bus() else { return };
        // It was closed meanwhile.
        let Some(tracked) = bus.channels.get_mut(&channel) else { return };
        let asks = match mem::replace(tracked, Tracked::Open) {
            Tracked::Opening(asks) => asks,
            Tracked::Open => Vec::new(),
        };
        bus.opening -= asks.len();
        if let Ok(index) = self.rooms.find_or_add(&channel, self.port.me) {
            self.set_out_from(index, opened);
        }
        for ask in asks {
            self.answer(ask);
        }
        self.close_if_unused(&channel);
    }

    fn set_out_from(&mut self, index: ChannelIndex, opened: Opened) {
        let Opened { channel, newest, floor, kept } = opened;
        self.rooms.remove_history(index);
        let order = &mut self.rooms.channels.at(index).order;
        let before = order.newest;
        order.begin_behind(Position { offset: floor.min(newest.offset), ..newest });
        let time_ms = crate::clock::unix_ms();
        for (offset, body) in kept {
            let Some(publication) = self.read_carried(&channel, (offset, &body)) else { continue };
            if let Some(version) = publication.version() {
                self.rooms.channels.at(index).order.takes(version);
            }
            let age_ms = time_ms.saturating_sub(publication.time_ms);
            if !publication.skips_history() {
                self.rooms.keep(index, publication, (self.now.long_ms(), age_ms));
            }
        }
        let order = &mut self.rooms.channels.at(index).order;
        order.newest = newest;
        if before == newest {
            return;
        }
        for shard in shards_of(order.shards) {
            let channel = Arc::clone(&channel);
            self.port.deliver(shard, Deliver::Renumbered { channel, newest });
        }
    }

    fn note_room(&mut self) {
        self.port.waits_for_link = self.engine.as_deref().is_some_and(Engine::is_full);
    }
}
