//! Flush: bytes that a socket did not take wait in its client's outbox, bounded, and leave when the
//! socket takes more.

use bytes::Bytes;

use crate::client::Clients;
use crate::client::state::Flags;
use crate::close::CloseReason;
use crate::model::id::{ChannelIndex, Slot};
use crate::model::outbox::Outbox;
use crate::net::{Net, SLICES_MAX, Sent};
use crate::rules::{SlowClients, SlowRules};

/// Replies are sent when they come to this: a send is as good with so much as with more.
const REPLIES_BYTES_MAX: usize = 16 << 10;

impl<N: Net> Clients<N> {
    /// Sends whole frames to one client at once, or queues the part that its socket does not take.
    /// While the client's own bytes are processed its frames are collected and leave in one send.
    pub(crate) fn emit(&mut self, slot: Slot, frames: &[u8]) {
        if self.roster.state(slot).is_closing() {
            return;
        }
        if self.speaker.slot == Some(slot) {
            self.speaker.replies.extend_from_slice(frames);
            if self.speaker.replies.len() >= REPLIES_BYTES_MAX {
                self.send_replies();
            }
            return;
        }
        self.emit_now(slot, frames);
    }

    /// Sends what has been said so far to the client that is speaking.
    pub(crate) fn send_replies(&mut self) {
        let said = !self.speaker.replies.is_empty();
        let Some(slot) = self.speaker.slot.filter(|_| said) else { return };
        let mut replies = std::mem::take(&mut self.speaker.replies);
        self.emit_now(slot, &replies);
        replies.clear();
        self.speaker.replies = replies;
    }

    fn emit_now(&mut self, slot: Slot, frames: &[u8]) {
        if self.roster.state(slot).is_any(Flags::BLOCKED) {
            let slow = self.config.slow_rules_of_server();
            self.queue(slot, Bytes::copy_from_slice(frames), None, slow);
        } else {
            self.send_own(slot, frames);
        }
    }

    /// Sends frames that are for one client alone, and for which nothing waits before them. The
    /// part that the socket does not take begins the client's outbox.
    pub(crate) fn send_own(&mut self, slot: Slot, frames: &[u8]) {
        match N::send(self.roster.hot(slot).fd, frames) {
            Sent::All => {}
            Sent::Part(sent) => {
                self.begin_outbox(slot, Bytes::copy_from_slice(frames), None, sent);
                self.arm(slot);
            }
            Sent::Gone => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Sends frames to a client that is to miss none of them: what its socket does not take waits,
    /// whatever waits already.
    pub(crate) fn emit_page(&mut self, slot: Slot, frames: Bytes) {
        let hot = self.roster.hot(slot);
        if hot.state.is_any(Flags::BLOCKED) {
            return self.queue_always(slot, frames);
        }
        match N::send(hot.fd, &frames) {
            Sent::All => self.tally.sends += 1,
            Sent::Part(sent) => {
                self.begin_outbox(slot, frames, None, sent);
                self.arm(slot);
            }
            Sent::Gone => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Queues a frame within the bounds, or lets the policy for slow clients decide. `false`: the
    /// client is to be closed.
    pub(crate) fn queue(
        &mut self,
        slot: Slot,
        frame: Bytes,
        channel: Option<ChannelIndex>,
        slow: SlowRules,
    ) -> bool {
        let SlowRules { policy, outbox_bytes: bytes_max } = slow;
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return false };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        if policy == SlowClients::Conflate
            && let Some(channel) = channel
        {
            self.tally.conflated += outbox.overtake(channel);
        }
        let bytes = frame.len();
        let full = outbox.push(frame, channel, bytes_max).is_err();
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
        if !full {
            if channel.is_some() {
                self.tally.deliveries += 1;
                self.tally.bytes_out += bytes as u64;
            }
            return true;
        }
        if policy == SlowClients::Disconnect {
            self.doom(slot, CloseReason::Slow);
            return false;
        }
        self.tally.dropped += 1;
        true
    }

    /// Queues a frame of which the socket took `sent` bytes. Its client was not blocked before.
    pub(crate) fn begin_outbox(
        &mut self,
        slot: Slot,
        frame: Bytes,
        channel: Option<ChannelIndex>,
        sent: usize,
    ) {
        self.change_outbox(slot, |outbox| outbox.begin(frame, channel, sent));
    }

    /// Queues a frame whatever waits already: a last word, or a page, of which the next is asked
    /// for when nothing waits.
    pub(crate) fn queue_always(&mut self, slot: Slot, frame: Bytes) {
        self.change_outbox(slot, |outbox| outbox.push_always(frame, None));
    }

    fn change_outbox(&mut self, slot: Slot, change: impl FnOnce(&mut Outbox)) {
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        change(outbox);
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
    }

    /// Keeps the shard's sum of its outboxes, and the list of clients that have one.
    fn note_outbox(&mut self, slot: Slot, before: usize, after: usize) {
        self.outboxes.bytes = self.outboxes.bytes + after - before;
        if after > 0 && self.roster.state_mut(slot).block() {
            self.outboxes.listed.push(self.roster.id(slot));
        }
    }

    /// Sees to it that the client is served when its socket takes more.
    pub(crate) fn arm(&mut self, slot: Slot) {
        if self.roster.state(slot).is_any(Flags::BLOCKED) {
            self.flush(slot);
        }
    }

    /// Sends what the outbox holds, as far as the socket takes it, and asks to be rung for the
    /// rest.
    pub(crate) fn flush(&mut self, slot: Slot) {
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(mut outbox) = client.outbox.take() else { return };
        let fd = N::fd(&client.stream);
        let before = outbox.bytes();
        let mut failed = loop {
            if outbox.is_empty() {
                break false;
            }
            match N::send_several(fd, outbox.slices()) {
                Sent::All => {
                    let all = outbox.slices().take(SLICES_MAX).map(<[u8]>::len).sum();
                    outbox.advance(all, now_ms);
                }
                Sent::Part(0) => break false,
                Sent::Part(sent) => outbox.advance(sent, now_ms),
                Sent::Gone => break true,
            }
        };
        let after = outbox.bytes();
        self.outboxes.bytes = self.outboxes.bytes + after - before;
        if outbox.is_empty() {
            self.roster.state_mut(slot).unblock();
        } else {
            let unwatched = self.roster.state_mut(slot).want_room();
            if let Some(client) = self.roster.get_mut(slot) {
                failed |= unwatched && self.net.watch_room(&client.stream, slot).is_err();
                client.outbox = Some(outbox);
            }
        }
        if failed {
            self.doom(slot, CloseReason::Gone);
        } else {
            self.end_if_over(slot);
        }
    }

    /// A client that broke a rule is not waited for: behind its last word the connection ends. What
    /// it still says is read away, so that the word is not lost to a reset.
    pub(crate) fn end_if_over(&mut self, slot: Slot) {
        let hot = self.roster.hot(slot);
        let over = hot.state.is_any(Flags::OVER) && hot.state.is_closing();
        if over && !hot.state.is_any(Flags::BLOCKED) {
            N::shutdown_write(hot.fd);
            // Its own end may have been read already.
            self.net.mark_ready(slot);
        }
    }

    /// Returns the slots of the clients that are over the shard's cap on all outboxes: the slowest
    /// ones, which moved longest ago, then the fullest.
    pub(crate) fn over_the_cap(&self) -> Vec<Slot> {
        let mut over = self.outboxes.bytes.saturating_sub(self.config.outbox_total_bytes);
        if over == 0 {
            return Vec::new();
        }
        let now_ms = self.now.ms();
        let mut slowest: Vec<(u32, usize, Slot)> = self
            .outboxes
            .listed
            .iter()
            .filter_map(|client| self.roster.slot_of(*client))
            .filter_map(|slot| {
                let outbox = self.roster.get(slot)?.outbox.as_ref()?;
                let still_ms = crate::clock::since_ms(now_ms, outbox.moved_ms());
                Some((still_ms, outbox.bytes(), slot))
            })
            .collect();
        slowest.sort_unstable();
        let mut slots = Vec::new();
        while over > 0
            && let Some((_, bytes, slot)) = slowest.pop()
        {
            over = over.saturating_sub(bytes);
            slots.push(slot);
        }
        slots
    }
}
