//! Leave: a client's seats and claims are released first, then its close frame is sent, then the
//! socket is closed.

use std::task::Poll;

use bytes::BytesMut;

use crate::client::pending::{Answer, Pending};
use crate::client::state::{Flags, Phase};
use crate::close::CloseReason;
use crate::home::claims::{by_owner, owner_of};
use crate::mesh::parcel::Ask;
use crate::model::directory::Claim;
use crate::model::id::Slot;
use crate::model::shape::Shape;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;
use crate::wire::http::{self, Start};
use crate::wire::refusal::Refusal;

/// The most reads of a connection before it is closed.
const LAST_READS_MAX: usize = 16;

impl<N: Net> Shard<N> {
    /// Ends a connection in the way its phase and the reason ask for. Never called while a fan-out
    /// walks over clients.
    pub(crate) fn close(&mut self, slot: Slot, reason: CloseReason) {
        match self.clients.roster.phase(slot) {
            Phase::Waiting | Phase::Connecting if reason == CloseReason::Replaced => {
                self.refuse(slot, &Refusal::UserTaken);
            }
            Phase::Open | Phase::Upgraded | Phase::Connecting => {
                let last_word = self.clients.dialect(slot).close(reason);
                let client = self.clients.roster.get_mut(slot);
                let own = client.and_then(|client| client.extra.as_mut()?.farewell.take());
                self.depart(slot, reason);
                match last_word {
                    Some(_) if let Some(own) = own => {
                        self.say_last_word(slot, reason, (own.code, &own.reason));
                    }
                    Some((code, text)) => self.say_last_word(slot, reason, (code, text)),
                    None => self.remove(slot),
                }
            }
            Phase::Handshake | Phase::Waiting => {
                self.abandon(slot);
                self.remove(slot);
            }
            Phase::Lingering => self.remove(slot),
            Phase::Closing if reason == CloseReason::Gone => self.remove(slot),
            Phase::Closing | Phase::Vacant => {}
        }
    }

    /// Takes a client that has its 101 out of everything but its socket.
    fn depart(&mut self, slot: Slot, reason: CloseReason) {
        self.clients.tally.closes[reason.index()] += 1;
        if self.clients.roster.state(slot).is_open() {
            self.rise_from_all(slot);
            self.report_disconnected(slot, reason.label());
            self.release_claims(slot);
            self.clients.count_gone();
            self.clients.forget_end(slot);
        } else {
            self.abandon(slot);
        }
        self.clients.roster.state_mut(slot).close();
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra = None;
        }
    }

    /// Releases the claims and the subscriptions of an entry that was not granted yet. Returns the
    /// form in which the client would have been told the outcome.
    pub(crate) fn abandon(&mut self, slot: Slot) -> Option<Answer> {
        self.forget_recalls(slot);
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        let pending = brief.and_then(|brief| brief.pending.take());
        self.let_go(pending.as_ref().map_or(&[], |pending| &pending.kept));
        // The request may have been the only reason for this shard to subscribe to its channels.
        for name in pending.iter().flat_map(|pending| &pending.entry.channels) {
            if let Some(index) = self.rooms.channels.find(name) {
                self.rooms.note_emptied(index);
            }
        }
        self.release_claims(slot);
        pending.map(|pending| pending.answer)
    }

    /// Releases the client's claims at owners.
    pub(crate) fn release_claims(&mut self, slot: Slot) {
        let id = self.clients.roster.id(slot);
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let mut claims: Vec<Claim> = client.user.take().map(Claim::User).into_iter().collect();
        if let Some(extra) = &mut client.extra {
            claims.append(&mut extra.claims);
        }
        let app = client.extra.as_mut().and_then(|extra| extra.app.as_mut());
        let user = app.and_then(|app| app.user.as_mut());
        let watched = user.map(|user| std::mem::take(&mut user.watched)).unwrap_or_default();
        for (owner, users) in by_owner(&self.port.mesh, &watched) {
            self.port.owe(owner, Ask::WatchUsers { client: id, users, on: false });
        }
        for claim in claims {
            let owner = owner_of(&self.port.mesh, &claim);
            self.port.owe(owner, Ask::Release { client: id, claim });
        }
    }

    /// Queues the close frame behind what has begun to leave, and waits for the client's own.
    fn say_last_word(&mut self, slot: Slot, reason: CloseReason, (code, text): (u16, &str)) {
        let hurried =
            matches!(reason, CloseReason::Slow | CloseReason::Stalled | CloseReason::ShardFull);
        let clients = &mut self.clients;
        if hurried
            && let Some(outbox) =
                clients.roster.get_mut(slot).and_then(|client| client.outbox.as_mut())
        {
            let before = outbox.bytes();
            clients.tally.dropped += outbox.clear_behind_head();
            clients.outboxes.bytes = clients.outboxes.bytes + outbox.bytes() - before;
        }
        let mut frame = BytesMut::new();
        Dialect::write_close(clients.roster.hot(slot).shape, &mut frame, (code, text));
        if clients.is_stream(slot) {
            // Nobody answers the last word of a response.
            clients.roster.state_mut(slot).break_rule();
        }
        if clients.roster.state(slot).is_any(Flags::BLOCKED) {
            clients.queue_always(slot, frame.freeze());
            clients.arm(slot);
        } else {
            clients.send_own(slot, &frame);
        }
        clients.end_if_over(slot);
        clients.set_deadline(slot, clients.config.close_timeout);
    }

    /// The client has said goodbye: `answer` is what the protocol machine answers, unless we had
    /// spoken first.
    pub(crate) fn say_goodbye(&mut self, slot: Slot, answer: &[u8]) {
        if self.clients.roster.state(slot).is_upgraded() {
            self.clients.emit(slot, answer);
            self.depart(slot, CloseReason::Goodbye);
            self.clients.set_deadline(slot, self.clients.config.close_timeout);
        }
        if self.clients.roster.state(slot).is_any(Flags::BLOCKED) {
            // The answer leaves behind what was queued before it, or the deadline ends this.
            return;
        }
        self.remove(slot);
    }

    /// Sends a refusal, and leaves the client a moment to read it.
    pub(crate) fn refuse(&mut self, slot: Slot, refusal: &Refusal) {
        self.clients.count_refusal(refusal);
        let head = self.take_late_head(slot);
        let answer = self.abandon(slot);
        if let Some((shape, head)) = head {
            let hot = self.clients.roster.hot_mut(slot);
            hot.shape = shape;
            hot.state.upgrade();
            self.clients.emit(slot, &head);
        }
        if self.clients.roster.state(slot).is_upgraded() {
            return self.refuse_behind_the_101(slot, refusal, answer.as_ref());
        }
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        let origin = brief.and_then(|brief| brief.origin.take());
        self.answer_and_end(slot, &refusal.response(origin.as_deref()));
    }

    /// Returns the 101 of a client that is told only behind it that it is not let in, and the form
    /// in which it is told so.
    fn take_late_head(&mut self, slot: Slot) -> Option<(Shape, Vec<u8>)> {
        let brief = self.clients.roster.get(slot)?.brief_ref()?;
        let Pending { entry, answer: Answer::Http { accept: Some(accept) }, .. } =
            brief.pending.as_deref()?
        else {
            return None;
        };
        let mut head = Vec::new();
        http::put_switching(&mut head, accept, entry, Start::default());
        entry.dialect.refuses_behind_the_101().then(|| (entry.shape(false), head))
    }

    /// Sends a whole answer to an HTTP request, and leaves the client a moment to read it.
    pub(crate) fn answer_and_end(&mut self, slot: Slot, response: &[u8]) {
        self.clients.roster.state_mut(slot).linger();
        self.clients.answer(slot, response);
        self.clients.end_answer(slot);
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra = None;
        }
        self.clients.set_deadline(slot, self.clients.config.close_timeout);
    }

    /// Tells a refusal in the words of the client's dialect.
    fn refuse_behind_the_101(&mut self, slot: Slot, refusal: &Refusal, answer: Option<&Answer>) {
        let id = answer.and_then(Answer::id);
        self.clients.tell(slot, &Event::Refused { refusal, id });
        if self.clients.speaker.slot == Some(slot) {
            self.clients.send_replies();
        }
        self.clients.roster.state_mut(slot).close();
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra = None;
        }
        match self.clients.dialect(slot).refusal(refusal) {
            Some(last_word) => self.say_last_word(slot, CloseReason::Disorderly, last_word),
            None => self.remove(slot),
        }
    }

    /// Lets a connection go, at once.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.clients.send_farewell(slot);
        let Some(client) = self.clients.roster.remove(slot) else { return };
        debug_assert!(client.seat.is_none(), "a client rises before it goes");
        if let Some(outbox) = &client.outbox {
            self.clients.outboxes.bytes -= outbox.bytes();
        }
        let fd = N::fd(&client.stream);
        // Closing a socket with unread bytes resets the connection, and the close frame would be
        // lost. So these bytes are read, except for a client that never stops sending.
        let mut rest = [0; 4096];
        for _ in 0..LAST_READS_MAX {
            let Poll::Ready(Ok(1..)) = N::read(fd, &mut rest) else { break };
        }
        N::shutdown(fd);
        drop(client);
    }

    /// Closes the marked clients.
    pub(crate) fn bury(&mut self) {
        // From the front: of several reasons the first one counts. Closing may mark others.
        let mut next = 0;
        while let Some(&doomed) = self.clients.doomed.get(next) {
            next += 1;
            if let Some(slot) = self.clients.roster.slot_of(doomed.client) {
                self.close(slot, doomed.reason);
            }
        }
        self.clients.doomed.clear();
    }

    /// Over the shard's cap on all outboxes the slowest clients go first.
    pub(crate) fn relieve_outboxes(&mut self) {
        for slot in self.clients.over_the_cap() {
            self.close(slot, CloseReason::ShardFull);
        }
    }
}
