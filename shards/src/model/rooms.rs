//! The channels of a shard, and the ticks that are open in them.

use std::sync::Arc;

use super::attendance::Returns;
use super::channel::Channels;
use super::id::ChannelIndex;
use super::keepers::Keepers;
use super::message::{Epoch, Publication};
use crate::rules::Rules;

/// A tick is fanned out when a channel's publications reach this: joining costs little up to here,
/// and more beyond.
const TICK_BYTES_MAX: usize = 16 << 10;

/// The ticks of all channels are fanned out when they reach this together: all of them are encoded
/// before the first of them leaves.
const OPEN_BYTES_MAX: usize = 256 << 10;

/// All channels that a shard knows, and what is to be done about them in this turn.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) channels: Channels,
    /// Channels with an open tick.
    dirty: Vec<ChannelIndex>,
    tick_is_full: bool,
    /// Bytes of bodies and details in the open ticks of all channels.
    open_bytes: usize,
    /// Channels that may have lost their last member here.
    emptied: Vec<ChannelIndex>,
    /// Users that may return to channels of this home, and counts to be told.
    pub(crate) returns: Returns,
    /// The channels that keep publications.
    pub(super) keepers: Keepers,
}

impl Rooms {
    /// Rooms for so many channels, under some rules. Their histories take `history_bytes` of memory
    /// together at most.
    pub(crate) fn new(
        channels_max: usize,
        epoch: Epoch,
        rules: Arc<Rules>,
        history_bytes: usize,
    ) -> Self {
        Self {
            channels: Channels::new(channels_max, epoch, rules),
            dirty: Vec::new(),
            tick_is_full: false,
            open_bytes: 0,
            emptied: Vec::new(),
            returns: Returns::default(),
            keepers: Keepers::new(history_bytes),
        }
    }

    /// Puts a numbered publication into the open tick of its channel here.
    pub(crate) fn add_to_tick(&mut self, index: ChannelIndex, publication: Arc<Publication>) {
        let channel = self.channels.at(index);
        debug_assert!(
            channel.tick.last().is_none_or(|last| last.offset < publication.offset),
            "the home's order must arrive as it is"
        );
        if channel.tick.is_empty() {
            self.dirty.push(index);
        }
        let bytes = publication.bytes();
        channel.tick_bytes += bytes;
        channel.tick.push(publication);
        self.open_bytes += bytes;
        self.tick_is_full |=
            channel.tick_bytes >= TICK_BYTES_MAX || self.open_bytes >= OPEN_BYTES_MAX;
    }

    /// Returns `true` if a tick has grown so far that it should leave at once.
    pub(crate) fn tick_is_full(&self) -> bool {
        self.tick_is_full
    }

    /// Takes the channels with an open tick.
    pub(crate) fn take_dirty(&mut self) -> Vec<ChannelIndex> {
        self.tick_is_full = false;
        self.open_bytes = 0;
        std::mem::take(&mut self.dirty)
    }

    /// Hands the list of [`take_dirty`](Self::take_dirty) back, for its memory.
    pub(crate) fn reuse_dirty(&mut self, mut list: Vec<ChannelIndex>) {
        if self.dirty.is_empty() {
            list.clear();
            self.dirty = list;
        }
    }

    /// Takes note that a channel may have lost its last member here.
    pub(crate) fn note_emptied(&mut self, index: ChannelIndex) {
        self.emptied.push(index);
    }

    /// Takes the channels that may have lost their last member.
    pub(crate) fn take_emptied(&mut self) -> Vec<ChannelIndex> {
        std::mem::take(&mut self.emptied)
    }
}
