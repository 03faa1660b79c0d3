//! The verifier: a set of keys, and what a token must say beside being signed by one of them. It is
//! never changed; new keys come in a new verifier.

use std::sync::Arc;

use stentor_shards::proof::{Asking, ChannelProof, Proof, Prover, TokenFault};

use crate::claims::{Claims, user_by};
use crate::fault::Fault;
use crate::key::Key;
use crate::token::{Parts, split};

/// The most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// The most keys of a verifier.
pub const KEYS_MAX: usize = 64;

/// The most keys that are tried for a token that names none: each costs the shard time.
const TRIES_MAX: usize = 4;

/// The demands on a token's claims.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The audience that `aud` must be or contain.
    pub audience: Option<Box<str>>,
    /// The issuer that `iss` must be.
    pub issuer: Option<Box<str>>,
    /// The seconds by which clocks may differ.
    pub leeway_s: u64,
    /// The claim that holds the user, if it is another one than `sub`.
    pub user_claim: Option<Box<str>>,
}

/// Called when a token names a key that is not known. Returns `true` if newer keys are on their
/// way, so that the client should come back with the same token.
pub type AskForKeys = Arc<dyn Fn() -> bool + Send + Sync>;

/// Verifies tokens with a set of keys.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<[Key]>,
    expected: Arc<Expected>,
    ask: Option<AskForKeys>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { keys, expected, ask: _ } = self;
        f.debug_struct("Verifier").field("keys", keys).field("expected", expected).finish()
    }
}

impl Verifier {
    /// A verifier with these keys. `ask` is for keys that can be fetched.
    ///
    /// # Errors
    /// There are too many keys.
    pub fn new(
        keys: Vec<Key>,
        expected: Expected,
        ask: Option<AskForKeys>,
    ) -> Result<Self, &'static str> {
        if keys.len() > KEYS_MAX {
            return Err("there are more than 64 keys");
        }
        Ok(Self { keys: keys.into(), expected: Arc::new(expected), ask })
    }

    /// Verifies the token of a connection, with the whole reason if it proves nothing.
    ///
    /// # Errors
    /// The token proves nothing.
    pub fn check_connection(&self, token: &str, now_s: u64) -> Result<Proof, Fault> {
        let bytes = self.signed_claims(token)?;
        let claims = Claims::read(&bytes)?;
        if claims.channel.is_some() {
            // It is good for one channel, and would else be good for all of its user's.
            return Err(Fault::Kind("this token is for a subscription (it has a channel)"));
        }
        let expires = self.check_claims(&claims, now_s)?;
        Ok(Proof {
            user: self.user(&claims, &bytes)?,
            expires,
            issued: claims.issued()?,
            id: claims.id()?,
            info: claims.info()?,
            meta: claims.meta()?,
            channels: claims.channels()?,
            grants: claims.grants()?,
            caps: claims.caps()?,
        })
    }

    /// Verifies the token of a subscription, with the whole reason if it proves nothing.
    ///
    /// # Errors
    /// The token proves nothing, or is for another channel, client or user.
    pub fn check_subscription(
        &self,
        token: &str,
        asking: Asking<'_>,
        now_s: u64,
    ) -> Result<ChannelProof, Fault> {
        let bytes = self.signed_claims(token)?;
        let claims = Claims::read(&bytes)?;
        let expires = self.check_claims(&claims, now_s)?;
        if claims.channel.as_deref() != Some(asking.channel) {
            return Err(Fault::Kind("this token is not for a subscription to this channel"));
        }
        let client = claims.client.as_deref().filter(|client| !client.is_empty());
        if client.is_some_and(|client| client != asking.client) {
            return Err(Fault::Kind("this token is for another client"));
        }
        if self.user(&claims, &bytes)?.as_deref() != asking.user {
            return Err(Fault::Kind("this token is for another user"));
        }
        Ok(ChannelProof {
            channel: asking.channel.into(),
            expires,
            issued: claims.issued()?,
            id: claims.id()?,
            grant: claims.grant()?,
        })
    }

    fn user(&self, claims: &Claims<'_>, bytes: &[u8]) -> Result<Option<Arc<str>>, Fault> {
        self.expected.user_claim.as_ref().map_or_else(|| claims.user(), |name| user_by(name, bytes))
    }

    /// Checks what all tokens must say. Returns the time from which what it proves is over.
    fn check_claims(&self, claims: &Claims<'_>, now_s: u64) -> Result<Option<u64>, Fault> {
        if let Some(audience) = &self.expected.audience {
            claims.check_audience(audience)?;
        }
        if let Some(issuer) = &self.expected.issuer {
            claims.check_issuer(issuer)?;
        }
        claims.check_times(now_s, self.expected.leeway_s)
    }

    /// Checks the signature. Returns the claims that were signed.
    fn signed_claims(&self, token: &str) -> Result<Vec<u8>, Fault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Fault::Malformed("the token is longer than 8192 bytes"));
        }
        let parts = split(token)?;
        let candidates = self.candidates(&parts);
        if candidates.is_empty() {
            return Err(self.no_key(&parts));
        }
        let Parts { algorithm, message, claims, signature, .. } = parts;
        if candidates.iter().any(|key| key.verifies(algorithm, message, &signature)) {
            Ok(claims)
        } else {
            Err(Fault::Signature)
        }
    }

    /// The keys that may have signed a token: those of the name that it states, else those that
    /// have no name; and all for a token that states none.
    fn candidates(&self, parts: &Parts<'_>) -> Vec<&Key> {
        let fits = |key: &&Key| key.accepts(parts.algorithm);
        let Some(kid) = parts.kid.as_deref() else {
            return self.keys.iter().filter(fits).take(TRIES_MAX).collect();
        };
        let named = |key: &&Key| key.kid.as_deref() == Some(kid);
        let bare = |key: &&Key| key.kid.is_none();
        let of = |wanted: &dyn Fn(&&Key) -> bool| {
            self.keys.iter().filter(wanted).filter(fits).take(TRIES_MAX).collect::<Vec<_>>()
        };
        if self.keys.iter().any(|key| named(&key)) { of(&named) } else { of(&bare) }
    }

    /// The fault of a token that no key can verify. It asks for newer keys if that can help.
    fn no_key(&self, parts: &Parts<'_>) -> Fault {
        let is_secret = parts.algorithm.name().starts_with("HS");
        let known = |kid: &str| self.keys.iter().any(|key| key.kid.as_deref() == Some(kid));
        let is_strange = parts.kid.as_deref().is_none_or(|kid| !known(kid));
        let has_none = self.keys.iter().all(|key| key.kid.is_none());
        match &self.ask {
            // A fetched set holds public keys.
            Some(ask) if !is_secret && is_strange && (parts.kid.is_some() || has_none) => {
                if ask() {
                    Fault::UnknownKey
                } else {
                    Fault::NoKey(" under this name (kid)")
                }
            }
            _ => Fault::NoKey(""),
        }
    }
}

impl Prover for Verifier {
    fn connection(&self, token: &str, now_s: u64) -> Result<Proof, TokenFault> {
        self.check_connection(token, now_s).map_err(|fault| fault.public())
    }

    fn subscription(
        &self,
        token: &str,
        asking: Asking<'_>,
        now_s: u64,
    ) -> Result<ChannelProof, TokenFault> {
        self.check_subscription(token, asking, now_s).map_err(|fault| fault.public())
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
