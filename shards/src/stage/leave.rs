//! How a client ends: seats and claims are given back first, then the last word is sent, then the
//! socket goes.

use std::task::Poll;

use bytes::BytesMut;

use crate::client::roster::{BLOCKED, CLOSING, OPEN, OVER, Phase};
use crate::close::CloseReason;
use crate::mesh::parcel::{Ask, Claim};
use crate::model::outbox::NO_CHANNEL;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::frame::put_close;
use crate::wire::http::Refusal;

/// How often a connection that goes is read for the last time.
const LAST_READS_MAX: usize = 16;

impl<N: Net> Shard<N> {
    /// Ends a connection in the way its phase and the reason ask for. Never called while a fan-out
    /// walks over clients.
    pub(crate) fn close(&mut self, slot: u32, reason: CloseReason) {
        match self.roster.get(slot).map(|client| client.phase) {
            Some(Phase::Open) => {
                self.depart(slot, reason);
                match reason.code() {
                    Some(code) => self.say_last_word(slot, code, reason),
                    None => self.remove(slot),
                }
            }
            Some(Phase::Waiting) if reason == CloseReason::Replaced => {
                self.refuse(slot, &Refusal::UserTaken);
            }
            Some(Phase::Handshake | Phase::Waiting) => {
                self.abandon(slot);
                self.remove(slot);
            }
            Some(Phase::Lingering) => self.remove(slot),
            Some(Phase::Closing) if reason == CloseReason::Gone => self.remove(slot),
            Some(Phase::Closing) | None => {}
        }
    }

    /// Takes an open client out of everything but its socket.
    fn depart(&mut self, slot: u32, reason: CloseReason) {
        self.tally.closes[reason.index()] += 1;
        self.rise_from_all(slot);
        self.release_claims(slot);
        self.roster.hot_mut(slot).flags &= !OPEN;
        self.count_gone();
        if let Some(client) = self.roster.get_mut(slot) {
            client.phase = Phase::Closing;
            client.extra = None;
        }
    }

    /// Gives back what a request has been given before it could be granted.
    pub(crate) fn abandon(&mut self, slot: u32) {
        let extra = self.roster.get_mut(slot).and_then(|client| client.extra.as_mut());
        let pending = extra.and_then(|extra| extra.pending.take());
        // The request may have been the only reason for this shard to subscribe to its channel.
        let name = pending.and_then(|pending| pending.channel);
        self.emptied.extend(name.and_then(|name| self.channels.find(&name)));
        self.release_claims(slot);
    }

    /// Gives back what the client claimed at owners.
    pub(crate) fn release_claims(&mut self, slot: u32) {
        let id = self.roster.id(slot);
        let Some(client) = self.roster.get_mut(slot) else { return };
        let mut claims: Vec<Claim> = client.user.take().map(Claim::User).into_iter().collect();
        if let Some(extra) = &mut client.extra {
            claims.append(&mut extra.claims);
        }
        for claim in claims {
            let owner = self.owner_of(&claim);
            self.ask_of(owner, Ask::Release { client: id, claim });
        }
    }

    /// Queues the close frame behind what has begun to leave, and waits for the client's own.
    fn say_last_word(&mut self, slot: u32, code: u16, reason: CloseReason) {
        let hurried =
            matches!(reason, CloseReason::Slow | CloseReason::Stalled | CloseReason::ShardFull);
        if let Some(outbox) =
            self.roster.get_mut(slot).and_then(|client| client.outbox.as_mut()).filter(|_| hurried)
        {
            let before = outbox.bytes();
            self.tally.dropped += outbox.clear_behind_head();
            self.outbox_bytes = self.outbox_bytes + outbox.bytes() - before;
        }
        let mut frame = BytesMut::new();
        put_close(&mut frame, code, reason.text());
        let hot = self.roster.hot(slot);
        self.roster.hot_mut(slot).flags |= CLOSING;
        if hot.is(BLOCKED) {
            self.queue_always(slot, frame.freeze());
            self.arm(slot);
        } else {
            // An error here is one that reading will meet as well.
            let sent = N::send(hot.fd, &frame).unwrap_or(0);
            if sent < frame.len() {
                self.begin_outbox(slot, frame.freeze(), NO_CHANNEL, sent);
                self.arm(slot);
            }
        }
        self.end_if_over(slot);
        self.set_deadline(slot, self.config.close_timeout);
    }

    /// Who broke a rule is not waited for: behind its last word the connection ends, and what it
    /// still says is read away, so that the word is not lost to a reset.
    pub(crate) fn end_if_over(&mut self, slot: u32) {
        let hot = self.roster.hot(slot);
        if hot.is(OVER) && hot.is(CLOSING) && !hot.is(BLOCKED) {
            N::shutdown_write(hot.fd);
            // Its own end may have been read already.
            self.net.mark_ready(slot);
        }
    }

    /// The client has said goodbye: `answer` is what the protocol machine answers, unless we had
    /// spoken first.
    pub(crate) fn say_goodbye(&mut self, slot: u32, answer: &[u8]) {
        let Some(client) = self.roster.get(slot) else { return };
        if client.phase == Phase::Open {
            self.emit(slot, answer);
            self.depart(slot, CloseReason::Goodbye);
            self.roster.hot_mut(slot).flags |= CLOSING;
            self.set_deadline(slot, self.config.close_timeout);
        }
        if self.roster.hot(slot).is(BLOCKED) {
            // The answer leaves behind what was queued before it, or the deadline ends this.
            return;
        }
        self.remove(slot);
    }

    /// Lets a connection go, at once.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(client) = self.roster.remove(slot) else { return };
        debug_assert!(client.seat.is_none(), "a client rises before it goes");
        if let Some(outbox) = &client.outbox {
            self.outbox_bytes -= outbox.bytes();
        }
        let fd = N::fd(&client.stream);
        // A last look: closing a socket with unread bytes resets the connection, and the close
        // frame would be lost. For who never ends it is.
        let mut rest = [0; 4096];
        for _ in 0..LAST_READS_MAX {
            let Poll::Ready(Ok(1..)) = N::read(fd, &mut rest) else { break };
        }
        N::shutdown(fd);
        drop(client);
    }
}
