//! History: the home of a channel reads to others what it has kept, and tells those who come back
//! what they missed.

use std::sync::Arc;

use super::Home;
use crate::mesh::parcel::{Deliver, Outcome};
use crate::mesh::recall::{Recall, Recalled};
use crate::mesh::reply::ReplyTo;
use crate::model::history::{Page, Query};
use crate::model::message::Position;
use crate::model::past::{Behind, HistoryFault, HistoryPage, Numbering, Since};
use crate::model::told::Told;

impl Home<'_> {
    /// Answers a client that comes back with a page of what it missed. The answer travels behind
    /// every publication that was numbered before it, on the same lane.
    pub(super) fn recall(&mut self, recall: &Recall) {
        let (newest, found) = self.missed(recall);
        let recovered = found.is_some();
        let Page { publications, more } = found.unwrap_or_default();
        let present = recall.user.as_ref();
        let present = present.map(|user| self.present(&recall.channel, (user, recall.to)));
        let Recall { to, request, .. } = *recall;
        let recalled = Recalled { to, request, publications, more, recovered, newest, present };
        self.port.deliver(to.shard, Deliver::Recalled(Box::new(recalled)));
    }

    /// Returns the newest position of the channel, and a page of what the client missed, if that is
    /// still here as a whole.
    fn missed(&mut self, recall: &Recall) -> (Position, Option<Page>) {
        let Some(index) = self.rooms.channels.find(&recall.channel) else {
            debug_assert!(false, "the shard that asks is subscribed");
            return (self.rooms.channels.start(), None);
        };
        self.rooms.use_history(index, self.now.long_ms());
        let channel = self.rooms.channels.get(index);
        let (newest, history) = (channel.order.newest, channel.order.history.as_deref());
        let offset = match recall.behind {
            Behind::Last(count) => {
                let before = history.map(|history| history.before_last(count as usize));
                before.map_or(newest.offset, |offset| offset.max(channel.order.complete_above()))
            }
            Behind::Since(Since { epoch, offset })
            | Behind::Rest(Since { epoch, offset })
            | Behind::Check(Since { epoch, offset }) => {
                let known = channel.order.knows(epoch, offset);
                // The rules were asked for the first page.
                let recovery = channel.terms.rules.recovery;
                let allowed = recovery || matches!(recall.behind, Behind::Rest(_));
                if !known || !allowed && offset < newest.offset {
                    return (newest, None);
                }
                offset
            }
        };
        if offset == newest.offset {
            return (newest, Some(Page::default()));
        }
        if offset < channel.order.complete_above() {
            return (newest, None);
        }
        if matches!(recall.behind, Behind::Check(_)) {
            return (newest, Some(Page::default()));
        }
        let query = Query {
            beyond: Some(offset),
            newest_first: false,
            limit: recall.count,
            bytes: recall.bytes,
        };
        (newest, Some(history.map(|history| history.page(&query)).unwrap_or_default()))
    }

    /// Reads a part of a channel's history.
    pub(super) fn read_history(
        &mut self,
        channel: &Arc<str>,
        since: Option<Since>,
        query: &Query,
        reply: ReplyTo<Result<HistoryPage, HistoryFault>>,
    ) {
        let found = self.history_page(channel, since, query);
        match reply {
            ReplyTo::Nobody | ReplyTo::Follower(_) | ReplyTo::Leader(_) => {}
            ReplyTo::Bridge(reply) => reply.send(found),
            ReplyTo::Client(to, id) => {
                let outcome = Outcome::History { channel: Arc::clone(channel), found };
                self.port.deliver(to.shard, Deliver::Answer { to, id: Some(id), outcome });
            }
        }
    }

    fn history_page(
        &mut self,
        channel: &Arc<str>,
        since: Option<Since>,
        query: &Query,
    ) -> Result<HistoryPage, HistoryFault> {
        if !self.rooms.channels.rules_of(channel).history.is_on() {
            return Err(HistoryFault::Off);
        }
        let index = self.rooms.channels.find(channel);
        if let Some(index) = index {
            self.rooms.use_history(index, self.now.long_ms());
        }
        let order = index.map(|index| &self.rooms.channels.get(index).order);
        let newest = order.map_or_else(|| self.rooms.channels.start(), |order| order.newest);
        let is_other = |since: Since| {
            since.epoch != Numbering::Any
                && order.is_none_or(|order| !order.knows(since.epoch, since.offset))
        };
        if since.is_some_and(is_other) {
            return Err(HistoryFault::OtherEpoch);
        }
        let beyond = since.map(|since| since.offset).or(query.beyond);
        let query = Query { beyond, ..*query };
        let history = order.and_then(|order| order.history.as_ref());
        let page = history.map(|history| history.page(&query));
        let Page { publications, more } = page.unwrap_or_default();
        Ok(HistoryPage { publications, newest, more })
    }

    /// Forgets what a channel has kept, and has a follower do the same between the same two
    /// publications. Returns `false` if nothing was kept.
    pub(super) fn remove_history(&mut self, channel: &Arc<str>) -> bool {
        if self.engine.is_some() {
            self.send_to_follower(Told::Removed { channel: Arc::clone(channel) });
            self.purge(channel);
        }
        let index = self.rooms.channels.find(channel);
        let kept = index.filter(|index| self.rooms.channels.get(*index).order.history.is_some());
        kept.inspect(|index| self.rooms.remove_history(*index)).is_some()
    }
}
