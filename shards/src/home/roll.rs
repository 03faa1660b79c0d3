//! Questions for the members of a channel that other processes of a take-over answer as well.
//!
//! A client's shard asks the shards of its own process, and the channel's home for all the rest.
//! The home waits for the other processes for some seconds at most: after that, and when one of
//! them goes, it answers with what is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Home;
use super::engine::{Engine, FOLLOWER, LEADER};
use super::presence::Origin;
use crate::mesh::parcel::{Ask, Asker, Deliver};
use crate::model::id::{ClientId, ShardId};
use crate::model::presence::{Here, Question};
use crate::model::roll::Roll;
use crate::model::told::{Token, Told};

/// The longest wait for other processes.
const ANSWER_MAX_MS: u64 = 4000;

/// The most questions of one home that wait for other processes.
const GATHERINGS_MAX: usize = if cfg!(test) { 32 } else { 1024 };

/// Questions to which not all have answered, by their numbers: the oldest one first.
#[derive(Debug, Default)]
pub(crate) struct Gatherings {
    open: BTreeMap<u64, Gathering>,
    next: u64,
}

/// A question, and the answers to it so far.
#[derive(Debug)]
struct Gathering {
    asker: For,
    question: Question,
    here: Here,
    /// The number of shards of this process that have not answered.
    shards: usize,
    /// The processes that have not answered.
    sides: u8,
    due_ms: u64,
}

/// The receiver of the answer.
#[derive(Debug, Clone, Copy)]
enum For {
    Client(ClientId, u32),
    /// A home in another process.
    Peer(u8, Token),
}

impl Engine {
    /// Returns `true` if members of other processes are still to be told of or waited for.
    pub(super) fn owes_members(&self) -> bool {
        self.peers.has_gone() || self.used.has_gone() || self.waits_for_members()
    }

    /// Returns `true` if a question waits for other processes, with a time limit.
    pub(crate) fn waits_for_members(&self) -> bool {
        !self.gatherings.open.is_empty()
    }
}

impl Home<'_> {
    /// Asks the other processes for their members of a channel, for a client here.
    pub(super) fn ask_elsewhere(
        &mut self,
        channel: &Arc<str>,
        question: Question,
        (client, request): (ClientId, u32),
    ) {
        self.ask_all((channel, question), For::Client(client, request), 0);
    }

    /// Asks the shards here and the processes behind this one, for another process.
    pub(super) fn ask_for_peer(
        &mut self,
        channel: &Arc<str>,
        question: Question,
        (side, token): (u8, Token),
    ) {
        let shards = self.port.mesh.shards();
        self.ask_all((channel, question), For::Peer(side, token), shards);
    }

    fn ask_all(&mut self, (channel, question): (&Arc<str>, Question), asker: For, shards: usize) {
        let home = self.port.me;
        let due_ms = self.now.long_ms() + ANSWER_MAX_MS;
        let here = Here::default();
        let mut gathering = Gathering { asker, question, here, shards, sides: 0, due_ms };
        // Without an engine there is no other process any more.
        let Some(engine) = self.engine.as_deref_mut() else {
            return self.answer_gathered(gathering);
        };
        if engine.gatherings.open.len() >= GATHERINGS_MAX {
            self.tally.unanswered_questions += 1;
            gathering.here.more = true;
            return self.answer_gathered(gathering);
        }
        let number = engine.gatherings.next;
        engine.gatherings.next += 1;
        let not_to = if let For::Peer(side, _) = asker { side } else { 0 };
        for side in [LEADER, FOLLOWER].into_iter().filter(|side| *side != not_to) {
            let token = Token { home, number };
            let who = Roll::Who { token, channel: Arc::clone(channel), question };
            if engine.tell(side, Told::Roll(who)) {
                gathering.sides |= side;
            }
        }
        if gathering.sides == 0 && shards == 0 {
            return self.answer_gathered(gathering);
        }
        engine.gatherings.open.insert(number, gathering);
        for shard in (0..shards).map(ShardId::at) {
            let asker = Asker::Home { home, number };
            self.port.owe(shard, Ask::Who { channel: Arc::clone(channel), question, asker });
        }
    }

    /// Takes the answer of a shard of this process.
    pub(crate) fn gather_here(&mut self, number: u64, here: Here) {
        self.take_part(number, here, Origin::Shard(self.port.me));
    }

    /// Takes the answer of a shard or of another process.
    pub(super) fn take_part(&mut self, number: u64, here: Here, from: Origin) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let Some(mut gathering) = engine.gatherings.open.remove(&number) else { return };
        let question = gathering.question;
        gathering.here.add(here, question);
        match from {
            Origin::Shard(_) => gathering.shards = gathering.shards.saturating_sub(1),
            Origin::Side(side) => gathering.sides &= !side,
        }
        if gathering.shards == 0 && gathering.sides == 0 {
            self.answer_gathered(gathering);
        } else {
            engine.gatherings.open.insert(number, gathering);
        }
    }

    /// Answers the questions that have waited too long, or for processes that take part no more.
    pub(crate) fn answer_overdue(&mut self) {
        let now_ms = self.now.long_ms();
        let Some(engine) = self.engine.as_deref_mut() else { return };
        if !engine.waits_for_members() {
            return;
        }
        let sides = engine.sides();
        let open = &mut engine.gatherings.open;
        for gathering in open.values_mut() {
            gathering.sides &= sides;
        }
        let over =
            open.extract_if(.., |_, one| one.due_ms <= now_ms || one.shards == 0 && one.sides == 0);
        let over: Vec<Gathering> = over.map(|(_, gathering)| gathering).collect();
        for mut gathering in over {
            if gathering.shards != 0 || gathering.sides != 0 {
                self.tally.unanswered_questions += 1;
                gathering.here.more = true;
            }
            self.answer_gathered(gathering);
        }
    }

    fn answer_gathered(&mut self, gathering: Gathering) {
        let Gathering { asker, here, .. } = gathering;
        match asker {
            For::Client(to, request) => {
                self.port.deliver(to.shard, Deliver::Here { to, request, here });
            }
            For::Peer(side, token) => {
                if let Some(engine) = self.engine.as_deref_mut() {
                    engine.tell(side, Told::Roll(Roll::Here { token, here }));
                }
            }
        }
    }
}
