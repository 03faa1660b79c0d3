//! Admission: checks a request against limits and origins, claims its user and address at their
//! owners, then answers 101.
//!
//! A request waits for its channel's home and for the owners of its claims, also where these are on
//! this very shard: there is one way in.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::roster::Pending;
use crate::client::state::Phase;
use crate::config::JoinMessages;
use crate::home::claims::owner_of;
use crate::mesh::parcel::{Ask, Claim};
use crate::model::channel::{NoRoom, Subscription, Waiter};
use crate::model::directory::Verdict;
use crate::model::id::{ClientId, Slot};
use crate::net::Net;
use crate::notice::Notice;
use crate::shard::Shard;
use crate::wire::event::{Event, Welcome};
use crate::wire::forwarded::limit_key;
use crate::wire::http::{self, Join, Upgrade};
use crate::wire::machine::Machine;
use crate::wire::origin::origin_allowed;
use crate::wire::refusal::Refusal;

impl<N: Net> Shard<N> {
    /// Judges a request in which nothing is wrong by itself. `rest` came behind it.
    pub(crate) fn admit(&mut self, slot: Slot, upgrade: Upgrade, rest: Bytes) {
        if let Some(address) = upgrade.address {
            self.clients.roster.tell_address(slot, address);
        }
        if let Some(refusal) = self.find_fault(&upgrade) {
            self.notice_refusal(slot, &refusal, &upgrade);
            return self.refuse(slot, &refusal);
        }
        let channel = match &upgrade.channel {
            Some(name) => Some(Arc::from(name.as_str())),
            None if upgrade.dialect.has_requests() => None,
            None => Some(Arc::clone(&self.clients.config.default_channel)),
        };
        let client_id = self.clients.roster.id(slot);
        self.clients.roster.state_mut(slot).wait();
        let mut awaited = self.claim(slot, &upgrade);
        if let Some(name) = &channel {
            match self.await_channel(client_id, name) {
                Err(NoRoom) => return self.refuse(slot, &Refusal::ChannelRoom),
                Ok(live) => awaited += u8::from(!live),
            }
        }
        let pending = Pending { upgrade, channel, awaited, replaces: false, rest };
        if awaited == 0 {
            return self.welcome(slot, pending);
        }
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.brief().pending = Some(Box::new(pending));
        }
    }

    /// Returns the refusal of a request that needs no answer of another shard, if there is one.
    fn find_fault(&self, upgrade: &Upgrade) -> Option<Refusal> {
        let config = &self.clients.config;
        // With a successor at the listeners, this one came before: it is told to go like the rest.
        if self.drain.is_some() && !self.has_successor() {
            Some(Refusal::Draining)
        } else if self.clients.open >= config.clients_per_shard
            || self.clients.open_in_process() >= config.clients
        {
            Some(Refusal::Full)
        } else if !origin_allowed(
            &config.origins,
            upgrade.origin.as_deref(),
            [upgrade.host.as_deref(), upgrade.proxied_host.as_deref()],
        ) {
            Some(Refusal::Origin)
        } else if config.require_user && upgrade.user.is_none() {
            Some(Refusal::UserRequired)
        } else {
            None
        }
    }

    /// Tells the operator of a refusal that a setting would spare.
    fn notice_refusal(&self, slot: Slot, refusal: &Refusal, upgrade: &Upgrade) {
        if *refusal == Refusal::Origin {
            self.clients.notice(|| Notice::OriginRefused {
                origin: upgrade.origin.clone().unwrap_or_default(),
                host: upgrade.host.clone().unwrap_or_default(),
                client: self.client_address(slot),
            });
        }
    }

    /// Returns the address under which a client is counted, if clients are.
    fn counted_address(&self, slot: Slot, upgrade: &Upgrade) -> Option<IpAddr> {
        let config = &self.clients.config;
        if config.clients_per_ip == 0 {
            return None;
        }
        let address = self.client_address(slot);
        if upgrade.is_forwarded && config.trusted_proxies.is_empty() {
            self.clients.notice(|| Notice::ProxyNotTrusted { proxy: address });
        }
        address.map(|address| limit_key(address, config.ipv6_prefix))
    }

    /// Claims a request's user and address at their owners. Returns the number of answers to come.
    fn claim(&mut self, slot: Slot, upgrade: &Upgrade) -> u8 {
        let client_id = self.clients.roster.id(slot);
        let address = self.counted_address(slot, upgrade);
        let Some(client) = self.clients.roster.get_mut(slot) else { return 0 };
        let mut claims = Vec::new();
        if let Some(user) = &upgrade.user {
            let user: Arc<str> = user.as_str().into();
            client.user = Some(Arc::clone(&user));
            claims.push(Claim::User(user));
        }
        if let Some(address) = address {
            let claim = Claim::Address(address);
            client.extra().claims.push(claim.clone());
            claims.push(claim);
        }
        let mut awaited = 0;
        for claim in claims {
            let owner = owner_of(&self.port, &claim);
            self.port.owe(owner, Ask::Claim { client: client_id, claim });
            awaited += 1;
        }
        awaited
    }

    /// An owner has decided about a claim.
    pub(crate) fn take_claimed(&mut self, client: ClientId, claim: &Claim, verdict: Verdict) {
        let Some(slot) = self.clients.roster.slot_of(client) else { return };
        if self.clients.roster.phase(slot) != Phase::Waiting {
            return;
        }
        if verdict == Verdict::Refused {
            return self.refuse_claim(slot, claim);
        }
        if verdict == Verdict::GrantedOver
            && let Some(client) = self.clients.roster.get_mut(slot)
            && let Some(pending) = &mut client.brief().pending
        {
            pending.replaces = true;
        }
        self.stop_waiting(slot);
    }

    fn refuse_claim(&mut self, slot: Slot, claim: &Claim) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        // A claim that was refused is not to be released.
        match claim {
            Claim::User(_) => {
                client.user = None;
                self.refuse(slot, &Refusal::UserTaken);
            }
            Claim::Address(_) => {
                client.extra().claims.clear();
                self.refuse(slot, &Refusal::TooManyFromAddress);
            }
        }
    }

    /// One of the answers that a request waits for has come.
    pub(crate) fn stop_waiting(&mut self, slot: Slot) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(pending) = client.brief_mut().and_then(|brief| brief.pending.as_mut()) else {
            return;
        };
        pending.awaited -= 1;
        if pending.awaited == 0 {
            self.open(slot);
        }
    }

    /// Returns `true` if the channel is subscribed. Otherwise the client waits for it.
    fn await_channel(&mut self, client: ClientId, name: &Arc<str>) -> Result<bool, NoRoom> {
        let index = self.subscribe(name)?;
        let channel = self.rooms.channels.at(index);
        let live = channel.subscription == Subscription::Live;
        if !live {
            channel.waiting.push(Waiter { client, join: None });
        }
        Ok(live)
    }

    /// All that was asked has been answered: the client is in, unless its channel was given up
    /// meanwhile.
    fn open(&mut self, slot: Slot) {
        let client_id = self.clients.roster.id(slot);
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(mut pending) = client.brief_mut().and_then(|brief| brief.pending.take()) else {
            return;
        };
        if let Some(name) = &pending.channel {
            match self.await_channel(client_id, name) {
                Err(NoRoom) => return self.refuse(slot, &Refusal::ChannelRoom),
                Ok(true) => {}
                Ok(false) => {
                    pending.awaited = 1;
                    if let Some(client) = self.clients.roster.get_mut(slot) {
                        client.brief().pending = Some(pending);
                    }
                    return;
                }
            }
        }
        self.welcome(slot, *pending);
    }

    /// Answers 101, greets the client and seats it.
    fn welcome(&mut self, slot: Slot, pending: Pending) {
        let Pending { upgrade, channel, replaces, rest, .. } = pending;
        let joined = upgrade
            .join
            .map_or(self.clients.config.join_messages == JoinMessages::Newline, |join| {
                join == Join::Newline
            });
        let hot = self.clients.roster.hot_mut(slot);
        hot.state.open(upgrade.echo);
        hot.shape = upgrade.dialect.shape(joined);
        self.clients.count_open();
        let index = channel.as_ref().and_then(|name| self.rooms.channels.find(name));
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        if upgrade.dialect.has_requests() {
            client.extra().url_channel.clone_from(&channel);
        }
        client.shed();
        let user = client.user.clone();

        let mut hello = Vec::new();
        http::put_switching(&mut hello, &upgrade.accept, upgrade.dialect);
        let config = &self.clients.config;
        let position = index.map(|index| self.rooms.channels.get(index).fanned);
        let welcome = Welcome {
            client: self.clients.roster.id(slot),
            user: user.as_deref(),
            channel: channel.as_deref().zip(position),
            ping_interval: config.ping_interval,
            pong_timeout: config.pong_timeout,
            message_bytes: config.message_bytes,
        };
        let mut frame = std::mem::take(&mut self.clients.scratch);
        frame.clear();
        upgrade.dialect.write(&mut frame, &Event::Welcome(welcome));
        hello.extend_from_slice(&frame);
        self.clients.scratch = frame;
        // Both leave in one send.
        self.clients.emit(slot, &hello);

        if let Some(index) = index {
            self.sit(slot, index, false);
        }
        if let Some(user) = user.filter(|_| replaces) {
            let client = self.clients.roster.id(slot);
            let owner = self.port.mesh.home_of(&*user);
            self.port.owe(owner, Ask::Settle { client, user, channel });
        }
        self.keep_first_words(slot, rest);
    }

    /// Keeps the bytes that a client sent before it was in, for the session to look at next.
    fn keep_first_words(&mut self, slot: Slot, rest: Bytes) {
        if !rest.is_empty()
            && let Some(client) = self.clients.roster.get_mut(slot)
        {
            let mut machine = Machine::new(self.websocket);
            machine.rest = rest;
            client.machine = Some(Box::new(machine));
            self.clients.roster.state_mut(slot).set_more(true);
        }
        // Bytes that came while the request waited have rung already, to no effect.
        self.clients.net.mark_ready(slot);
    }
}
