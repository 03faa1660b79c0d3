//! Lapse: the end of a client's way into a channel whose token ends before the client is a member.

use crate::model::channel::JoinRequest;
use crate::model::id::{ChannelIndex, Slot};
use crate::model::seating::{Renewal, SeatEnd};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::command::ErrorCode;
use crate::wire::event::Event;

impl<N: Net> Shard<N> {
    /// Returns `true` if the time of a client in a channel is over before it is a member.
    pub(crate) fn is_over(&self, slot: Slot, join: &JoinRequest) -> bool {
        let Some(SeatEnd { at_s, renewal }) = join.end else { return false };
        let is_clients = renewal == Renewal::Client;
        let grace_s = if is_clients { self.clients.dialect(slot).grace_s() } else { 0 };
        // A client that is coming in is greeted first.
        let is_waiting = self.clients.roster.state(slot).is_waiting();
        !is_waiting && at_s.saturating_add(grace_s) <= self.clients.now.seconds()
    }

    /// Ends a client's way into a channel if its time there is over: it is told nothing more of
    /// what it missed. Returns `false` if it has time.
    pub(crate) fn lapses_on_its_way(&mut self, slot: Slot, place: usize) -> bool {
        let brief = self.clients.roster.get(slot).and_then(|client| client.brief_ref());
        let Some(recalling) = brief.and_then(|brief| brief.recalls.get(place)) else {
            return false;
        };
        if !self.is_over(slot, &recalling.join) {
            return false;
        }
        let (index, is_answered) = (recalling.channel, recalling.is_answered);
        let Some(join) = self.forget_recall(slot, index) else { return false };
        if is_answered {
            self.tell_lapsed(slot, index);
        } else {
            self.tell_over(slot, index, &join);
            self.close_if_nowhere(slot);
        }
        true
    }

    /// Answers a join for which there is no time left.
    pub(crate) fn tell_over(&mut self, slot: Slot, index: ChannelIndex, join: &JoinRequest) {
        self.rooms.note_emptied(index);
        // The API sees it for itself.
        if !join.by_server {
            self.clients.tally.errors += 1;
            let (code, text) = (ErrorCode::ExpiredToken, "the token has expired");
            self.clients.tell(slot, &Event::Error { code, text, id: join.id.as_ref() });
        }
    }
}
