//! Batch: the frames of a turn's ticks side by side in one buffer, once for each shape, and the
//! memory for that, which serves every turn again.

use std::cell::OnceCell;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::model::id::{ChannelIndex, ClientId, Slot};
use crate::model::message::{Publication, Publications};
use crate::model::shape::Shape;
use crate::rules::SlowRules;
use crate::stage::flush::Content;
use crate::wire::dialect::Dialect;

/// A buffer that has grown beyond this is given back after the fan-out that needed it.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The entries of each list that are kept then.
const LISTS_KEPT: usize = 4096;

/// The frames of a tick in one shape, side by side in the fan-out's buffer.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) shape: Shape,
    /// The policy for a client that is too slow for them.
    pub(super) slow: SlowRules,
    pub(super) bytes: Range<usize>,
    /// The place of their ends in the list of ends. An end counts from the buffer's start.
    pub(super) ends: Range<usize>,
    /// The frames for clients that wait for them, made when the first one must.
    pub(super) kept: OnceCell<Vec<Bytes>>,
}

/// One channel's tick on its way.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) channel: ChannelIndex,
    pub(super) publications: Vec<Arc<Publication>>,
    /// The place of its frames in the list of frames, one for each shape.
    pub(super) frames: Range<usize>,
}

/// A client that is sent its ticks after the walk over all members, and one of these ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Several {
    pub(super) slot: Slot,
    pub(super) tick: usize,
}

/// The fan-out's memory, which serves every turn again: no tick allocates anything.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    pub(super) buffer: BytesMut,
    pub(super) ends: Vec<usize>,
    pub(super) frames: Vec<Frames>,
    pub(super) ticks: Vec<Tick>,
    pub(super) several: Vec<Several>,
    pub(super) shares: Vec<Share>,
}

/// Frames of a channel for one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// The place of its tick; `None` for a direct message.
    pub(super) tick: Option<usize>,
    /// The place in the list of frames.
    pub(super) frames: usize,
}

impl FanOut {
    /// Encodes publications in a shape. Returns the place of their frames.
    pub(super) fn encode(
        &mut self,
        shape: Shape,
        slow: SlowRules,
        publications: Publications<'_>,
    ) -> usize {
        let (begin, first) = (self.buffer.len(), self.ends.len());
        Dialect::write_publications(shape, &mut self.buffer, &mut self.ends, publications);
        self.frames.push(Frames {
            shape,
            slow,
            bytes: begin..self.buffer.len(),
            ends: first..self.ends.len(),
            kept: OnceCell::new(),
        });
        self.frames.len() - 1
    }

    /// Takes back what the latest call of [`encode`](Self::encode) wrote.
    pub(super) fn forget_latest(&mut self) {
        if let Some(frames) = self.frames.pop() {
            self.buffer.truncate(frames.bytes.start);
            self.ends.truncate(frames.ends.start);
        }
    }

    /// The share of a client of `shape` in the tick at a place.
    pub(super) fn share(&self, at: usize, shape: Shape) -> Share {
        let tick = &self.ticks[at];
        let place = self.frames[tick.frames.clone()].iter().position(|of| of.shape == shape);
        let place = place.expect("each shape here is encoded");
        Share { tick: Some(at), frames: tick.frames.start + place }
    }

    pub(super) fn bytes(&self, frames: &Frames) -> &[u8] {
        &self.buffer[frames.bytes.clone()]
    }

    /// The bytes of a share.
    pub(super) fn bytes_of(&self, share: Share) -> &[u8] {
        self.bytes(&self.frames[share.frames])
    }

    /// The number of frames in some shares.
    pub(super) fn count(&self, shares: &[Share]) -> u64 {
        shares.iter().map(|share| self.frames[share.frames].ends.len() as u64).sum()
    }

    /// The contents of the frames of a share; where texts are joined, of as many as there are.
    /// `client` does not want its own words back.
    pub(super) fn contents(
        &self,
        share: Share,
        client: Option<ClientId>,
    ) -> impl Iterator<Item = Content<'_>> {
        let tick = share.tick.map(|tick| &self.ticks[tick]);
        let said = tick.map_or(&[][..], |tick| &tick.publications);
        let mut said = Publications::without_own(said, client);
        iter::from_fn(move || match tick {
            None => Some(Content::Direct),
            Some(tick) => said.next().map(|one| Content::Publication(tick.channel, one)),
        })
    }

    /// The frames one by one, shared by all clients that wait, each with memory of its own: a small
    /// one that waits for long must not keep all that was written beside it.
    pub(super) fn each<'a>(&self, frames: &'a Frames) -> &'a [Bytes] {
        frames.kept.get_or_init(|| {
            let mut start = frames.bytes.start;
            let frame = |&end: &usize| {
                let frame = Bytes::copy_from_slice(&self.buffer[start..end]);
                start = end;
                frame
            };
            self.ends[frames.ends.clone()].iter().map(frame).collect()
        })
    }

    pub(super) fn clear(&mut self) {
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = BytesMut::new();
            self.ends.shrink_to(LISTS_KEPT);
            self.frames.shrink_to(LISTS_KEPT);
            self.ticks.shrink_to(LISTS_KEPT);
            self.several.shrink_to(LISTS_KEPT);
            self.shares.shrink_to(LISTS_KEPT);
        }
        self.buffer.clear();
        self.ends.clear();
        self.frames.clear();
    }
}
