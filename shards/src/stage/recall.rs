//! Recall: a client's questions for what it missed go to homes, a page at a time, and the pages go
//! to the client.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::client::TOLD_PER_TURN;
use crate::client::roster::Recalling;
use crate::client::state::Flags;
use crate::mesh::parcel::Ask;
use crate::mesh::recall::Recall;
use crate::model::channel::JoinRequest;
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::{Epoch, Publication, Publications};
use crate::model::past::Behind;
use crate::model::shape::Form;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::dialect::Dialect;

/// The questions for missed publications that one client may have under way; further ones wait.
const RECALLS_AT_ONCE: usize = 4;

/// The pages that one shard asks for at a time, of all its clients: more would lie in a lane in
/// front of what others wait for. A turn takes about six full ones.
const RECALLS_PER_SHARD: usize = 12;

/// The most bytes of payload in a page. So few in unit tests that the simulation turns pages.
const PAGE_BYTES: usize = if cfg!(any(test, fuzzing)) { 24 } else { 64 << 10 };

/// The most publications of a page for each byte of its bound: tiny ones cost more as frames.
const PUBLICATION_BYTES: usize = if cfg!(any(test, fuzzing)) { 4 } else { 128 };

/// The pages that were encoded last, one for each form.
#[derive(Debug, Default)]
pub(crate) struct LastPages(Vec<LastPage>);

impl LastPages {
    /// Returns the frames of some publications in a form.
    fn frames(
        &mut self,
        form: Form,
        publications: &[Arc<Publication>],
        epoch: Option<Epoch>,
    ) -> Bytes {
        let place = self.0.iter().position(|page| page.form == form).unwrap_or_else(|| {
            self.0.push(LastPage { form, ..LastPage::default() });
            self.0.len() - 1
        });
        self.0[place].frames(publications, epoch)
    }
}

/// Returns the number of pages that a client is sent at once, and the bytes of each: what waits for
/// it must leave room for live publications, or it would be too slow for them.
fn page_bounds(outbox_bytes: usize) -> (usize, usize) {
    let for_pages = outbox_bytes / 2;
    let at_once = (for_pages / PAGE_BYTES).clamp(1, RECALLS_AT_ONCE);
    (at_once, PAGE_BYTES.min(for_pages / at_once))
}

/// The page that was encoded last. Clients that were cut at once miss the same publications: they
/// get slices of one encoding.
#[derive(Debug, Default)]
struct LastPage {
    form: Form,
    publications: Vec<Arc<Publication>>,
    bytes: Bytes,
    ends: Vec<usize>,
}

impl LastPage {
    /// Returns the frames of some publications.
    fn frames(&mut self, publications: &[Arc<Publication>], epoch: Option<Epoch>) -> Bytes {
        if let Some(frames) = self.part(publications, epoch) {
            return frames;
        }
        let mut bytes = BytesMut::new();
        self.ends.clear();
        let each = Publications::all(publications).numbered(epoch);
        Dialect::write_publications(self.form, &mut bytes, &mut self.ends, each);
        self.publications = publications.to_vec();
        self.bytes = bytes.freeze();
        self.bytes.clone()
    }

    fn part(&self, publications: &[Arc<Publication>], epoch: Option<Epoch>) -> Option<Bytes> {
        let (first, last) = (publications.first()?, publications.last()?);
        let at = self.publications.partition_point(|known| known.offset < first.offset);
        let known = self.publications.get(at..at + publications.len())?;
        // The same publications at both ends: the same channel, numbering and page.
        let same = Arc::ptr_eq(known.first()?, first) && Arc::ptr_eq(known.last()?, last);
        if !same {
            return None;
        }
        if known.len() == self.publications.len() {
            return Some(self.bytes.clone());
        }
        // Joined texts are one frame, which cannot be cut.
        let apart = self.ends.len() == self.publications.len();
        if !apart {
            return None;
        }
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        let end = self.ends[at + known.len() - 1];
        if at == 0 || !self.form.takes_patches() {
            return Some(self.bytes.slice(begin..end));
        }
        // It has not heard the one before the first: that one is told whole, and the rest of the
        // chain hangs from it.
        let mut bytes = BytesMut::new();
        let whole = Publications::all(&publications[..1]).numbered(epoch);
        Dialect::write_publications(self.form, &mut bytes, &mut Vec::new(), whole);
        bytes.extend_from_slice(&self.bytes[self.ends[at]..end]);
        Some(bytes.freeze())
    }
}

impl<N: Net> Shard<N> {
    /// Asks for the publications that a client missed, before it sits down.
    pub(crate) fn begin_recall(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        behind: Behind,
        join: JoinRequest,
    ) {
        self.add_recall(slot, index, behind, join);
        self.recall_on(slot);
    }

    /// Puts a question among those that a client has. The caller sees to it that it is asked.
    pub(crate) fn add_recall(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        behind: Behind,
        join: JoinRequest,
    ) {
        let request = self.clients.number_request();
        if self.clients.roster.get(slot).is_none() {
            return;
        }
        if join.user.is_some() {
            // From the answer on nothing of those who come and go may be missed.
            self.count_watcher(index, true);
        }
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        self.rooms.channels.at(index).recalling += 1;
        let brief = client.brief();
        let (asked, admits) = (false, brief.pending.is_some());
        let (channel, is_answered) = (index, join.is_told);
        let recalling = Recalling { request, channel, behind, join, asked, admits, is_answered };
        brief.recalls.push(recalling);
    }

    /// Asks for what else a client missed.
    pub(crate) fn go_on_recalling(&mut self, slot: Slot) {
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.shed();
        }
        if self.tells_recalled() {
            self.recall_on(slot);
        } else {
            self.recall_later(slot);
        }
    }

    /// Returns `true` if this shard may ask for more pages before others have come.
    pub(crate) fn may_recall(&self) -> bool {
        self.recalls_asked < RECALLS_PER_SHARD
    }

    /// Asks for the next pages of a client, unless it has not taken the ones before.
    pub(crate) fn recall_on(&mut self, slot: Slot) {
        if self.clients.roster.state(slot).is_any(Flags::BLOCKED) {
            return;
        }
        let to = self.clients.roster.id(slot);
        if !self.may_recall() {
            return self.recall_later(slot);
        }
        let config = &self.clients.config;
        let Some(brief) = self.clients.roster.get_mut(slot).and_then(|one| one.brief_mut()) else {
            return;
        };
        let asked = brief.recalls.iter().filter(|recalling| recalling.asked).count();
        let terms = |one: &Recalling| &self.rooms.channels.get(one.channel).terms;
        let bounds = brief.recalls.iter().map(|one| config.slow_rules(&terms(one).rules));
        let smallest = bounds.map(|slow| slow.outbox_bytes).min().unwrap_or(config.outbox_bytes);
        let (at_once, bytes) = page_bounds(smallest.min(config.outbox_bytes));
        let room = at_once.saturating_sub(asked);
        for recalling in brief.recalls.iter_mut().filter(|recalling| !recalling.asked).take(room) {
            recalling.asked = true;
            self.recalls_asked += 1;
            let channel = self.rooms.channels.get(recalling.channel);
            let recall = Recall {
                channel: Arc::clone(&channel.name),
                to,
                request: recalling.request,
                behind: recalling.behind,
                bytes,
                count: (bytes / PUBLICATION_BYTES).max(1),
                user: recalling.join.user.clone(),
            };
            self.port.owe(channel.home, Ask::Recall(recall));
        }
    }

    /// Goes on with the client that waits longest. Returns `false` if that is for a later turn, or
    /// nobody waits.
    pub(crate) fn resume_recall(&mut self) -> bool {
        if !self.may_recall() || !self.tells_recalled() {
            return false;
        }
        let Some(client) = self.recall_later.pop_front() else { return false };
        if let Some(slot) = self.clients.roster.slot_of(client) {
            if let Some(client) = self.clients.roster.get_mut(slot) {
                client.brief().recall_waits = false;
                client.shed();
            }
            self.recall_on(slot);
        }
        true
    }

    /// Returns `true` if clients may be told more of what they missed in this turn. They get a part
    /// of it: a client that takes its pages at once would keep its own home from all else.
    pub(crate) fn tells_recalled(&self) -> bool {
        self.clients.told < TOLD_PER_TURN / 4
    }

    /// Has a client ask for its next pages in a later turn, if it has any to ask for.
    pub(crate) fn recall_later(&mut self, slot: Slot) {
        let to = self.clients.roster.id(slot);
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        let waits = brief.filter(|brief| !brief.recalls.is_empty() && !brief.recall_waits);
        if let Some(brief) = waits {
            brief.recall_waits = true;
            self.recall_later.push_back(to);
        }
    }

    /// Tells a client publications that left before it came, but for its own words if it does not
    /// want them back.
    pub(crate) fn tell_missed(
        &mut self,
        slot: Slot,
        publications: &[Arc<Publication>],
        patches: bool,
    ) {
        let Some(first) = publications.first() else { return };
        let channel = self.rooms.channels.find(&first.channel);
        let epoch = channel.and_then(|index| self.rooms.channels.get(index).told_epoch());
        if self.clients.speaker.slot == Some(slot) {
            self.clients.send_replies();
        }
        let (hot, id) = (self.clients.roster.hot(slot), self.clients.socket_id(slot));
        let form = Form::first(hot.shape, patches);
        let own = if hot.state.is_any(Flags::NO_ECHO) {
            publications.iter().filter(|publication| publication.is_withheld_from(id)).count()
        } else {
            0
        };
        let frames = if own == 0 {
            self.last_pages.frames(form, publications, epoch)
        } else {
            let mut bytes = BytesMut::new();
            let others = Publications::only_for(publications, id);
            Dialect::write_publications(form, &mut bytes, &mut Vec::new(), others);
            bytes.freeze()
        };
        if frames.is_empty() {
            return;
        }
        let told = (publications.len() - own) as u64;
        self.clients.tally.deliveries += told;
        self.clients.tally.recovered_publications += told;
        self.clients.tally.bytes_out += frames.len() as u64;
        self.clients.emit_page(slot, frames);
    }

    /// Forgets the encoding that was made last, once nobody comes back for a while.
    pub(crate) fn forget_page(&mut self) {
        self.last_pages = LastPages::default();
    }
}
