//! Consult: the application's backend is asked about what a client wants, where rules say so.
//!
//! The question goes over a bounded bridge to a thread of its own, and the shard goes on. The
//! client waits: in its handshake with the deadline of that, later as a client that is held. The
//! ruling is heeded in `heed.rs`.

use std::sync::Arc;

use crate::client::wants::{Asked, Want};
use crate::config::UserFrom;
use crate::mesh::bridge::{BridgeId, Crossing};
use crate::mesh::question::{Arrival, Question, Subject};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::seating::{Renewal, SeatEnd};
use crate::model::shape::Shape;
use crate::model::verdict::Rejection;
use crate::net::Net;
use crate::proof::Right;
use crate::shard::Shard;
use crate::stage::conclude::Admission;
use crate::wire::dialect::Dialect;
use crate::wire::entry::Entry;
use crate::wire::refusal::Refusal;

/// The seconds that a client gets where the backend does not answer, and the rules decide.
pub(crate) const UNANSWERED_S: u32 = 60;

impl Rejection {
    /// The error where the backend has not answered.
    pub(crate) fn unanswered() -> Self {
        Self { code: 100, text: "internal server error".into(), is_passing: true }
    }
}

impl<N: Net> Shard<N> {
    /// Sends a question. Returns the want if there is no room for its question.
    pub(crate) fn consult(
        &mut self,
        slot: Slot,
        shape: Shape,
        subject: Subject,
        want: Want,
    ) -> Result<(), Want> {
        let request = self.clients.number_request();
        let id = self.clients.roster.id(slot);
        let meta = self.clients.proof(slot).and_then(|proof| proof.meta.clone());
        let Some(client) = self.clients.roster.get_mut(slot) else { return Ok(()) };
        let question = Question {
            client: id,
            request,
            dialect: Dialect::name(shape),
            user: client.user.clone(),
            meta,
            headers: client.extra.as_ref().and_then(|extra| extra.headers.clone()),
            subject,
        };
        self.clients.tally.hook_questions += 1;
        let crossing = Crossing::Question(Box::new(question));
        if self.port.bridges.send(BridgeId::Hooks, crossing).is_err() {
            self.clients.tally.hook_questions_unasked += 1;
            return Err(want);
        }
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.brief().asked.push(Asked { request, want });
        }
        Ok(())
    }

    /// Asks about a client that comes without a token. `None`: there is nothing to ask.
    pub(crate) fn consult_about_entry(
        &mut self,
        slot: Slot,
        entry: &mut Entry,
    ) -> Option<Admission> {
        self.keep_headers(slot, entry);
        let has_proof = self.clients.proof(slot).is_some();
        if !self.rooms.channels.rules().hooks().connect || has_proof {
            return None;
        }
        let presented = entry.presented.get_or_insert_default();
        if presented.is_let_in {
            return None;
        }
        if self.clients.config.user_from == UserFrom::Url {
            // Nobody has proven this name.
            entry.user = None;
        }
        let (name, version) = presented.software.clone();
        let data = presented.data.clone();
        let wished = entry.wished.iter().map(|wished| &wished.channel);
        let channels = entry.channels.iter().chain(wished).cloned().collect();
        let subject = Subject::Connect(Box::new(Arrival { data, name, version, channels }));
        let asked = self.consult(slot, entry.shape(false), subject, Want::Entry);
        Some(match asked {
            Ok(()) => self.wait_for_ruling(slot),
            Err(_) if self.rooms.channels.rules().hooks().rules_decide => {
                entry.presented.get_or_insert_default().is_let_in = true;
                return None;
            }
            Err(_) => Admission::Refused(Refusal::Rejected(Rejection::unanswered())),
        })
    }

    /// Asks about the next channel of an entry that the backend decides about. `None`: there is
    /// none left.
    pub(crate) fn consult_about_channels(
        &mut self,
        slot: Slot,
        entry: &mut Entry,
    ) -> Option<Admission> {
        let is_open = |channel: &&Arc<str>| {
            self.is_left_to_hook(slot, channel)
                && !is_granted(entry, channel)
                && !self.is_personal(entry, channel)
        };
        let channel = Arc::clone(entry.channels.iter().find(is_open)?);
        let terms = self.rooms.channels.rules().terms(&channel)?;
        let subject = Subject::Subscribe {
            channel: Arc::clone(&channel),
            endpoint: terms.rules.subscribe_hook.endpoint(),
            data: None,
        };
        // Its claim has not been made, and yet the backend is to hear of the user.
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.user.clone_from(&entry.user);
        }
        let asked = self.consult(slot, entry.shape(false), subject, Want::EntryChannel(channel));
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.user = None;
        }
        Some(match asked {
            Ok(()) => self.wait_for_ruling(slot),
            Err(_) => Admission::Refused(Refusal::Rejected(Rejection::unanswered())),
        })
    }

    /// Asks about a client whose time is nearly over. Returns `false` if nobody is to be asked, or
    /// nobody can be.
    pub(crate) fn consult_about_time(&mut self, slot: Slot) -> bool {
        if !self.clients.backend_refreshes {
            return false;
        }
        let shape = self.clients.roster.hot(slot).shape;
        self.consult(slot, shape, Subject::Refresh, Want::Refresh).is_ok()
    }

    /// Asks about a client whose time in a channel is nearly over. Returns `false` if nobody is to
    /// be asked.
    pub(crate) fn consult_about_seat(&mut self, slot: Slot, index: ChannelIndex) -> bool {
        let channel = self.rooms.channels.get(index);
        let hook = &channel.terms.rules.sub_refresh_hook;
        let Some(over_s) = self.clients.lapse_of(slot, index).filter(|_| hook.is_on()) else {
            return false;
        };
        let (channel, endpoint) = (Arc::clone(&channel.name), hook.endpoint());
        let shape = self.clients.roster.hot(slot).shape;
        let want = Want::Stay { channel: Arc::clone(&channel), over_s };
        let subject = Subject::SubRefresh { channel, endpoint };
        if self.consult(slot, shape, subject, want).is_err() {
            self.clients.tally.hook_unanswered += 1;
            self.stay_unasked(slot, index);
        }
        true
    }

    /// Nobody has answered about a client's stay in a channel: the settings say what holds.
    pub(crate) fn stay_unasked(&mut self, slot: Slot, index: ChannelIndex) {
        if self.rooms.channels.rules().hooks().rules_decide {
            let at_s = self.clients.now.seconds().saturating_add(UNANSWERED_S);
            let end = SeatEnd { at_s, renewal: Renewal::Backend };
            self.clients.set_lapse(slot, index, Some(end));
        }
    }

    /// The end of a subscription to a channel, which its client may set anew, or may not.
    pub(crate) fn seat_end(&self, channel: &str, at_s: u32, is_clients: bool) -> SeatEnd {
        let asks = self.rooms.channels.rules_of(channel).sub_refresh_hook.is_on();
        let renewal = match (asks, is_clients) {
            (true, _) => Renewal::Backend,
            (false, true) => Renewal::Client,
            (false, false) => Renewal::Nobody,
        };
        SeatEnd { at_s, renewal }
    }

    /// Returns `true` if a channel is the own one of the user of an entry: no rule is asked.
    pub(crate) fn is_personal(&self, entry: &Entry, channel: &str) -> bool {
        let prefix = &*self.clients.config.personal_channel;
        let user = channel.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        user.is_some() && user == entry.user.as_deref()
    }

    /// Returns `true` if the backend decides whether a client may subscribe to a channel: its
    /// namespace says so, and no token of the client does.
    pub(crate) fn is_left_to_hook(&self, slot: Slot, channel: &str) -> bool {
        let terms = self.rooms.channels.rules().terms(channel);
        if !terms.is_some_and(|terms| terms.asks_to_subscribe()) {
            return false;
        }
        self.clients.proof(slot).is_none_or(|proof| {
            !proof.allows(channel, Right::Subscribe)
                && !proof.channels.iter().any(|known| **known == *channel)
        })
    }

    /// The phase in which the answers of others decide about a client; this is one of them.
    fn wait_for_ruling(&mut self, slot: Slot) -> Admission {
        self.clients.roster.state_mut(slot).wait();
        Admission::Waiting(1)
    }

    fn keep_headers(&mut self, slot: Slot, entry: &mut Entry) {
        let Some(presented) = &mut entry.presented else { return };
        if presented.headers.is_empty() {
            return;
        }
        let headers = std::mem::take(&mut presented.headers);
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra().headers = Some(headers.into());
        }
    }
}

/// Returns `true` if the backend has let an entry into a channel.
fn is_granted(entry: &Entry, channel: &str) -> bool {
    let presented = entry.presented.as_ref();
    presented
        .is_some_and(|presented| presented.channels.iter().any(|(known, _)| **known == *channel))
}
