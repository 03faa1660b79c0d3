//! Flush: bytes that a socket did not take wait in its client's outbox, bounded, and leave when the
//! socket takes more.

use std::os::fd::RawFd;

use bytes::{Bytes, BytesMut};

use crate::client::Clients;
use crate::client::hot::Hot;
use crate::client::state::{Flags, Phase};
use crate::close::CloseReason;
use crate::model::gaps::{Gap, Span};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::Publication;
use crate::model::outbox::{FRAME_COST, Full, Mark, Outbox};
use crate::model::shape::Shape;
use crate::net::{Net, SLICES_MAX, Sent};
use crate::rules::{SlowClients, SlowRules};
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;

/// Replies are sent when they come to this: a send is as good with so much as with more.
const REPLIES_BYTES_MAX: usize = 16 << 10;

/// The content of a frame for a client that does not take it at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// Answers and other events.
    Events,
    /// A message to the clients of a user.
    Direct,
    /// A publication of a channel that the client is a member of.
    Publication(ChannelIndex, &'a Publication),
}

impl Content<'_> {
    pub(crate) fn mark(self) -> Option<Mark> {
        match self {
            Self::Events | Self::Direct => None,
            Self::Publication(channel, one) => Some(Mark::publication(channel, one.offset)),
        }
    }
}

/// The outcome for a frame that the socket of its client does not take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It leaves when the socket takes it, unless another one overtakes it.
    Waits,
    /// The client does not get it.
    Lost,
    /// The client is to be closed.
    Over,
}

/// The frame that tells a client of lost publications, if its dialect has one: others see it by
/// their offsets, or not at all.
fn gap_frame(shape: Shape, channel: &str, Span { from, to }: Span) -> Option<Bytes> {
    let mut frame = BytesMut::new();
    Dialect::write_event(shape, &mut frame, &Event::Gap { channel, from, to });
    (!frame.is_empty()).then(|| frame.freeze())
}

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
            self.queue(slot, Bytes::copy_from_slice(frames), Content::Events, slow);
        } else {
            self.send_own(slot, frames);
        }
    }

    /// Sends frames that are for one client alone, and for which nothing waits before them. The
    /// part that the socket does not take begins the client's outbox.
    pub(crate) fn send_own(&mut self, slot: Slot, frames: &[u8]) {
        match self.transmit(slot, frames) {
            Sent::All => {}
            Sent::Part(sent) => {
                self.begin_outbox(slot, Bytes::copy_from_slice(frames), None, sent);
                self.arm(slot);
            }
            Sent::Gone => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Sends frames to a client that may not lose them, whatever the policy for slow clients. A
    /// client that does not read is closed when too many of these wait for it.
    pub(crate) fn emit_surely(&mut self, slot: Slot, frames: &[u8]) {
        if !self.roster.state(slot).is_any(Flags::BLOCKED) {
            return self.emit(slot, frames);
        }
        if self.speaker.slot == Some(slot) {
            self.send_replies();
        }
        let urgent_max = self.config.channels_per_client;
        let outbox = self.roster.get_mut(slot).and_then(|client| client.outbox.as_mut());
        if outbox.is_some_and(|outbox| outbox.count_urgent() > urgent_max) {
            return self.doom(slot, CloseReason::Slow);
        }
        self.queue_always(slot, Bytes::copy_from_slice(frames));
    }

    /// Sends frames to a client that is to miss none of them: what its socket does not take waits,
    /// whatever waits already.
    pub(crate) fn emit_page(&mut self, slot: Slot, frames: Bytes) {
        if self.roster.state(slot).is_any(Flags::BLOCKED) {
            return self.queue_always(slot, frames);
        }
        match self.transmit(slot, &frames) {
            Sent::All => self.tally.sends += 1,
            Sent::Part(sent) => {
                self.begin_outbox(slot, frames, None, sent);
                self.arm(slot);
            }
            Sent::Gone => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Queues a frame within the bounds, or lets the policy for slow clients decide.
    pub(crate) fn queue(
        &mut self,
        slot: Slot,
        frame: Bytes,
        content: Content<'_>,
        slow: SlowRules,
    ) -> Queued {
        let (now_ms, shape, id) =
            (self.now.ms(), self.roster.hot(slot).shape, self.roster.id(slot));
        let Some(client) = self.roster.get_mut(slot) else { return Queued::Over };
        let outbox = client.outbox.get_or_insert_with(|| Box::new(Outbox::new(now_ms)));
        let before = outbox.bytes();
        let bytes = frame.len();
        let leaves = slow.recovers && Dialect::leaves_at_gaps(shape);
        let full = match content {
            Content::Publication(channel, one) if leaves => {
                let was_lost = outbox.gaps.has(channel);
                let put = put_or_lose(outbox, (channel, one, frame), slow);
                if put.is_err() && !was_lost && slow.policy != SlowClients::Disconnect {
                    self.lost.push((id, channel));
                }
                put.is_err()
            }
            Content::Publication(channel, one) => {
                let (conflated, put) = put_publication(outbox, shape, (channel, one, frame), slow);
                self.tally.conflated += conflated;
                put.is_err()
            }
            Content::Events | Content::Direct => {
                outbox.push(frame, None, slow.outbox_bytes).is_err()
            }
        };
        let after = outbox.bytes();
        self.note_outbox(slot, before, after);
        if !full {
            if !matches!(content, Content::Events) {
                self.tally.deliveries += 1;
                self.tally.bytes_out += bytes as u64;
            }
            return Queued::Waits;
        }
        if slow.policy == SlowClients::Disconnect {
            self.doom(slot, CloseReason::Slow);
            return Queued::Over;
        }
        self.tally.dropped += 1;
        Queued::Lost
    }

    /// Queues a frame of which the socket took `sent` bytes, unless all of it is on its way. Its
    /// client was not blocked before.
    pub(crate) fn begin_outbox(
        &mut self,
        slot: Slot,
        frame: Bytes,
        mark: Option<Mark>,
        sent: usize,
    ) {
        if sent < frame.len() {
            self.change_outbox(slot, |outbox| outbox.begin(frame, mark, sent));
        }
    }

    /// Queues a frame whatever waits already: a last word, or a page, of which the next is asked
    /// for when nothing waits.
    pub(crate) fn queue_always(&mut self, slot: Slot, frame: Bytes) {
        self.change_outbox(slot, |outbox| outbox.push_always(frame, None));
    }

    /// Sees to it that the client is served when its socket takes more.
    pub(crate) fn arm(&mut self, slot: Slot) {
        if self.roster.state(slot).is_any(Flags::BLOCKED) {
            self.flush(slot);
        }
    }

    /// A client is no member of a channel any more: what waits of that for it is overtaken by
    /// nothing, and it is not told of what it has lost. Returns that.
    pub(crate) fn detach_outbox(&mut self, slot: Slot, channel: ChannelIndex) -> Option<Gap> {
        let outbox = self.roster.get_mut(slot)?.outbox.as_mut()?;
        let gap = outbox.gaps.take(channel);
        outbox.detach(channel);
        gap
    }

    /// A client is a member of a channel again, of which it is still to be told something.
    pub(crate) fn restore_gap(&mut self, slot: Slot, channel: ChannelIndex, gap: &Gap) {
        if let Some(outbox) = self.roster.get_mut(slot).and_then(|one| one.outbox.as_mut()) {
            outbox.gaps.note(channel, &gap.name, gap.span);
        }
    }

    /// Sends what the outbox holds, as far as the socket takes it, and asks to be rung for the
    /// rest. A client that has taken all of it is told what it has lost.
    pub(crate) fn flush(&mut self, slot: Slot) {
        let now_ms = self.now.ms();
        let Hot { fd, shape, state, .. } = self.roster.hot(slot);
        let is_sealed = state.is_any(Flags::TLS);
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(mut outbox) = client.outbox.take() else { return };
        let before = outbox.bytes();
        let mut failed = loop {
            if outbox.is_empty() {
                let Some(Gap { name, span, .. }) = outbox.gaps.take_any() else { break false };
                let Some(frame) = gap_frame(shape, &name, span) else { continue };
                outbox.push_always(frame, None);
            }
            let sent = if is_sealed {
                self.send_waiting_sealed(slot, &mut outbox)
            } else {
                send_waiting::<N>(fd, &mut outbox, now_ms)
            };
            match sent {
                Sent::All | Sent::Part(1..) => {}
                Sent::Part(0) => break false,
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
        if hot.state.phase() == Phase::Lingering {
            return self.end_answer(slot);
        }
        let over = hot.state.is_any(Flags::OVER) && hot.state.is_closing();
        if over && !hot.state.is_any(Flags::BLOCKED) {
            self.send_farewell(slot);
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

/// Sends the beginning of an outbox as it is, as far as the socket takes it.
fn send_waiting<N: Net>(fd: RawFd, outbox: &mut Outbox, now_ms: u32) -> Sent {
    let sent = N::send_several(fd, outbox.slices());
    match sent {
        Sent::All => {
            let all = outbox.slices().take(SLICES_MAX).map(<[u8]>::len).sum();
            outbox.advance(all, now_ms);
        }
        Sent::Part(sent) => outbox.advance(sent, now_ms),
        Sent::Gone => {}
    }
    sent
}

/// Puts a publication into the outbox of a client that leaves its channel when one is lost: behind
/// a lost one it is told no other. It comes back for all of them, so none overtakes another.
fn put_or_lose(
    outbox: &mut Outbox,
    (channel, publication, frame): (ChannelIndex, &Publication, Bytes),
    slow: SlowRules,
) -> Result<(), Full> {
    let own = Mark::publication(channel, publication.offset);
    if !outbox.gaps.has(channel) && outbox.push(frame, Some(own), slow.outbox_bytes).is_ok() {
        return Ok(());
    }
    outbox.gaps.note(channel, &publication.channel, own.span);
    Err(Full)
}

/// Puts a publication into an outbox, behind the word of those of its channel that the client has
/// lost. Returns the number of those that it has overtaken.
fn put_publication(
    outbox: &mut Outbox,
    shape: Shape,
    (channel, publication, frame): (ChannelIndex, &Publication, Bytes),
    slow: SlowRules,
) -> (u64, Result<(), Full>) {
    let mut lost = outbox.gaps.take(channel).map(|gap| gap.span);
    let mut conflated = 0;
    if slow.policy == SlowClients::Conflate {
        let overtaken = outbox.overtake(channel);
        conflated = overtaken.publications;
        lost = overtaken.span.map(|span| span.with(lost)).or(lost);
    }
    let own = Mark::publication(channel, publication.offset);
    // A client of another dialect hears nothing but publications.
    let has_requests = Dialect::of(shape).0.has_requests();
    let lost = lost.filter(|_| has_requests);
    let gap = lost
        .and_then(|span| gap_frame(shape, &publication.channel, span).map(|frame| (frame, span)));
    let gap_bytes = gap.as_ref().map_or(0, |(frame, _)| frame.len() + FRAME_COST);
    if !outbox.has_room(gap_bytes + frame.len() + FRAME_COST, slow.outbox_bytes) {
        let span = own.span.with(lost);
        if has_requests && outbox.is_empty() {
            // Nothing waits whose leaving would be the moment to tell it.
            if let Some(frame) = gap_frame(shape, &publication.channel, span) {
                outbox.push_always(frame, Some(Mark { channel, span, is_gap: true }));
            }
        } else if has_requests {
            outbox.gaps.note(channel, &publication.channel, span);
        }
        return (conflated, Err(Full));
    }
    if let Some((frame, span)) = gap {
        outbox.push_always(frame, Some(Mark { channel, span, is_gap: true }));
    }
    outbox.push_always(frame, Some(own));
    (conflated, Ok(()))
}
