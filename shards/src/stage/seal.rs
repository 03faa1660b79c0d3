//! Seal: what a client that speaks TLS is sent leaves in records, made in the shard's own memory.
//!
//! A record that has been sealed must leave whole, and before every later one. So the part that a
//! socket does not take waits in front of the client's outbox; all behind it stays shared.

use crate::client::Clients;
use crate::client::state::Flags;
use crate::model::id::Slot;
use crate::model::outbox::Outbox;
use crate::net::{Net, SLICES_MAX, Sent};
use crate::tls::RECORD_BYTES;

impl<N: Net> Clients<N> {
    /// Sends bytes to a client for which nothing waits, sealed if it speaks TLS.
    pub(crate) fn transmit(&mut self, slot: Slot, bytes: &[u8]) -> Sent {
        let hot = self.roster.hot(slot);
        if hot.state.is_any(Flags::TLS) {
            self.send_sealed(slot, bytes)
        } else {
            N::send(hot.fd, bytes)
        }
    }

    /// Sends bytes in records to a client for which nothing waits. Those that are in a record count
    /// as sent: what the socket does not take of it waits in the outbox.
    pub(crate) fn send_sealed(&mut self, slot: Slot, bytes: &[u8]) -> Sent {
        let fd = self.roster.hot(slot).fd;
        let mut done = 0;
        for plain in bytes.chunks(RECORD_BYTES) {
            let Some(secured) = self.roster.secured(slot) else { return Sent::Gone };
            let Ok(record) = self.sealing.seal(&mut secured.session, plain) else {
                return Sent::Gone;
            };
            done += plain.len();
            match N::send(fd, record) {
                Sent::All => {}
                Sent::Part(sent) => {
                    let rest = record[sent..].to_vec();
                    self.change_outbox(slot, |outbox| outbox.push_sealed(&rest));
                    return Sent::Part(done);
                }
                Sent::Gone => return Sent::Gone,
            }
        }
        Sent::All
    }

    /// The same with bytes that lie in several places.
    pub(crate) fn send_several_sealed<'a>(
        &mut self,
        slot: Slot,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Sent {
        let mut plain = std::mem::take(&mut self.sealing.plain);
        plain.clear();
        slices.take(SLICES_MAX).for_each(|slice| plain.extend_from_slice(slice));
        let sent = self.send_sealed(slot, &plain);
        plain.clear();
        plain.shrink_to(RECORD_BYTES);
        self.sealing.plain = plain;
        sent
    }

    /// Sends the beginning of an outbox, as far as the socket takes it: what is sealed already, or
    /// else one record of frames.
    pub(crate) fn send_waiting_sealed(&mut self, slot: Slot, outbox: &mut Outbox) -> Sent {
        let fd = self.roster.hot(slot).fd;
        if outbox.sealed().is_empty() {
            let mut plain = std::mem::take(&mut self.sealing.plain);
            plain.clear();
            for slice in outbox.slices() {
                let room = RECORD_BYTES - plain.len();
                plain.extend_from_slice(&slice[..slice.len().min(room)]);
                if slice.len() >= room {
                    break;
                }
            }
            let secured = self.roster.secured(slot);
            let sealed = secured.map(|secured| self.sealing.seal(&mut secured.session, &plain));
            let Some(Ok(record)) = sealed else { return Sent::Gone };
            // It has not moved: nothing has left yet.
            outbox.advance(plain.len(), outbox.moved_ms());
            outbox.push_sealed(record);
            self.sealing.plain = plain;
        }
        let sent = N::send(fd, outbox.sealed());
        match sent {
            Sent::All => outbox.advance_sealed(outbox.sealed().len(), self.now.ms()),
            Sent::Part(sent) => outbox.advance_sealed(sent, self.now.ms()),
            Sent::Gone => {}
        }
        sent
    }

    /// Tells a client that speaks TLS that nothing more comes, if nothing waits for it.
    pub(crate) fn send_farewell(&mut self, slot: Slot) {
        let hot = self.roster.hot(slot);
        if !hot.state.is_any(Flags::TLS) || hot.state.is_any(Flags::BLOCKED) {
            return;
        }
        let Some(secured) = self.roster.secured(slot) else { return };
        let record = self.sealing.farewell(&mut secured.session);
        if !record.is_empty() {
            // A socket that does not take it whole is closed all the same.
            let _ = N::send(hot.fd, record);
        }
    }
}
