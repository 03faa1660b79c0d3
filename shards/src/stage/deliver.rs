//! The receiver's side of both lanes: each parcel is taken to the stage that it is for.
//!
//! A home's answers to its own shard travel as parcels as well. The caller of a stage that may have
//! caused some calls [`Shard::settle`] after it.

use std::sync::Arc;

use crate::client::told_per_page;
use crate::close::CloseReason;
use crate::home::engine::FOLLOWER;
use crate::mesh::parcel::{Ask, Deliver, Outcome};
use crate::model::channel::{NoChannel, Subscription, Waiter};
use crate::model::directory::name_in_app;
use crate::model::id::{ClientId, RequestId, Slot};
use crate::model::message::Position;
use crate::model::past::HistoryFault;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::command::ErrorCode;
use crate::wire::dialect::Dialect;
use crate::wire::event::{Event, OfApp};
use crate::wire::refusal::Refusal;

impl<N: Net> Shard<N> {
    /// Takes the parcels that this shard has sent to itself, and those that follow from them.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(parcel) = self.port.next_own_deliver() {
                self.take_deliver(parcel);
            } else if let Some(ask) = self.port.next_own_ask() {
                self.take_ask(ask);
            } else {
                return;
            }
        }
    }

    /// Answers one ask. The answers to this shard itself wait for [`settle`](Self::settle).
    pub(crate) fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Who { channel, question, asker } => self.answer_who(&channel, question, asker),
            Ask::Emulate { client, words } => self.take_emulated(client, words),
            other => self.home().answer(other),
        }
    }

    /// Takes one parcel of the deliver lane. Nothing here may wait.
    pub(crate) fn take_deliver(&mut self, parcel: Deliver) {
        match parcel {
            Deliver::Publication(publication) => {
                if let Some(index) = self.rooms.channels.find(&publication.channel)
                    && self.rooms.channels.get(index).subscription == Subscription::Live
                {
                    self.rooms.add_to_tick(index, publication);
                }
            }
            Deliver::Direct { to, publication } => self.deliver_direct(&to, &publication),
            Deliver::Answer { to, id, outcome } => self.tell_outcome(to, id.as_ref(), &outcome),
            Deliver::Subscribed { channel, newest, watched } => {
                self.let_in(&channel, newest, watched);
            }
            Deliver::Unsubscribable { channel, why } => self.turn_away(&channel, why),
            Deliver::Claimed { client, claim, verdict } => {
                self.take_claimed(client, &claim, verdict);
            }
            Deliver::Close { client, reason } => {
                // Marked only: what was delivered before it is in a tick that has not left yet.
                if let Some(slot) = self.clients.roster.slot_of(client) {
                    self.clients.doom(slot, reason);
                }
            }
            Deliver::Here { to, request, here } => self.gather(to, request, here),
            Deliver::Part { number, here } => self.home().gather_here(number, here),
            Deliver::Told(told) => self.home().take_answer(*told, FOLLOWER),
            Deliver::Watched { channel, on } => {
                self.take_watched(&channel, on);
            }
            Deliver::Presence(presence) => self.tell_presence(&presence),
            Deliver::Counted { channel, clients, named } => {
                self.tell_watchers(&channel, None, |channel| Event::Crowd {
                    channel,
                    clients,
                    named,
                });
            }
            Deliver::Subscribers { channel, clients } => {
                self.tell_watchers(&channel, None, |channel| {
                    Event::OfApp(OfApp::Subscribers { channel, clients })
                });
            }
            Deliver::Watchlist { to, online, users } => {
                self.tell_watchlist(&to, online, &users);
            }
            Deliver::Recalled(recalled) => self.take_recalled(&recalled),
            Deliver::Renumbered { channel, newest } => self.renumber(&channel, newest),
            Deliver::Ruled(ruled) => self.heed(*ruled),
            Deliver::Enlist(order) => self.enlist(&order),
            Deliver::Dismiss(order) => self.dismiss(&order),
            Deliver::Instruction(instruction) => self.obey(instruction),
        }
    }

    /// Tells clients which of the users that they watch have come or gone.
    fn tell_watchlist(&mut self, to: &[ClientId], online: bool, users: &[Arc<str>]) {
        let users: Vec<&str> = users.iter().map(|user| name_in_app(user)).collect();
        self.clients.told += to.len();
        for &client in to {
            if let Some(slot) = self.clients.listener(client) {
                let event = OfApp::Watchlist { online, users: &users };
                self.clients.tell(slot, &Event::OfApp(event));
            }
        }
    }

    /// The offsets of a channel go on behind a later one: messages that were numbered up to there
    /// may have been lost with the process that numbered them. Members hear of a gap. Those that
    /// could not tell must come again: they count their messages, or know positions of an order
    /// that is over and have no word for a gap.
    fn renumber(&mut self, name: &str, newest: Position) {
        let Some(index) = self.rooms.channels.find(name) else { return };
        if self.rooms.channels.get(index).subscription != Subscription::Live {
            return;
        }
        self.clients.send_replies();
        self.fan_out();
        let channel = self.rooms.channels.at(index);
        let (from, to) = (channel.fanned.offset + 1, newest.offset);
        let is_other = channel.fanned.epoch != newest.epoch && from > to;
        channel.fanned = newest;
        let keeps = channel.terms.rules.history.is_on();
        let members: Vec<Slot> = channel.members.iter().collect();
        for slot in members {
            let dialect = self.clients.dialect(slot);
            let leaves = Dialect::leaves_at_gaps(self.clients.roster.hot(slot).shape);
            let tells = dialect.tells_gaps();
            if !dialect.has_requests() || (keeps || is_other) && !tells && !leaves {
                self.clients.doom(slot, CloseReason::Overtaken);
            } else if leaves {
                self.unseat(slot, index);
            } else if is_other {
                // Offsets that begin anew are no gap: it comes again, and learns the other epoch.
                self.clients.doom(slot, CloseReason::Overtaken);
            } else if from <= to {
                self.clients.tell(slot, &Event::Gap { channel: name, from, to });
            }
        }
    }

    /// Goes on with the clients that waited for a channel, which is subscribed now.
    fn let_in(&mut self, channel: &str, newest: Position, watched: bool) {
        let Some((index, waiting)) = self.take_subscribed(channel, newest, watched) else {
            return;
        };
        for Waiter { client, join } in waiting {
            let Some(slot) = self.clients.roster.slot_of(client) else { continue };
            match join {
                None => {
                    self.keep_channel(slot, index);
                    self.stop_waiting(slot);
                }
                Some(join) => {
                    self.count_joining(slot, -1);
                    self.enter(slot, index, join);
                }
            }
        }
    }

    /// Tells the clients that waited for a channel that it cannot be had.
    fn turn_away(&mut self, channel: &str, why: NoChannel) {
        for Waiter { client, join } in self.take_unsubscribable(channel) {
            let Some(slot) = self.clients.roster.slot_of(client) else { continue };
            match join {
                // It may have been refused for another reason meanwhile.
                None if self.clients.roster.state(slot).is_waiting() => {
                    self.refuse(slot, &Refusal::of(why, channel));
                }
                None => {}
                // The API is told, and the client had asked for nothing.
                Some(join) if join.by_server => self.count_joining(slot, -1),
                Some(join) => {
                    self.count_joining(slot, -1);
                    self.tell_outcome(client, join.id.as_ref(), &Outcome::NoChannel(why));
                }
            }
        }
    }

    /// Tells a client the outcome of its request. A refusal that comes so late does not count as
    /// the client's mistake.
    fn tell_outcome(&mut self, to: ClientId, id: Option<&RequestId>, outcome: &Outcome) {
        let Some(slot) = self.clients.listener(to) else { return };
        if matches!(outcome, Outcome::NoChannel(NoChannel::Unavailable))
            && !self.clients.dialect(slot).has_requests()
        {
            return self.clients.doom(slot, CloseReason::Unavailable);
        }
        let no_channel;
        let error = |code, text| Event::Error { code, text, id };
        let event = match (outcome, id) {
            (Outcome::NoChannel(why), _) => {
                no_channel = why.to_string();
                error(ErrorCode::of(*why), &no_channel)
            }
            (Outcome::Reached(0), _) => {
                error(ErrorCode::UnknownUser, "nobody of that name is here")
            }
            (Outcome::Reached(clients), Some(id)) => Event::Reached { clients: *clients, id },
            (Outcome::Published { channel, position }, Some(id)) => {
                Event::Published { channel, position: *position, id }
            }
            (Outcome::History { channel, found: Ok(page) }, _) => {
                let bytes = page.publications.iter().map(|kept| kept.bytes()).sum();
                self.clients.told += told_per_page(bytes);
                Event::History { channel, page, id }
            }
            (Outcome::History { found: Err(HistoryFault::Off), .. }, _) => {
                error(ErrorCode::NoHistory, "no history is kept here")
            }
            (Outcome::History { found: Err(HistoryFault::OtherEpoch), .. }, _) => {
                error(ErrorCode::WrongEpoch, "the offsets of this channel began again")
            }
            (Outcome::Reached(_) | Outcome::Published { .. }, None) => return,
        };
        self.clients.tally.errors += u64::from(matches!(event, Event::Error { .. }));
        self.clients.tell(slot, &event);
    }
}
