//! JSON Web Tokens: the verifier that the shards ask, the keys it holds, and a signer for trying
//! out.
//!
//! The signatures are `ring`'s, which the workspace has for TLS already. The few steps between a
//! token's text and its signature are here, and not a crate's for JWT: those crates read the
//! algorithm from the token and check it against a list, while here a key decides which algorithms
//! exist for it, so `alg: none` and a public key used as a secret have no code that could run.
#![forbid(unsafe_code)]

mod algorithm;
mod backend;
mod claims;
mod der;
mod fault;
mod hmac;
mod jwks;
mod key;
mod sign;
mod token;
mod verify;
#[doc(hidden)]
pub mod fuzz;

pub use algorithm::Algorithm;
pub use backend::read_backend;
pub use claims::read_override;
pub use fault::Fault;
pub use hmac::hmac_sha256_hex;
pub use jwks::{JWKS_BYTES_MAX, read as read_jwks};
pub use key::Key;
pub use sign::{Signer, Wishes, random_id};
pub use verify::{AskForKeys, Expected, KEYS_MAX, TOKEN_BYTES_MAX, Verifier};
