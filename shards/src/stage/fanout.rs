//! Stage 5: a tick's frames are encoded once for each kind of member and leave in one send per
//! client.

use std::cell::OnceCell;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::client::roster::{BLOCKED, Hot, JOINED, JSON, MANY, NO_ECHO, OPEN};
use crate::clock::Now;
use crate::close::CloseReason;
use crate::model::channel::Kind;
use crate::model::message::{Payload, Publication};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::frame::{HEADER_MAX, Opcode, put_frame, put_header};
use crate::wire::stentor::read::{self as json, BodyRef, MessageParts};

/// The most ticks that leave in one send: the kernel takes 1,024 slices.
const SHARES_PER_SEND: usize = 1024;

/// The frames of a tick for one kind of member, side by side.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Bytes,
    /// Where each frame ends.
    ends: Vec<usize>,
    /// The frames for those who wait for them, made when the first one must.
    kept: OnceCell<Vec<Bytes>>,
}

impl Frames {
    fn new(bytes: Bytes, ends: Vec<usize>) -> Self {
        Self { bytes, ends, kept: OnceCell::new() }
    }

    /// The frames one by one, shared by all who wait, each with memory of its own: a small one that
    /// waits for long must not keep all that was written beside it.
    fn each(&self) -> &[Bytes] {
        self.kept.get_or_init(|| {
            let mut start = 0;
            let frame = |&end: &usize| {
                let frame = Bytes::copy_from_slice(&self.bytes[start..end]);
                start = end;
                frame
            };
            self.ends.iter().map(frame).collect()
        })
    }
}

/// One channel's tick, ready for the wire.
#[derive(Debug)]
pub(crate) struct Encoded {
    channel: u32,
    publications: Vec<Arc<Publication>>,
    frames: [Frames; Kind::COUNT],
}

/// Which frames of which tick a client gets, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Share<'a> {
    channel: u32,
    frames: &'a Frames,
}

impl<N: Net> Shard<N> {
    /// Sends the open ticks of all channels. Does not wait for any client.
    pub(crate) fn fan_out(&mut self) {
        self.tick_is_full = false;
        // Other shards go to work on what was sent to them while this one is busy.
        self.port.ring();
        if self.dirty.is_empty() {
            return;
        }
        let mut encoded = std::mem::take(&mut self.encoded);
        for index in std::mem::take(&mut self.dirty) {
            encoded.push(self.encode(index));
        }
        let one = encoded.len() == 1;
        for (place, tick) in encoded.iter().enumerate() {
            self.fan_out_tick(tick, u32::try_from(place).unwrap_or(u32::MAX), one);
        }
        self.fan_out_to_several(&encoded);
        self.settle(&mut encoded);
        self.encoded = encoded;
    }

    /// Sends one channel's tick to its members. Members of several channels are noted for later if
    /// there are more ticks.
    fn fan_out_tick(&mut self, tick: &Encoded, place: u32, one: bool) {
        let special = OPEN | BLOCKED | NO_ECHO | JSON | JOINED | if one { 0 } else { MANY };
        let plain = &tick.frames[Kind::Plain.index()];
        let frames_each = plain.ends.len() as u64;
        // No member comes or goes meanwhile: accepted connections wait for the next turn, and who
        // must go is only marked.
        let members = std::mem::take(&mut self.channels.at(tick.channel).members);
        for &slot in &members {
            let hot = self.roster.hot(slot);
            if hot.flags & special == OPEN {
                match N::send(hot.fd, &plain.bytes) {
                    Ok(sent) if sent == plain.bytes.len() => {
                        self.tally.sends += 1;
                        self.tally.deliveries += frames_each;
                        self.tally.bytes_out += sent as u64;
                    }
                    Ok(sent) => {
                        let share = Share { channel: tick.channel, frames: plain };
                        self.put_rest(slot, &[share], sent);
                    }
                    Err(_) => self.doom(slot, CloseReason::Gone),
                }
            } else if !one && hot.is(MANY) {
                self.several.push((slot, place));
            } else if hot.is(OPEN) {
                self.send_special(slot, hot, tick);
            }
        }
        self.channels.at(tick.channel).members = members;
    }

    /// Sends to a client that is blocked, excluded from some frames, or of another kind than plain.
    fn send_special(&mut self, slot: u32, hot: Hot, tick: &Encoded) {
        if hot.is(NO_ECHO) {
            let id = self.roster.id(slot);
            if tick.publications.iter().any(|publication| publication.is_from(id)) {
                let others = self.encode_without(tick, hot.kind(), id);
                let share = Share { channel: tick.channel, frames: &others };
                return self.send_shares(slot, &[share]);
            }
        }
        let frames = &tick.frames[hot.kind().index()];
        self.send_shares(slot, &[Share { channel: tick.channel, frames }]);
    }

    /// Sends the noted members of several channels everything of this turn at once.
    fn fan_out_to_several(&mut self, encoded: &[Encoded]) {
        let mut several = std::mem::take(&mut self.several);
        several.sort_unstable();
        for group in several.chunk_by(|a, b| a.0 == b.0) {
            let slot = group[0].0;
            let hot = self.roster.hot(slot);
            if !hot.is(OPEN) {
                continue;
            }
            if hot.is(NO_ECHO) {
                for &(_, place) in group {
                    self.send_special(slot, self.roster.hot(slot), &encoded[place as usize]);
                }
                continue;
            }
            let shares: Vec<Share<'_>> = group
                .iter()
                .map(|&(_, place)| &encoded[place as usize])
                .map(|tick| Share {
                    channel: tick.channel,
                    frames: &tick.frames[hot.kind().index()],
                })
                .collect();
            self.send_shares(slot, &shares);
        }
        several.clear();
        self.several = several;
    }

    fn send_shares(&mut self, slot: u32, shares: &[Share<'_>]) {
        let hot = self.roster.hot(slot);
        if hot.is(BLOCKED) {
            return self.put_rest(slot, shares, 0);
        }
        let total: usize = shares.iter().map(|share| share.frames.bytes.len()).sum();
        if total == 0 {
            return;
        }
        let sent = if let [share] = shares {
            N::send(hot.fd, &share.frames.bytes)
        } else {
            // What is beyond the kernel's bound waits as if the socket had not taken it.
            let some = shares.iter().take(SHARES_PER_SEND);
            let slices: Vec<IoSlice<'_>> =
                some.map(|share| IoSlice::new(&share.frames.bytes)).collect();
            N::send_vectored(hot.fd, &slices)
        };
        match sent {
            Ok(sent) if sent == total => {
                self.tally.sends += 1;
                self.tally.bytes_out += sent as u64;
                self.tally.deliveries +=
                    shares.iter().map(|share| share.frames.ends.len() as u64).sum::<u64>();
            }
            Ok(sent) => self.put_rest(slot, shares, sent),
            Err(_) => self.doom(slot, CloseReason::Gone),
        }
    }

    /// Puts what a socket did not take into the client's outbox: behind `sent` bytes, frame by
    /// frame.
    fn put_rest(&mut self, slot: u32, shares: &[Share<'_>], mut sent: usize) {
        self.tally.bytes_out += sent as u64;
        for share in shares {
            for frame in share.frames.each() {
                if sent >= frame.len() {
                    sent -= frame.len();
                    self.tally.deliveries += 1;
                    continue;
                }
                let begun = std::mem::take(&mut sent);
                if begun > 0 {
                    self.tally.deliveries += 1;
                    self.begin_outbox(slot, frame.clone(), share.channel, begun);
                } else if !self.queue(slot, frame.clone(), share.channel) {
                    // It is to be closed: the rest is for nobody.
                    return;
                }
            }
        }
        self.arm(slot);
    }

    /// Closes the books on what was fanned out.
    fn settle(&mut self, encoded: &mut Vec<Encoded>) {
        let done = Now::read();
        for tick in encoded.drain(..) {
            self.tally.ticks += 1;
            self.tally.tick_publications += tick.publications.len() as u64;
            let channel = self.channels.at(tick.channel);
            if let Some(last) = tick.publications.last() {
                channel.fanned = last.offset;
            }
            for publication in &tick.publications {
                let us = done.ns.saturating_sub(publication.ingress_ns) / 1000;
                self.tally.latency.saturating_record(us);
            }
            // Its room serves the next tick.
            let mut room = tick.publications;
            room.clear();
            if channel.tick.is_empty() && channel.tick.capacity() == 0 {
                channel.tick = room;
            }
            if channel.members.is_empty() {
                self.emptied.push(tick.channel);
            }
        }
    }

    /// Encodes the open tick of a channel once for each kind of member that it has here.
    fn encode(&mut self, index: u32) -> Encoded {
        let channel = self.channels.at(index);
        channel.tick_bytes = 0;
        let publications = std::mem::take(&mut channel.tick);
        let kinds = channel.kinds;
        let mut frames: [Frames; Kind::COUNT] = Default::default();
        for kind in [Kind::Plain, Kind::Joined, Kind::Json] {
            if kinds[kind.index()] > 0 {
                let all = publications.iter().map(AsRef::as_ref);
                frames[kind.index()] = encode_frames(&mut self.scratch, all, kind);
            }
        }
        Encoded { channel: index, publications, frames }
    }

    /// Encodes a tick for the one client that does not want its own words back.
    fn encode_without(
        &mut self,
        tick: &Encoded,
        kind: Kind,
        client: crate::model::id::ClientId,
    ) -> Frames {
        let others =
            tick.publications.iter().map(AsRef::as_ref).filter(|other| !other.is_from(client));
        encode_frames(&mut self.scratch, others, kind)
    }

    /// Sends a direct message to the clients of a user that are here.
    pub(crate) fn deliver_direct(
        &mut self,
        to: &[crate::model::id::ClientId],
        publication: &Publication,
    ) {
        self.told += to.len();
        for &client in to {
            let Some(slot) = self.roster.slot_of(client) else { continue };
            let hot = self.roster.hot(slot);
            if !hot.is(OPEN) {
                continue;
            }
            // A join would change nothing: it is one message.
            let kind = if hot.is(JSON) { Kind::Json } else { Kind::Plain };
            let frames = encode_frames(&mut self.scratch, std::iter::once(publication), kind);
            let channel = crate::model::outbox::NO_CHANNEL;
            if self.feeding == Some(slot) {
                self.send_replies();
            }
            self.send_shares(slot, &[Share { channel, frames: &frames }]);
        }
    }
}

/// Writes publications side by side, as members of `kind` read them.
fn encode_frames<'a>(
    scratch: &mut BytesMut,
    publications: impl Iterator<Item = &'a Publication>,
    kind: Kind,
) -> Frames {
    scratch.clear();
    let mut ends = Vec::new();
    let mut line: Option<Vec<u8>> = None;
    for publication in publications {
        match kind {
            Kind::Json => json::put_message(scratch, &parts_of(publication)),
            Kind::Joined => {
                if let Some(text) = text_of(&publication.payload) {
                    match &mut line {
                        None => line = Some(text.into_owned().into_bytes()),
                        Some(line) => {
                            line.push(b'\n');
                            line.extend_from_slice(text.as_bytes());
                        }
                    }
                    continue;
                }
                end_line(scratch, &mut line, &mut ends);
                put_plain(scratch, &publication.payload);
            }
            Kind::Plain => put_plain(scratch, &publication.payload),
        }
        ends.push(scratch.len());
    }
    end_line(scratch, &mut line, &mut ends);
    // Nobody keeps these bytes beyond the tick, so that their room is used again.
    Frames::new(scratch.split().freeze(), ends)
}

/// Ends the open line of joined texts, if there is one.
fn end_line(scratch: &mut BytesMut, line: &mut Option<Vec<u8>>, ends: &mut Vec<usize>) {
    if let Some(line) = line.take() {
        put_frame(scratch, Opcode::Text, &line);
        ends.push(scratch.len());
    }
}

fn text_of(payload: &Payload) -> Option<std::borrow::Cow<'_, str>> {
    match payload {
        Payload::Text(text) => Some(text.as_str().into()),
        Payload::Json(json) => Some(json::json_body_as_text(json)),
        Payload::Binary(_) => None,
    }
}

fn put_plain(scratch: &mut BytesMut, payload: &Payload) {
    scratch.reserve(payload.len() + HEADER_MAX);
    match payload {
        Payload::Text(text) => put_frame(scratch, Opcode::Text, text.as_bytes()),
        Payload::Binary(bytes) => put_frame(scratch, Opcode::Binary, bytes),
        Payload::Json(json) => {
            let text = json::json_body_as_text(json);
            put_header(scratch, Opcode::Text, text.len());
            scratch.extend_from_slice(text.as_bytes());
        }
    }
}

/// A publication as the JSON dialect shows it; one without a channel is a direct message.
fn parts_of(publication: &Publication) -> MessageParts<'_> {
    MessageParts {
        channel: (!publication.channel.is_empty()).then_some(&*publication.channel),
        offset: publication.offset,
        from: publication.from.as_ref().map(|from| (from.client, from.user.as_deref())),
        time_ms: publication.time_ms,
        body: match &publication.payload {
            Payload::Text(text) => BodyRef::Text(text),
            Payload::Binary(bytes) => BodyRef::Binary(bytes),
            Payload::Json(json) => BodyRef::Json(json),
        },
    }
}
