//! What a JSON client asks for, and what it is told: `stentor.v1` on the session's side.

use std::sync::Arc;

use bytes::BytesMut;

use async_tungstenite::tungstenite::Utf8Bytes;

use crate::client::roster::{Gathering, OPEN};
use crate::close::CloseReason;
use crate::mesh::parcel::{AckTo, Ask, Presence};
use crate::model::bucket::Bucket;
use crate::model::channel::{Join, NoRoom};
use crate::model::id::{ClientId, ShardId};
use crate::model::message::Payload;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::session::Flow;
use crate::wire::name::check_name;
use crate::wire::stentor::read::{self as json, Command, ErrorCode, Id, IdBuf, Mistake};

/// How many `who` of one client may be under way.
const GATHERINGS_MAX: usize = 4;

/// The most users that an answer to `who` names.
const USERS_MAX: usize = 1000;

impl<N: Net> Shard<N> {
    /// Does what one JSON message asks for.
    pub(crate) fn take_json(&mut self, slot: u32, text: &Utf8Bytes) -> Flow {
        let command = match json::read(text) {
            Ok(command) => command,
            Err(mistake) => return self.tell_mistake(slot, &mistake),
        };
        match command {
            Command::Publish { channel, body, id } => {
                let Some(channel) = self.channel_meant(slot, channel.as_deref()) else {
                    return self.tell_no_channel(slot, id.as_ref());
                };
                if let Err(fault) = check_name(&channel, self.config.name_bytes) {
                    return self.tell(slot, ErrorCode::BadName, fault, id.as_ref());
                }
                let payload = Payload::Json(slice_of(text, body.get()));
                let home = self.port.mesh.home_of(&*channel);
                let publication = self.publication(slot, channel, payload);
                let ack = id.map_or(AckTo::Nobody, |id| self.ack_to(slot, &id));
                self.submit(slot, home, Ask::Publish { publication, ack })
            }
            Command::Direct { user, body, id } => {
                if let Err(fault) = check_name(&user, self.config.name_bytes) {
                    return self.tell(slot, ErrorCode::BadName, fault, id.as_ref());
                }
                let payload = Payload::Json(slice_of(text, body.get()));
                let owner = self.port.mesh.home_of(&*user);
                let mut publication = self.publication(slot, "".into(), payload);
                // A direct message has no home that would stamp it.
                Arc::make_mut(&mut publication).time_ms = crate::clock::unix_ms();
                let ack = id.map_or(AckTo::Nobody, |id| self.ack_to(slot, &id));
                let ask = Ask::Direct { user: user.as_ref().into(), publication, ack };
                let flow = self.submit(slot, owner, ask);
                self.weigh(slot, flow)
            }
            Command::Join { channel, presence, id } => {
                let flow = self.take_join(slot, &channel, presence, id.as_ref());
                self.weigh(slot, flow)
            }
            Command::Leave { channel, id } => {
                let flow = self.take_leave(slot, &channel, id.as_ref());
                self.weigh(slot, flow)
            }
            Command::Who { channel, id } => match self.channel_meant(slot, channel.as_deref()) {
                Some(channel) => match check_name(&channel, self.config.name_bytes) {
                    Ok(()) => self.take_who(slot, channel, id.as_ref()),
                    Err(fault) => self.tell(slot, ErrorCode::BadName, fault, id.as_ref()),
                },
                None => self.tell_no_channel(slot, id.as_ref()),
            },
            Command::Ping { id } => {
                self.put(slot, |frame| json::put_pong(frame, id.as_ref().map(Id::as_str)))
            }
            Command::Heartbeat => self.answer(slot, crate::wire::frame::Opcode::Pong, b""),
        }
    }

    fn ack_to(&self, slot: u32, id: &Id<'_>) -> AckTo {
        AckTo::Client(self.roster.id(slot), id.to_buf())
    }

    /// The channel a request means: the one it names, or the one of the URL.
    fn channel_meant(&mut self, slot: u32, named: Option<&str>) -> Option<Arc<str>> {
        if let Some(name) = named {
            // A known name is shared instead of copied.
            let known = self.channels.find(name).map(|index| &self.channels.get(index).name);
            return Some(known.map_or_else(|| name.into(), Arc::clone));
        }
        self.roster.get(slot)?.extra.as_ref()?.url_channel.clone()
    }

    fn take_join(&mut self, slot: u32, name: &str, presence: bool, id: Option<&Id<'_>>) -> Flow {
        if let Err(fault) = check_name(name, self.config.name_bytes) {
            return self.tell(slot, ErrorCode::BadName, fault, id);
        }
        // Joins that a home has not answered count as well: they may all come true.
        let taken = self.roster.get(slot).map_or(0, |client| {
            client.seats().count() + client.extra.as_ref().map_or(0, |extra| extra.joining)
        });
        if taken >= self.config.channels_per_client {
            let text = "no more channels for one client";
            return self.tell(slot, ErrorCode::TooManyChannels, text, id);
        }
        let join = Join { id: id.map(|id| id.to_buf()), presence };
        match self.join(slot, &name.into(), join) {
            Ok(()) => Flow::On,
            Err(NoRoom) => self.tell(slot, ErrorCode::NoRoom, "no room for another channel", id),
        }
    }

    fn take_leave(&mut self, slot: u32, name: &str, id: Option<&Id<'_>>) -> Flow {
        let left = self.channels.find(name).is_some_and(|index| self.rise(slot, index));
        if !left {
            return self.tell(slot, ErrorCode::NotJoined, "not a member of this channel", id);
        }
        self.put(slot, |frame| json::put_left(frame, name, id.map(Id::as_str)))
    }

    /// Asks every shard who is in a channel.
    fn take_who(&mut self, slot: u32, channel: Arc<str>, id: Option<&Id<'_>>) -> Flow {
        let asker = self.roster.id(slot);
        let shards = self.port.mesh.shards();
        let Some(client) = self.roster.get_mut(slot) else { return Flow::On };
        let extra = client.extra();
        if extra.gatherings.len() >= GATHERINGS_MAX {
            return self.tell(slot, ErrorCode::Rate, "too many requests at once", id);
        }
        extra.requests = extra.requests.wrapping_add(1);
        let request = extra.requests;
        extra.gatherings.push(Gathering {
            request,
            id: id.map(|id| id.to_buf()),
            channel: Arc::clone(&channel),
            awaited: shards,
            clients: 0,
            users: Vec::new(),
        });
        for index in 0..shards {
            let shard = ShardId(u16::try_from(index).expect("at most 64 shards"));
            self.ask_of(shard, Ask::Who { channel: Arc::clone(&channel), asker, request });
        }
        // Names by the thousand are gathered, sorted and written for it: one for each turn.
        match self.weigh(slot, Flow::On) {
            Flow::On => Flow::Later,
            other => other,
        }
    }

    /// One shard's part of the answer to `who`.
    pub(crate) fn gather(
        &mut self,
        to: ClientId,
        request: u32,
        clients: u64,
        users: Vec<Arc<str>>,
    ) {
        let Some(slot) = self.roster.slot_of(to) else { return };
        let Some(extra) = self.roster.get_mut(slot).and_then(|client| client.extra.as_mut()) else {
            return;
        };
        let Some(place) = extra.gatherings.iter().position(|open| open.request == request) else {
            return;
        };
        let open = &mut extra.gatherings[place];
        open.clients += clients;
        open.users.extend(users);
        open.awaited -= 1;
        if open.awaited > 0 {
            return;
        }
        let mut all = extra.gatherings.swap_remove(place);
        all.users.sort_unstable();
        all.users.dedup();
        let more = all.users.len() > USERS_MAX;
        all.users.truncate(USERS_MAX);
        self.put(slot, |frame| {
            let users = all.users.iter().map(AsRef::as_ref);
            let id = all.id.as_ref().map(IdBuf::as_str);
            let here = json::Here { channel: &all.channel, clients: all.clients, more };
            json::put_who(frame, &here, users, id);
        });
    }

    /// Writes one frame and sends it to one client.
    fn put(&mut self, slot: u32, write: impl FnOnce(&mut BytesMut)) -> Flow {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        write(&mut frame);
        self.emit(slot, &frame);
        self.scratch = frame;
        Flow::On
    }

    /// Tells a client that it is wrong; too often, and it is closed.
    fn tell(&mut self, slot: u32, code: ErrorCode, text: &str, id: Option<&Id<'_>>) -> Flow {
        self.tally.errors += 1;
        self.put(slot, |frame| json::put_error(frame, code, text, id.map(Id::as_str)));
        let (max, now_ms) = (self.config.errors_max, self.now.ms());
        let Some(client) = self.roster.get_mut(slot) else { return Flow::On };
        let budget = client.extra().errors.get_or_insert_with(|| Bucket::full(max, now_ms));
        if budget.take_slowly(max, now_ms) {
            Flow::On
        } else {
            Flow::Over(CloseReason::TooManyErrors)
        }
    }

    fn tell_mistake(&mut self, slot: u32, mistake: &Mistake<'_>) -> Flow {
        self.tell(slot, mistake.code, &mistake.text, mistake.id.as_ref())
    }

    fn tell_no_channel(&mut self, slot: u32, id: Option<&Id<'_>>) -> Flow {
        self.tell(slot, ErrorCode::MissingField, "no channel in the message or the URL", id)
    }

    pub(crate) fn tell_rate(&mut self, slot: u32) -> Flow {
        self.tell(slot, ErrorCode::Rate, "too many messages", None)
    }

    pub(crate) fn tell_binary(&mut self, slot: u32) -> Flow {
        self.tell(slot, ErrorCode::Binary, "this protocol speaks text", None)
    }

    /// The slot of a client that can still be told something.
    fn listener(&self, to: ClientId) -> Option<u32> {
        self.roster.slot_of(to).filter(|slot| self.roster.hot(*slot).is(OPEN))
    }

    pub(crate) fn tell_published(&mut self, to: ClientId, id: &IdBuf, channel: &str, offset: u64) {
        if let Some(slot) = self.listener(to) {
            self.put(slot, |frame| json::put_published(frame, id.as_str(), channel, offset));
        }
    }

    pub(crate) fn tell_reached(&mut self, to: ClientId, id: Option<&IdBuf>, clients: u64) {
        let Some(slot) = self.listener(to) else { return };
        if clients == 0 {
            self.tell_later(slot, ErrorCode::UnknownUser, "nobody of that name is here", id);
        } else if let Some(id) = id {
            self.put(slot, |frame| json::put_reached(frame, id.as_str(), clients));
        }
    }

    pub(crate) fn tell_no_room_for(&mut self, to: ClientId, id: Option<&IdBuf>) {
        if let Some(slot) = self.listener(to) {
            self.tell_later(slot, ErrorCode::NoRoom, "no room for another channel", id);
        }
    }

    /// An error that comes after its request was taken: it does not count as the client's mistake.
    fn tell_later(&mut self, slot: u32, code: ErrorCode, text: &str, id: Option<&IdBuf>) {
        self.tally.errors += 1;
        self.put(slot, |frame| json::put_error(frame, code, text, id.map(IdBuf::as_str)));
    }

    pub(crate) fn tell_joined(&mut self, slot: u32, index: u32, id: Option<&IdBuf>) {
        let channel = self.channels.get(index);
        let (name, offset) = (Arc::clone(&channel.name), channel.fanned);
        self.put(slot, |frame| json::put_joined(frame, &name, offset, id.map(IdBuf::as_str)));
    }

    /// Tells those who watch a channel here that somebody came or went.
    pub(crate) fn tell_presence(&mut self, presence: &Presence) {
        let Some(index) = self.channels.find(&presence.channel) else { return };
        if self.channels.get(index).watching == 0 {
            return;
        }
        let mut frame = BytesMut::new();
        let client = presence.client.to_string();
        let user = presence.user.as_deref();
        json::put_presence(&mut frame, presence.joined, &presence.channel, &client, user);
        let members = self.channels.get(index).members.clone();
        self.told += members.len();
        for slot in members {
            let watches = self
                .roster
                .get_mut(slot)
                .and_then(|client| client.seat_mut(index).copied())
                .is_some_and(|seat| seat.presence);
            if watches && self.roster.id(slot) != presence.client {
                self.emit(slot, &frame);
            }
        }
    }
}

/// The part of a text that `part` is, sharing its bytes.
fn slice_of(text: &Utf8Bytes, part: &str) -> Utf8Bytes {
    let bytes: &bytes::Bytes = text.as_ref();
    Utf8Bytes::try_from(bytes.slice_ref(part.as_bytes()))
        .unwrap_or_else(|_| Utf8Bytes::from(part.to_owned()))
}
