//! Batch: the frames of a turn's ticks side by side in one buffer, once for each form, and the
//! memory for that, which serves every turn again.

use std::cell::OnceCell;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::{Publication, Publications};
use crate::model::shape::{Chain, Form, Shape};
use crate::model::socket::SocketId;
use crate::rules::SlowRules;
use crate::stage::flush::Content;
use crate::wire::deflate::Deflater;
use crate::wire::dialect::Dialect;
use crate::wire::transport::Transport;
use crate::wire::window::Windows;

/// A buffer that has grown beyond this is given back after the fan-out that needed it.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The entries of each list that are kept then.
const LISTS_KEPT: usize = 4096;

/// The frames of a tick in one form, side by side in the fan-out's buffer.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) form: Form,
    /// The policy for a client that is too slow for them.
    pub(super) slow: SlowRules,
    pub(super) bytes: Range<usize>,
    /// The place of their ends in the list of ends. An end counts from the buffer's start.
    pub(super) ends: Range<usize>,
    /// The frames for clients that wait for them, made when the first one must.
    pub(super) kept: OnceCell<Vec<Bytes>>,
    /// In a chain or a window, frames that need none before them, for clients that may lose some.
    pub(super) whole: OnceCell<Vec<Bytes>>,
    /// They are compressed in a window: these are the places, in the list of plain bytes and of
    /// their ends, of the same frames as they were.
    pub(super) plain: Option<(Range<usize>, Range<usize>)>,
}

/// One channel's tick on its way.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) channel: ChannelIndex,
    pub(super) publications: Vec<Arc<Publication>>,
    /// The place of its frames in the list of frames, one for each form.
    pub(super) frames: Range<usize>,
}

/// A client that is sent its ticks after the walk over all members, and one of these ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Several {
    pub(super) slot: Slot,
    pub(super) tick: usize,
    /// The place of its frames in the list of frames.
    pub(super) frames: usize,
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
    /// Clients from which something of these ticks is withheld, beside their own words.
    pub(super) excepted: Vec<Slot>,
    pub(super) deflater: Deflater,
    pub(super) windows: Windows,
    /// Windows that have begun with these ticks: all members for them are within from here on.
    pub(super) begun: Vec<(ChannelIndex, Shape)>,
    /// The shapes that have a window for the tick which is being encoded; `true` if it begins anew.
    pub(super) opened: Vec<(Shape, bool)>,
    /// Frames in windows as they were before they were compressed, and the end of each.
    plain: Vec<u8>,
    plain_ends: Vec<usize>,
    /// Room for compressed frames.
    deflated: BytesMut,
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
    /// Encodes publications in a form. Returns the place of their frames.
    pub(super) fn encode(
        &mut self,
        form: Form,
        slow: SlowRules,
        publications: Publications<'_>,
    ) -> usize {
        let (begin, first) = (self.buffer.len(), self.ends.len());
        Dialect::write_publications(form, &mut self.buffer, &mut self.ends, publications);
        self.frames.push(Frames {
            form,
            slow,
            bytes: begin..self.buffer.len(),
            ends: first..self.ends.len(),
            kept: OnceCell::new(),
            whole: OnceCell::new(),
            plain: None,
        });
        self.frames.len() - 1
    }

    /// Compresses the frames that the latest call of [`encode`](Self::encode) wrote, where that
    /// makes them shorter and their clients can read it.
    pub(super) fn deflate_latest(&mut self) {
        let Some(frames) = self.frames.last_mut() else { return };
        let transport = Transport::of(frames.form.shape);
        let bytes_max = transport.pressed_bytes_max();
        if bytes_max.is_none() && !transport.is_zipped() {
            return;
        }
        let (begin, ends) = (frames.bytes.start, &mut self.ends[frames.ends.clone()]);
        for end in ends.iter_mut() {
            *end -= begin;
        }
        self.deflated.clear();
        let (plain, out) = (&self.buffer[begin..], &mut self.deflated);
        match bytes_max {
            Some(bytes_max) => self.deflater.press_frames(plain, ends, out, bytes_max),
            None => self.deflater.zip_frames((plain, ends), transport.is_chunked(), out),
        }
        for end in ends.iter_mut() {
            *end += begin;
        }
        self.buffer.truncate(begin);
        self.buffer.extend_from_slice(&self.deflated);
        frames.bytes.end = self.buffer.len();
    }

    /// Compresses the frames that the latest call of [`encode`](Self::encode) wrote in the window
    /// of a channel.
    pub(super) fn deflate_latest_within(&mut self, channel: ChannelIndex) {
        let Some(frames) = self.frames.last_mut() else { return };
        let (begin, ends) = (frames.bytes.start, &mut self.ends[frames.ends.clone()]);
        let (plain_begin, first) = (self.plain.len(), self.plain_ends.len());
        self.plain.extend_from_slice(&self.buffer[begin..]);
        for end in ends.iter_mut() {
            *end -= begin;
        }
        self.plain_ends.extend(ends.iter().map(|end| *end + plain_begin));
        self.deflated.clear();
        let key = (channel, frames.form.shape);
        let plain = (&self.plain[plain_begin..], &mut *ends);
        self.windows.press_frames(key, &mut self.deflater, plain, &mut self.deflated);
        for end in ends.iter_mut() {
            *end += begin;
        }
        self.buffer.truncate(begin);
        self.buffer.extend_from_slice(&self.deflated);
        frames.bytes.end = self.buffer.len();
        frames.plain = Some((plain_begin..self.plain.len(), first..self.plain_ends.len()));
    }

    /// Lets members of another form have the frames at a place as well.
    pub(super) fn share_frames(&mut self, form: Form, place: usize) {
        let Frames { slow, bytes, ends, plain, .. } = &self.frames[place];
        let twin = Frames {
            form,
            slow: *slow,
            bytes: bytes.clone(),
            ends: ends.clone(),
            kept: OnceCell::new(),
            whole: OnceCell::new(),
            plain: plain.clone(),
        };
        self.frames.push(twin);
    }

    /// The share of a noted client.
    pub(super) fn share(noted: Several) -> Share {
        Share { tick: Some(noted.tick), frames: noted.frames }
    }

    /// Takes back what the latest call of [`encode`](Self::encode) wrote.
    pub(super) fn forget_latest(&mut self) {
        if let Some(frames) = self.frames.pop() {
            self.buffer.truncate(frames.bytes.start);
            self.ends.truncate(frames.ends.start);
        }
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
    /// Some are withheld from `client`, if there is one.
    pub(super) fn contents(
        &self,
        share: Share,
        client: Option<SocketId>,
    ) -> impl Iterator<Item = Content<'_>> {
        let tick = share.tick.map(|tick| &self.ticks[tick]);
        let said = tick.map_or(&[][..], |tick| &tick.publications);
        let mut said = Publications::heard_by(said, client);
        iter::from_fn(move || match tick {
            None => Some(Content::Direct),
            Some(tick) => said.next().map(|one| Content::Publication(tick.channel, one)),
        })
    }

    /// The frames of a share in a chain or a window one by one, none of which needs one before it.
    pub(super) fn whole(&self, share: Share) -> &[Bytes] {
        let frames = &self.frames[share.frames];
        frames.whole.get_or_init(|| {
            if let Some((bytes, ends)) = &frames.plain {
                return apart(&self.plain, bytes.start, &self.plain_ends[ends.clone()]);
            }
            let publications = share.tick.map_or(&[][..], |tick| &self.ticks[tick].publications);
            let form = frames.form.at(Chain::Whole);
            let (mut buffer, mut ends) = (BytesMut::new(), Vec::new());
            let mut frame = |publication| {
                let one = Publications::all(std::slice::from_ref(publication));
                Dialect::write_publications(form, &mut buffer, &mut ends, one);
                buffer.split().freeze()
            };
            publications.iter().map(&mut frame).collect()
        })
    }

    /// The frames one by one, shared by all clients that wait, each with memory of its own: a small
    /// one that waits for long must not keep all that was written beside it.
    pub(super) fn each<'a>(&self, frames: &'a Frames) -> &'a [Bytes] {
        frames.kept.get_or_init(|| {
            apart(&self.buffer, frames.bytes.start, &self.ends[frames.ends.clone()])
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
            self.begun.shrink_to(LISTS_KEPT);
            self.plain = Vec::new();
            self.plain_ends.shrink_to(LISTS_KEPT);
            self.deflated = BytesMut::new();
            self.deflater.shed();
        }
        self.buffer.clear();
        self.ends.clear();
        self.frames.clear();
        self.plain.clear();
        self.plain_ends.clear();
    }
}

/// Returns the parts of a buffer up to each end, with memory of their own.
fn apart(buffer: &[u8], mut start: usize, ends: &[usize]) -> Vec<Bytes> {
    let part = |&end: &usize| {
        let part = Bytes::copy_from_slice(&buffer[start..end]);
        start = end;
        part
    };
    ends.iter().map(part).collect()
}
