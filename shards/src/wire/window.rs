//! Windows: compressors of busy channels, whose publications are compressed by those before them.
//!
//! All clients that read what a window has compressed have had everything that is in it, and
//! nothing else that was compressed: so one compressor serves them all.

use bytes::BytesMut;
use flate2::{Compress, Compression};

use super::deflate::Deflater;
use crate::model::id::ChannelIndex;
use crate::model::shape::Shape;

/// The most windows of a shard. Each takes about 0.35 MB.
const WINDOWS_MAX: usize = if cfg!(any(test, fuzzing)) { 2 } else { 16 };

/// A window that was not used for so long gives way to another one.
const UNUSED_MS: u32 = 1000;

/// A window begins anew for those who wait when so many messages have passed.
const MESSAGES_MIN: u32 = if cfg!(any(test, fuzzing)) { 5 } else { 100 };

/// The compressor of one channel in one shape.
#[derive(Debug)]
struct Window {
    channel: ChannelIndex,
    shape: Shape,
    compress: Compress,
    /// The messages that it has compressed since it began.
    messages: u32,
    used_ms: u32,
}

/// The members of a channel in one shape that take part in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) channel: ChannelIndex,
    pub(crate) shape: Shape,
    /// Those that have heard all that is in the window.
    pub(crate) within: usize,
    /// Those that wait for it to begin anew.
    pub(crate) apart: usize,
}

/// All windows of a shard.
#[derive(Debug, Default)]
pub(crate) struct Windows(Vec<Window>);

impl Windows {
    /// Prepares the window for the next messages. Returns `true` if it begins anew with them, so
    /// that all members may read them, and `None` if there is no room for it.
    pub(crate) fn open(&mut self, part: Part, now_ms: u32) -> Option<bool> {
        let known = self.find(part.channel, part.shape);
        let place = match known {
            Some(place) => place,
            None => self.make(part, now_ms)?,
        };
        let window = &mut self.0[place];
        window.used_ms = now_ms;
        let begins = known.is_none()
            || part.within == 0
            || part.apart > 0 && window.messages >= MESSAGES_MIN;
        if begins {
            window.compress.reset();
            window.messages = 0;
        }
        Some(begins)
    }

    /// Forgets the window of a channel: its members have been told something else that was
    /// compressed, or may be.
    pub(crate) fn close(&mut self, channel: ChannelIndex, shape: Shape) {
        self.0.retain(|window| (window.channel, window.shape) != (channel, shape));
    }

    /// Appends some whole frames to `out`, with their messages compressed in the window, as far as
    /// that is worth it, and puts the new end of each into `ends`.
    pub(crate) fn press_frames(
        &mut self,
        (channel, shape): (ChannelIndex, Shape),
        deflater: &mut Deflater,
        frames: (&[u8], &mut [usize]),
        out: &mut BytesMut,
    ) {
        let place = self.find(channel, shape);
        let Some(window) = place.and_then(|place| self.0.get_mut(place)) else {
            return out.extend_from_slice(frames.0);
        };
        window.messages += deflater.press_within(&mut window.compress, frames, out);
    }

    fn find(&self, channel: ChannelIndex, shape: Shape) -> Option<usize> {
        self.0.iter().position(|window| (window.channel, window.shape) == (channel, shape))
    }

    /// Makes a window, if there is room or one that nobody uses.
    fn make(&mut self, part: Part, now_ms: u32) -> Option<usize> {
        let Part { channel, shape, .. } = part;
        if self.0.len() < WINDOWS_MAX {
            let compress = Compress::new(Compression::fast(), false);
            self.0.push(Window { channel, shape, compress, messages: 0, used_ms: now_ms });
            return Some(self.0.len() - 1);
        }
        let unused_ms = |window: &Window| now_ms.wrapping_sub(window.used_ms);
        let (place, oldest) =
            self.0.iter_mut().enumerate().max_by_key(|(_, window)| unused_ms(window))?;
        if unused_ms(oldest) < UNUSED_MS {
            return None;
        }
        (oldest.channel, oldest.shape) = (channel, shape);
        Some(place)
    }
}
