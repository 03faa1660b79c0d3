//! Members in other processes of a take-over: each home tells the others of joins and leaves in
//! channels with watchers there, and in those where a user that returns has not left.
//!
//! Each process decides by itself whether a join or leave is an event, with the same rule and all
//! that has happened in both. So a client that goes from one process to the other is neither a
//! leave nor a join for the watchers of either.

use std::sync::Arc;

use super::Home;
use super::engine::{Engine, FOLLOWER, LEADER};
use super::presence::{Change, LEAVES_MAX, Origin, due_ms};
use crate::mesh::parcel::Presence;
use crate::model::facts::{put_present, put_watched};
use crate::model::id::ChannelIndex;
use crate::model::presence::Member;
use crate::model::roll::{Roll, UNCOUNTED};
use crate::model::strangers::Strangers;
use crate::model::told::Told;

/// The clients of other processes.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    of_leader: Strangers,
    of_follower: Strangers,
    /// The sides that know the members of this one, and hear of joins and leaves.
    begun: u8,
    /// Clients of processes that take part no more: those of one user in a channel, and its number
    /// of clients.
    gone: Vec<(Arc<str>, Member, u32)>,
}

impl Peers {
    /// Tells a side of joins and leaves from now on.
    pub(super) fn begin(&mut self, side: u8) {
        self.begun |= side;
    }

    /// Returns `true` if a side is told of joins and leaves.
    pub(super) fn has_begun(&self, side: u8) -> bool {
        self.begun & side != 0
    }

    fn on(&mut self, side: u8) -> &mut Strangers {
        if side == LEADER { &mut self.of_leader } else { &mut self.of_follower }
    }

    /// Returns `true` if clients of processes that take part no more are still to be told of.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Returns `true` if a user has a client in a channel in another process.
    pub(super) fn has(&self, channel: &Arc<str>, user: &Arc<str>) -> bool {
        self.of_leader.has(channel, user) || self.of_follower.has(channel, user)
    }

    /// The clients of other processes in a channel.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = (&'a Member, u32)> {
        self.of_leader.of(channel).chain(self.of_follower.of(channel))
    }
}

impl Engine {
    /// Returns `true` if a user has a client in a channel in another process.
    pub(crate) fn has_elsewhere(&self, channel: &Arc<str>, user: &Arc<str>) -> bool {
        self.peers.has(channel, user)
    }

    /// Returns the sides that are told of members, but for one.
    fn told_sides(&self, but: Origin) -> impl Iterator<Item = u8> + use<> {
        let sides = self.peers.begun & self.sides();
        [LEADER, FOLLOWER]
            .into_iter()
            .filter(move |&side| sides & side != 0 && but != Origin::Side(side))
    }
}

impl Home<'_> {
    /// Appends the members and watched channels that the process which takes over must know. It is
    /// told of everything behind that.
    pub(crate) fn save_members(&mut self, facts: &mut Vec<u8>) {
        let Some(engine) = self.engine.as_deref_mut().filter(|engine| engine.follows()) else {
            return;
        };
        engine.peers.begin(LEADER);
        self.hand_news_over(facts);
        let me = self.port.me;
        for channel in self.rooms.channels.iter_mut().filter(|channel| channel.home == me) {
            let users = channel.order.attendance.iter().flat_map(|known| known.users());
            for (member, clients) in users {
                put_present(facts, &channel.name, clients, member);
            }
            if channel.order.is_watched() {
                channel.order.told_peers |= LEADER;
                put_watched(facts, &channel.name);
            }
        }
    }

    /// Goes on with a user of the process before this one.
    pub(super) fn restore_member(&mut self, channel: &Arc<str>, (member, clients): (&Member, u32)) {
        let Some(user) = &member.user else { return };
        let Some(index) = self.place_for_strangers(channel) else { return };
        let users_max = self.users_max(index);
        let peers = &mut self.engine.get_or_insert_default().peers;
        let channel = self.rooms.channels.at(index);
        let due_ms = due_ms(self.now, &channel.terms.rules);
        let Some(attendance) = &mut channel.order.attendance else { return };
        let is_known = clients == 0 || peers.on(FOLLOWER).come(&channel.name, member, clients);
        if is_known {
            let place = (index, &mut **attendance);
            self.rooms.returns.enter(place, (user, users_max), (member, clients, due_ms));
        }
    }

    /// Returns the channel if anything here depends on its members in other processes.
    fn place_for_strangers(&mut self, channel: &Arc<str>) -> Option<ChannelIndex> {
        let terms = self.rooms.channels.rules().terms(channel);
        if !terms.is_some_and(|terms| terms.attends()) {
            return self.rooms.channels.find(channel);
        }
        let index = self.rooms.find_or_add(channel, self.port.me).ok()?;
        self.rooms.channels.at(index).order.begin_attendance();
        Some(index)
    }

    /// Takes a message of another process about members.
    pub(crate) fn take_roll(&mut self, roll: Roll, side: u8) {
        // The messages of a process that has gone may still lie in the lane.
        if !self.has_side(side) {
            return;
        }
        match roll {
            Roll::News { channel, member, joined, members } => {
                self.hear_stranger(Presence { channel, member, joined, members }, side);
            }
            Roll::Watch { channel, on } => self.hear_interest(&channel, on, side),
            Roll::Online { user, on } => self.hear_online(&user, on),
            Roll::Use { channel, on } => self.hear_use(&channel, on),
            Roll::Count { channel, members } => {
                self.count(&channel, Origin::Side(side), members);
            }
            Roll::Who { token, channel, question } => {
                self.ask_for_peer(&channel, question, (side, token));
            }
            Roll::Here { token, here } => self.take_part(token.number, here, Origin::Side(side)),
        }
        self.note_fullness();
    }

    /// Returns `true` if a process takes part on that side.
    pub(super) fn has_side(&self, side: u8) -> bool {
        self.engine.as_deref().is_some_and(|engine| engine.sides() & side != 0)
    }

    /// Takes another process's answer to a question or to a direct message.
    pub(crate) fn take_answer(&mut self, told: Told, side: u8) {
        match told {
            Told::Reached { token, clients } => self.reached(token.number, clients, side),
            Told::Roll(roll) => self.take_roll(roll, side),
            _ => debug_assert!(false, "no answer"),
        }
    }

    /// A client of another process joined or left.
    fn hear_stranger(&mut self, presence: Presence, side: u8) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let Presence { channel, member, joined, .. } = &presence;
        let strangers = engine.peers.on(side);
        let is_known = if *joined {
            strangers.come(channel, member, 1)
        } else {
            strangers.go(channel, member)
        };
        let index = if *joined {
            self.place_for_strangers(channel)
        } else {
            self.rooms.channels.find(channel)
        };
        let Some(index) = index else { return };
        let presence = Arc::new(presence);
        let change = Change { member: &presence.member, joined: presence.joined, is_known };
        self.hear_change((index, &presence), change, Origin::Side(side));
    }

    /// Tells the other processes of a join or leave, but for the one that it comes from.
    pub(super) fn tell_others(&mut self, index: ChannelIndex, change: &Change<'_>, from: Origin) {
        let leader = self.place_of(Origin::Side(LEADER));
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let channel = self.rooms.channels.get(index);
        let order = &channel.order;
        for side in engine.told_sides(from) {
            if order.attendance.is_none() && order.peers & side == 0 {
                continue;
            }
            let place = leader + usize::from(side == FOLLOWER);
            let members = order.crowd.as_ref().map(|crowd| counted(crowd.count_without(place)));
            engine.tell(
                side,
                Told::Roll(Roll::News {
                    channel: Arc::clone(&channel.name),
                    member: change.member.clone(),
                    joined: change.joined,
                    members: members.unwrap_or(UNCOUNTED),
                }),
            );
        }
        self.note_fullness();
    }

    /// Tells the other processes with watchers how many members a channel has on this side.
    pub(super) fn tell_others_count(&mut self, index: ChannelIndex, from: Origin) {
        let leader = self.place_of(Origin::Side(LEADER));
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let channel = self.rooms.channels.get(index);
        let Some(crowd) = &channel.order.crowd else { return };
        for side in engine.told_sides(from) {
            if channel.order.peers & side != 0 {
                let place = leader + usize::from(side == FOLLOWER);
                let members = counted(crowd.count_without(place));
                let channel = Arc::clone(&channel.name);
                engine.tell(side, Told::Roll(Roll::Count { channel, members }));
            }
        }
        self.note_fullness();
    }

    /// Tells the other processes whether anybody on this side watches a channel, as far as that has
    /// changed.
    pub(super) fn tell_interest(&mut self, index: ChannelIndex) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        let channel = self.rooms.channels.at(index);
        let order = &mut channel.order;
        for side in [LEADER, FOLLOWER] {
            let on = order.watchers != 0 || order.peers & !side != 0;
            // Before that the leader is told with all other facts.
            let is_told = engine.peers.begun & engine.sides() & side != 0;
            if is_told && on != (order.told_peers & side != 0) {
                order.told_peers ^= side;
                let channel = Arc::clone(&channel.name);
                engine.tell(side, Told::Roll(Roll::Watch { channel, on }));
            }
        }
        self.note_fullness();
    }

    /// Another process has watchers of a channel, or has them no longer.
    pub(super) fn hear_interest(&mut self, name: &Arc<str>, on: bool, side: u8) {
        let index = if on {
            self.rooms.find_or_add(name, self.port.me).ok()
        } else {
            self.rooms.channels.find(name)
        };
        let Some(index) = index else { return };
        let order = &mut self.rooms.channels.at(index).order;
        let before = order.is_watched();
        if on {
            order.peers |= side;
        } else {
            order.peers &= !side;
        }
        self.note_watched(index, before);
        // Behind a new watcher each shard tells its number; otherwise that is known.
        if on && before {
            self.tell_others_count(index, Origin::Side(LEADER | FOLLOWER));
        }
    }

    /// A process takes part no more: its clients leave, and it watches nothing.
    pub(super) fn lose_members(&mut self, side: u8) {
        let Some(engine) = self.engine.as_deref_mut() else { return };
        engine.peers.begun &= !side;
        let gone = engine.peers.on(side).take();
        engine.peers.gone.extend(gone);
        let me = self.port.me;
        let all = self.rooms.channels.iter().filter(|channel| channel.home == me);
        let names: Vec<Arc<str>> = all.map(|channel| Arc::clone(&channel.name)).collect();
        for name in names {
            let Some(index) = self.rooms.channels.find(&name) else { continue };
            let order = &mut self.rooms.channels.at(index).order;
            order.told_peers &= !side;
            if order.crowd.is_some() {
                self.count(&name, Origin::Side(side), 0);
            }
            if self.rooms.channels.get(index).order.peers & side != 0 {
                self.hear_interest(&name, false, side);
            }
        }
    }

    /// Lets clients leave whose process takes part no more, some at a time.
    pub(crate) fn tell_gone(&mut self) {
        for _ in 0..LEAVES_MAX {
            if self.port.lacks_room() {
                return;
            }
            let Some(engine) = self.engine.as_deref_mut() else { return };
            let Some((channel, member, clients)) = engine.peers.gone.pop() else { return };
            if let Some(rest) = clients.checked_sub(1).filter(|rest| *rest > 0) {
                engine.peers.gone.push((Arc::clone(&channel), member.clone(), rest));
            }
            let presence = Presence { channel, member, joined: false, members: UNCOUNTED };
            // No side is left out: the one that it came from has gone.
            self.hear_presence(&Arc::new(presence), Origin::Side(0));
        }
    }

    fn note_fullness(&mut self) {
        self.port.waits_for_link = self.engine.as_deref().is_some_and(Engine::is_full);
    }
}

fn counted(members: u64) -> u32 {
    u32::try_from(members).unwrap_or(UNCOUNTED - 1).min(UNCOUNTED - 1)
}
