//! Who is connected to this shard: small hot slots that the fan-out walks, and the rest of each
//! client beside them.

use std::os::fd::RawFd;
use std::sync::Arc;

use async_tungstenite::tungstenite::protocol::WebSocketContext;
use bytes::Bytes;
use slab::Slab;

use crate::mesh::parcel::{Ask, Claim};
use crate::model::bucket::Bucket;
use crate::model::channel::Kind;
use crate::model::id::{ClientId, ShardId};
use crate::model::outbox::Outbox;
use crate::net::Net;
use crate::stage::handshake::Pending;
use crate::wire::frame::Boundary;
use crate::wire::stentor::read::IdBuf;
use crate::wire::text::EarlyText;

/// The slot holds an open client, which may be sent to.
pub(crate) const OPEN: u16 = 1;
/// Its outbox holds something: nothing may be sent past it.
pub(crate) const BLOCKED: u16 = 1 << 1;
/// A close frame is on its way: nothing may follow.
pub(crate) const CLOSING: u16 = 1 << 2;
/// It speaks `stentor.v1`.
pub(crate) const JSON: u16 = 1 << 3;
/// It wants a tick's texts joined.
pub(crate) const JOINED: u16 = 1 << 4;
/// Its own messages do not come back.
pub(crate) const NO_ECHO: u16 = 1 << 5;
/// It is a member of more than one channel.
pub(crate) const MANY: u16 = 1 << 6;
/// A ping is out and nothing was heard since.
pub(crate) const PINGED: u16 = 1 << 7;
/// A publication of it waits for room: its socket is not read.
pub(crate) const HELD: u16 = 1 << 8;

/// It stands in the list of the blocked.
pub(crate) const LISTED: u16 = 1 << 9;
/// Its peer will say no more: nothing rings for what is still to be read.
pub(crate) const ENDED: u16 = 1 << 10;
/// Its socket was full once: it is watched for room as well.
pub(crate) const ROOM: u16 = 1 << 11;

/// It broke a rule: its last word is due or said, and nothing that it says is looked at any more.
pub(crate) const OVER: u16 = 1 << 12;
/// It has said more than one turn takes of a client.
pub(crate) const MORE: u16 = 1 << 13;
/// It had its look in this turn.
pub(crate) const SERVED: u16 = 1 << 14;

/// What the fan-out and the sweep look at: one array, three slots to a cache line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hot {
    pub(crate) fd: RawFd,
    pub(crate) generation: u32,
    pub(crate) heard_ms: u32,
    pub(crate) pinged_ms: u32,
    pub(crate) flags: u16,
}

const _: () = assert!(size_of::<Hot>() <= 20, "the fan-out reads one per delivery");

impl Hot {
    pub(crate) fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.is(JSON) {
            Kind::Json
        } else if self.is(JOINED) {
            Kind::Joined
        } else {
            Kind::Plain
        }
    }
}

/// A client's place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) channel: u32,
    pub(crate) position: u32,
    pub(crate) presence: bool,
}

/// Where a client is on its way from accept to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its request head is not complete.
    Handshake,
    /// Its request waits for answers of homes and owners.
    Waiting,
    Open,
    /// Our close frame is out; its own is awaited.
    Closing,
    /// Refused: it may read the answer before the socket goes.
    Lingering,
}

impl Phase {
    pub(crate) fn is_leaving(self) -> bool {
        matches!(self, Self::Closing | Self::Lingering)
    }
}

/// The protocol state of a client that is in the middle of a message; idle clients have none.
pub(crate) struct Partial {
    pub(crate) context: WebSocketContext,
    pub(crate) boundary: Boundary,
    pub(crate) early: EarlyText,
    /// Read and not yet looked at: the client is held, or has had its turn.
    pub(crate) rest: Bytes,
}

/// A `who` that waits for shards.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) request: u32,
    pub(crate) id: Option<IdBuf>,
    pub(crate) channel: Arc<str>,
    pub(crate) awaited: usize,
    pub(crate) clients: u64,
    pub(crate) users: Vec<Arc<str>>,
}

/// What few clients have, or have for a short time only.
#[derive(Default)]
pub(crate) struct Extra {
    /// The beginning of a request head.
    pub(crate) head: Vec<u8>,
    pub(crate) pending: Option<Box<Pending>>,
    /// Claims to release at the end, the user aside.
    pub(crate) claims: Vec<Claim>,
    /// Seats beside the first.
    pub(crate) seats: Vec<Seat>,
    pub(crate) messages: Option<Bucket>,
    pub(crate) bytes: Option<Bucket>,
    pub(crate) errors: Option<Bucket>,
    pub(crate) held: Option<(ShardId, Ask)>,
    /// Joins that wait for a home.
    pub(crate) joining: usize,
    pub(crate) gatherings: Vec<Gathering>,
    pub(crate) requests: u32,
    /// The channel of the URL, for requests that name none.
    pub(crate) url_channel: Option<Arc<str>>,
}

/// One connection.
pub(crate) struct Client<N: Net> {
    pub(crate) stream: N::Stream,
    pub(crate) outbox: Option<Box<Outbox>>,
    pub(crate) partial: Option<Box<Partial>>,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) seat: Option<Seat>,
    pub(crate) since_s: u32,
    pub(crate) phase: Phase,
}

impl<N: Net> Client<N> {
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seat.iter().chain(self.extra.iter().flat_map(|extra| extra.seats.iter()))
    }

    pub(crate) fn seat_mut(&mut self, channel: u32) -> Option<&mut Seat> {
        let others = self.extra.iter_mut().flat_map(|extra| extra.seats.iter_mut());
        self.seat.iter_mut().chain(others).find(|seat| seat.channel == channel)
    }

    /// Takes the seat in `channel` away.
    pub(crate) fn unseat(&mut self, channel: u32) -> Option<Seat> {
        if self.seat.is_some_and(|seat| seat.channel == channel) {
            return self.seat.take();
        }
        let seats = &mut self.extra.as_mut()?.seats;
        let index = seats.iter().position(|seat| seat.channel == channel)?;
        Some(seats.swap_remove(index))
    }
}

/// All slots of a shard.
pub(crate) struct Roster<N: Net> {
    pub(crate) me: ShardId,
    pub(crate) hot: Vec<Hot>,
    clients: Slab<Client<N>>,
}

impl<N: Net> Roster<N> {
    pub(crate) fn new(me: ShardId) -> Self {
        Self { me, hot: Vec::new(), clients: Slab::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Gives a connection a slot.
    pub(crate) fn add(&mut self, stream: N::Stream, now_ms: u32, since_s: u32) -> u32 {
        let entry = self.clients.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("descriptors end long before 32 bits do");
        let fd = N::fd(&stream);
        entry.insert(Client {
            stream,
            outbox: None,
            partial: None,
            extra: None,
            user: None,
            seat: None,
            since_s,
            phase: Phase::Handshake,
        });
        let fresh = Hot { fd, generation: 0, heard_ms: now_ms, pinged_ms: 0, flags: 0 };
        if let Some(hot) = self.hot.get_mut(slot as usize) {
            *hot = Hot { generation: hot.generation, ..fresh };
        } else {
            self.hot.push(fresh);
        }
        slot
    }

    /// Takes a connection out; its stream may be dropped afterwards.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Client<N>> {
        let client = self.clients.try_remove(slot as usize)?;
        let hot = &mut self.hot[slot as usize];
        hot.fd = -1;
        hot.flags = 0;
        hot.generation = hot.generation.wrapping_add(1);
        Some(client)
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Client<N>> {
        self.clients.get(slot as usize)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Client<N>> {
        self.clients.get_mut(slot as usize)
    }

    pub(crate) fn hot(&self, slot: u32) -> Hot {
        self.hot[slot as usize]
    }

    pub(crate) fn hot_mut(&mut self, slot: u32) -> &mut Hot {
        &mut self.hot[slot as usize]
    }

    pub(crate) fn id(&self, slot: u32) -> ClientId {
        ClientId { generation: self.hot[slot as usize].generation, slot, shard: self.me }
    }

    /// The slot of a client that is still the one meant.
    pub(crate) fn slot_of(&self, client: ClientId) -> Option<u32> {
        let hot = self.hot.get(client.slot as usize)?;
        let same = hot.generation == client.generation && self.get(client.slot).is_some();
        same.then_some(client.slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Client<N>)> {
        self.clients.iter().map(|(slot, client)| (u32::try_from(slot).unwrap_or(u32::MAX), client))
    }
}
