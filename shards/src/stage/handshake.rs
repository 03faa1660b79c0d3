//! Stage 2: from the first byte to the 101, or to the refusal, or out to the control plane.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::client::roster::{JOINED, JSON, NO_ECHO, OPEN, Phase};
use crate::config::JoinMessages;
use crate::handle::Visitor;
use crate::mesh::parcel::{Ask, Claim};
use crate::model::channel::{NoRoom, Subscription, Waiter};
use crate::model::directory::Verdict;
use crate::model::id::ClientId;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::http::{self, Join, Parsed, Refusal, Upgrade};
use crate::wire::stentor::read as json;

/// A request that waits for homes and owners.
pub(crate) struct Pending {
    upgrade: Upgrade,
    pub(crate) channel: Option<Arc<str>>,
    awaited: u8,
    /// Older clients of its user go when it is open.
    replaces: bool,
    /// What the client sent behind its request.
    rest: Vec<u8>,
}

impl<N: Net> Shard<N> {
    /// Takes the next bytes of a request head.
    pub(crate) fn shake_hands(&mut self, slot: u32, bytes: &[u8]) {
        let Some(client) = self.roster.get_mut(slot) else { return };
        // The usual request comes in one piece and is parsed where it lies.
        if client.extra.as_ref().is_none_or(|extra| extra.head.is_empty()) {
            self.judge_head(slot, bytes);
        } else {
            let extra = client.extra();
            extra.head.extend_from_slice(bytes);
            // Without a new line nothing new can be said of it: a head that comes byte by byte is
            // not read again for each of them.
            if bytes.contains(&b'\n') || extra.head.len() >= self.config.head_bytes {
                let head = std::mem::take(&mut extra.head);
                self.judge_head(slot, &head);
            }
        }
    }

    fn judge_head(&mut self, slot: u32, head: &[u8]) {
        let limits =
            http::Limits { head_bytes: self.config.head_bytes, name_bytes: self.config.name_bytes };
        match http::parse(head, &limits) {
            Parsed::Partial => {
                if let Some(client) = self.roster.get_mut(slot) {
                    client.extra().head = head.to_vec();
                }
            }
            Parsed::TooLarge => self.refuse(slot, &Refusal::HeadTooLarge),
            Parsed::Bad(reason) => self.refuse(slot, &Refusal::BadRequest(reason)),
            Parsed::Refused(refusal) => self.refuse(slot, &refusal),
            Parsed::Visit => self.hand_over(slot, head),
            Parsed::Upgrade(upgrade) => {
                let rest = head[upgrade.head_len..].to_vec();
                self.judge_upgrade(slot, *upgrade, rest);
            }
        }
    }

    /// Gives a request that is not an upgrade to the control plane, with what was read of it.
    fn hand_over(&mut self, slot: u32, head: &[u8]) {
        let Some(client) = self.roster.remove(slot) else { return };
        self.tally.visitors += 1;
        if let Ok(socket) = self.net.hand_over(client.stream) {
            let door = Arc::clone(&self.door);
            // Where the control plane has no room the socket closes: the visitor tries again.
            door(Visitor { socket, head: head.to_vec() });
        }
    }

    fn judge_upgrade(&mut self, slot: u32, upgrade: Upgrade, rest: Vec<u8>) {
        if let Some(refusal) = self.find_fault(&upgrade) {
            return self.refuse(slot, &refusal);
        }
        let channel = match &upgrade.channel {
            Some(name) => Some(Arc::from(name.as_str())),
            None if upgrade.json => None,
            None => Some(Arc::clone(&self.config.default_channel)),
        };
        let user: Option<Arc<str>> = upgrade.user.as_deref().map(Arc::from);
        let mut claims = Vec::new();
        claims.extend(user.clone().map(Claim::User));
        if self.config.clients_per_ip > 0 {
            let address = self.roster.get(slot).and_then(|client| N::peer(&client.stream));
            claims.extend(address.map(|address| Claim::Address(address.ip().to_canonical())));
        }

        let (mut awaited, mut replaces) = (0, false);
        let client_id = self.roster.id(slot);
        for claim in claims {
            let Some(client) = self.roster.get_mut(slot) else { return };
            match &claim {
                Claim::User(user) => client.user = Some(Arc::clone(user)),
                Claim::Address(_) => client.extra().claims.push(claim.clone()),
            }
            let owner = self.owner_of(&claim);
            if owner == self.port.me {
                match self.judge_claim(client_id, &claim) {
                    Verdict::Refused => return self.refuse_claim(slot, &claim),
                    verdict => replaces |= verdict == Verdict::GrantedOver,
                }
            } else {
                self.port.owe(owner, Ask::Claim { client: client_id, claim });
                awaited += 1;
            }
        }
        if let Some(name) = &channel {
            match self.await_channel(client_id, name) {
                Err(NoRoom) => return self.refuse(slot, &Refusal::ChannelRoom),
                Ok(live) => awaited += u8::from(!live),
            }
        }
        let Some(client) = self.roster.get_mut(slot) else { return };
        client.phase = Phase::Waiting;
        client.extra().pending =
            Some(Box::new(Pending { upgrade, channel, awaited, replaces, rest }));
        if awaited == 0 {
            self.open(slot);
        }
    }

    /// What can be said against a request without asking another shard.
    fn find_fault(&self, upgrade: &Upgrade) -> Option<Refusal> {
        let in_process = self.shared.clients.load(Ordering::Relaxed);
        // With a successor at the listeners, this one came before: it is told to go like the rest.
        if self.drain.is_some() && !self.has_successor() {
            Some(Refusal::Draining)
        } else if self.open >= self.config.clients_per_shard || in_process >= self.config.clients {
            Some(Refusal::Full)
        } else if !http::origin_allowed(
            &self.config.origins,
            upgrade.origin.as_deref(),
            upgrade.host.as_deref(),
        ) {
            Some(Refusal::Origin)
        } else if self.config.require_user && upgrade.user.is_none() {
            Some(Refusal::UserRequired)
        } else {
            None
        }
    }

    pub(crate) fn owner_of(&self, claim: &Claim) -> crate::model::id::ShardId {
        match claim {
            Claim::User(user) => self.port.mesh.home_of(&**user),
            Claim::Address(address) => self.port.mesh.home_of(address),
        }
    }

    /// Decides a claim as its owner.
    pub(crate) fn judge_claim(&mut self, client: ClientId, claim: &Claim) -> Verdict {
        match claim {
            Claim::Address(address) => {
                let granted =
                    self.directory.claim_address(*address, client, self.config.clients_per_ip);
                if granted { Verdict::Granted } else { Verdict::Refused }
            }
            Claim::User(user) => {
                self.directory.claim_user(user, client, self.config.duplicate_user)
            }
        }
    }

    fn refuse_claim(&mut self, slot: u32, claim: &Claim) {
        let Some(client) = self.roster.get_mut(slot) else { return };
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

    /// An owner elsewhere has decided.
    pub(crate) fn take_claimed(&mut self, client: ClientId, claim: &Claim, verdict: Verdict) {
        let Some(slot) = self.roster.slot_of(client) else { return };
        if self.roster.get(slot).is_none_or(|client| client.phase != Phase::Waiting) {
            return;
        }
        if verdict == Verdict::Refused {
            return self.refuse_claim(slot, claim);
        }
        if verdict == Verdict::GrantedOver
            && let Some(client) = self.roster.get_mut(slot)
            && let Some(pending) = &mut client.extra().pending
        {
            pending.replaces = true;
        }
        self.stop_waiting(slot);
    }

    /// One of the answers that a request waits for has come.
    pub(crate) fn stop_waiting(&mut self, slot: u32) {
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(pending) = client.extra.as_mut().and_then(|extra| extra.pending.as_mut()) else {
            return;
        };
        pending.awaited -= 1;
        if pending.awaited == 0 {
            self.open(slot);
        }
    }

    /// Whether the channel is subscribed; if not, the client waits for it.
    fn await_channel(&mut self, client: ClientId, name: &Arc<str>) -> Result<bool, NoRoom> {
        let index = self.subscribe(name)?;
        let channel = self.channels.at(index);
        let live = channel.subscription == Subscription::Live;
        if !live {
            channel.waiting.push(Waiter { client, join: None });
        }
        Ok(live)
    }

    /// All that was asked has been answered: the client is in, unless its channel was given up
    /// meanwhile.
    fn open(&mut self, slot: u32) {
        let client_id = self.roster.id(slot);
        let Some(client) = self.roster.get_mut(slot) else { return };
        let Some(mut pending) = client.extra.as_mut().and_then(|extra| extra.pending.take()) else {
            return;
        };
        if let Some(name) = &pending.channel {
            match self.await_channel(client_id, name) {
                Err(NoRoom) => return self.refuse(slot, &Refusal::ChannelRoom),
                Ok(true) => {}
                Ok(false) => {
                    pending.awaited = 1;
                    if let Some(client) = self.roster.get_mut(slot) {
                        client.extra().pending = Some(pending);
                    }
                    return;
                }
            }
        }
        self.welcome(slot, *pending);
    }

    /// Answers 101.
    fn welcome(&mut self, slot: u32, pending: Pending) {
        let Pending { upgrade, channel, replaces, rest, .. } = pending;
        let Some(client) = self.roster.get_mut(slot) else { return };
        client.phase = Phase::Open;
        let join = upgrade.join.map_or(self.config.join_messages, |join| match join {
            Join::Newline => JoinMessages::Newline,
            Join::None => JoinMessages::None,
        });
        let mut flags = OPEN;
        if upgrade.json {
            flags |= JSON;
            client.extra().url_channel.clone_from(&channel);
        } else if join == JoinMessages::Newline {
            flags |= JOINED;
        }
        if !upgrade.echo {
            flags |= NO_ECHO;
        }
        if !upgrade.json && client.extra.as_ref().is_some_and(|extra| extra.claims.is_empty()) {
            client.extra = None;
        }
        let user = client.user.clone();
        self.roster.hot_mut(slot).flags |= flags;
        self.count_open();

        let mut hello = std::mem::take(&mut self.control_out);
        hello.clear();
        http::put_switching(&mut hello, &upgrade.accept, upgrade.json);
        if upgrade.json {
            let mut frame = BytesMut::new();
            let welcome = json::Welcome {
                client: &self.roster.id(slot).to_string(),
                user: user.as_deref(),
                channel: channel.as_deref(),
                ping_interval: self.config.ping_interval,
                pong_timeout: self.config.pong_timeout,
                message_bytes: self.config.message_bytes,
            };
            json::put_welcome(&mut frame, &welcome);
            hello.extend_from_slice(&frame);
        }
        self.emit(slot, &hello);
        self.control_out = hello;

        if let Some(index) = channel.as_ref().and_then(|name| self.channels.find(name)) {
            self.sit(slot, index, false);
        }
        if let Some(user) = user.filter(|_| replaces) {
            let client = self.roster.id(slot);
            let owner = self.port.mesh.home_of(&*user);
            self.ask_of(owner, Ask::Settle { client, user, channel });
        }
        // What came while the request waited has rung already, to no effect.
        self.net.mark_ready(slot);
        if !rest.is_empty() {
            self.ingest(slot, &rest);
        }
    }

    /// Says no, and leaves the client a moment to read it.
    pub(crate) fn refuse(&mut self, slot: u32, refusal: &Refusal) {
        self.count_refusal(refusal);
        self.abandon(slot);
        let response = refusal.response();
        let hot = self.roster.hot(slot);
        // What does not fit into a fresh socket's buffer is not worth waiting for.
        let _ = N::send(hot.fd, &response);
        N::shutdown_write(hot.fd);
        if let Some(client) = self.roster.get_mut(slot) {
            client.phase = Phase::Lingering;
            client.extra = None;
        }
        self.set_deadline(slot, self.config.close_timeout);
        self.net.mark_ready(slot);
    }

    pub(crate) fn count_refusal(&mut self, refusal: &Refusal) {
        self.tally.refusals[refusal.index()] += 1;
    }
}
