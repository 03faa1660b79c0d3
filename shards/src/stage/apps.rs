//! Apps: what clients of Pusher's protocol ask for is decided by the signatures of their app's
//! backend, and done as for all other clients.

use std::sync::Arc;

use crate::client::app::AppUser;
use crate::client::roster::Client;
use crate::close::CloseReason;
use crate::home::claims::{by_owner, owner_of};
use crate::mesh::parcel::Ask;
use crate::mesh::reply::ReplyTo;
use crate::model::bucket::Bucket;
use crate::model::channel::JoinRequest;
use crate::model::directory::Claim;
use crate::model::id::{ChannelIndex, RequestId, Slot};
use crate::model::message::{Details, From, Payload, Publication};
use crate::model::seating::Seating;
use crate::net::Net;
use crate::proof::Grant;
use crate::rules::{App, check_channel_name, is_cache_channel};
use crate::shard::Shard;
use crate::stage::submit::Flow;
use crate::wire::command::{ErrorCode, Mistake};
use crate::wire::event::{Event, OfApp};
use crate::wire::pusher::names::{self, Kind};
use crate::wire::pusher::{presence, sign, users};

/// A signature, and the statement that it is over, as a client shows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) auth: Option<&'a str>,
    pub(crate) data: Option<&'a str>,
}

/// An event of a client for the other subscribers of a channel.
#[derive(Debug)]
pub(crate) struct ClientEvent<'a> {
    pub(crate) channel: &'a str,
    pub(crate) event: &'a str,
    pub(crate) payload: Payload,
}

/// The number of an error about a watchlist.
const TOO_MANY_WATCHED: u16 = 4302;

const UNSIGNED: &str = "the signature is missing, or is not one of this app for this socket, \
                        channel and data";

/// The request is about a subscription: its id is the name of the channel.
fn about(channel: &str, code: ErrorCode, text: impl Into<String>) -> Mistake {
    Mistake::new(code, text.into(), Some(RequestId(channel.into())))
}

fn event_mistake(code: ErrorCode, text: impl Into<String>) -> Mistake {
    Mistake::new(code, text.into(), None)
}

impl<N: Net> Shard<N> {
    /// Returns the server's name of a channel that a client has named: its app's own one, for a
    /// client of an app.
    pub(crate) fn name_of_app(&self, slot: Slot, channel: &str) -> Option<String> {
        let app = self.clients.app(slot)?;
        Some(format!("{}:{channel}", app.namespace))
    }

    /// Subscribes a client to a channel of its app, if the channel is public or its backend has
    /// signed. A client that is in already, or on its way, hears nothing.
    pub(crate) fn subscribe_signed(
        &mut self,
        slot: Slot,
        channel: &str,
        signed: Signed<'_>,
    ) -> Result<Flow, Mistake> {
        let app = match self.app_of(slot) {
            Ok(app) => app,
            Err(why) => return Ok(Flow::Over(why)),
        };
        check_channel_name(channel, app.limits.channel_name_bytes)
            .map_err(|fault| about(channel, ErrorCode::BadName, fault))?;
        let name: Arc<str> = app.channel(channel).into();
        if self.seating(slot, &name) != Seating::Outside {
            return Ok(Flow::On);
        }
        let mut join = self.judge_signature(slot, &app, channel, signed)?;
        let taken = self.clients.roster.get(slot).map_or(0, Client::channels_taken);
        let channels_max = app.limits.channels_per_client;
        if taken >= channels_max.unwrap_or(self.clients.config.channels_per_client) {
            let text = "no more channels for one client";
            return Err(about(channel, ErrorCode::TooManyChannels, text));
        }
        join.id = Some(RequestId(channel.into()));
        join.wants_last = is_cache_channel(channel);
        join.presence |= app.subscription_count;
        self.join_channel(slot, &name, join)
            .map_err(|why| about(channel, ErrorCode::of(why), why.to_string()))?;
        Ok(Flow::On)
    }

    /// Returns the join of a client that may subscribe to a channel.
    fn judge_signature(
        &mut self,
        slot: Slot,
        app: &App,
        channel: &str,
        Signed { auth, data }: Signed<'_>,
    ) -> Result<JoinRequest, Mistake> {
        let denied = |text: &str| about(channel, ErrorCode::Denied, text);
        let kind = Kind::of(channel);
        // Before anything is made of it.
        if data.is_some_and(|data| data.len() > app.limits.presence_member_bytes) {
            return Err(about(channel, ErrorCode::TooLarge, "channel_data is too long"));
        }
        let socket = self.clients.socket_id(slot).to_string();
        let auth = auth.unwrap_or_default();
        let is_allowed = match kind {
            Kind::Public => true,
            Kind::User(user) => {
                let signed_in = self.clients.app(slot).and_then(|app| app.user.as_ref());
                signed_in.is_some_and(|known| *known.name == *user)
            }
            Kind::Private | Kind::Encrypted => {
                sign::lets_into_private(app, auth, &socket, (channel, data))
            }
            Kind::Presence => data
                .is_some_and(|data| sign::lets_into_presence(app, auth, &socket, (channel, data))),
        };
        if !is_allowed {
            self.clients.tally.denied += 1;
            let text = match kind {
                Kind::User(_) => "only clients that have signed in as this user may subscribe",
                _ => UNSIGNED,
            };
            return Err(denied(text));
        }
        if kind != Kind::Presence {
            return Ok(JoinRequest::default());
        }
        let Some((user, info)) = data.and_then(presence::read) else {
            return Err(denied("channel_data is an object with user_id, a text or a number"));
        };
        let grant = Grant { info: info.map(Arc::from), ..Grant::default() };
        let user = Some(user.into());
        Ok(JoinRequest { presence: true, user, grant, ..JoinRequest::default() })
    }

    /// Makes a client a user of its app, if the app's backend has signed.
    pub(crate) fn sign_in(&mut self, slot: Slot, auth: &str, user_data: &str) -> Flow {
        let app = match self.app_of(slot) {
            Ok(app) => app,
            Err(why) => return Flow::Over(why),
        };
        let socket = self.clients.socket_id(slot).to_string();
        // Nothing is read that the backend has not signed.
        let is_signed = sign::signs_in(&app, auth, &socket, user_data);
        let Some((name, watched)) = is_signed.then(|| users::read(user_data)).flatten() else {
            self.clients.tally.denied += 1;
            return Flow::Over(CloseReason::Unauthorized);
        };
        let name: Arc<str> = name.into();
        let id = self.clients.roster.id(slot);
        let Some(client) = self.clients.roster.get_mut(slot) else { return Flow::On };
        let Some(known) = client.extra().app.as_mut() else { return Flow::On };
        let is_new = known.user.is_none();
        match &known.user {
            Some(user) if user.name != name => return Flow::Over(CloseReason::Unauthorized),
            Some(_) => {}
            None => {
                known.user = Some(AppUser { name: Arc::clone(&name), watched: Vec::new() });
                let claim = Claim::User(app.user(&name).into());
                client.extra().claims.push(claim.clone());
                let owner = owner_of(&self.port.mesh, &claim);
                self.port.owe(owner, Ask::Claim { client: id, claim });
            }
        }
        self.clients.tell(slot, &Event::OfApp(OfApp::SignedIn { user_data }));
        if app.watchlist && is_new {
            self.watch_users(slot, &app, watched);
        }
        Flow::On
    }

    /// Has a client told when users of its app come and go, as many as the app allows.
    fn watch_users(&mut self, slot: Slot, app: &App, mut watched: Vec<String>) {
        watched.sort_unstable();
        watched.dedup();
        let most = app.limits.watched_users;
        if watched.len() > most {
            watched.truncate(most);
            let text = format!("a watchlist has {most} users at most: the first ones count");
            let event = OfApp::Limited { code: TOO_MANY_WATCHED, text: &text };
            self.clients.tell(slot, &Event::OfApp(event));
        }
        let watched: Vec<Arc<str>> = watched.iter().map(|name| app.user(name).into()).collect();
        let id = self.clients.roster.id(slot);
        for (owner, users) in by_owner(&self.port.mesh, &watched) {
            self.port.owe(owner, Ask::WatchUsers { client: id, users, on: true });
        }
        let client = self.clients.roster.get_mut(slot);
        let known = client.and_then(|client| client.extra().app.as_mut());
        if let Some(user) = known.and_then(|known| known.user.as_mut()) {
            user.watched = watched;
        }
    }

    /// Sends an event of a client to the other subscribers of a channel of its app.
    pub(crate) fn trigger(
        &mut self,
        slot: Slot,
        ClientEvent { channel, event, payload }: ClientEvent<'_>,
    ) -> Result<Flow, Mistake> {
        let app = match self.app_of(slot) {
            Ok(app) => app,
            Err(why) => return Ok(Flow::Over(why)),
        };
        let kind = Kind::of(channel);
        if !app.client_events {
            let text = "clients of this app send no events";
            return Err(event_mistake(ErrorCode::NotAvailable, text));
        }
        if !kind.takes_client_events() {
            let text = "clients send events to private channels and presence channels only";
            return Err(event_mistake(ErrorCode::Denied, text));
        }
        if event.len() > app.limits.event_name_bytes || event.chars().any(char::is_control) {
            let text = format!(
                "the name of an event has {} bytes at most, and no control characters",
                app.limits.event_name_bytes
            );
            return Err(event_mistake(ErrorCode::TooLarge, text));
        }
        if payload.len() > app.limits.event_bytes {
            let text = format!("the data of an event has {} bytes at most", app.limits.event_bytes);
            return Err(event_mistake(ErrorCode::TooLarge, text));
        }
        let index = self.rooms.channels.find(&app.channel(channel));
        let is_member = |index: &ChannelIndex| {
            let client = self.clients.roster.get(slot);
            client.is_some_and(|client| client.seats().any(|seat| seat.channel == *index))
        };
        let Some(index) = index.filter(is_member) else {
            let text = format!("not subscribed to {channel}");
            return Err(event_mistake(ErrorCode::NotJoined, text));
        };
        self.take_from_events(slot, app.limits.client_events_per_second)?;
        let name = Arc::clone(&self.rooms.channels.get(index).name);
        self.permit_publish(slot, &name, Some(index), payload.len()).map_err(|barred| {
            let (code, text) = barred.error();
            event_mistake(code, text)
        })?;
        let publication = self.client_event(slot, index, event, payload);
        let home = self.rooms.channels.get(index).home;
        if self.rooms.channels.rules_of(&name).publish_hook.is_on() {
            return Ok(self.ask_to_publish(slot, home, publication, None));
        }
        self.report_client_event(slot, &publication);
        Ok(self.submit(slot, home, Ask::Publish { publication, reply: ReplyTo::Nobody }))
    }

    fn client_event(
        &mut self,
        slot: Slot,
        index: ChannelIndex,
        event: &str,
        payload: Payload,
    ) -> Arc<Publication> {
        let channel = Arc::clone(&self.rooms.channels.get(index).name);
        let signed_in = || self.clients.app(slot)?.user.as_ref().map(|user| Arc::clone(&user.name));
        let user = self.clients.user_in(slot, index).cloned().or_else(signed_in);
        let mut details = Details::of_event(event, Some(self.clients.socket_id(slot)));
        // A cache channel keeps the last word of the backend.
        details.skip_history = is_cache_channel(names::own_name(&channel));
        Arc::new(Publication {
            channel,
            offset: 0,
            time_ms: 0,
            ingress_ns: self.clients.now.ns,
            details: Some(Arc::new(details)),
            from: Some(From { client: self.clients.roster.id(slot), user }),
            payload,
        })
    }

    /// Takes one event from those that a client may send each second.
    fn take_from_events(&mut self, slot: Slot, rate: u32) -> Result<(), Mistake> {
        let now_ms = self.clients.now.ms();
        let Some(client) = self.clients.roster.get_mut(slot) else { return Ok(()) };
        let events =
            client.brief().events.get_or_insert_with(|| (rate, Bucket::full(rate, now_ms)));
        events.0 = rate;
        if events.1.take(1, rate, now_ms) {
            return Ok(());
        }
        self.clients.tally.rate_limited += 1;
        Err(event_mistake(ErrorCode::Rate, format!("more than {rate} events a second")))
    }
}
