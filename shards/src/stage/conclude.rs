//! Conclude: the outcome of an admission is told to its client, and a client that is admitted
//! becomes a member of its channels.
//!
//! Admission decides and writes nothing. Here is the only place that knows in which form its
//! outcome leaves.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::Clients;
use crate::client::app::Shown;
use crate::client::pending::{Answer, Pending};
use crate::config::{Config, JoinMessages};
use crate::mesh::parcel::Ask;
use crate::model::channel::{Channel, JoinRequest};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::Position;
use crate::model::past::Behind;
use crate::model::seating::Placement;
use crate::net::Net;
use crate::proof::Proof;
use crate::shard::Shard;
use crate::stage::resume::Begin;
use crate::wire::dialect::Dialect;
use crate::wire::entry::Entry;
use crate::wire::event::{Event, Seated, Welcome};
use crate::wire::http::{self, Start};
use crate::wire::machine::Machine;
use crate::wire::refusal::Refusal;
use crate::wire::stream;

/// No 101 is longer, unless a subprotocol has a long name.
const HEAD_BYTES: usize = 288;

/// A client that comes back for what it missed, as its request says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Return {
    /// The position in front of what it is told.
    pub(crate) start: Position,
    /// It is told everything behind the publication that it named, if it named one.
    pub(crate) recovered: Option<bool>,
}

/// Returns the answer to a request. `accept` answers the key of one for a WebSocket.
pub(crate) fn opening(accept: Option<&str>, entry: &Entry, start: Start) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    match accept {
        Some(accept) => http::put_switching(&mut head, accept, entry, start),
        None => stream::put_opening(&mut head, entry, start),
    }
    head
}

/// The outcome of an admission so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    Refused(Refusal),
    /// So many answers of homes and owners are still to come.
    Waiting(usize),
}

/// The seat in a channel of an entry, on the terms for it.
fn granted<'a>(
    channel: &'a Channel,
    begin: Begin,
    terms: &'a Placement,
    config: &Config,
) -> Seated<'a> {
    Seated {
        channel: &channel.name,
        position: begin.position,
        recovered: begin.recovered,
        left_s: None,
        can_refresh: false,
        keeps_position: config.slow_rules(&channel.terms.rules).keep_positions(),
        data: terms.grant.data.as_deref(),
        patches: false,
    }
}

/// The terms for a client in a channel of its entry: those of the application's backend, or of its
/// token. The backend is not asked about channels that the token names.
fn terms_for(channel: &str, proof: Option<&Proof>, entry: &Entry) -> Placement {
    let mut ruled = entry.presented.iter().flat_map(|presented| &presented.channels);
    if let Some((_, terms)) = ruled.find(|(name, _)| **name == *channel) {
        return terms.clone();
    }
    let grant = proof.and_then(|proof| proof.grant(channel)).cloned().unwrap_or_default();
    Placement { grant, ..Placement::default() }
}

impl<N: Net> Shard<N> {
    /// Acts on the outcome of an admission.
    pub(crate) fn conclude(&mut self, slot: Slot, mut pending: Pending, outcome: Admission) {
        match outcome {
            Admission::Admitted => self.welcome_behind(slot, pending),
            Admission::Refused(refusal) => {
                self.keep_pending(slot, pending);
                self.refuse(slot, &refusal);
            }
            Admission::Waiting(awaited) => {
                pending.awaited = awaited;
                self.keep_pending(slot, pending);
            }
        }
    }

    /// Keeps an admission until it can be decided.
    pub(crate) fn keep_pending(&mut self, slot: Slot, pending: Pending) {
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.brief().pending = Some(Box::new(pending));
        }
    }

    /// A client that wants to be told what it missed is answered when homes have said whether it
    /// can be.
    fn welcome_behind(&mut self, slot: Slot, mut pending: Pending) {
        let unsure = self.unsure_returns(&pending.entry);
        if !unsure.is_empty() {
            let kept = self.keep_all_but(&pending.entry, None);
            pending.kept.extend(kept);
            self.keep_pending(slot, pending);
            return self.begin_checks(slot, &unsure);
        }
        let index = pending.entry.main_channel().and_then(|name| self.rooms.channels.find(name));
        let Some((behind, index)) = pending.entry.behind.take().zip(index) else {
            return self.welcome(slot, pending, None);
        };
        // Nobody sits in its other channels meanwhile, and it is to find them as they are.
        let kept = self.keep_all_but(&pending.entry, Some(index));
        pending.kept.extend(kept);
        let since = match behind {
            Behind::Since(since) => Some(since),
            Behind::Last(_) | Behind::Rest(_) | Behind::Check(_) => None,
        };
        let channel = &self.rooms.channels.get(index).name;
        let proof = self.clients.proof(slot).map(|proof| &**proof);
        let Placement { grant, ends, .. } = terms_for(channel, proof, &pending.entry);
        let end = ends.map(|ends| self.seat_end(channel, self.second_of(ends), false));
        let join = JoinRequest { grant, end, since, ..JoinRequest::default() };
        self.keep_pending(slot, pending);
        self.begin_recall(slot, index, behind, join);
    }

    /// Keeps the channels of an entry, but for one, from being forgotten here. Returns them.
    fn keep_all_but(&mut self, entry: &Entry, one: Option<ChannelIndex>) -> Vec<ChannelIndex> {
        let known = entry.channels.iter().filter_map(|name| self.rooms.channels.find(name));
        let kept: Vec<ChannelIndex> = known.filter(|index| Some(*index) != one).collect();
        for &index in &kept {
            self.rooms.channels.at(index).recalling += 1;
        }
        kept
    }

    /// Homes have answered what the client of a request missed: the first of it is told behind the
    /// greeting.
    pub(crate) fn welcome_back(&mut self, slot: Slot, back: Option<Return>) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(pending) = client.brief_mut().and_then(|brief| brief.pending.take()) else {
            return;
        };
        self.welcome(slot, *pending, back);
    }

    /// Keeps of an entry what its client needs from now on. Returns the client's user.
    fn furnish(&mut self, slot: Slot, entry: &Entry) -> Option<Arc<str>> {
        let client = self.clients.roster.get_mut(slot)?;
        if let Some(first) = entry.main_channel().filter(|_| entry.dialect.has_requests()) {
            // The channel's own name: it is shared, and tells the channel without a look-up.
            let known = self.rooms.channels.find(first);
            let known = known.map(|index| &self.rooms.channels.get(index).name);
            client.extra().url_channel = Some(Arc::clone(known.unwrap_or(first)));
        }
        if let Some(brief) = client.brief_mut() {
            brief.origin = None;
        }
        client.shed();
        client.user.clone()
    }

    /// Answers and greets the client, in one send, and seats it. One that comes back sits down in
    /// its first channel later, behind what it missed.
    fn welcome(&mut self, slot: Slot, pending: Pending, back: Option<Return>) {
        let begins = self.begins(&pending);
        let Pending { entry, answer, replaces, kept, rest, .. } = pending;
        let by_default = self.clients.config.join_messages == JoinMessages::Newline;
        let hot = self.clients.roster.hot_mut(slot);
        hot.state.open(entry.echo);
        hot.shape = entry.shape(by_default);
        self.clients.count_open();
        self.report_connected(slot);
        let user = self.furnish(slot, &entry);
        let left_s = self.begin_time(slot);

        let terms = self.terms_of_entry(slot, &begins, &entry);
        let seats = begins.iter().zip(&terms).map(|(&begin, terms)| {
            let channel = self.rooms.channels.get(begin.channel);
            granted(channel, begin, terms, &self.clients.config)
        });
        let mut channels: Vec<Seated<'_>> = seats.collect();
        if let (Some(first), Some(back)) = (channels.first_mut(), back) {
            first.position = back.start;
        }
        let known = begins.first().map(|begin| self.rooms.channels.get(begin.channel));
        let keeps = |channel: &&Channel| {
            channel.terms.rules.history.is_on() && !entry.dialect.has_requests()
        };
        let live = known.filter(keeps).map(|channel| channel.fanned);
        let start = Start {
            position: back.map(|back| back.start).or(live),
            recovered: back.and_then(|back| back.recovered),
        };
        let named = usize::from(entry.main_channel().is_some());
        let greeted = if entry.dialect.greets_with_all() { channels.len() } else { named };
        let (config, shape) = (&self.clients.config, self.clients.roster.hot(slot).shape);
        let session = Dialect::is_emulated(shape).then(|| self.clients.session(slot));
        let welcome = Event::Welcome(Welcome {
            client: self.clients.roster.id(slot),
            socket: self.clients.socket_id(slot),
            user: user.as_deref(),
            channels: channels.get(..greeted).unwrap_or(&channels),
            ping_interval: config.ping_interval,
            pong_timeout: config.pong_timeout,
            message_bytes: config.message_bytes,
            is_sparse: config.engine.is_some(),
            left_s,
            data: entry.presented.as_ref().and_then(|presented| presented.greeting.as_deref()),
            id: answer.id(),
            pongs: Dialect::answers_pings(shape) && !entry.dialect.is_deaf(),
            session: session.as_ref().map(|(name, node)| (&**name, &**node)),
        });
        self.clients.say_together(slot, |clients| {
            if let Answer::Http { accept } = &answer {
                let head = opening(accept.as_deref(), &entry, start);
                clients.emit(slot, &head);
            }
            clients.tell(slot, &welcome);
            for &seated in channels.iter().skip(greeted) {
                clients.tell(slot, &Event::Joined { seated, id: None });
            }
        });

        let seats = begins.into_iter().zip(terms);
        for (begin, terms) in seats.skip(usize::from(back.is_some())) {
            self.sit_as_granted(slot, begin, terms);
        }
        self.let_go(&kept);
        if let Some(user) = user.filter(|_| replaces) {
            let client = self.clients.roster.id(slot);
            let owner = self.port.mesh.home_of(&*user);
            let channel = entry.channels.into_iter().next();
            self.port.owe(owner, Ask::Settle { client, user, channel });
        }
        self.keep_first_words(slot, rest);
    }

    /// The terms for a client in the channels of its entry, in their order.
    fn terms_of_entry(&self, slot: Slot, begins: &[Begin], entry: &Entry) -> Vec<Placement> {
        let proof = self.clients.proof(slot).map(|proof| &**proof);
        let names = begins.iter().map(|begin| &self.rooms.channels.get(begin.channel).name);
        names.map(|name| terms_for(name, proof, entry)).collect()
    }

    /// Seats a client in a channel of its entry, on the terms for it: at once, or behind what it
    /// missed there.
    fn sit_as_granted(&mut self, slot: Slot, begin: Begin, terms: Placement) {
        let (index, Placement { grant, ends, .. }) = (begin.channel, terms);
        let channel = self.rooms.channels.get(index);
        if let Some(since) = begin.missed {
            let end = ends.map(|ends| self.seat_end(&channel.name, self.second_of(ends), false));
            let (by_server, is_told) = (true, true);
            let join = JoinRequest { grant, end, by_server, is_told, ..JoinRequest::default() };
            let join = JoinRequest { since: begin.missed, ..join };
            return self.begin_recall(slot, index, Behind::Since(since), join);
        }
        let tally = &mut self.clients.tally;
        tally.recoveries += u64::from(begin.recovered == Some(true));
        tally.failed_recoveries += u64::from(begin.recovered == Some(false));
        let channel = self.rooms.channels.get(index);
        let watches = grant.watches && channel.terms.rules.join_leave;
        let end = ends.map(|ends| self.seat_end(&channel.name, self.second_of(ends), false));
        // First of all, as others are told of the client by it.
        self.note_shown(slot, index, Shown { user: None, info: grant.info });
        self.sit(slot, index, (watches, true));
        if end.is_some() {
            self.clients.set_lapse(slot, index, end);
        }
    }

    /// Keeps the bytes that a client sent before it was in, for the session to look at next.
    pub(crate) fn keep_first_words(&mut self, slot: Slot, rest: Bytes) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        if !rest.is_empty() {
            let mut machine = Machine::new(self.websocket);
            machine.rest = rest;
            client.machine = Some(Box::new(machine));
        }
        if client.machine.is_some() {
            self.clients.roster.state_mut(slot).set_more(true);
        }
        // Bytes that came while the request waited have rung already, to no effect.
        self.clients.net.mark_ready(slot);
    }
}

impl<N: Net> Clients<N> {
    /// Collects all that one client is told meanwhile, and sends it at once. Another client may be
    /// speaking: its replies wait for their own send.
    fn say_together(&mut self, slot: Slot, say: impl FnOnce(&mut Self)) {
        if self.speaker.slot == Some(slot) {
            return say(self);
        }
        let speaking = self.speaker.slot.is_some();
        let speaker = speaking.then(|| std::mem::take(&mut self.speaker));
        self.speaker.slot = Some(slot);
        say(self);
        self.send_replies();
        self.speaker.slot = None;
        if let Some(speaker) = speaker {
            self.speaker = speaker;
        }
    }
}
