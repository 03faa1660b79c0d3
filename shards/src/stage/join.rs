//! Join: a client's way into a channel. It waits until its shard is subscribed, is told what it
//! missed if it asks for that, and sits down.
//!
//! The home answers a question for what was missed on the lane on which its publications travel. So
//! when a page arrives here, everything up to `newest` has arrived, and nothing behind it: the
//! client is told what left here before, and the open tick brings the rest. Nothing is held back,
//! merged or told twice.

use std::sync::Arc;

use crate::client::app::Shown;
use crate::client::roster::{Recalling, Seat};
use crate::client::state::Flags;
use crate::client::told_per_page;
use crate::close::CloseReason;
use crate::config::Config;
use crate::mesh::recall::Recalled;
use crate::model::channel::{Channel, JoinRequest, NoChannel, Subscription, Waiter};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::Position;
use crate::model::past::{Behind, Numbering, Since};
use crate::model::presence::Member;
use crate::model::seating::Renewal;
use crate::net::Net;
use crate::rules::Delta;
use crate::shard::Shard;
use crate::stage::conclude::Return;
use crate::wire::command::ErrorCode;
use crate::wire::event::{Event, OfApp, Seated};

/// The offset in front of the first publication of a page.
fn offset_before(recalled: &Recalled, behind: Behind) -> u64 {
    match (behind, recalled.publications.first()) {
        (Behind::Since(since) | Behind::Rest(since) | Behind::Check(since), _) => since.offset,
        (Behind::Last(_), Some(first)) => first.offset - 1,
        (Behind::Last(_), None) => recalled.newest.offset,
    }
}

/// The seat that a join leads to, at the second `now_s` of the shard's clock.
fn seated<'a>(
    channel: &'a Channel,
    join: &'a JoinRequest,
    (position, recovered): (Position, Option<bool>),
    (config, now_s): (&Config, u32),
) -> Seated<'a> {
    // An end about which the backend is asked is none for the client.
    let end = join.end.filter(|end| end.renewal != Renewal::Backend);
    Seated {
        channel: &channel.name,
        position,
        recovered,
        left_s: end.map(|end| end.at_s.saturating_sub(now_s)),
        can_refresh: end.is_some_and(|end| end.renewal == Renewal::Client),
        keeps_position: config.slow_rules(&channel.terms.rules).keep_positions(),
        data: join.grant.data.as_deref(),
        patches: join.patches,
    }
}

impl<N: Net> Shard<N> {
    /// A client's `join`: it goes on at once, or when the home has counted this shard in.
    pub(crate) fn join_channel(
        &mut self,
        slot: Slot,
        name: &Arc<str>,
        join: JoinRequest,
    ) -> Result<(), NoChannel> {
        let index = self.subscribe(name)?;
        if self.rooms.channels.get(index).subscription == Subscription::Live {
            self.enter(slot, index, join);
        } else {
            let client = self.clients.roster.id(slot);
            self.rooms.channels.at(index).waiting.push(Waiter { client, join: Some(join) });
            self.count_joining(slot, 1);
        }
        Ok(())
    }

    pub(crate) fn count_joining(&mut self, slot: Slot, change: isize) {
        let client = self.clients.roster.get_mut(slot);
        if let Some(client) = client {
            let joining = &mut client.brief().joining;
            *joining = joining.saturating_add_signed(change);
            client.shed();
        }
    }

    /// Ends the joins of a channel that a client has under way, because it leaves. Returns `false`
    /// if there are none. A leave behind a join must not depend on the time that the home takes.
    pub(crate) fn give_up_joins(&mut self, slot: Slot, index: ChannelIndex) -> bool {
        let client = self.clients.roster.id(slot);
        let brief = self.clients.roster.get(slot).and_then(|client| client.brief_ref());
        let mut given_up = Vec::new();
        // Few clients wait for a channel; those that do not are spared the search.
        if brief.is_some_and(|brief| brief.joining > 0) {
            let waiting = &mut self.rooms.channels.at(index).waiting;
            let own = waiting.extract_if(.., |waiter| waiter.client == client);
            given_up.extend(own.filter_map(|waiter| waiter.join));
            self.count_joining(slot, -given_up.len().cast_signed());
            self.rooms.note_emptied(index);
        }
        given_up.extend(self.forget_recall(slot, index));
        for id in given_up.iter().filter_map(|join| join.id.as_ref()) {
            self.clients.tally.errors += 1;
            let text = "the channel was left before the join was done";
            let event = Event::Error { code: ErrorCode::TakenBack, text, id: Some(id) };
            self.clients.tell(slot, &event);
        }
        !given_up.is_empty()
    }

    /// Goes on with a join whose channel is subscribed.
    pub(crate) fn enter(&mut self, slot: Slot, index: ChannelIndex, mut join: JoinRequest) {
        if !self.clients.roster.state(slot).is_open() {
            return;
        }
        let Some(client) = self.clients.roster.get(slot) else { return };
        if client.recalls().any(|recalling| recalling.channel == index) {
            self.clients.tally.errors += 1;
            let text = "a join of this channel is under way";
            let event = Event::Error { code: ErrorCode::Rate, text, id: join.id.as_ref() };
            return self.clients.tell(slot, &event);
        }
        if self.is_over(slot, &join) {
            return self.tell_over(slot, index, &join);
        }
        let seat = client.seats().find(|seat| seat.channel == index);
        let is_member = seat.is_some();
        // The client's own wish stands whatever the API does.
        let takes_patches = seat.is_some_and(|seat| seat.patches);
        join.patches = if join.by_server {
            takes_patches
        } else {
            join.patches && self.grants_patches(slot, index)
        };
        match join.since {
            // A member hears everything already: nothing is told again, and nothing left out.
            Some(_) if is_member => self.finish_join(slot, index, &join, Some(false)),
            Some(since) if let Some(all_heard) = self.hears_all_behind(index, since) => {
                if all_heard || !join.must_recover {
                    self.finish_join(slot, index, &join, Some(all_heard));
                } else {
                    self.refuse_unrecovered(slot, index, &join);
                }
            }
            Some(since) => self.begin_recall(slot, index, Behind::Since(since), join),
            None if let Some(last) = join.asks_for().filter(|_| !is_member) => {
                self.begin_recall(slot, index, Behind::Last(last), join);
            }
            None => self.finish_join(slot, index, &join, None),
        }
    }

    /// Returns `true` if a client may be told publications by their difference from the one before.
    /// One that does not want its own words back would not have them all.
    fn grants_patches(&self, slot: Slot, index: ChannelIndex) -> bool {
        self.rooms.channels.get(index).terms.rules.delta == Delta::Fossil
            && self.clients.dialect(slot).has_patches()
            && !self.clients.roster.state(slot).is_any(Flags::NO_ECHO)
    }

    /// Takes a page of what a client missed. Behind the last one it sits down.
    pub(crate) fn take_recalled(&mut self, recalled: &Recalled) {
        debug_assert!(self.recalls_asked > 0, "each page was asked for");
        self.recalls_asked = self.recalls_asked.saturating_sub(1);
        let Some(slot) = self.clients.roster.slot_of(recalled.to) else { return };
        let bytes: usize = recalled.publications.iter().map(|missed| missed.bytes()).sum();
        self.clients.told += told_per_page(bytes);
        let client = self.clients.roster.get_mut(slot);
        let Some(brief) = client.and_then(|client| client.brief_mut()) else { return };
        let place = brief.recalls.iter().position(|open| open.request == recalled.request);
        let Some(place) = place else { return };
        if matches!(brief.recalls[place].behind, Behind::Check(_)) {
            if self.take_checked(slot, place, recalled) {
                self.welcome_back(slot, None);
            }
            return;
        }
        if self.lapses_on_its_way(slot, place) {
            return self.go_on_recalling(slot);
        }
        let Some(brief) = self.clients.roster.get_mut(slot).and_then(|one| one.brief_mut()) else {
            return;
        };
        let recalling = &mut brief.recalls[place];
        let (index, admits) = (recalling.channel, std::mem::take(&mut recalling.admits));
        let recovered = recalling.join.since.map(|_| recalled.recovered);
        let before = offset_before(recalled, recalling.behind);
        self.catch_up(index, before, recalled);
        if admits {
            let fanned = self.rooms.channels.get(index).fanned.offset;
            let offset = if recalled.recovered { before } else { fanned };
            let start = Position { epoch: recalled.newest.epoch, offset };
            self.welcome_back(slot, Some(Return { start, recovered }));
        }
        if matches!(recalled.present, Some(Err(_))) {
            return self.refuse_presence(slot, index);
        }
        self.answer_first(slot, place, recalled, before);
        let patches = self.takes_patches(slot, place);
        let Some(brief) = self.clients.roster.get_mut(slot).and_then(|one| one.brief_mut()) else {
            return;
        };
        let publications = &recalled.publications[..];
        if let Some(last) = publications.last().filter(|_| recalled.more) {
            let since = Since { epoch: Numbering::Is(recalled.newest.epoch), offset: last.offset };
            brief.recalls[place].behind = Behind::Rest(since);
            brief.recalls[place].asked = false;
            self.tell_missed(slot, publications, patches);
        } else {
            let recalling = brief.recalls.remove(place);
            self.rooms.channels.at(index).recalling -= 1;
            let goes_on = recalled.recovered || admits;
            if !goes_on && !self.clients.dialect(slot).has_requests() {
                // It counts its messages, and would not know that some are left out.
                self.rooms.note_emptied(index);
                return self.clients.doom(slot, CloseReason::Overtaken);
            }
            self.end_recall((slot, index), &recalling, recalled);
        }
        self.go_on_recalling(slot);
    }

    /// A client has been asked for all that it missed: it sits down behind that.
    fn end_recall(
        &mut self,
        (slot, index): (Slot, ChannelIndex),
        recalling: &Recalling,
        recalled: &Recalled,
    ) {
        let Recalling { join, is_answered, .. } = recalling;
        // Only a client that named a position is told that it was found.
        let recovered = join.since.map(|_| recalled.recovered);
        let tally = &mut self.clients.tally;
        tally.recoveries += u64::from(recovered == Some(true));
        tally.failed_recoveries += u64::from(recovered == Some(false));
        if *is_answered && !recalled.recovered {
            // It was told that it is in, and cannot be told the rest of what it missed.
            self.rooms.note_emptied(index);
            self.send_back(slot, index, join.by_server);
        } else if join.must_recover && !recalled.recovered {
            self.refuse_unrecovered(slot, index, join);
        } else {
            let publications = &recalled.publications[..];
            let fanned = self.rooms.channels.get(index).fanned.offset;
            let left = publications.partition_point(|missed| missed.offset <= fanned);
            self.tell_missed(slot, &publications[..left], join.patches);
            if join.wants_last && publications.is_empty() {
                let channel = &self.rooms.channels.get(index).name;
                self.clients.tell(slot, &Event::OfApp(OfApp::CacheMiss { channel }));
                self.report_cache_miss(index);
            }
            self.seat_as_asked(slot, index, join);
            if !is_answered {
                self.tell_joined(slot, index, join, recovered);
            }
        }
        if join.user.is_some() {
            self.count_watcher(index, false);
        }
    }

    /// A presence channel has no room for another user.
    fn refuse_presence(&mut self, slot: Slot, index: ChannelIndex) {
        let join = self.forget_recall(slot, index);
        self.clients.tally.errors += 1;
        let (code, text) = (ErrorCode::NoRoom, "the channel has as many users as it may have");
        let id = join.as_ref().and_then(|join| join.id.as_ref());
        self.clients.tell(slot, &Event::Error { code, text, id });
        self.go_on_recalling(slot);
    }

    /// Answers a join in front of what the client missed, if its dialect wants the answer there.
    fn answer_first(&mut self, slot: Slot, place: usize, recalled: &Recalled, before: u64) {
        if !recalled.recovered || !self.clients.dialect(slot).answers_first() {
            return;
        }
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        let Some(recalling) = brief.and_then(|brief| brief.recalls.get_mut(place)) else { return };
        if std::mem::replace(&mut recalling.is_answered, true) {
            return;
        }
        let index = recalling.channel;
        let position = Position { epoch: recalled.newest.epoch, offset: before };
        // Taken out for the moment of the answer.
        let join = std::mem::take(&mut recalling.join);
        let channel = self.rooms.channels.get(index);
        let by = (&*self.clients.config, self.clients.now.seconds());
        let seated = seated(channel, &join, (position, Some(true)), by);
        if let Some(Ok(present)) = &recalled.present {
            let mut members = present.clone();
            let own = join.user.as_ref();
            if members.iter().all(|member| member.user.as_ref() != own) {
                let (client, user) = (self.clients.roster.id(slot), own.cloned());
                let channel_info = join.grant.info.clone();
                members.push(Member { client, user, info: None, channel_info });
            }
            let channel = &channel.name;
            self.clients.tell(slot, &Event::OfApp(OfApp::Present { channel, members: &members }));
        } else {
            self.clients.tell(slot, &Event::Joined { seated, id: join.id.as_ref() });
        }
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        if let Some(recalling) = brief.and_then(|brief| brief.recalls.get_mut(place)) {
            recalling.join = join;
        }
    }

    /// Returns `true` if a client on its way into a channel takes patches.
    fn takes_patches(&self, slot: Slot, place: usize) -> bool {
        let client = self.clients.roster.get(slot);
        let recalling = client.and_then(|client| client.recalls().nth(place));
        recalling.is_some_and(|recalling| recalling.join.patches)
    }

    /// A client that must have everything does not join a channel that has lost some of it.
    fn refuse_unrecovered(&mut self, slot: Slot, index: ChannelIndex, join: &JoinRequest) {
        self.rooms.note_emptied(index);
        self.clients.tally.errors += 1;
        let text = "messages behind this position are lost";
        let event = Event::Error { code: ErrorCode::WrongEpoch, text, id: join.id.as_ref() };
        self.clients.tell(slot, &event);
    }

    /// Sends the open ticks if the client has heard a part of them: it is to get the rest alone.
    fn catch_up(&mut self, index: ChannelIndex, before: u64, recalled: &Recalled) {
        let channel = self.rooms.channels.get(index);
        debug_assert!(
            channel.fanned.offset + channel.tick.len() as u64 == recalled.newest.offset,
            "everything up to the page has come, and nothing behind it"
        );
        if recalled.recovered && before > channel.fanned.offset {
            self.clients.send_replies();
            self.fan_out();
        }
    }

    /// Seats a client in a subscribed channel, as it asked, and tells it.
    fn finish_join(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        join: &JoinRequest,
        recovered: Option<bool>,
    ) {
        self.seat_as_asked(slot, index, join);
        self.tell_joined(slot, index, join, recovered);
    }

    fn seat_as_asked(&mut self, slot: Slot, index: ChannelIndex, join: &JoinRequest) {
        let seated =
            self.clients.roster.get_mut(slot).and_then(|client| client.seat_mut(index).copied());
        // A member that joins with another token is told of anew.
        let shown = Shown { user: join.user.clone(), info: join.grant.info.clone() };
        let is_known = self.clients.shown(slot, index).unwrap_or(&Shown::default()) == &shown;
        let tells = self.rooms.channels.get(index).terms.rules.join_leave;
        let presence = join.presence || join.grant.watches && tells;
        // A channel that a client has asked for itself is its own, whoever has asked before.
        let by_server = join.by_server && seated.is_none_or(|seat| seat.by_server);
        let differs =
            |seat: Seat| seat.presence != presence || !is_known || seat.patches && !join.patches;
        if seated.is_none_or(differs) {
            let gap = seated.and_then(|_| self.clients.detach_outbox(slot, index));
            self.rise(slot, index);
            self.note_shown(slot, index, shown);
            self.sit(slot, index, (presence, by_server));
            if let Some(gap) = gap {
                self.clients.restore_gap(slot, index, &gap);
            }
        }
        if join.patches {
            self.begin_chain(slot, index);
        }
        let client = self.clients.roster.get_mut(slot);
        if let Some(seat) = client.and_then(|client| client.seat_mut(index)) {
            seat.by_server = by_server;
        }
        self.clients.set_lapse(slot, index, join.end);
    }

    fn tell_joined(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        join: &JoinRequest,
        recovered: Option<bool>,
    ) {
        let channel = self.rooms.channels.get(index);
        let at = (channel.fanned, recovered);
        let by = (&*self.clients.config, self.clients.now.seconds());
        let seated = seated(channel, join, at, by);
        let joined = if join.by_server {
            Event::Added(seated)
        } else {
            Event::Joined { seated, id: join.id.as_ref() }
        };
        self.clients.tell(slot, &joined);
    }
}
