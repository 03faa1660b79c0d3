//! Prove: the token of a client is verified, when it comes and when it refreshes, and its end is
//! kept. Revoked tokens are refused, and their clients closed.

use std::sync::Arc;

use crate::client::app::Shown;
use crate::client::identity::Due;
use crate::client::roster::Client;
use crate::clock::unix_ms;
use crate::close::CloseReason;
use crate::config::Config;
use crate::mesh::parcel::{Fate, Whom};
use crate::model::id::{ChannelIndex, Slot};
use crate::model::revoked::{Revocation, Revoked};
use crate::net::Net;
use crate::proof::{Asking, ChannelProof, Grant, Proof, Prover, TokenFault};
use crate::shard::Shard;
use crate::wire::entry::Entry;
use crate::wire::event::Event;
use crate::wire::name::check_name;
use crate::wire::refusal::Refusal;

/// The fewest seconds between two refreshes of a client: each costs as much as many messages.
const REFRESH_EVERY_S: u32 = 1;

/// The parts by which a shard believes tokens.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// `None`: tokens are not read here.
    pub(crate) prover: Option<Arc<dyn Prover>>,
    pub(crate) revoked: Revoked,
    /// Tokens of connections that were verified in this turn.
    pub(crate) verified: usize,
}

/// The tokens of connections that are verified in a turn: a signature may cost 100 us, and others
/// wait for the end of the turn. Further handshakes are read in the next one. As many tokens of
/// refreshes and subscriptions cost as much as all that a turn tells single clients.
pub(crate) const TOKENS_PER_TURN: usize = 4;

/// The subscriptions that a sweep ends, or tells of their end: each may cost a parcel and a send.
const LAPSES_PER_SWEEP: usize = 1024;

/// The statements of a token for a channel.
#[derive(Debug)]
pub(crate) struct SeatProof {
    pub(crate) grant: Grant,
    /// The second of the shard's clock from which it is over.
    pub(crate) end_s: Option<u32>,
}

/// The reason why a refresh is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshFault {
    /// The client came without a token.
    NoToken,
    TooOften,
    OtherUser,
    /// The client is in no such channel.
    NotAMember,
    Token(TokenFault),
}

impl Trust {
    /// Returns `true` if handshakes must wait for the next turn.
    pub(crate) fn is_spent(&self) -> bool {
        self.verified >= TOKENS_PER_TURN
    }

    /// Verifies the token of a connection, and that all names in it are names here.
    fn verify(&self, token: &str, config: &Config) -> Result<Proof, TokenFault> {
        let prover = self.prover.as_ref().ok_or(TokenFault::Invalid)?;
        let proof = prover.connection(token, unix_ms() / 1000)?;
        if self.revoked.is_revoked(&proof) {
            return Err(TokenFault::Revoked);
        }
        let mut names = proof.user.iter().chain(&proof.channels);
        let sound = names.all(|name| check_name(name, config.name_bytes).is_ok());
        if sound { Ok(proof) } else { Err(TokenFault::Invalid) }
    }
}

impl<N: Net> Shard<N> {
    /// Verifies the token of an entry. The user and the channels that it proves become the entry's.
    pub(crate) fn prove(&mut self, slot: Slot, entry: &mut Entry) -> Result<(), Refusal> {
        let Some(token) = entry.token.take() else { return Ok(()) };
        self.trust.verified += 1;
        let config = Arc::clone(&self.clients.config);
        let proof = self.trust.verify(&token, &config).map_err(Refusal::of_token)?;
        self.believe(slot, entry, proof)
    }

    /// Takes over what is proven about a client: its user and its channels become the entry's.
    pub(crate) fn believe(
        &mut self,
        slot: Slot,
        entry: &mut Entry,
        proof: Proof,
    ) -> Result<(), Refusal> {
        if proof.user.is_some() {
            if entry.user.as_ref().is_some_and(|user| proof.user.as_ref() != Some(user)) {
                return Err(Refusal::BadRequest("the user is not the one of the token"));
            }
            entry.user.clone_from(&proof.user);
        }
        for channel in &proof.channels {
            if !entry.channels.contains(channel) {
                entry.channels.push(Arc::clone(channel));
            }
        }
        if entry.channels.len() > self.clients.config.channels_per_client {
            return Err(Refusal::TooManyChannels);
        }
        self.clients.set_proof(slot, proof);
        Ok(())
    }

    /// Verifies the token of one subscription. Returns what it says about the client there.
    pub(crate) fn prove_subscription(
        &self,
        slot: Slot,
        channel: &str,
        token: &str,
    ) -> Result<SeatProof, TokenFault> {
        let prover = self.trust.prover.as_ref().ok_or(TokenFault::Invalid)?;
        let client = self.clients.roster.id(slot).to_string();
        let user = self.clients.roster.get(slot).and_then(|client| client.user.as_ref());
        let (now_unix_s, now_s) = (unix_ms() / 1000, self.clients.now.seconds());
        let asking = Asking { channel, client: &client, user: user.map(|user| &**user) };
        let ChannelProof { expires, issued, id, grant, .. } =
            prover.subscription(token, asking, now_unix_s)?;
        let of_token = Proof { user: user.cloned(), issued, id, ..Proof::default() };
        if self.trust.revoked.is_revoked(&of_token) {
            return Err(TokenFault::Revoked);
        }
        let end_s = expires.map(|expires| self.second_of(expires));
        if end_s.is_some_and(|end_s| end_s <= now_s) {
            return Err(TokenFault::Expired);
        }
        Ok(SeatProof { grant, end_s })
    }

    /// A client that came with a token is open: its time begins. Returns the seconds after which
    /// it has to bring a newer one, if they are limited.
    pub(crate) fn begin_time(&mut self, slot: Slot) -> Option<u32> {
        let expires = self.clients.proof(slot)?.expires;
        let end_s = expires.map(|expires| self.second_of(expires));
        if self.clients.backend_refreshes {
            // The backend is asked instead of the client.
            self.clients.set_end(slot, end_s);
            return None;
        }
        let grace_s = self.clients.dialect(slot).grace_s();
        self.clients.set_end(slot, end_s.map(|end_s| end_s.saturating_add(grace_s)));
        end_s.map(|end_s| end_s.saturating_sub(self.clients.now.seconds()))
    }

    /// The second of the shard's clock at a Unix time. Steps of the wall clock move nothing later.
    pub(crate) fn second_of(&self, unix_s: u64) -> u32 {
        let left = unix_s.saturating_sub(unix_ms() / 1000);
        self.clients.now.seconds().saturating_add(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Takes a newer token of a client. Returns the seconds for which it is good, if they are
    /// limited.
    pub(crate) fn refresh(&mut self, slot: Slot, token: &str) -> Result<Option<u64>, RefreshFault> {
        let now_s = self.clients.now.seconds();
        let Some(client) = self.clients.roster.get_mut(slot) else {
            return Err(RefreshFault::NoToken);
        };
        let user = client.user.clone();
        let identity = client.extra.as_mut().and_then(|extra| extra.identity.as_mut());
        let Some(identity) = identity.filter(|identity| identity.proof.is_some()) else {
            return Err(RefreshFault::NoToken);
        };
        if identity.refreshed_s.is_some_and(|last| now_s < last + REFRESH_EVERY_S) {
            return Err(RefreshFault::TooOften);
        }
        identity.refreshed_s = Some(now_s);
        let proof = self.trust.verify(token, &self.clients.config).map_err(RefreshFault::Token)?;
        if proof.user != user {
            return Err(RefreshFault::OtherUser);
        }
        let expires = proof.expires;
        let client = self.clients.roster.get_mut(slot);
        if let Some(identity) = client.and_then(|client| client.extra().identity.as_mut()) {
            identity.proof = Some(Arc::new(proof));
        }
        self.begin_time(slot);
        Ok(expires.map(|expires| expires.saturating_sub(unix_ms() / 1000)))
    }

    /// Takes a newer token of a client for a channel that it is in, or on its way to. Returns the
    /// seconds for which it is good, if they are limited.
    pub(crate) fn refresh_seat(
        &mut self,
        slot: Slot,
        channel: &str,
        token: &str,
    ) -> Result<Option<u64>, RefreshFault> {
        let known = self.rooms.channels.find(channel).zip(self.clients.roster.get(slot));
        let (index, client) = known.ok_or(RefreshFault::NotAMember)?;
        let sits = client.seats().any(|seat| seat.channel == index);
        if !sits && client.recalls().all(|recalling| recalling.channel != index) {
            return Err(RefreshFault::NotAMember);
        }
        let seat = self.prove_subscription(slot, channel, token).map_err(RefreshFault::Token)?;
        let SeatProof { grant, end_s } = seat;
        let end = end_s.map(|at_s| self.seat_end(channel, at_s, true));
        if sits {
            self.note_shown(slot, index, Shown { user: None, info: grant.info });
            self.clients.set_lapse(slot, index, end);
        } else if let Some(brief) =
            self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut())
        {
            let on_its_way = brief.recalls.iter_mut().find(|recalling| recalling.channel == index);
            if let Some(recalling) = on_its_way {
                (recalling.join.grant, recalling.join.end) = (grant, end);
            }
        }
        self.clients.tally.refreshed_subscriptions += 1;
        let now_s = self.clients.now.seconds();
        Ok(end_s.map(|end_s| end_s.saturating_sub(now_s).into()))
    }

    /// Closes the clients whose time is over, and tells others that theirs ends soon. Ends
    /// subscriptions likewise.
    pub(crate) fn sweep_ends(&mut self) {
        while let Some((slot, due)) = self.clients.take_due() {
            match due {
                Due::Notice(_) if self.consult_about_time(slot) => {}
                Due::Notice(left_s) => {
                    self.clients.tell(slot, &Event::Expiring { channel: None, left_s });
                }
                Due::Over => self.clients.doom(slot, CloseReason::Expired),
            }
        }
        for _ in 0..LAPSES_PER_SWEEP {
            let Some((slot, index, due)) = self.clients.take_lapse() else { break };
            match due {
                Due::Notice(_) if self.consult_about_seat(slot, index) => {}
                Due::Notice(left_s) => {
                    let channel = Some(&*self.rooms.channels.get(index).name);
                    self.clients.tell(slot, &Event::Expiring { channel, left_s });
                }
                Due::Over => self.lapse(slot, index),
            }
        }
    }

    /// Ends a subscription whose time is over.
    pub(crate) fn lapse(&mut self, slot: Slot, index: ChannelIndex) {
        if self.rise(slot, index) {
            self.tell_lapsed(slot, index);
            self.close_if_nowhere(slot);
        }
    }

    /// Closes a client that is in no channel any more, and cannot join one.
    pub(crate) fn close_if_nowhere(&mut self, slot: Slot) {
        let dialect = self.clients.dialect(slot);
        let can_join = dialect.has_requests() && !dialect.is_deaf();
        let taken = self.clients.roster.get(slot).map_or(0, Client::channels_taken);
        if !can_join && taken == 0 {
            self.clients.doom(slot, CloseReason::Expired);
        }
    }

    /// Tells a client that it is in a channel no longer, because its time there is over.
    pub(crate) fn tell_lapsed(&mut self, slot: Slot, index: ChannelIndex) {
        self.clients.tally.expired_subscriptions += 1;
        let channel = &*self.rooms.channels.get(index).name;
        self.clients.tell(slot, &Event::Lapsed { channel });
    }

    /// Remembers a revocation, and closes the clients that it is about. Returns their number.
    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> u64 {
        self.trust.revoked.add(revocation);
        self.doom_all(CloseReason::Revoked, |_, proof| {
            proof.is_some_and(|proof| revocation.is_about(proof))
        })
    }

    /// Decides about the clients that the API has selected. Returns their number.
    pub(crate) fn decide_about(&mut self, whom: &Whom, fate: Fate) -> u64 {
        let slots: Vec<Slot> = match whom {
            Whom::Client(client) => self.clients.listener(*client).into_iter().collect(),
            Whom::User(user) => self.open_slots(|client, _| client == Some(user)),
            Whom::Token(id) => {
                self.open_slots(|_, proof| proof.is_some_and(|proof| proof.id.as_ref() == Some(id)))
            }
        };
        for &slot in &slots {
            match fate {
                Fate::Close(reason) => self.clients.doom(slot, reason),
                Fate::End(unix_s) => {
                    let over_s = unix_s.map(|unix_s| self.second_of(unix_s));
                    self.clients.set_end(slot, over_s);
                    let left_s = unix_s.map(|unix_s| unix_s.saturating_sub(unix_ms() / 1000));
                    // The close says the same of an end that has come.
                    if left_s != Some(0) {
                        let moved = Event::Refreshed { channel: None, left_s, id: None };
                        self.clients.tell(slot, &moved);
                    }
                }
            }
        }
        slots.len() as u64
    }

    fn doom_all(
        &mut self,
        reason: CloseReason,
        is_meant: impl Fn(Option<&Arc<str>>, Option<&Proof>) -> bool,
    ) -> u64 {
        let mut slots = self.slots_of(is_meant);
        slots.retain(|slot| !self.clients.roster.state(*slot).is_leaving());
        for &slot in &slots {
            self.clients.doom(slot, reason);
        }
        slots.len() as u64
    }

    fn open_slots(
        &self,
        is_meant: impl Fn(Option<&Arc<str>>, Option<&Proof>) -> bool,
    ) -> Vec<Slot> {
        let mut slots = self.slots_of(is_meant);
        slots.retain(|slot| self.clients.roster.state(*slot).is_open());
        slots
    }

    /// The clients of a user or with a proof, as `is_meant` selects them.
    fn slots_of(&self, is_meant: impl Fn(Option<&Arc<str>>, Option<&Proof>) -> bool) -> Vec<Slot> {
        let all = self.clients.roster.iter();
        let meant = all.filter(|(slot, client)| {
            is_meant(client.user.as_ref(), self.clients.proof(*slot).map(|proof| &**proof))
        });
        meant.map(|(slot, _)| slot).collect()
    }
}
