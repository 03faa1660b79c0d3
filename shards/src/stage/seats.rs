//! Members of channels here, and the subscriptions of this shard that follow from them.

use std::sync::Arc;

use crate::client::app::Shown;
use crate::client::roster::Seat;
use crate::mesh::parcel::{Ask, Presence};
use crate::model::channel::{JoinRequest, NoChannel, Subscription, Waiter};
use crate::model::id::{ChannelIndex, Place, Slot};
use crate::model::message::Position;
use crate::model::presence::Member;
use crate::model::shape::{Form, Shape, Window};
use crate::net::Net;
use crate::rules::Compression;
use crate::shard::Shard;
use crate::wire::event::Event;

impl<N: Net> Shard<N> {
    /// Makes sure that this shard is, or will be, a subscriber of a channel. Returns its index.
    pub(crate) fn subscribe(&mut self, name: &Arc<str>) -> Result<ChannelIndex, NoChannel> {
        let home = self.port.mesh.home_of(&**name);
        let index = self.rooms.find_or_add(name, home)?;
        let me = self.port.me;
        // An engine is asked for the newest position first.
        let waits = self.engine.as_ref().is_some_and(|engine| engine.must_open(name));
        let channel = self.rooms.channels.at(index);
        if channel.subscription != Subscription::None {
            return Ok(index);
        }
        if home == me && !waits {
            let is_first = channel.order.shards == 0;
            channel.count_in(me);
            channel.subscription = Subscription::Live;
            channel.fanned = channel.order.newest;
            channel.watched = channel.order.is_told();
            if is_first {
                self.home().report_use(name, true);
            }
        } else {
            channel.subscription = Subscription::Asked;
            self.port.owe(home, Ask::Subscribe { channel: Arc::clone(name), by: me });
        }
        Ok(index)
    }

    /// The home counts this shard in. Returns the channel and the clients that waited for that.
    pub(crate) fn take_subscribed(
        &mut self,
        name: &str,
        newest: Position,
        watched: bool,
    ) -> Option<(ChannelIndex, Vec<Waiter>)> {
        let index = self.rooms.channels.find(name)?;
        let channel = self.rooms.channels.at(index);
        channel.subscription = Subscription::Live;
        channel.fanned = newest;
        channel.watched = watched;
        let waiting = std::mem::take(&mut channel.waiting);
        self.rooms.note_emptied(index);
        Some((index, waiting))
    }

    /// The home has no room for the channel. Returns the clients that waited for it.
    pub(crate) fn take_unsubscribable(&mut self, name: &str) -> Vec<Waiter> {
        let Some(index) = self.rooms.channels.find(name) else { return Vec::new() };
        let channel = self.rooms.channels.at(index);
        channel.subscription = Subscription::None;
        let waiting = std::mem::take(&mut channel.waiting);
        self.rooms.note_emptied(index);
        waiting
    }

    /// Seats a client in a subscribed channel.
    pub(crate) fn sit(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        (presence, by_server): (bool, bool),
    ) {
        let shape = self.clients.roster.hot(slot).shape;
        let first = self.clients.roster.get(slot).and_then(|client| client.seats().next().copied());
        // A window is for those who hear nothing else that is compressed.
        let takes_part = first.is_none() && self.may_take_part(slot, index);
        let window = if takes_part { Window::Apart } else { Window::Off };
        let channel = self.rooms.channels.at(index);
        debug_assert_eq!(channel.subscription, Subscription::Live);
        let place = channel.members.add(slot, Form::first(shape, false).in_window(window));
        let seat = Seat { channel: index, place, presence, patches: false, by_server };
        channel.named += u32::from(self.clients.user_in(slot, index).is_some());
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        if client.seat.is_none() {
            client.seat = Some(seat);
        } else {
            client.extra().seats.push(seat);
        }
        if client.seats().nth(1).is_some() {
            self.clients.roster.state_mut(slot).set_many(true);
        }
        if let Some(first) = first.filter(|_| self.clients.reaches_back(slot)) {
            self.set_window(slot, first.channel, Window::Off);
        }
        self.announce(slot, index, true);
        self.report_seat(slot, index, true);
        if presence {
            self.count_watcher(index, true);
        }
    }

    /// Counts one member more that hears of joins and leaves, or one less.
    pub(crate) fn count_watcher(&mut self, index: ChannelIndex, more: bool) {
        let channel = self.rooms.channels.at(index);
        let before = channel.watching;
        channel.watching = if more { before + 1 } else { before - 1 };
        if before == 0 || channel.watching == 0 {
            self.tell_home_of_watchers(index, more);
        }
    }

    /// Takes a client's seat in a channel away. Returns `false` if it had none.
    pub(crate) fn rise(&mut self, slot: Slot, index: ChannelIndex) -> bool {
        let shape = self.clients.roster.hot(slot).shape;
        let Some(seat) = self.clients.roster.get_mut(slot).and_then(|client| client.unseat(index))
        else {
            return false;
        };
        let named = self.clients.user_in(slot, index).is_some();
        self.clients.detach_outbox(slot, index);
        let channel = self.rooms.channels.at(index);
        channel.named -= u32::from(named);
        // First of all: there are never more watchers than members.
        channel.watching -= u32::from(seat.presence);
        let unwatched = seat.presence && channel.watching == 0;
        let form = Form::first(shape, seat.patches);
        let moved = channel.members.take_out(slot, seat.place, form);
        let empty = channel.members.is_empty();
        if seat.patches && !channel.members.take_patches() {
            self.rooms.channels.keep_previous(index, None);
        }
        if unwatched {
            self.tell_home_of_watchers(index, false);
        }
        self.reseat(moved, index, seat.place);
        if self.clients.roster.get(slot).is_some_and(|client| client.seats().nth(1).is_none()) {
            self.clients.roster.state_mut(slot).set_many(false);
            self.take_part_again(slot);
        }
        self.announce(slot, index, false);
        self.report_seat(slot, index, false);
        self.note_shown(slot, index, Shown::default());
        self.clients.forget_lapse(slot, index);
        if empty {
            self.rooms.note_emptied(index);
        }
        true
    }

    /// A member has another place in the list that it stands in.
    fn reseat(&mut self, slot: Option<Slot>, index: ChannelIndex, place: Place) {
        if let Some(client) = slot.and_then(|slot| self.clients.roster.get_mut(slot))
            && let Some(seat) = client.seat_mut(index)
        {
            seat.place = place;
        }
    }

    /// Has a member take patches, from the publication behind the next one on: that is told whole.
    pub(crate) fn begin_chain(&mut self, slot: Slot, index: ChannelIndex) {
        let shape = self.clients.roster.hot(slot).shape;
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(seat) = client.seat_mut(index) else { return };
        let members = &mut self.rooms.channels.at(index).members;
        let (left, takes_patches) = (seat.place, std::mem::replace(&mut seat.patches, true));
        let moved = members.take_out(slot, left, Form::first(shape, takes_patches));
        seat.place = members.add(slot, Form::first(shape, true));
        self.reseat(moved, index, left);
    }

    /// Returns `true` if a client may take part in the window of a channel.
    fn may_take_part(&self, slot: Slot, index: ChannelIndex) -> bool {
        let rules = &self.rooms.channels.get(index).terms.rules;
        self.clients.reaches_back(slot)
            && self.clients.config.compression_of(rules) == Compression::Shared
    }

    /// A client is in one channel only again.
    fn take_part_again(&mut self, slot: Slot) {
        let seat = self.clients.roster.get(slot).and_then(|client| client.seats().next().copied());
        let seat = seat.filter(|seat| self.may_take_part(slot, seat.channel));
        if let Some(seat) = seat {
            self.set_window(slot, seat.channel, Window::Apart);
        }
    }

    /// Puts a member elsewhere in the window of a channel, unless it takes patches.
    pub(crate) fn set_window(&mut self, slot: Slot, index: ChannelIndex, window: Window) {
        let shape = self.clients.roster.hot(slot).shape;
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(seat) = client.seat_mut(index).filter(|seat| !seat.patches) else { return };
        let members = &mut self.rooms.channels.at(index).members;
        let (left, form) = (seat.place, Form::first(shape, false));
        let moved = members.take_out(slot, left, form);
        seat.place = members.add(slot, form.in_window(window));
        self.reseat(moved, index, left);
    }

    /// The members of a channel that wait for a window have heard all of it.
    pub(crate) fn gather_window(&mut self, index: ChannelIndex, shape: Shape) {
        let roster = &mut self.clients.roster;
        self.rooms.channels.at(index).members.gather(shape, |slot, place| {
            let client = roster.get_mut(slot);
            if let Some(seat) = client.and_then(|client| client.seat_mut(index)) {
                seat.place = place;
            }
        });
    }

    /// The client in `slot` as others are told of it in a channel.
    pub(crate) fn member(&self, slot: Slot, index: ChannelIndex) -> Option<Member> {
        self.clients.roster.get(slot)?;
        Some(Member {
            client: self.clients.roster.id(slot),
            user: self.clients.user_in(slot, index).cloned(),
            info: self.clients.proof(slot).and_then(|proof| proof.info.clone()),
            channel_info: self.clients.shown(slot, index).and_then(|shown| shown.info.clone()),
        })
    }

    /// Keeps the form in which others are told of a client in a channel, in the place of the one
    /// before.
    pub(crate) fn note_shown(&mut self, slot: Slot, index: ChannelIndex, shown: Shown) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        if let Some(extra) = client.extra.as_mut().filter(|extra| !extra.shown.is_empty()) {
            extra.shown.retain(|(channel, _)| *channel != index);
        }
        if shown != Shown::default() {
            client.extra().shown.push((index, shown));
        }
    }

    /// Ends the way of a client into a channel that it has not reached. Returns the request that
    /// will not be granted; `None` if the client was not on its way.
    pub(crate) fn forget_recall(&mut self, slot: Slot, index: ChannelIndex) -> Option<JoinRequest> {
        let brief = self.clients.roster.get_mut(slot)?.brief_mut()?;
        let place = brief.recalls.iter().position(|recalling| recalling.channel == index)?;
        let recalling = brief.recalls.remove(place);
        if recalling.join.user.is_some() {
            self.count_watcher(index, false);
        }
        self.rooms.channels.at(index).recalling -= 1;
        self.rooms.note_emptied(index);
        Some(recalling.join)
    }

    /// Ends the ways of a client into all channels that it has not reached.
    pub(crate) fn forget_recalls(&mut self, slot: Slot) {
        while let Some(index) = self
            .clients
            .roster
            .get(slot)
            .and_then(|client| client.recalls().next())
            .map(|recalling| recalling.channel)
        {
            self.forget_recall(slot, index);
        }
    }

    /// Lets channels be forgotten again that were kept for a client.
    pub(crate) fn let_go(&mut self, kept: &[ChannelIndex]) {
        for &index in kept {
            self.rooms.channels.at(index).recalling -= 1;
            self.rooms.note_emptied(index);
        }
    }

    /// Takes all of a client's seats away, and ends its way to others.
    pub(crate) fn rise_from_all(&mut self, slot: Slot) {
        self.forget_recalls(slot);
        // Detached from all of them at once: a look at each frame for each channel is a long one.
        let client = self.clients.roster.get_mut(slot);
        let outbox = client.and_then(|client| client.outbox.take());
        while let Some(index) = self
            .clients
            .roster
            .get(slot)
            .and_then(|client| client.seats().next())
            .map(|seat| seat.channel)
        {
            self.rise(slot, index);
        }
        if let (Some(mut outbox), Some(client)) = (outbox, self.clients.roster.get_mut(slot)) {
            debug_assert!(client.outbox.is_none(), "a client that goes is told nothing meanwhile");
            outbox.detach_from_all();
            client.outbox = Some(outbox);
        }
    }

    fn tell_home_of_watchers(&mut self, index: ChannelIndex, on: bool) {
        let channel = self.rooms.channels.get(index);
        let (name, home, by) = (Arc::clone(&channel.name), channel.home, self.port.me);
        self.port.owe(home, Ask::Watch { channel: name, by, on });
    }

    /// Tells the watchers of a channel, if there are any, that a client joined or left.
    fn announce(&mut self, slot: Slot, index: ChannelIndex, joined: bool) {
        let channel = self.rooms.channels.get(index);
        if !channel.watched {
            return;
        }
        let (name, home) = (Arc::clone(&channel.name), channel.home);
        let members = u32::try_from(channel.members.len()).unwrap_or(u32::MAX);
        let Some(member) = self.member(slot, index) else { return };
        let presence = Presence { channel: name, member, joined, members };
        self.port.owe(home, Ask::Presence(Arc::new(presence)));
    }

    /// The home wants to be told of joins and leaves from now on, or no longer. It is told the
    /// number of members that it begins with.
    pub(crate) fn take_watched(&mut self, name: &str, on: bool) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        let channel = self.rooms.channels.at(index);
        channel.watched = on;
        if on {
            let members = u32::try_from(channel.members.len()).unwrap_or(u32::MAX);
            let (channel, home) = (Arc::clone(&channel.name), channel.home);
            self.port.owe(home, Ask::Count { channel, by: self.port.me, members });
        }
    }

    /// Tells the members that watch a channel here that a client came or went.
    pub(crate) fn tell_presence(&mut self, presence: &Presence) {
        let Presence { joined, ref member, .. } = *presence;
        self.tell_watchers(&presence.channel, Some(member), |channel| Event::Presence {
            joined,
            channel,
            member,
        });
    }

    /// Tells something to the members that watch a channel here, but for one, and for those that
    /// are the same user in a presence channel: they know that they are there themselves.
    pub(crate) fn tell_watchers<'a>(
        &mut self,
        name: &'a str,
        but: Option<&Member>,
        event: impl FnOnce(&'a str) -> Event<'a>,
    ) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        let channel = self.rooms.channels.get(index);
        if channel.watching == 0 {
            return;
        }
        let event = event(name);
        self.clients.told += channel.members.len();
        for group in channel.members.groups() {
            self.clients.tell_each(group, &event, |roster, slot| {
                let Some(client) = roster.get(slot) else { return false };
                let same = |but: &Member| {
                    let user = client.shown_user(index);
                    roster.id(slot) == but.client || user.is_some() && user == but.user.as_ref()
                };
                client.seats().any(|seat| seat.channel == index && seat.presence)
                    && !but.is_some_and(same)
            });
        }
    }

    /// Ends the subscription to a channel if no client here needs it.
    pub(crate) fn forget_if_empty(&mut self, index: ChannelIndex) {
        let Some(channel) = self.rooms.channels.try_at(index) else { return };
        let needed = !channel.members.is_empty()
            || !channel.waiting.is_empty()
            || channel.recalling > 0
            || channel.pinned
            || !channel.tick.is_empty();
        if needed {
            return;
        }
        let (name, home, was) = (Arc::clone(&channel.name), channel.home, channel.subscription);
        match was {
            Subscription::Asked => {}
            Subscription::Live if home == self.port.me => {
                channel.subscription = Subscription::None;
                channel.order.count_out(self.port.me);
                if channel.order.shards == 0 {
                    self.home().report_use(&name, false);
                    self.home().close_if_unused(&name);
                }
            }
            Subscription::Live => {
                self.port.owe(home, Ask::Unsubscribe { channel: name, by: self.port.me });
                self.rooms.channels.remove(index);
            }
            Subscription::None if home == self.port.me => {}
            Subscription::None => self.rooms.channels.remove(index),
        }
    }
}
