//! The frames that one client's socket has not taken yet: shared, bounded in bytes, with the time
//! at which the first one last moved.

use std::collections::VecDeque;

use bytes::Bytes;

use super::gaps::{Gaps, Span};
use super::id::ChannelIndex;

/// The cost of a queued frame beside its bytes, so that tiny frames cannot outgrow the bound.
pub(crate) const FRAME_COST: usize = size_of::<Queued>();

/// The offsets that a frame of a channel tells of. A newer publication of the channel may overtake
/// the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) channel: ChannelIndex,
    pub(crate) span: Span,
    /// The frame says that these publications were lost.
    pub(crate) is_gap: bool,
}

impl Mark {
    /// The mark of one publication.
    pub(crate) fn publication(channel: ChannelIndex, offset: u64) -> Self {
        Self { channel, span: Span::one(offset), is_gap: false }
    }
}

/// A frame in an outbox: of a channel, or without a mark an answer, a page, a pong or a close
/// frame.
#[derive(Debug)]
struct Queued {
    bytes: Bytes,
    mark: Option<Mark>,
}

/// The frames that a newer publication has overtaken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overtaken {
    /// The number of publications among them.
    pub(crate) publications: u64,
    /// The offsets of all of them, and of those that were lost between them.
    pub(crate) span: Option<Span>,
}

/// The outbox is full; the frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The rest of a record of TLS that the socket did not take whole: bytes of this client alone,
/// whose place in the order of its records is taken.
#[derive(Debug, Default)]
struct Sealed {
    bytes: Vec<u8>,
    sent: usize,
}

impl Sealed {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

/// One client's waiting frames, oldest first. The head may be sent in part.
///
/// A client that speaks TLS may have a sealed rest in front of them. The frames are sealed when
/// they leave: until then they are shared, and may be overtaken.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    sealed: Sealed,
    frames: VecDeque<Queued>,
    head_sent: usize,
    bytes: usize,
    moved_ms: u32,
    /// Frames since it was begun that were queued over its bound, and not by the client's own will.
    urgent: usize,
    /// Publications that found no room, and of which the client is not told yet.
    pub(crate) gaps: Gaps,
}

impl Outbox {
    pub(crate) fn new(now_ms: u32) -> Self {
        Self { moved_ms: now_ms, ..Self::default() }
    }

    /// Returns the number of bytes that count against its bound.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.sealed.bytes.is_empty()
    }

    /// When something last left it, or it was begun.
    pub(crate) fn moved_ms(&self) -> u32 {
        self.moved_ms
    }

    /// Leaves `ms` out of the time since it last moved.
    pub(crate) fn excuse(&mut self, ms: u32) {
        self.moved_ms = self.moved_ms.wrapping_add(ms);
    }

    /// Counts a frame that must be queued whatever waits. Returns the number of these so far.
    pub(crate) fn count_urgent(&mut self) -> usize {
        self.urgent += 1;
        self.urgent
    }

    /// Queues `frame` unless that would exceed `bytes_max`; never blocks.
    pub(crate) fn push(
        &mut self,
        frame: Bytes,
        mark: Option<Mark>,
        bytes_max: usize,
    ) -> Result<(), Full> {
        if !self.has_room(frame.len() + FRAME_COST, bytes_max) {
            return Err(Full);
        }
        self.push_always(frame, mark);
        Ok(())
    }

    /// Returns `true` if frames of so many bytes, with their costs, stay within `bytes_max`.
    pub(crate) fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.bytes + bytes <= bytes_max
    }

    /// Begins with a frame of which the socket took `sent` bytes: the rest must follow, whatever
    /// happens to others.
    pub(crate) fn begin(&mut self, frame: Bytes, mark: Option<Mark>, sent: usize) {
        debug_assert!(self.frames.is_empty(), "nothing is sent past what waits");
        self.head_sent = sent;
        self.push_always(frame, mark);
    }

    /// Queues sealed bytes, in front of all frames and behind those that are sealed already.
    pub(crate) fn push_sealed(&mut self, bytes: &[u8]) {
        self.sealed.bytes.extend_from_slice(bytes);
        self.bytes += bytes.len();
        self.check();
    }

    /// The sealed bytes that leave next.
    pub(crate) fn sealed(&self) -> &[u8] {
        self.sealed.rest()
    }

    /// Takes note that `sent` sealed bytes have left.
    pub(crate) fn advance_sealed(&mut self, sent: usize, now_ms: u32) {
        if sent > 0 {
            self.moved_ms = now_ms;
        }
        self.sealed.sent += sent;
        self.bytes -= sent;
        if self.sealed.rest().is_empty() {
            self.sealed = Sealed::default();
        }
        self.check();
    }

    /// Queues a last word, which may not be lost.
    pub(crate) fn push_always(&mut self, frame: Bytes, mark: Option<Mark>) {
        debug_assert!(!frame.is_empty(), "an empty frame never leaves");
        self.bytes += frame.len() + FRAME_COST;
        self.frames.push_back(Queued { bytes: frame, mark });
        self.check();
    }

    /// Forgets the whole frames of `channel` that wait behind the head.
    pub(crate) fn overtake(&mut self, channel: ChannelIndex) -> Overtaken {
        let keep = usize::from(self.head_sent > 0);
        let mut index = 0;
        let mut bytes = self.bytes;
        let mut overtaken = Overtaken::default();
        self.frames.retain(|queued| {
            index += 1;
            let mark = queued.mark.filter(|mark| index > keep && mark.channel == channel);
            let Some(Mark { span, is_gap, .. }) = mark else { return true };
            bytes -= queued.bytes.len() + FRAME_COST;
            overtaken.publications += u64::from(!is_gap);
            overtaken.span = Some(span.with(overtaken.span));
            false
        });
        self.bytes = bytes;
        self.check();
        overtaken
    }

    /// The client is no member of `channel` any more: its frames stay, and what follows under the
    /// same index is of another membership.
    pub(crate) fn detach(&mut self, channel: ChannelIndex) {
        self.gaps.take(channel);
        for queued in &mut self.frames {
            queued.mark = queued.mark.filter(|mark| mark.channel != channel);
        }
    }

    /// The client is in no channel any more.
    pub(crate) fn detach_from_all(&mut self) {
        self.gaps = Gaps::default();
        for queued in &mut self.frames {
            queued.mark = None;
        }
    }

    /// Forgets all frames that have not begun to leave, so that a close frame can follow at once.
    /// Returns their number. The head of an HTTP response stays: without it no client understands
    /// what follows.
    pub(crate) fn clear_behind_head(&mut self) -> u64 {
        let is_opening = |queued: &Queued| queued.bytes.starts_with(b"HTTP/");
        let keep = usize::from(self.head_sent > 0 || self.frames.front().is_some_and(is_opening));
        let lost = self.frames.len().saturating_sub(keep);
        self.frames.truncate(keep);
        let frames = self.frames.iter().map(|queued| queued.bytes.len() + FRAME_COST);
        self.bytes = self.sealed.rest().len() + frames.sum::<usize>();
        self.check();
        lost as u64
    }

    /// The next bytes to leave, frame by frame.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let head = std::iter::once(self.head_sent).chain(std::iter::repeat(0));
        self.frames.iter().zip(head).map(|(queued, sent)| &queued.bytes[sent..])
    }

    /// Takes note that `sent` bytes have left.
    pub(crate) fn advance(&mut self, mut sent: usize, now_ms: u32) {
        if sent > 0 {
            self.moved_ms = now_ms;
        }
        while let Some(head) = self.frames.front() {
            let left = head.bytes.len() - self.head_sent;
            if sent < left {
                self.head_sent += sent;
                return self.check();
            }
            sent -= left;
            self.bytes -= head.bytes.len() + FRAME_COST;
            self.head_sent = 0;
            self.frames.pop_front();
        }
        debug_assert_eq!(sent, 0, "more has left than was queued");
        self.check();
    }

    fn check(&self) {
        debug_assert_eq!(
            self.bytes,
            self.sealed.rest().len()
                + self.frames.iter().map(|queued| queued.bytes.len() + FRAME_COST).sum::<usize>()
        );
        debug_assert!(
            self.frames.front().map_or(self.head_sent == 0, |q| self.head_sent < q.bytes.len())
        );
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
