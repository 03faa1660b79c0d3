//! Encode: a tick becomes frames, once for each form that its channel has here, compressed for
//! those who read it so.
//!
//! A window is what the compressed publications of a channel reach back into. Its members have had
//! all of it and nothing else that was compressed. Others are told in the clear until the window
//! begins anew, with nothing in it.

use std::sync::Arc;

use crate::client::Clients;
use crate::client::state::Flags;
use crate::model::channel::Channel;
use crate::model::id::{ChannelIndex, Slot};
use crate::model::message::{Publication, Publications};
use crate::model::shape::{Form, Window};
use crate::net::Net;
use crate::rules::Compression;
use crate::shard::Shard;
use crate::stage::batch::{FanOut, Frames, Tick};
use crate::wire::window::Part;

/// From such clients some publications may be withheld.
pub(super) const WITHHELD: Flags = Flags::NO_ECHO.union(Flags::EXCEPTED);

/// Compression is for so many clients of a form at least: the fewer share it, the more it costs
/// each of them.
const DEFLATED_MEMBERS_MIN: usize = if cfg!(any(test, fuzzing)) { 1 } else { 4 };

impl<N: Net> Shard<N> {
    /// Encodes the open tick of a channel once for each form that it has here.
    pub(crate) fn encode(&mut self, fan: &mut FanOut, index: ChannelIndex) {
        let channel = self.rooms.channels.at(index);
        channel.tick_bytes = 0;
        let slow = self.clients.config.slow_rules(&channel.terms.rules);
        let compression = self.clients.config.compression_of(&channel.terms.rules);
        let (publications, epoch) = (std::mem::take(&mut channel.tick), channel.told_epoch());
        self.clients.note_excepted(&publications, &mut fan.excepted);
        let channel = self.rooms.channels.get(index);
        if compression == Compression::Shared {
            fan.open_windows(index, channel, self.clients.now.ms());
        }
        let first = fan.frames.len();
        let before = channel.previous.as_deref();
        for (form, members) in channel.members.groups() {
            if let Some(twin) = fan.find_twin(form, first) {
                fan.share_frames(form, twin);
                continue;
            }
            let each = Publications::all(&publications).numbered(epoch).behind(before);
            fan.encode(form, slow, each);
            if compression != Compression::Off {
                fan.deflate(index, members.len());
            }
        }
        fan.opened.clear();
        fan.ticks.push(Tick { channel: index, publications, frames: first..fan.frames.len() });
    }
}

impl<N: Net> Clients<N> {
    /// Marks the clients that some publications except, for as long as their tick is sent.
    fn note_excepted(&mut self, publications: &[Arc<Publication>], excepted: &mut Vec<Slot>) {
        for except in publications.iter().filter_map(|publication| publication.except()) {
            let is_here = except.run == self.run() && except.client.shard == self.roster.me;
            let slot = is_here.then(|| self.listener(except.client)).flatten();
            // Only clients of apps: those of other dialects follow each publication.
            let slot = slot.filter(|slot| self.app(*slot).is_some());
            if let Some(slot) = slot.filter(|slot| !self.roster.state(*slot).is_any(WITHHELD)) {
                self.roster.state_mut(slot).set_excepted(true);
                excepted.push(slot);
            }
        }
    }
}

impl FanOut {
    /// Prepares the windows of a channel for its tick.
    fn open_windows(&mut self, index: ChannelIndex, channel: &Channel, now_ms: u32) {
        for (form, _) in channel.members.groups() {
            let shape = form.shape;
            if form.window == Window::Off || self.opened.iter().any(|(known, _)| *known == shape) {
                continue;
            }
            let count = |window| channel.members.count(form.in_window(window));
            let (within, apart) = (count(Window::Within), count(Window::Apart));
            if within + apart < DEFLATED_MEMBERS_MIN {
                continue;
            }
            let part = Part { channel: index, shape, within, apart };
            if let Some(begins) = self.windows.open(part, now_ms) {
                self.opened.push((shape, begins));
                if begins {
                    self.begun.push((index, shape));
                }
            }
        }
    }

    /// Returns the place of frames, of those from `first` on, which members of another form share:
    /// all members for a window hear its beginning.
    fn find_twin(&self, form: Form, first: usize) -> Option<usize> {
        if form.window == Window::Off || !self.opened.contains(&(form.shape, true)) {
            return None;
        }
        let is_twin = |one: &Frames| one.form.shape == form.shape && one.plain.is_some();
        self.frames[first..].iter().position(is_twin).map(|place| first + place)
    }

    /// Compresses the latest frames, which so many members of a channel share.
    fn deflate(&mut self, index: ChannelIndex, members: usize) {
        let Some(Form { shape, window, .. }) = self.frames.last().map(|frames| frames.form) else {
            return;
        };
        let opened = self.opened.iter().find(|(known, _)| *known == shape);
        match (opened, window) {
            (Some(_), Window::Within) | (Some((_, true)), Window::Apart) => {
                self.deflate_latest_within(index);
            }
            // It is told in the clear until then: few clients are, and not for long.
            (Some((_, false)), Window::Apart) => {}
            _ if members < DEFLATED_MEMBERS_MIN => {}
            _ => {
                if window != Window::Off {
                    self.windows.close(index, shape);
                }
                self.deflate_latest();
            }
        }
    }
}
