//! Resume: a client names in its first command the channels that it was in, and how far it has
//! heard them. Homes say whether it can be told the rest before it is greeted; the rest follows
//! behind the greeting, like all that clients missed.

use std::sync::Arc;

use crate::client::pending::{Pending, Resumed};
use crate::mesh::recall::Recalled;
use crate::model::channel::JoinRequest;
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::Position;
use crate::model::past::{Behind, Numbering, Since};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::entry::Entry;

/// The place at which a client begins in a channel of its entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) channel: ChannelIndex,
    /// The position in front of what it is told.
    pub(crate) position: Position,
    /// It is told everything behind the publication that it named, if it named one.
    pub(crate) recovered: Option<bool>,
    /// It is told all behind this publication before the live ones.
    pub(crate) missed: Option<Since>,
}

impl<N: Net> Shard<N> {
    /// Returns the channels of an entry to which its client comes back, and about which a home is
    /// to be asked: each with the last publication that the client has heard.
    pub(crate) fn unsure_returns(&self, entry: &Entry) -> Vec<(ChannelIndex, Since)> {
        let known = entry.wished.iter().filter_map(|wished| {
            let index = self.rooms.channels.find(&wished.channel)?;
            let since = wished.since?;
            self.hears_all_behind(index, since).is_none().then_some((index, since))
        });
        known.collect()
    }

    /// Asks homes whether a client can be told all that it missed.
    pub(crate) fn begin_checks(&mut self, slot: Slot, unsure: &[(ChannelIndex, Since)]) {
        for &(index, since) in unsure {
            self.add_recall(slot, index, Behind::Check(since), JoinRequest::default());
        }
        self.recall_on(slot);
    }

    /// Takes the answer of a home. Returns `true` if it was the last one.
    pub(crate) fn take_checked(&mut self, slot: Slot, place: usize, recalled: &Recalled) -> bool {
        let client = self.clients.roster.get_mut(slot);
        let Some(brief) = client.and_then(|client| client.brief_mut()) else { return false };
        let recalling = brief.recalls.remove(place);
        let Some(pending) = &mut brief.pending else { return false };
        if let Behind::Check(Since { offset, .. }) = recalling.behind {
            let position = Position { epoch: recalled.newest.epoch, offset };
            let position = recalled.recovered.then_some(position);
            pending.resumed.push(Resumed { channel: recalling.channel, position });
        }
        let is_last = brief.recalls.is_empty();
        self.rooms.channels.at(recalling.channel).recalling -= 1;
        if !is_last {
            self.go_on_recalling(slot);
        }
        is_last
    }

    /// Returns the places at which a client begins in the channels of its entry.
    pub(crate) fn begins(&self, pending: &Pending) -> Vec<Begin> {
        let channels = pending.entry.channels.iter();
        channels.filter_map(|name| self.begin_in(pending, name)).collect()
    }

    fn begin_in(&self, pending: &Pending, name: &Arc<str>) -> Option<Begin> {
        let channel = self.rooms.channels.find(name)?;
        let position = self.rooms.channels.get(channel).fanned;
        let begin = Begin { channel, position, recovered: None, missed: None };
        let Some(since) = pending.entry.since(name) else { return Some(begin) };
        let resumed = pending.resumed.iter().find(|resumed| resumed.channel == channel);
        let recovered = match resumed {
            Some(resumed) => resumed.position.is_some(),
            // Its shard has heard all that there is.
            None => self.hears_all_behind(channel, since) == Some(true),
        };
        let Some(position) = resumed.and_then(|resumed| resumed.position) else {
            return Some(Begin { recovered: Some(recovered), ..begin });
        };
        let missed = Since { epoch: Numbering::Is(position.epoch), offset: position.offset };
        let (recovered, missed) = (Some(recovered), Some(missed));
        Some(Begin { channel, position, recovered, missed })
    }

    /// Returns whether a client at a position has missed nothing, where the home need not be
    /// asked: a channel without history tells nobody what was missed. So the client hears what it
    /// publishes right behind its join.
    pub(crate) fn hears_all_behind(&self, index: ChannelIndex, since: Since) -> Option<bool> {
        let channel = self.rooms.channels.get(index);
        let Position { epoch, offset } = channel.fanned;
        let same = since.epoch.means(epoch);
        // A client of another shard may have heard what has not left here yet.
        let is_ahead = same && since.offset > offset;
        let asks = channel.terms.rules.history.is_on() || is_ahead;
        (!asks).then_some(same && since.offset == offset)
    }
}
