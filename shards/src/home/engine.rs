//! A home whose order is made in another process, and one that makes the order of another's.
//!
//! A follower sends its publications to its leader, and hears of everything that the leader
//! numbers: of its own ones by their tokens. So both tell their clients one order, and the follower
//! keeps the same histories. If the link ends, the follower numbers again by itself, in other
//! epochs and behind a leap of the offsets, so that no position of its clients can be taken for one
//! of the leader's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Home;
use super::bus::Bus;
use super::direct::Crossing;
use super::news::UsedElsewhere;
use super::number::Behind;
use super::peers::Peers;
use super::roll::Gatherings;
use super::watchlist::Online;
use super::way::Way;
use crate::mesh::bus::FromBus;
use crate::mesh::link::{FollowerEnd, Out};
use crate::mesh::parcel::{Ask, Deliver};
use crate::mesh::reply::ReplyTo;
use crate::model::channel::NoChannel;
use crate::model::directory::Claim;
use crate::model::id::{ChannelIndex, ClientId, shards_of};
use crate::model::message::{Epoch, Position, Publication};
use crate::model::told::{Token, Told};

/// The offsets of a follower that numbers again by itself begin so far behind the last one.
const LEAP: u64 = 1 << 32;

/// The most direct messages of one home to which other processes have not answered yet.
const CROSSINGS_MAX: usize = 64;

/// The most messages of one home that wait for room on their way to the leader, until it causes no
/// more.
const WAITING_MAX: usize = if cfg!(test) { 16 } else { 16 << 10 };

/// The two sides of this process, in a set of them.
pub(super) const LEADER: u8 = 1;
pub(crate) const FOLLOWER: u8 = 2;

/// The receiver of a publication's position.
pub(crate) type PublishReply = ReplyTo<Result<Position, NoChannel>>;

/// The other processes that take part in the order of this home.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    leader: Option<Leader>,
    follower: Option<Way>,
    /// The way to an engine that orders the publications of several nodes.
    pub(super) bus: Option<Box<Bus>>,
    /// The follower has gone, and its clients are not forgotten yet.
    has_lost_follower: bool,
    /// Direct messages to which other processes have not answered yet, by their numbers.
    pub(super) crossings: BTreeMap<u64, Crossing>,
    pub(super) next_direct: u64,
    /// The clients of other processes.
    pub(crate) peers: Peers,
    /// The channels in use in other processes.
    pub(super) used: UsedElsewhere,
    /// The users of apps that this process has told of, and has heard of.
    pub(super) online: Online,
    /// Questions for members to which other processes have not answered yet.
    pub(super) gatherings: Gatherings,
}

/// The process that numbers for this one.
#[derive(Debug)]
struct Leader {
    end: FollowerEnd,
    way: Way,
    next: u64,
    /// Publications on their way, by the numbers of their tokens.
    pending: BTreeMap<u64, (Arc<Publication>, PublishReply)>,
    /// Claims that the leader has not decided yet.
    claims: BTreeSet<(ClientId, Claim)>,
    /// The numbering of this process for channels that are met for the first time.
    own_epoch: Epoch,
}

impl Engine {
    /// Numbers for another process as well from now on.
    pub(crate) fn lead(&mut self, out: Out) {
        self.follower = Some(Way::new(out));
        self.online = Online::default();
        self.peers.begin(FOLLOWER);
    }

    pub(crate) fn follows(&self) -> bool {
        self.leader.is_some()
    }

    /// Returns `true` if an engine makes the order.
    pub(super) fn is_on_bus(&self) -> bool {
        self.bus.is_some()
    }

    /// Returns `true` if an engine must be asked about a channel before anybody joins it.
    pub(crate) fn must_open(&self, channel: &str) -> bool {
        self.bus.as_ref().is_some_and(|bus| !bus.is_open(channel))
    }

    /// The next message of the bus.
    pub(crate) fn next_from_bus(&self) -> Option<FromBus> {
        self.bus.as_ref()?.next()
    }

    /// Returns `true` if no other process takes part any more.
    pub(crate) fn is_alone(&self) -> bool {
        self.sides() == 0 && self.bus.is_none() && self.crossings.is_empty() && !self.owes_members()
    }

    /// Returns `true` if something of this process is still to be numbered, or of a follower.
    pub(crate) fn is_needed(&self) -> bool {
        self.pending() > 0 || self.follower.is_some() || !self.crossings.is_empty()
    }

    fn lose_follower(&mut self) {
        self.follower = None;
        self.has_lost_follower = true;
    }

    /// Returns `true` if the follower has gone, once.
    pub(super) fn take_lost_follower(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_follower)
    }

    /// Has the leader decide a claim.
    pub(super) fn ask_claim(&mut self, client: ClientId, claim: Claim) {
        if let Some(leader) = &mut self.leader {
            leader.claims.insert((client, claim.clone()));
            leader.way.send(Told::Claim { client, claim });
        }
    }

    /// Returns `true` if the leader was to decide a claim, which is asked for no more.
    pub(super) fn is_asked(&mut self, client: ClientId, claim: &Claim) -> bool {
        let leader = self.leader.as_mut();
        leader.is_some_and(|leader| leader.claims.remove(&(client, claim.clone())))
    }

    /// Returns the number of publications that the leader has not numbered yet.
    fn pending(&self) -> usize {
        let of_leader = self.leader.as_ref().map_or(0, |leader| leader.pending.len());
        of_leader + self.bus.as_ref().map_or(0, |bus| bus.pending())
    }

    /// Returns `true` if publishers must wait for another process.
    pub(crate) fn is_full(&self) -> bool {
        let follower_waits = self.follower.as_ref().is_some_and(|way| !way.waiting.is_empty());
        let leader = self.leader.as_ref();
        follower_waits
            || self.bus.as_ref().is_some_and(|bus| bus.is_full())
            || self.crossings.len() >= CROSSINGS_MAX
            || leader.is_some_and(|one| one.pending.len() >= one.end.pending_max)
            || leader.is_some_and(|one| one.way.waiting.len() >= WAITING_MAX)
    }

    /// Returns `true` if there is something to do that waits for no other process.
    pub(crate) fn has_work(&self) -> bool {
        let bus_has_work = self.bus.as_ref().is_some_and(|bus| bus.has_work());
        if self.peers.has_gone() || self.used.has_gone() || bus_has_work {
            return true;
        }
        let has_room = |leader: &Leader| leader.way.has_work() && !leader.way.out.is_over();
        // The end of a leader is told by its other lane.
        self.can_take()
            || self.leader.as_ref().is_some_and(has_room)
            || self.follower.as_ref().is_some_and(Way::has_work)
    }

    fn can_take(&self) -> bool {
        let follower_waits = self.follower.as_ref().is_some_and(|way| !way.waiting.is_empty());
        !follower_waits && self.leader.as_ref().is_some_and(|leader| !leader.end.is_empty())
    }

    /// Sends what waits for room.
    pub(crate) fn retry(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.retry();
        }
        if let Some(leader) = &mut self.leader {
            // Its end is told by the other lane.
            leader.way.retry();
        }
        if self.follower.as_mut().is_some_and(|way| way.out.is_over() || !way.retry()) {
            self.lose_follower();
        }
    }

    /// The next message of the leader. None is taken while those to a follower wait: each causes
    /// one.
    pub(crate) fn next_told(&mut self) -> Option<Told> {
        if self.follower.as_ref().is_some_and(|way| !way.waiting.is_empty()) {
            return None;
        }
        self.leader.as_ref()?.end.next()
    }

    /// Returns the sides that take part.
    pub(super) fn sides(&self) -> u8 {
        let side = |there: bool, side: u8| if there { side } else { 0 };
        side(self.leader.is_some(), LEADER) | side(self.follower.is_some(), FOLLOWER)
    }

    /// Sends a message to one side. Returns `false` if nobody takes it there.
    pub(super) fn tell(&mut self, side: u8, told: Told) -> bool {
        if side == FOLLOWER {
            self.tell_follower(told);
            return self.follower.is_some();
        }
        self.leader.as_mut().is_some_and(|leader| leader.way.send(told))
    }

    fn tell_follower(&mut self, told: Told) {
        if self.follower.as_mut().is_some_and(|way| !way.send(told)) {
            self.lose_follower();
        }
    }
}

impl Home<'_> {
    /// Has another process number publications from now on.
    pub(crate) fn follow(&mut self, end: FollowerEnd, epoch: Epoch) {
        let own_epoch = self.rooms.channels.start().epoch;
        self.rooms.channels.set_epoch(epoch);
        let way = Way::new(end.out.clone());
        let (pending, claims) = (BTreeMap::new(), BTreeSet::new());
        let leader = Leader { end, way, next: 0, pending, claims, own_epoch };
        self.engine.get_or_insert_default().leader = Some(leader);
    }

    /// Sends a publication to the process that numbers it.
    pub(super) fn forward(&mut self, publication: Arc<Publication>, reply: PublishReply) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let Some(leader) = &mut engine.leader else { return };
        let token = Token { home: self.port.me, number: leader.next };
        leader.next += 1;
        let told = Told::Publish { token, publication: Arc::clone(&publication) };
        leader.pending.insert(token.number, (publication, reply));
        // Whatever the lane loses with the link is pending, and numbered here then.
        leader.way.send(told);
        self.port.waits_for_link = engine.is_full();
    }

    /// Tells a follower, if there is one, of a publication that was numbered.
    pub(super) fn tell_follower(
        &mut self,
        publication: &Arc<Publication>,
        position: Position,
        reply: &PublishReply,
    ) {
        let told = match reply {
            ReplyTo::Follower(token) => {
                Told::Granted { token: *token, position, time_ms: publication.time_ms }
            }
            _ => Told::Numbered { epoch: position.epoch, publication: Arc::clone(publication) },
        };
        self.send_to_follower(told);
    }

    pub(super) fn send_to_follower(&mut self, told: Told) {
        if let Some(engine) = self.engine.as_deref_mut() {
            engine.tell_follower(told);
            self.port.waits_for_link = engine.is_full();
        }
    }

    /// Takes what the leader tells.
    pub(crate) fn take_told(&mut self, told: Told) {
        match told {
            Told::Numbered { epoch, publication } => {
                let position = Position { epoch, offset: publication.offset };
                let time_ms = publication.time_ms;
                self.repeat(publication, position, time_ms, ReplyTo::Nobody);
            }
            Told::Granted { token, position, time_ms } => {
                if let Some((publication, reply)) = self.no_longer_pending(token) {
                    self.repeat(publication, position, time_ms, reply);
                }
            }
            Told::Repeated { token, position } => {
                if let Some((publication, reply)) = self.no_longer_pending(token) {
                    self.answer_published(&publication.channel, position, reply);
                }
            }
            Told::Refused { token, why } => {
                if let Some((_, reply)) = self.no_longer_pending(token) {
                    self.refuse(reply, why);
                }
            }
            Told::Direct { token, user, publication } => {
                self.direct(&user, &publication, ReplyTo::Leader(token));
            }
            Told::Reached { .. } => self.take_answer(told, LEADER),
            Told::Roll(roll) => self.take_roll(roll, LEADER),
            Told::Claimed { client, claim, verdict } => self.take_verdict(client, claim, verdict),
            Told::Replace { name, clients } => self.send_away(name, clients),
            Told::Removed { channel } => {
                self.remove_history(&channel);
            }
            Told::Publish { .. }
            | Told::Claim { .. }
            | Told::Release { .. }
            | Told::Settle { .. }
            | Told::Ping
            | Told::Over
            | Told::Back => {}
        }
    }

    fn no_longer_pending(&mut self, token: Token) -> Option<(Arc<Publication>, PublishReply)> {
        let leader = self.engine.as_deref_mut()?.leader.as_mut()?;
        leader.pending.remove(&token.number)
    }

    /// Does with a publication that another process numbered what its home there does.
    fn repeat(
        &mut self,
        mut publication: Arc<Publication>,
        position: Position,
        time_ms: u64,
        reply: PublishReply,
    ) {
        self.tally.followed_publications += 1;
        let Ok(index) = self.rooms.find_or_add(&publication.channel, self.port.me) else {
            // Nobody here hears it.
            return self.answer_published(&publication.channel, position, reply);
        };
        let before = Position { offset: position.offset.saturating_sub(1), ..position };
        let follows = self.rooms.channels.get(index).order.newest == before;
        if !follows {
            self.renumber(index, before);
        }
        let numbered = Arc::make_mut(&mut publication);
        numbered.offset = position.offset;
        numbered.time_ms = time_ms;
        let order = &mut self.rooms.channels.at(index).order;
        order.newest = position;
        if let Some(version) = publication.version() {
            order.takes(version);
        }
        let behind = if follows { Behind::Publications } else { Behind::Parcels };
        self.spread(index, publication, reply, behind);
    }

    /// Goes on behind a position that is not the channel's: what lay between is not known here.
    fn renumber(&mut self, index: ChannelIndex, newest: Position) {
        self.rooms.remove_history(index);
        let channel = self.rooms.channels.at(index);
        channel.order.begin_behind(newest);
        for shard in shards_of(channel.order.shards) {
            let channel = Arc::clone(&channel.name);
            self.port.deliver(shard, Deliver::Renumbered { channel, newest });
        }
    }

    /// Numbers again, in other epochs, and decides claims. Behind a leader that `is_unused`, as it
    /// has numbered nothing, the same epochs go on. Returns the publications on their way, in their
    /// order.
    pub(crate) fn go_on_alone(&mut self, is_unused: bool) -> Vec<Ask> {
        let leader = self.engine.as_deref_mut().and_then(|engine| engine.leader.take());
        let Some(Leader { pending, claims, own_epoch, .. }) = leader else { return Vec::new() };
        self.lose_members(LEADER);
        self.lose_online();
        if is_unused {
            self.rooms.channels.set_epoch(own_epoch);
        } else {
            self.tally.lost_leaders += 1;
            // Its own numbering may have been known to others before.
            self.leap(own_epoch.next());
        }
        let pending = pending.into_values();
        let publications = pending.map(|(publication, reply)| Ask::Publish { publication, reply });
        let publications = publications.collect();
        // At once: a client may be about to go, and its release must find the claim decided.
        for (client, claim) in claims {
            self.claim(client, claim);
        }
        publications
    }

    /// Numbers in another epoch from now on, far behind all that the leader may have numbered.
    fn leap(&mut self, epoch: Epoch) {
        self.rooms.channels.set_epoch(epoch);
        let me = self.port.me;
        for channel in self.rooms.channels.iter_mut().filter(|channel| channel.home == me) {
            let offset = channel.order.newest.offset + LEAP;
            let newest = Position { epoch, offset };
            channel.order.begin_anew(newest);
            for shard in shards_of(channel.order.shards) {
                let channel = Arc::clone(&channel.name);
                self.port.deliver(shard, Deliver::Renumbered { channel, newest });
            }
        }
    }
}
