//! Performs a client's command, whatever its dialect.

use std::borrow::Cow;
use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;

use crate::client::TOLD_PER_TURN;
use crate::client::roster::Client;
use crate::client::wants::Want;
use crate::clock::unix_ms;
use crate::close::CloseReason;
use crate::mesh::parcel::Ask;
use crate::mesh::question::Subject;
use crate::mesh::reply::ReplyTo;
use crate::model::bucket::Bucket;
use crate::model::channel::{Channel, JoinRequest};
use crate::model::history::Query;
use crate::model::id::{ChannelIndex, RequestId, ShardId, Slot};
use crate::model::message::{From, Payload, Publication};
use crate::model::past::{Numbering, Wanted};
use crate::model::presence::Question;
use crate::net::Net;
use crate::proof::Right;
use crate::rules::Terms;
use crate::shard::Shard;
use crate::stage::apps::{ClientEvent, Signed};
use crate::stage::permit::{Barred, Wish};
use crate::stage::prove::TOKENS_PER_TURN;
use crate::stage::renew::token_error;
use crate::stage::submit::{Flow, Weight};
use crate::stage::who::TooMany;
use crate::wire::command::{Command, ErrorCode, Mistake};
use crate::wire::event::Event;
use crate::wire::name::check_name;

impl Weight {
    fn of(command: &Command<'_>) -> Self {
        match command {
            Command::Publish { .. }
            | Command::Trigger { .. }
            | Command::Ping { .. }
            | Command::Heartbeat
            | Command::Pong
            | Command::Nothing => Self::Light,
            Command::Direct { .. }
            | Command::Join { token: None, .. }
            | Command::Leave { .. }
            | Command::Call { .. } => Self::Heavy,
            // A signature costs as much to verify as many messages to send.
            Command::Join { token: Some(_), .. }
            | Command::Subscribe { .. }
            | Command::SignIn { .. }
            | Command::Connect(_)
            | Command::Who { .. }
            | Command::Presence { .. }
            | Command::PresenceStats { .. }
            | Command::History { .. }
            | Command::Refresh { .. } => Self::Heaviest,
        }
    }
}

/// The most publications of one answer, and the most bytes of their payloads.
const HISTORY_MAX: usize = 1000;
const HISTORY_BYTES_MAX: usize = 64 << 10;

/// The most bytes of members in one answer.
const PRESENCE_BYTES_MAX: usize = 64 << 10;

/// A channel that a request is about, and its home.
struct Target {
    channel: Arc<str>,
    home: ShardId,
    /// Its place here, if it is known here.
    index: Option<ChannelIndex>,
}

impl<N: Net> Shard<N> {
    /// Performs a command. A mistake is told to the client, and counted against it. The caller
    /// settles what the command caused, and weighs it.
    pub(crate) fn perform(&mut self, slot: Slot, command: Command<'_>) -> (Flow, Weight) {
        let weight = Weight::of(&command);
        if matches!(command, Command::Join { token: Some(_), .. } | Command::Refresh { .. }) {
            self.clients.told += TOLD_PER_TURN / TOKENS_PER_TURN;
        }
        let done = match command {
            Command::Connect(connect) => Ok(self.connect(slot, connect)),
            Command::Publish { channel, payload, id } => self.publish(slot, channel, payload, id),
            Command::Direct { user, payload, id } => self.direct(slot, &user, payload, id),
            Command::Join { channel, presence, patches, since, must_recover, token, data, id } => {
                let wanted = JoinRequest { id, presence, patches, since, ..JoinRequest::default() };
                let join = JoinRequest { must_recover, ..wanted };
                self.join(slot, &channel, (token.as_deref(), data), join)
            }
            Command::Call { method, data, id } => self.call(slot, &method, data, id),
            Command::Leave { channel, id } => self.leave(slot, &channel, id),
            Command::Who { channel, id } => self.who(slot, channel, Question::Users, id),
            Command::Presence { channel, id } => {
                let count = self.clients.config.presence_names;
                let question = Question::Members { count, bytes: PRESENCE_BYTES_MAX };
                self.who(slot, channel, question, id)
            }
            Command::PresenceStats { channel, id } => {
                self.who(slot, channel, self.question_for_numbers(), id)
            }
            Command::History { channel, wanted, id } => {
                self.read_history(slot, channel, wanted, id)
            }
            Command::Refresh { channel, token, id } => {
                self.renew(slot, channel.as_deref(), &token, id)
            }
            Command::Subscribe { channel, auth, channel_data } => {
                let signed = Signed { auth: auth.as_deref(), data: channel_data.as_deref() };
                self.subscribe_signed(slot, &channel, signed)
            }
            Command::SignIn { auth, user_data } => Ok(self.sign_in(slot, &auth, &user_data)),
            Command::Trigger { channel, event, payload } => {
                self.trigger(slot, ClientEvent { channel: &channel, event: &event, payload })
            }
            Command::Ping { id } => {
                self.clients.tell(slot, &Event::Pong { id: id.as_ref() });
                Ok(Flow::On)
            }
            // A client that answers what nobody asked has lost count of something.
            Command::Pong if !self.clients.roster.hot_mut(slot).pong() => {
                Ok(Flow::Over(CloseReason::Disorderly))
            }
            Command::Pong | Command::Nothing => Ok(Flow::On),
            Command::Heartbeat => {
                self.clients.tell(slot, &Event::Heartbeat);
                Ok(Flow::On)
            }
        };
        let flow = done.unwrap_or_else(|mistake| self.tell_mistake(slot, &mistake));
        (flow, weight)
    }

    /// Tells a client that it is wrong; too often, and it is closed.
    pub(crate) fn tell_mistake(&mut self, slot: Slot, mistake: &Mistake) -> Flow {
        self.clients.tally.errors += 1;
        let Mistake { code, text, id } = mistake;
        if self.clients.dialect(slot).is_strict() && code.is_of_reading() {
            return Flow::Over(CloseReason::Disorderly);
        }
        self.clients.tell(slot, &Event::Error { code: *code, text, id: id.as_ref() });
        if !code.is_of_reading() && !self.clients.dialect(slot).counts_refusals() {
            // Nothing bounds their number, so the next one waits until others had their turn.
            return Flow::Later;
        }
        let (max, now_ms) = (self.clients.config.errors_max, self.clients.now.ms());
        let Some(client) = self.clients.roster.get_mut(slot) else { return Flow::On };
        let budget = client.brief().errors.get_or_insert_with(|| Bucket::full(max, now_ms));
        let is_within = budget.take_slowly(max, now_ms);
        if is_within { Flow::On } else { Flow::Over(CloseReason::TooManyErrors) }
    }

    fn publish(
        &mut self,
        slot: Slot,
        channel: Option<Cow<'_, str>>,
        payload: Payload,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        let (target, id) = self.target(slot, channel.as_deref(), id)?;
        let terms = target.index.map(|index| &self.rooms.channels.get(index).terms);
        if !terms.is_some_and(Terms::publish_is_free) {
            let Target { channel, index, .. } = &target;
            if let Err(barred) = self.permit_publish(slot, channel, *index, payload.len()) {
                return if self.clients.dialect(slot).has_requests() {
                    Err(barred_mistake(barred, id))
                } else {
                    Ok(Flow::Over(barred.close_reason()))
                };
            }
            if self.rooms.channels.rules_of(channel).publish_hook.is_on() {
                let publication = self.publication(slot, target.channel, payload);
                return Ok(self.ask_to_publish(slot, target.home, publication, id));
            }
        }
        let publication = self.publication(slot, target.channel, payload);
        let reply = self.reply_to(slot, id);
        Ok(self.submit(slot, target.home, Ask::Publish { publication, reply }))
    }

    fn direct(
        &mut self,
        slot: Slot,
        user: &str,
        payload: Payload,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        let id = self.check_name(user, id)?;
        let owner = self.port.mesh.home_of(user);
        let mut publication = self.publication(slot, "".into(), payload);
        // A direct message has no home that would stamp it.
        Arc::make_mut(&mut publication).time_ms = unix_ms();
        let reply = self.reply_to(slot, id);
        Ok(self.submit(slot, owner, Ask::Direct { user: user.into(), publication, reply }))
    }

    fn join(
        &mut self,
        slot: Slot,
        name: &str,
        (token, data): (Option<&str>, Option<Utf8Bytes>),
        mut join: JoinRequest,
    ) -> Result<Flow, Mistake> {
        join.id = self.check_name(name, join.id.take())?;
        if let Some(token) = token {
            match self.prove_subscription(slot, name, token) {
                Ok(seat) => {
                    join.end = seat.end_s.map(|at_s| self.seat_end(name, at_s, true));
                    join.grant = seat.grant;
                }
                Err(fault) => {
                    let (code, text) = token_error(fault);
                    return Err(Mistake::new(code, text, join.id));
                }
            }
        }
        let taken = self.clients.roster.get(slot).map_or(0, Client::channels_taken);
        if taken >= self.clients.config.channels_per_client {
            let text = "no more channels for one client";
            return Err(Mistake::new(ErrorCode::TooManyChannels, text, join.id));
        }
        let id = join.id.clone();
        let user = self.clients.roster.get(slot).and_then(|client| client.user.clone());
        let is_asked = token.is_none() && self.is_left_to_hook(slot, name);
        // The word of the backend is worth a token.
        let has_token = token.is_some() || is_asked;
        let wish = Wish { presence: join.presence, has_token };
        self.permit_subscribe(slot, name, user.as_deref(), wish)
            .map_err(|barred| barred_mistake(barred, id.clone()))?;
        if is_asked {
            let channel: Arc<str> = name.into();
            let rules = self.rooms.channels.rules_of(name);
            let endpoint = rules.subscribe_hook.endpoint();
            let subject = Subject::Subscribe { channel: Arc::clone(&channel), endpoint, data };
            return Ok(self.ask_backend(slot, subject, Want::Join { channel, join }));
        }
        self.join_channel(slot, &name.into(), join)
            .map_err(|why| Mistake::new(ErrorCode::of(why), why.to_string(), id))?;
        Ok(Flow::On)
    }

    fn call(
        &mut self,
        slot: Slot,
        method: &str,
        data: Option<Utf8Bytes>,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        if !self.rooms.channels.rules().hooks().call {
            let text = "no backend answers calls here";
            return Err(Mistake::new(ErrorCode::NotAvailable, text, id));
        }
        // Without an id nobody could tell which call is answered.
        let Some(id) = id else {
            return Err(Mistake::new(ErrorCode::MissingField, "id is missing", None));
        };
        let Some(id) = self.check_name(method, Some(id))? else { return Ok(Flow::On) };
        let subject = Subject::Call { method: method.into(), data };
        Ok(self.ask_backend(slot, subject, Want::Call { id }))
    }

    fn leave(&mut self, slot: Slot, name: &str, id: Option<RequestId>) -> Result<Flow, Mistake> {
        let of_app = self.name_of_app(slot, name);
        let index = self.rooms.channels.find(of_app.as_deref().unwrap_or(name));
        let left =
            index.is_some_and(|index| self.give_up_joins(slot, index) || self.rise(slot, index));
        if !left && !self.clients.dialect(slot).leaves_at_will() {
            return Err(Mistake::new(ErrorCode::NotJoined, "not a member of this channel", id));
        }
        self.clients.tell(slot, &Event::Left { channel: name, id: id.as_ref() });
        Ok(Flow::On)
    }

    fn who(
        &mut self,
        slot: Slot,
        channel: Option<Cow<'_, str>>,
        question: Question,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        let (target, id) = self.target(slot, channel.as_deref(), id)?;
        self.permit_question(slot, &target.channel, Right::Presence)
            .map_err(|barred| barred_mistake(barred, id.clone()))?;
        let again = id.clone();
        self.ask_who(slot, target.channel, question, id)
            .map_err(|TooMany| Mistake::new(ErrorCode::Rate, "too many requests at once", again))?;
        Ok(Flow::On)
    }

    fn read_history(
        &mut self,
        slot: Slot,
        channel: Option<Cow<'_, str>>,
        wanted: Wanted,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        let (Target { channel, home, .. }, id) = self.target(slot, channel.as_deref(), id)?;
        self.permit_question(slot, &channel, Right::History)
            .map_err(|barred| barred_mistake(barred, id.clone()))?;
        if wanted.since.is_some_and(|since| since.epoch == Numbering::Foreign) {
            let text = "the epoch is none of this server's";
            return Err(Mistake::new(ErrorCode::WrongEpoch, text, id));
        }
        // Without an id nobody could tell which question is answered.
        let Some(id) = id else {
            return Err(Mistake::new(ErrorCode::MissingField, "id is missing", None));
        };
        let reply = ReplyTo::Client(self.clients.roster.id(slot), id);
        let Wanted { since, limit, newest_first } = wanted;
        let limit = limit.min(HISTORY_MAX);
        let query = Query { beyond: None, newest_first, limit, bytes: HISTORY_BYTES_MAX };
        Ok(self.submit(slot, home, Ask::History { channel, since, query, reply }))
    }

    /// The channel that a request is about: the one it names, or the one of the client's URL.
    fn target(
        &self,
        slot: Slot,
        named: Option<&str>,
        id: Option<RequestId>,
    ) -> Result<(Target, Option<RequestId>), Mistake> {
        let Some(name) = named else {
            return self.own_channel(slot).map(|target| (target, id.clone())).ok_or_else(|| {
                let text = "no channel in the message or the URL";
                Mistake::new(ErrorCode::MissingField, text, id)
            });
        };
        if let Some(index) = self.rooms.channels.find(name) {
            // A known name is shared instead of copied, and was checked when it became known.
            let known = self.rooms.channels.get(index);
            return Ok((known_target(index, known), id));
        }
        let id = self.check_name(name, id)?;
        let home = self.port.mesh.home_of(name);
        Ok((Target { channel: name.into(), home, index: None }, id))
    }

    /// The channel of a client's URL.
    fn own_channel(&self, slot: Slot) -> Option<Target> {
        let client = self.clients.roster.get(slot)?;
        let at = |index| known_target(index, self.rooms.channels.get(index));
        let first = client.seat.map(|seat| seat.channel);
        let named = client.extra.as_ref().and_then(|extra| extra.url_channel.as_ref());
        if named.is_none() && !self.clients.dialect(slot).has_requests() {
            // It sits in one channel, or is on its way there.
            let way = || client.recalls().next().map(|one| one.channel);
            return first.or_else(way).map(at);
        }
        let name = named?;
        // Most clients sit there still, which spares the look for its name.
        let same = |index| Arc::ptr_eq(&self.rooms.channels.get(index).name, name);
        if let Some(index) = first.filter(|index| same(*index)) {
            return Some(at(index));
        }
        if let Some(index) = self.rooms.channels.find(name) {
            return Some(at(index));
        }
        let home = self.port.mesh.home_of(&**name);
        Some(Target { channel: Arc::clone(name), home, index: None })
    }

    fn check_name(&self, name: &str, id: Option<RequestId>) -> Result<Option<RequestId>, Mistake> {
        match check_name(name, self.clients.config.name_bytes) {
            Ok(()) => Ok(id),
            Err(fault) => Err(Mistake::new(ErrorCode::BadName, fault, id)),
        }
    }

    fn reply_to<T>(&self, slot: Slot, id: Option<RequestId>) -> ReplyTo<T> {
        id.map_or(ReplyTo::Nobody, |id| ReplyTo::Client(self.clients.roster.id(slot), id))
    }

    fn publication(&self, slot: Slot, channel: Arc<str>, payload: Payload) -> Arc<Publication> {
        let user = self.clients.roster.get(slot).and_then(|client| client.user.clone());
        Arc::new(Publication {
            channel,
            offset: 0,
            time_ms: 0,
            ingress_ns: self.clients.now.ns,
            details: None,
            from: Some(From { client: self.clients.roster.id(slot), user }),
            payload,
        })
    }
}

fn known_target(index: ChannelIndex, known: &Channel) -> Target {
    Target { channel: Arc::clone(&known.name), home: known.home, index: Some(index) }
}

fn barred_mistake(barred: Barred, id: Option<RequestId>) -> Mistake {
    let (code, text) = barred.error();
    Mistake::new(code, text, id)
}
