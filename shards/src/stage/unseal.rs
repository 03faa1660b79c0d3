//! Unseal: the bytes of a client that speaks TLS become those that it means, or a step of its
//! handshake.

use crate::client::sealing::Beginning;
use crate::client::state::Flags;
use crate::close::CloseReason;
use crate::config::ProxyProtocol;
use crate::model::id::Slot;
use crate::net::{Net, Sent};
use crate::shard::Shard;
use crate::tls::Fault;
use crate::wire::refusal::Refusal;

/// The most sealed bytes that may wait for a client that TLS itself has to answer.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// The answer to a request that is not sealed.
const NOT_SEALED: &str = "this port speaks TLS: use https:// or wss://";

impl<N: Net> Shard<N> {
    /// Takes bytes from a client that speaks TLS, and appends what they mean to `opened`. Returns
    /// `true` if the connection must end at once.
    pub(crate) fn unseal(&mut self, slot: Slot, bytes: &mut [u8], opened: &mut Vec<u8>) -> bool {
        let Some(secured) = self.clients.roster.secured(slot) else { return true };
        if secured.beginning == Beginning::Over {
            return self.feed_session(slot, bytes, opened);
        }
        let Some(mut bytes) = self.strip_introduction(slot, bytes) else { return false };
        if bytes.is_empty() {
            return false;
        }
        if bytes[0].is_ascii_uppercase() {
            self.clients.roster.take_session(slot);
            self.clients.roster.state_mut(slot).expose();
            self.clients.tally.tls_faults += 1;
            self.refuse(slot, &Refusal::BadRequest(NOT_SEALED));
            return false;
        }
        if let Some(secured) = self.clients.roster.secured(slot) {
            secured.beginning = Beginning::Over;
        }
        self.feed_session(slot, &mut bytes, opened)
    }

    /// Returns the bytes behind what a proxy says of its client in the clear, which comes before
    /// everything else. `None` if that is not complete, or was refused.
    fn strip_introduction(&mut self, slot: Slot, bytes: &[u8]) -> Option<Vec<u8>> {
        let is_expected = self.clients.config.proxy_protocol != ProxyProtocol::Off
            && self.clients.roster.secured(slot)?.beginning == Beginning::Introduction;
        if !is_expected {
            return Some(bytes.to_vec());
        }
        let client = self.clients.roster.get_mut(slot)?;
        let mut head =
            client.brief_mut().map(|one| std::mem::take(&mut one.head)).unwrap_or_default();
        head.extend_from_slice(bytes);
        let introduced = self.introduce(slot, &head)?;
        self.clients.roster.secured(slot)?.beginning = Beginning::Nothing;
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.shed();
        }
        Some(head.split_off(introduced))
    }

    fn feed_session(&mut self, slot: Slot, bytes: &mut [u8], opened: &mut Vec<u8>) -> bool {
        let clients = &mut self.clients;
        let is_at_end = clients.roster.state(slot).is_any(Flags::ENDED);
        let Some(secured) = clients.roster.secured(slot) else { return true };
        if is_at_end && !secured.is_answered {
            // The client has gone while it waited: nobody would read an answer to its hello, which
            // costs as much as hundreds of messages.
            return true;
        }
        let session = &mut secured.session;
        let mut answer = std::mem::take(&mut clients.sealing.answer);
        answer.clear();
        let was_through = session.is_through();
        let fed = session.feed(bytes, opened, &mut answer);
        let (is_through, is_resumed) = (session.is_through(), session.is_resumed());
        secured.is_answered |= !answer.is_empty();
        if !was_through && is_through {
            clients.tally.tls_handshakes += 1;
            clients.tally.tls_resumptions += u64::from(is_resumed);
        }
        self.answer_session(slot, &answer);
        self.clients.sealing.answer = answer;
        match fed {
            Ok(()) => false,
            Err(fault) => {
                self.note_fault(&fault);
                true
            }
        }
    }

    fn note_fault(&mut self, fault: &Fault) {
        self.clients.tally.tls_faults += 1;
        tracing::debug!(%fault, "a client of TLS");
    }

    /// Sends what TLS itself answers, in front of all that is not sealed yet.
    fn answer_session(&mut self, slot: Slot, answer: &[u8]) {
        if answer.is_empty() {
            return;
        }
        let hot = self.clients.roster.hot(slot);
        if hot.state.is_any(Flags::BLOCKED) {
            let mut is_over = false;
            self.clients.change_outbox(slot, |outbox| {
                outbox.push_sealed(answer);
                is_over = outbox.sealed().len() > ANSWERS_BYTES_MAX;
            });
            if is_over {
                self.clients.doom(slot, CloseReason::Slow);
            }
            return;
        }
        match N::send(hot.fd, answer) {
            Sent::All => {}
            Sent::Part(sent) => {
                self.clients.change_outbox(slot, |outbox| outbox.push_sealed(&answer[sent..]));
                self.clients.arm(slot);
            }
            Sent::Gone => self.clients.doom(slot, CloseReason::Gone),
        }
    }
}
