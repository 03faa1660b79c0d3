//! Handshake: from the first byte to a request that can be judged, or out to the control plane. It
//! speaks HTTP only; `admit` decides.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::roster::{Answer, Pending};
use crate::mesh::bridge::{BridgeId, Crossing, Visitor};
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::http::{self, Parsed, Upgrade};
use crate::wire::refusal::Refusal;

impl<N: Net> Shard<N> {
    /// Takes the next bytes of a request head.
    pub(crate) fn shake_hands(&mut self, slot: Slot, bytes: &[u8]) {
        let head_bytes = self.clients.config.head_bytes;
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        // The usual request comes in one piece and is parsed where it lies.
        if client.brief_ref().is_none_or(|brief| brief.head.is_empty()) {
            self.judge_head(slot, bytes);
        } else {
            let brief = client.brief();
            brief.head.extend_from_slice(bytes);
            // Without a new line nothing new can be said of it: a head that comes byte by byte is
            // not read again for each of them.
            if bytes.contains(&b'\n') || brief.head.len() >= head_bytes {
                let head = std::mem::take(&mut brief.head);
                self.judge_head(slot, &head);
            }
        }
    }

    fn judge_head(&mut self, slot: Slot, head: &[u8]) {
        let Some(introduced) = self.introduce(slot, head) else { return };
        let (config, request) = (Arc::clone(&self.clients.config), &head[introduced..]);
        match http::parse(request, &self.limits(&config, slot)) {
            Parsed::Partial => {
                if let Some(client) = self.clients.roster.get_mut(slot) {
                    client.brief().head = head.to_vec();
                }
            }
            Parsed::TooLarge => self.refuse(slot, &Refusal::HeadTooLarge),
            Parsed::Bad(reason) => self.refuse(slot, &Refusal::BadRequest(reason)),
            Parsed::Refused(refusal) => self.refuse(slot, &refusal),
            Parsed::Visit => self.hand_over(slot, request),
            Parsed::Upgrade(upgrade) => {
                let Upgrade { head_len, accept, entry } = *upgrade;
                let rest = Bytes::copy_from_slice(&request[head_len..]);
                if entry.dialect.connects_by_command() {
                    return self.upgrade(slot, entry, &accept, rest);
                }
                let answer = Answer::Http { accept };
                let mut pending = Pending::new(entry, answer, rest);
                let outcome = self.admit(slot, &mut pending.entry);
                self.conclude(slot, pending, outcome);
            }
        }
    }

    /// Gives a request that is not an upgrade to the control plane, with what was read of it.
    fn hand_over(&mut self, slot: Slot, head: &[u8]) {
        let Some(client) = self.clients.roster.remove(slot) else { return };
        self.clients.tally.visitors += 1;
        if let Ok(socket) = self.clients.net.hand_over(client.stream) {
            let visitor = Crossing::Visitor(Visitor { socket, head: head.to_vec() });
            // Where the control plane has no room the socket closes: the visitor tries again.
            let turned_away = self.port.bridges.send(BridgeId::Control, visitor).is_err();
            self.clients.tally.visitors_turned_away += u64::from(turned_away);
        }
    }
}
