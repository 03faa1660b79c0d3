//! The faults of a token, for the person who made it. A client is told less: a [`TokenFault`].

use stentor_shards::proof::TokenFault;

/// A reason why a token proves nothing. Its text may quote times, and nothing else of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The token is not three parts of base64url, or its header or claims are not JSON.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A claim has a value that it cannot have.
    #[error("claim {0}")]
    Claim(&'static str),
    /// No key that is set can verify the algorithm of the token.
    #[error("no key that is set verifies this algorithm{0}")]
    NoKey(&'static str),
    /// The token names a key that no key set has.
    #[error("the token names a key (kid) that is not known")]
    UnknownKey,
    /// No key that is set has made the signature.
    #[error("the signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("expired {0} s ago")]
    Expired(u64),
    /// Its time is to come.
    #[error("not valid for another {0} s (nbf)")]
    TooEarly(u64),
    /// It is meant for another audience.
    #[error("the audience (aud) is another one")]
    Audience,
    /// It was made by another issuer.
    #[error("the issuer (iss) is another one")]
    Issuer,
    /// It is a subscription token, in the place of a connection's, or the other way round.
    #[error("{0}")]
    Kind(&'static str),
}

impl Fault {
    /// Returns the part of the reason that a client may know.
    pub fn public(&self) -> TokenFault {
        match self {
            Self::Expired(_) => TokenFault::Expired,
            Self::UnknownKey => TokenFault::UnknownKey,
            _ => TokenFault::Invalid,
        }
    }
}
