//! Stage 6: what a socket did not take waits in its client's outbox, bounded, and leaves when the
//! socket takes more.

use std::io::IoSlice;

use bytes::Bytes;

use crate::client::roster::{BLOCKED, CLOSING, LISTED, ROOM};
use crate::close::CloseReason;
use crate::config::SlowClients;
use crate::model::outbox::{NO_CHANNEL, Outbox, SLICES_MAX};
use crate::net::Net;
use crate::shard::Shard;

/// Replies are sent when they come to this: a send is as good with so much as with more.
const REPLIES_BYTES_MAX: usize = 16 << 10;

impl<N: Net> Shard<N> {
    /// Sends whole frames to one client at once, or queues what its socket does not take. What it
    /// is told while it speaks leaves together, in one send, when it has had its turn.
    pub(crate) fn emit(&mut self, slot: u32, frames: &[u8]) {
        let hot = self.roster.hot(slot);
        if hot.is(CLOSING) {
            return;
        }
        if self.feeding == Some(slot) {
            self.replies.extend_from_slice(frames);
            if self.replies.len() >= REPLIES_BYTES_MAX {
                self.send_replies();
            }
            return;
        }
        self.emit_now(slot, frames);
    }

    /// Sends what has been said so far to the client that is speaking.
    pub(crate) fn send_replies(&mut self) {
        let Some(slot) = self.feeding.filter(|_| !self.replies.is_empty()) else { return };
        let mut replies = std::mem::take(&mut self.replies);
        self.emit_now(slot, &replies);
        replies.clear();
        self.replies = replies;
    }

    fn emit_now(&mut self, slot: u32, frames: &[u8]) {
        let hot = self.roster.hot(slot);
        if hot.is(BLOCKED) {
            self.queue(slot, Bytes::copy_from_slice(frames), NO_CHANNEL);
            return;
        }
        match N::send(hot.fd, frames) {
            Ok(sent) if sent == frames.len() => {}
            Ok(sent) => {
                self.begin_outbox(slot, Bytes::copy_from_slice(frames), NO_CHANNEL, sent);
                self.arm(slot);
            }
            Err(_) => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Queues a frame within the bounds, or lets the policy for slow clients decide. `false`: the
    /// client is to be closed.
    pub(crate) fn queue(&mut self, slot: u32, frame: Bytes, channel: u32) -> bool {
        let policy = self.config.slow_clients;
        let bytes_max = self.config.outbox_bytes;
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return false };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        if policy == SlowClients::Conflate && channel != NO_CHANNEL {
            self.tally.conflated += outbox.overtake(channel);
        }
        let full = outbox.push(frame, channel, bytes_max).is_err();
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
        if !full {
            self.tally.deliveries += u64::from(channel != NO_CHANNEL);
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
    pub(crate) fn begin_outbox(&mut self, slot: u32, frame: Bytes, channel: u32, sent: usize) {
        self.change_outbox(slot, |outbox| outbox.begin(frame, channel, sent));
    }

    /// Queues a last word, which is not bounded: it is the last.
    pub(crate) fn queue_always(&mut self, slot: u32, frame: Bytes) {
        self.change_outbox(slot, |outbox| outbox.push_always(frame, NO_CHANNEL));
    }

    fn change_outbox(&mut self, slot: u32, change: impl FnOnce(&mut Outbox)) {
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        change(outbox);
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
    }

    /// Keeps the shard's sum of its outboxes, and the list of clients that have one.
    fn note_outbox(&mut self, slot: u32, before: usize, after: usize) {
        self.outbox_bytes = self.outbox_bytes + after - before;
        if after > 0 {
            let listed = self.roster.hot(slot).is(LISTED);
            self.roster.hot_mut(slot).flags |= BLOCKED | LISTED;
            if !listed {
                self.blocked.push(self.roster.id(slot));
            }
        }
    }

    /// Sees to it that the client is served when its socket takes more.
    pub(crate) fn arm(&mut self, slot: u32) {
        if self.roster.hot(slot).is(BLOCKED) {
            self.flush(slot);
        }
    }

    /// Sends what the outbox holds, as far as the socket takes it, and asks to be rung for the
    /// rest.
    pub(crate) fn flush(&mut self, slot: u32) {
        let now_ms = self.now.ms();
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(mut outbox) = client.outbox.take() else { return };
        let fd = N::fd(&client.stream);
        let before = outbox.bytes();
        let mut failed = loop {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES_MAX);
            outbox.slices(&mut slices);
            if slices.is_empty() {
                break false;
            }
            match N::send_vectored(fd, &slices) {
                Err(_) => break true,
                Ok(0) => break false,
                Ok(sent) => outbox.advance(sent, now_ms),
            }
        };
        let after = outbox.bytes();
        self.outbox_bytes = self.outbox_bytes + after - before;
        let mut flags = self.roster.hot(slot).flags;
        if outbox.is_empty() {
            // It leaves the list of the blocked at the next sweep.
            flags &= !BLOCKED;
        } else if let Some(client) = self.roster.get_mut(slot) {
            if flags & ROOM == 0 {
                flags |= ROOM;
                failed |= self.net.watch_room(&client.stream, slot).is_err();
            }
            client.outbox = Some(outbox);
        }
        self.roster.hot_mut(slot).flags = flags;
        if failed {
            self.doom(slot, CloseReason::Gone);
        } else {
            self.end_if_over(slot);
        }
    }

    /// Over the shard's cap on all outboxes the slowest clients go first: those that moved longest
    /// ago, then the fullest.
    pub(crate) fn relieve_outboxes(&mut self) {
        if self.outbox_bytes <= self.config.outbox_total_bytes {
            return;
        }
        let now_ms = self.now.ms();
        let mut slowest: Vec<(u32, usize, u32)> = self
            .blocked
            .iter()
            .filter_map(|client| self.roster.slot_of(*client))
            .filter_map(|slot| {
                let outbox = self.roster.get(slot)?.outbox.as_ref()?;
                let still_ms = crate::clock::since_ms(now_ms, outbox.moved_ms());
                Some((still_ms, outbox.bytes(), slot))
            })
            .collect();
        slowest.sort_unstable();
        let mut over = self.outbox_bytes - self.config.outbox_total_bytes;
        while over > 0
            && let Some((_, bytes, slot)) = slowest.pop()
        {
            over = over.saturating_sub(bytes);
            self.close(slot, CloseReason::ShardFull);
        }
    }
}
