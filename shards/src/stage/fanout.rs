//! Fan-out: a tick is encoded once for each form that its channel has here, and leaves in one send
//! per client.

use std::iter::zip;
use std::slice;
use std::sync::Arc;

use crate::client::Clients;
use crate::client::state::Flags;
use crate::clock::Now;
use crate::close::CloseReason;
use crate::model::id::{ClientId, Slot};
use crate::model::message::{Publication, Publications};
use crate::model::shape::{Chain, Form, Window};
use crate::net::{Net, SLICES_MAX, Sent};
use crate::rules::SlowClients;
use crate::shard::Shard;
use crate::stage::batch::{FanOut, Frames, Several, Share, Tick};
use crate::stage::encode::WITHHELD;
use crate::stage::flush::Queued;
use crate::stage::seal::Batch;
use crate::wire::patch::PATCHED_BYTES_MAX;

impl<N: Net> Shard<N> {
    /// Sends the open ticks of all channels. Does not wait for any client.
    pub(crate) fn fan_out(&mut self) {
        // Other shards go to work on what was sent to them while this one is busy.
        self.port.ring();
        let dirty = self.rooms.take_dirty();
        if dirty.is_empty() {
            return;
        }
        let mut fan = std::mem::take(&mut self.fan);
        for &index in &dirty {
            self.encode(&mut fan, index);
        }
        self.rooms.reuse_dirty(dirty);
        let one = fan.ticks.len() == 1;
        let mut several = std::mem::take(&mut fan.several);
        for place in 0..fan.ticks.len() {
            self.fan_out_tick(&fan, place, one, &mut several);
        }
        self.fan_out_to_several(&mut fan, &mut several);
        several.clear();
        fan.several = several;
        for slot in fan.excepted.drain(..) {
            self.clients.roster.state_mut(slot).set_excepted(false);
        }
        self.settle_ticks(&mut fan);
        self.clients.count_deflated(&mut fan);
        fan.clear();
        self.fan = fan;
        self.unseat_lost();
    }

    /// Sends the open ticks if they have grown so far that they should leave at once.
    pub(crate) fn fan_out_if_full(&mut self) {
        if self.rooms.tick_is_full() {
            self.fan_out();
        }
    }

    /// Sends one channel's tick to its members. Members of several channels are noted for later if
    /// there are more ticks.
    fn fan_out_tick(&mut self, fan: &FanOut, place: usize, one: bool, several: &mut Vec<Several>) {
        let special = Flags::BLOCKED.union(WITHHELD).union(Flags::LOST);
        let special = if one { special } else { special.union(Flags::MANY) };
        let special_or_sealed = special.union(Flags::TLS);
        let tick = &fan.ticks[place];
        // No member comes or goes meanwhile: accepted connections wait for the next turn, and a
        // client that must go is only marked.
        let members = &self.rooms.channels.get(tick.channel).members;
        for (group, place_of_frames) in members.groups().zip(tick.frames.clone()) {
            let (frames, slots) = (&fan.frames[place_of_frames], group.1);
            debug_assert_eq!(frames.form, group.0, "groups are encoded in their order");
            let bytes = fan.bytes(frames);
            let frames_each = frames.ends.len() as u64;
            let share = Share { tick: Some(place), frames: place_of_frames };
            let noted = |slot| Several { slot, tick: place, frames: place_of_frames };
            let mut sends = 0;
            let mut sealed = Batch::of(bytes);
            let seal = |clients: &mut Clients<N>, batch: &mut Batch| {
                clients.send_batch(batch, bytes, |clients, slot, less| {
                    clients.book(fan, slot, &[share], less);
                })
            };
            for &slot in slots {
                let hot = self.clients.roster.hot(slot);
                if hot.state.is_open_without(special_or_sealed) {
                    match N::send(hot.fd, bytes) {
                        // Booked below, for the whole group.
                        Sent::All => sends += 1,
                        less => self.clients.book(fan, slot, &[share], less),
                    }
                } else if hot.state.is_open_without(special) {
                    sealed.push(slot);
                    if sealed.is_full() {
                        sends += seal(&mut self.clients, &mut sealed);
                    }
                } else if !hot.state.is_open() {
                    debug_assert!(false, "only open clients are members");
                } else if !one && hot.state.is_any(Flags::MANY) {
                    several.push(noted(slot));
                } else if hot.state.is_any(WITHHELD) && self.clients.withholds(tick, slot) {
                    // After the walk, which borrows the frames that this would add to.
                    several.push(noted(slot));
                } else {
                    self.clients.send_shares(fan, slot, &[share]);
                }
            }
            sends += seal(&mut self.clients, &mut sealed);
            let tally = &mut self.clients.tally;
            tally.sends += sends;
            tally.deliveries += sends * frames_each;
            tally.bytes_out += sends * bytes.len() as u64;
        }
    }

    /// Sends the noted clients everything of this turn at once, but for what is withheld from them.
    fn fan_out_to_several(&mut self, fan: &mut FanOut, several: &mut [Several]) {
        let mut shares = std::mem::take(&mut fan.shares);
        several.sort_unstable();
        for group in several.chunk_by(|a, b| a.slot == b.slot) {
            let slot = group[0].slot;
            let hot = self.clients.roster.hot(slot);
            if !hot.state.is_open() {
                continue;
            }
            if hot.state.is_any(WITHHELD) {
                for noted in group {
                    self.send_the_rest(fan, *noted);
                }
                continue;
            }
            shares.clear();
            shares.extend(group.iter().map(|noted| FanOut::share(*noted)));
            self.clients.send_shares(fan, slot, &shares);
        }
        fan.shares = shares;
    }

    /// Sends a client what it hears of a tick.
    fn send_the_rest(&mut self, fan: &mut FanOut, noted: Several) {
        let Several { slot, tick: place, frames } = noted;
        let id = self.clients.socket_id(slot);
        if !self.clients.withholds(&fan.ticks[place], slot) {
            return self.clients.send_shares(fan, slot, &[FanOut::share(noted)]);
        }
        let Frames { form, slow, .. } = fan.frames[frames];
        debug_assert!(!form.takes_patches(), "a chain has no gaps");
        if fan.frames[frames].plain.is_some() {
            self.clients.apart.push((self.clients.roster.id(slot), fan.ticks[place].channel));
        }
        let publications = std::mem::take(&mut fan.ticks[place].publications);
        let frames = fan.encode(form, slow, Publications::only_for(&publications, id));
        fan.ticks[place].publications = publications;
        self.clients.send_shares(fan, slot, &[Share { tick: Some(place), frames }]);
        fan.forget_latest();
    }

    /// Counts the ticks that were fanned out, and makes their memory ready for the next ones.
    fn settle_ticks(&mut self, fan: &mut FanOut) {
        let done = Now::read();
        let tally = &mut self.clients.tally;
        for tick in fan.ticks.drain(..) {
            tally.ticks += 1;
            tally.tick_publications += tick.publications.len() as u64;
            let channel = self.rooms.channels.at(tick.channel);
            if let Some(last) = tick.publications.last() {
                channel.fanned.offset = last.offset;
            }
            // All members have heard it, or are unlinked below.
            if channel.members.take_patches() {
                let newest = tick.publications.last();
                let newest = newest.filter(|one| one.payload.len() <= PATCHED_BYTES_MAX);
                let has_room = self.rooms.channels.keep_previous(tick.channel, newest);
                tally.unkept_previous += u64::from(!has_room);
                let channel = self.rooms.channels.at(tick.channel);
                let roster = &mut self.clients.roster;
                channel.members.link(|slot, place| {
                    let client = roster.get_mut(slot);
                    if let Some(seat) = client.and_then(|client| client.seat_mut(tick.channel)) {
                        seat.place = place;
                    }
                });
            }
            for publication in &tick.publications {
                let us = done.ns.saturating_sub(publication.ingress_ns) / 1000;
                tally.latency.saturating_record(us);
            }
            let channel = self.rooms.channels.at(tick.channel);
            // Its room serves the next tick.
            let mut room = tick.publications;
            room.clear();
            if channel.tick.is_empty() && channel.tick.capacity() == 0 {
                channel.tick = room;
            }
            if channel.members.is_empty() {
                self.rooms.note_emptied(tick.channel);
            }
        }
        self.settle_members(fan);
    }

    /// Moves the members that have heard less, or more, than others to where they belong.
    fn settle_members(&mut self, fan: &mut FanOut) {
        for (channel, shape) in fan.begun.drain(..) {
            self.gather_window(channel, shape);
        }
        while let Some((client, channel)) = self.clients.apart.pop() {
            if let Some(slot) = self.clients.listener(client) {
                self.set_window(slot, channel, Window::Apart);
            }
        }
        while let Some((client, channel)) = self.clients.unlinked.pop() {
            if let Some(slot) = self.clients.listener(client) {
                self.begin_chain(slot, channel);
            }
        }
    }

    /// Sends a direct message to the clients of a user that are here.
    pub(crate) fn deliver_direct(&mut self, to: &[ClientId], publication: &Arc<Publication>) {
        self.clients.told += to.len();
        let mut fan = std::mem::take(&mut self.fan);
        debug_assert!(fan.frames.is_empty(), "a fan-out leaves nothing behind");
        let slow = self.clients.config.slow_rules_of_server();
        for &client in to {
            let Some(slot) = self.clients.listener(client) else { continue };
            let form = Form::first(self.clients.roster.hot(slot).shape, false);
            let known = fan.frames.iter().position(|frames| frames.form == form);
            let publication = Publications::all(slice::from_ref(publication));
            let frames = known.unwrap_or_else(|| fan.encode(form, slow, publication));
            if self.clients.speaker.slot == Some(slot) {
                self.clients.send_replies();
            }
            self.clients.send_shares(&fan, slot, &[Share { tick: None, frames }]);
        }
        fan.clear();
        self.fan = fan;
    }
}

impl<N: Net> Clients<N> {
    fn count_deflated(&mut self, fan: &mut FanOut) {
        let deflated = fan.deflater.end_turn();
        self.tally.deflated_messages += deflated.messages;
        self.tally.deflated_bytes_before += deflated.bytes_before;
        self.tally.deflated_bytes_after += deflated.bytes_after;
    }

    fn withholds(&self, tick: &Tick, slot: Slot) -> bool {
        let id = self.socket_id(slot);
        tick.publications.iter().any(|publication| publication.is_withheld_from(id))
    }

    /// Sends frames to one client, behind what waits for it already.
    fn send_shares(&mut self, fan: &FanOut, slot: Slot, mut shares: &[Share]) {
        let hot = self.roster.hot(slot);
        if hot.state.is_any(Flags::LOST) {
            return;
        }
        if hot.state.is_any(Flags::BLOCKED) {
            return self.put_rest(fan, slot, shares, 0);
        }
        // A client whose own words are all that was said gets no bytes.
        while shares.iter().any(|share| !fan.bytes_of(*share).is_empty()) {
            let (first, later) = shares.split_at(shares.len().min(SLICES_MAX));
            let slices = first.iter().map(|share| fan.bytes_of(*share));
            let sent = match *first {
                [share] => self.transmit(slot, fan.bytes_of(share)),
                _ if hot.state.is_any(Flags::TLS) => self.send_several_sealed(slot, slices),
                _ => N::send_several(hot.fd, slices),
            };
            if sent != Sent::All {
                return self.book(fan, slot, shares, sent);
            }
            self.book(fan, slot, first, sent);
            shares = later;
        }
    }

    /// Counts a send of shares, and does what follows from its outcome.
    fn book(&mut self, fan: &FanOut, slot: Slot, shares: &[Share], sent: Sent) {
        match sent {
            Sent::All => {
                self.tally.sends += 1;
                self.tally.deliveries += fan.count(shares);
                let bytes = shares.iter().map(|share| fan.bytes_of(*share).len() as u64);
                self.tally.bytes_out += bytes.sum::<u64>();
            }
            Sent::Part(sent) => self.put_rest(fan, slot, shares, sent),
            Sent::Gone => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Puts what a socket did not take into the client's outbox: behind `sent` bytes, frame by
    /// frame.
    fn put_rest(&mut self, fan: &FanOut, slot: Slot, shares: &[Share], mut sent: usize) {
        self.tally.bytes_out += sent as u64;
        let withheld = self.roster.state(slot).is_any(WITHHELD);
        let own = withheld.then(|| self.socket_id(slot));
        for share in shares {
            let frames = &fan.frames[share.frames];
            let mut chain = frames.form.chain;
            let is_windowed = frames.plain.is_some();
            let mut is_within = true;
            for (nth, (frame, content)) in
                zip(fan.each(frames), fan.contents(*share, own)).enumerate()
            {
                if sent >= frame.len() {
                    sent -= frame.len();
                    self.tally.deliveries += 1;
                    chain = chain.heard();
                    continue;
                }
                let begun = std::mem::take(&mut sent);
                if begun > 0 {
                    self.tally.deliveries += 1;
                    self.tally.bytes_out += (frame.len() - begun) as u64;
                    self.begin_outbox(slot, frame.clone(), content.mark(), begun);
                    chain = chain.heard();
                    continue;
                }
                // It has not heard the one before, or may lose it yet.
                let is_alone = chain == Chain::Fresh
                    || chain == Chain::Linked && frames.slow.policy == SlowClients::Conflate;
                is_within &= frames.slow.policy != SlowClients::Conflate;
                let is_plain = is_alone || is_windowed && !is_within;
                let frame = if is_plain { &fan.whole(*share)[nth] } else { frame };
                match self.queue(slot, frame.clone(), content, frames.slow) {
                    Queued::Waits => chain = chain.heard(),
                    Queued::Lost => (chain, is_within) = (chain.lost(), false),
                    // The client is to be closed: nobody reads the rest.
                    Queued::Over => return,
                }
            }
            let Some(tick) = share.tick else { continue };
            let member = (self.roster.id(slot), fan.ticks[tick].channel);
            if chain == Chain::Fresh {
                self.unlinked.push(member);
            }
            if is_windowed && !is_within {
                self.apart.push(member);
            }
        }
        self.arm(slot);
    }
}
