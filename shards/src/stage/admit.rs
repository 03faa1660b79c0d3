//! Admission: checks an entry against limits and origins, and claims its user and address at their
//! owners. It returns the outcome and writes nothing to the client.
//!
//! An entry waits for the homes of its channels and for the owners of its claims, also where these
//! are on this very shard: there is one way in.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::client::app::AppClient;
use crate::config::Config;
use crate::home::claims::owner_of;
use crate::mesh::parcel::Ask;
use crate::model::channel::{Subscription, Waiter};
use crate::model::directory::{Claim, Verdict};
use crate::model::id::{ChannelIndex, ClientId, Slot};
use crate::net::Net;
use crate::notice::Notice;
use crate::rules::Denied;
use crate::shard::Shard;
use crate::stage::conclude::Admission;
use crate::stage::permit::{Barred, Wish};
use crate::wire::entry::{AskedApp, Entry, Wished};
use crate::wire::forwarded::limit_key;
use crate::wire::origin::origin_allowed;
use crate::wire::refusal::{AppFault, Refusal};

impl<N: Net> Shard<N> {
    /// Judges an entry in which nothing is wrong by itself, and claims what it needs.
    pub(crate) fn admit(&mut self, slot: Slot, entry: &mut Entry) -> Admission {
        if let Some(address) = entry.address {
            self.clients.roster.tell_address(slot, address);
        }
        if let Some(refusal) = self.find_fault(slot, entry) {
            return Admission::Refused(refusal);
        }
        if let Some(asked) = &entry.app {
            return match self.enter_app(slot, asked) {
                Ok(()) => self.await_answers(slot, entry),
                Err(fault) => Admission::Refused(Refusal::App(fault)),
            };
        }
        if let Err(refusal) = self.prove(slot, entry) {
            return Admission::Refused(refusal);
        }
        if let Some(outcome) = self.consult_about_entry(slot, entry) {
            return outcome;
        }
        if self.clients.config.require_user && entry.user.is_none() {
            return Admission::Refused(Refusal::UserRequired(
                self.clients.config.user_from.advice(),
            ));
        }
        if let Err(refusal) = self.add_personal(entry) {
            return Admission::Refused(refusal);
        }
        if let Err(refusal) = self.grant_wishes(slot, entry) {
            return Admission::Refused(refusal);
        }
        if entry.channels.is_empty() && !entry.dialect.has_requests() {
            entry.channels.push(Arc::clone(&self.clients.config.default_channel));
        }
        for channel in &entry.channels {
            if self.is_personal(entry, channel) {
                continue;
            }
            let wish = Wish { presence: false, has_token: self.is_left_to_hook(slot, channel) };
            if let Err(Barred::Denied(why)) =
                self.permit_subscribe(slot, channel, entry.user.as_deref(), wish)
            {
                return Admission::Refused(Refusal::Denied { channel: (**channel).into(), why });
            }
        }
        if let Some(outcome) = self.consult_about_channels(slot, entry) {
            return outcome;
        }
        self.await_answers(slot, entry)
    }

    /// Makes a client one of the app that it asks for.
    fn enter_app(&mut self, slot: Slot, asked: &AskedApp) -> Result<(), AppFault> {
        let app = self.rooms.channels.rules().app_of_key(&asked.key).ok_or(AppFault::Unknown)?;
        if !app.enabled {
            return Err(AppFault::Disabled);
        }
        if let Some(fault) = asked.fault {
            return Err(fault);
        }
        let of_app = AppClient::of(app).ok_or(AppFault::Quota)?;
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra().app = Some(Box::new(of_app));
        }
        Ok(())
    }

    /// Claims what an entry needs, and subscribes to its channels.
    fn await_answers(&mut self, slot: Slot, entry: &Entry) -> Admission {
        self.clients.roster.state_mut(slot).wait();
        let claims = self.claim(slot, entry);
        match self.await_channels(slot, entry) {
            Err(refusal) => Admission::Refused(refusal),
            Ok(channels) if claims + channels == 0 => Admission::Admitted,
            Ok(channels) => Admission::Waiting(claims + channels),
        }
    }

    /// Adds its user's own channel to an entry, where users have one and the dialect tells channels
    /// from one another.
    fn add_personal(&self, entry: &mut Entry) -> Result<(), Refusal> {
        let Config { personal_channel, name_bytes, .. } = &*self.clients.config;
        let tells_channels = entry.dialect.has_requests() || entry.dialect.is_deaf();
        let user = entry.user.as_deref().filter(|_| tells_channels && !personal_channel.is_empty());
        let Some(user) = user else { return Ok(()) };
        let name: Arc<str> = format!("{personal_channel}{user}").into();
        // A separator in the user's name would let others in.
        if name.len() > *name_bytes || !self.rooms.channels.rules().is_of_one_user(&name, user) {
            return Err(Refusal::BadRequest("no channel can be named after this user"));
        }
        if !entry.channels.contains(&name) {
            entry.personal = Some(Arc::clone(&name));
            entry.channels.push(name);
        }
        Ok(())
    }

    /// Adds to an entry the channels that its client names and may join. Others are passed over:
    /// the client listens to those that are left, as after a change of the rules.
    fn grant_wishes(&mut self, slot: Slot, entry: &mut Entry) -> Result<(), Refusal> {
        let mut wished = std::mem::take(&mut entry.wished);
        let granted: HashSet<Arc<str>> = entry.channels.iter().cloned().collect();
        let mut fault = None;
        wished.retain(|Wished { channel, .. }| {
            if fault.is_some() || granted.contains(channel) {
                return true;
            }
            let wish = Wish { presence: false, has_token: self.is_left_to_hook(slot, channel) };
            let barred = self.permit_subscribe(slot, channel, entry.user.as_deref(), wish).err();
            // A client that only listens was set up with a wrong name, and is told so.
            if barred == Some(Barred::Denied(Denied::UnknownNamespace)) && entry.dialect.is_deaf() {
                fault = Some(Refusal::BadRequest("no rules know channels of this namespace"));
            } else if barred.is_none() {
                entry.channels.push(Arc::clone(channel));
            }
            barred.is_none()
        });
        entry.wished = wished;
        if entry.channels.len() > self.clients.config.channels_per_client {
            fault = fault.or(Some(Refusal::TooManyChannels));
        }
        fault.map_or(Ok(()), Err)
    }

    /// Returns the refusal of an entry whatever its client says of itself, if there is one.
    pub(crate) fn find_fault(&self, slot: Slot, entry: &Entry) -> Option<Refusal> {
        let refusal = self.fault_of(entry)?;
        self.notice_refusal(slot, &refusal, entry);
        Some(refusal)
    }

    /// Returns the refusal of a request that asks for no admission, if its page is not allowed.
    pub(crate) fn find_foreign(&self, slot: Slot, entry: &Entry) -> Option<Refusal> {
        let refusal = self.is_foreign(entry).then_some(Refusal::Origin)?;
        self.notice_refusal(slot, &refusal, entry);
        Some(refusal)
    }

    fn is_foreign(&self, entry: &Entry) -> bool {
        let hosts = [entry.host.as_deref(), entry.proxied_host.as_deref()];
        let origins = match &entry.app {
            None => &self.clients.config.origins,
            // Its clients show signatures and no cookies: without a setting all pages may come.
            Some(asked) => {
                let app = self.rooms.channels.rules().app_of_key(&asked.key);
                let Some(origins) = app.and_then(|app| app.origins.as_ref()) else { return false };
                origins
            }
        };
        !origin_allowed(origins, entry.origin.as_deref(), hosts)
    }

    fn fault_of(&self, entry: &Entry) -> Option<Refusal> {
        let config = &self.clients.config;
        // With a successor at the listeners, this one came before: it is told to go like the rest.
        if self.drain.is_some() && !self.has_successor() {
            Some(Refusal::Draining)
        } else if self.clients.open >= config.clients_per_shard
            || self.clients.open_in_process() >= config.clients
        {
            Some(Refusal::Full)
        } else if self.is_foreign(entry) {
            Some(Refusal::Origin)
        } else {
            None
        }
    }

    /// Tells the operator of a refusal that a setting would spare.
    fn notice_refusal(&self, slot: Slot, refusal: &Refusal, entry: &Entry) {
        if *refusal == Refusal::Origin {
            self.clients.notice(|| Notice::OriginRefused {
                origin: entry.origin.clone().unwrap_or_default().into(),
                host: entry.host.clone().unwrap_or_default().into(),
                client: self.client_address(slot),
            });
        }
    }

    /// Returns the address under which a client is counted, if clients are.
    fn counted_address(&self, slot: Slot, entry: &Entry) -> Option<IpAddr> {
        let config = &self.clients.config;
        if config.clients_per_ip == 0 {
            return None;
        }
        let address = self.client_address(slot);
        if entry.is_forwarded && config.trusted_proxies.is_empty() {
            self.clients.notice(|| Notice::ProxyNotTrusted { proxy: address });
        }
        address.map(|address| limit_key(address, config.ipv6_prefix))
    }

    /// Claims an entry's user and address at their owners. Returns the number of answers to come.
    fn claim(&mut self, slot: Slot, entry: &Entry) -> usize {
        let client_id = self.clients.roster.id(slot);
        let address = self.counted_address(slot, entry);
        let Some(client) = self.clients.roster.get_mut(slot) else { return 0 };
        let mut claims = Vec::new();
        if let Some(user) = &entry.user {
            client.user = Some(Arc::clone(user));
            claims.push(Claim::User(Arc::clone(user)));
        }
        if let Some(address) = address {
            let claim = Claim::Address(address);
            client.extra().claims.push(claim.clone());
            claims.push(claim);
        }
        let mut awaited = 0;
        for claim in claims {
            let owner = owner_of(&self.port.mesh, &claim);
            self.port.owe(owner, Ask::Claim { client: client_id, claim });
            awaited += 1;
        }
        awaited
    }

    /// An owner has decided about a claim.
    pub(crate) fn take_claimed(&mut self, client: ClientId, claim: &Claim, verdict: Verdict) {
        let Some(slot) = self.clients.roster.slot_of(client) else { return };
        if !self.clients.roster.state(slot).is_waiting() {
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

    /// Keeps a channel from being forgotten here while an entry waits for others.
    pub(crate) fn keep_channel(&mut self, slot: Slot, index: ChannelIndex) {
        let client = self.clients.roster.get_mut(slot);
        let pending = client.and_then(|client| client.brief_mut()?.pending.as_mut());
        if let Some(pending) = pending {
            pending.kept.push(index);
            self.rooms.channels.at(index).recalling += 1;
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
            self.decide(slot);
        }
    }

    /// Subscribes to the channels of an entry. Returns the number of those for which the client
    /// waits now.
    fn await_channels(&mut self, slot: Slot, entry: &Entry) -> Result<usize, Refusal> {
        let client = self.clients.roster.id(slot);
        let mut awaited = 0;
        for name in &entry.channels {
            let index = self.subscribe(name).map_err(|why| Refusal::of(why, name))?;
            let channel = self.rooms.channels.at(index);
            if channel.subscription != Subscription::Live {
                channel.waiting.push(Waiter { client, join: None });
                awaited += 1;
            }
        }
        Ok(awaited)
    }

    /// All that was asked has been answered: the client is in, unless one of its channels was given
    /// up meanwhile.
    fn decide(&mut self, slot: Slot) {
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(pending) = client.brief_mut().and_then(|brief| brief.pending.take()) else {
            return;
        };
        let outcome = match self.await_channels(slot, &pending.entry) {
            Err(refusal) => Admission::Refused(refusal),
            Ok(0) => Admission::Admitted,
            Ok(awaited) => Admission::Waiting(awaited),
        };
        self.conclude(slot, *pending, outcome);
    }
}
