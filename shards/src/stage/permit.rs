//! Permit: the rules of channels are applied to what a client wants, before anything is asked of a
//! home. A refusal costs no room and no parcel.

use crate::client::roster::NamespaceRate;
use crate::close::CloseReason;
use crate::model::bucket::Bucket;
use crate::model::id::{ChannelIndex, Slot};
use crate::net::Net;
use crate::proof::Right;
use crate::rules::{Denied, Standing, Terms};
use crate::shard::Shard;
use crate::wire::command::ErrorCode;

/// A client may not do what it wants, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    Denied(Denied),
    /// The rules have turned off what it asks for.
    NotAvailable,
    /// The message is larger than the channel's rules allow.
    TooLarge {
        bytes_max: usize,
    },
    /// It publishes more often than the channel's rules allow.
    TooOften,
}

impl From<Denied> for Barred {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Barred {
    /// The code and the text for a dialect that has errors.
    pub(crate) fn error(self) -> (ErrorCode, String) {
        match self {
            Self::Denied(Denied::UnknownNamespace) => {
                (ErrorCode::UnknownNamespace, Denied::UnknownNamespace.to_string())
            }
            Self::Denied(why) => (ErrorCode::Denied, why.to_string()),
            Self::NotAvailable => {
                (ErrorCode::NotAvailable, "the rules of this channel have it turned off".into())
            }
            Self::TooLarge { bytes_max } => {
                (ErrorCode::TooLarge, format!("more than {bytes_max} bytes in this channel"))
            }
            Self::TooOften => (ErrorCode::Rate, "too many messages in this namespace".into()),
        }
    }

    /// The end of a client whose dialect has none.
    pub(crate) fn close_reason(self) -> CloseReason {
        match self {
            Self::Denied(_) | Self::NotAvailable => CloseReason::Denied,
            Self::TooLarge { .. } => CloseReason::TooLarge,
            Self::TooOften => CloseReason::RateLimited,
        }
    }
}

/// A subscription as a client asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    /// It wants to hear of joins and leaves.
    pub(crate) presence: bool,
    /// It has shown a token for this channel.
    pub(crate) has_token: bool,
}

impl<N: Net> Shard<N> {
    /// Judges a subscription of a client, which is `user` if anybody. Somebody who hears of joins
    /// and leaves needs a channel that tells of them.
    pub(crate) fn permit_subscribe(
        &mut self,
        slot: Slot,
        channel: &str,
        user: Option<&str>,
        wish: Wish,
    ) -> Result<(), Barred> {
        let Wish { presence, has_token } = wish;
        let named = self.is_named(slot, channel);
        let token = has_token || named || self.is_proved(slot, channel, Right::Subscribe);
        let rules = self.rooms.channels.rules();
        let standing = Standing { user, token, named, ..Standing::default() };
        let verdict = match rules.terms(channel) {
            None => Err(Denied::UnknownNamespace.into()),
            Some(terms) => match rules.may_subscribe(&terms, channel, standing) {
                Err(why) => Err(why.into()),
                Ok(()) if presence && !terms.rules.join_leave => Err(Barred::NotAvailable),
                Ok(()) => Ok(()),
            },
        };
        self.clients.tally.denied += u64::from(verdict.is_err());
        verdict
    }

    /// Judges a question about a channel: for its members (`Right::Presence`), or for what it has
    /// kept (`Right::History`). Members may ask, and clients that may become some.
    pub(crate) fn permit_question(
        &mut self,
        slot: Slot,
        channel: &str,
        right: Right,
    ) -> Result<(), Barred> {
        let index = self.rooms.channels.find(channel);
        let standing = self.standing(slot, index, channel, right);
        let rules = self.rooms.channels.rules();
        let verdict = match rules.terms(channel) {
            None => Err(Denied::UnknownNamespace.into()),
            Some(terms) if right == Right::Presence && !terms.rules.presence => {
                Err(Barred::NotAvailable)
            }
            Some(_) if standing.subscribed => Ok(()),
            Some(terms) => rules.may_subscribe(&terms, channel, standing).map_err(Barred::from),
        };
        self.clients.tally.denied += u64::from(verdict.is_err());
        verdict
    }

    /// Judges a publication of so many bytes to a channel, which is at `index` if it is known here.
    /// The caller has seen that its terms are not free of all conditions.
    pub(crate) fn permit_publish(
        &mut self,
        slot: Slot,
        channel: &str,
        index: Option<ChannelIndex>,
        bytes: usize,
    ) -> Result<(), Barred> {
        let resolved;
        let rules = self.rooms.channels.rules();
        let terms = match index {
            Some(index) => &self.rooms.channels.get(index).terms,
            None => match rules.terms(channel) {
                None => return self.count_denied(Denied::UnknownNamespace),
                Some(terms) => {
                    resolved = terms;
                    &resolved
                }
            },
        };
        let mut standing = self.standing(slot, index, channel, Right::Publish);
        // The word of the backend, which is asked next, is worth a token.
        standing.token |= terms.rules.publish_hook.is_on();
        if let Err(why) = rules.may_publish(terms, channel, standing) {
            return self.count_denied(why);
        }
        if let Some(bytes_max) = terms.rules.message_bytes.filter(|max| bytes > *max) {
            return Err(Barred::TooLarge { bytes_max });
        }
        let Some(rate) = terms.rules.messages_per_second else { return Ok(()) };
        let terms = Terms::clone(terms);
        if self.takes_from_rate(slot, &terms, rate) {
            return Ok(());
        }
        self.clients.tally.rate_limited += 1;
        Err(Barred::TooOften)
    }

    /// Judges a publication about which the backend has not answered.
    pub(crate) fn rules_let_publish(&mut self, slot: Slot, channel: &str) -> Result<(), Denied> {
        let index = self.rooms.channels.find(channel);
        let standing = self.standing(slot, index, channel, Right::Publish);
        let rules = self.rooms.channels.rules();
        let verdict = match rules.terms(channel) {
            None => Err(Denied::UnknownNamespace),
            Some(terms) => rules.may_publish(&terms, channel, standing),
        };
        self.clients.tally.denied += u64::from(verdict.is_err());
        verdict
    }

    fn count_denied(&mut self, why: Denied) -> Result<(), Barred> {
        self.clients.tally.denied += 1;
        Err(why.into())
    }

    /// The facts that rules ask for about a client and a channel.
    fn standing(
        &self,
        slot: Slot,
        index: Option<ChannelIndex>,
        channel: &str,
        right: Right,
    ) -> Standing<'_> {
        let Some(client) = self.clients.roster.get(slot) else { return Standing::default() };
        let subscribed =
            index.is_some_and(|index| client.seats().any(|seat| seat.channel == index));
        let (token, named) = (self.is_proved(slot, channel, right), self.is_named(slot, channel));
        // Clients of apps name no channels but those of their app.
        let of_app = client.extra.as_ref().is_some_and(|extra| extra.app.is_some());
        Standing { user: client.user.as_deref(), token, named, subscribed, of_app }
    }

    /// Returns `true` if the token of a client's connection gives it a right in a channel.
    fn is_proved(&self, slot: Slot, channel: &str, right: Right) -> bool {
        self.clients.proof(slot).is_some_and(|proof| proof.allows(channel, right))
    }

    /// Returns `true` if the token of a client's connection names a channel as one of its own.
    fn is_named(&self, slot: Slot, channel: &str) -> bool {
        let proof = self.clients.proof(slot);
        proof.is_some_and(|proof| proof.channels.iter().any(|known| **known == *channel))
    }

    /// Takes one message from what a client may publish into a namespace each second. Returns
    /// `false` if there is nothing left of it.
    fn takes_from_rate(&mut self, slot: Slot, terms: &Terms, rate: u32) -> bool {
        let now_ms = self.clients.now.ms();
        let Some(client) = self.clients.roster.get_mut(slot) else { return true };
        let rates = &mut client.brief().rates;
        let of = &terms.rules;
        let place = rates.iter().position(|known| known.rules.name == of.name);
        let place = place.unwrap_or_else(|| {
            rates.push(NamespaceRate { rules: of.clone(), bucket: Bucket::full(rate, now_ms) });
            rates.len() - 1
        });
        rates[place].bucket.take(1, rate, now_ms)
    }
}
