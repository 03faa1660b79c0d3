//! Key sets as RFC 7517 has them. Keys of kinds that are not known here are passed over, as the RFC
//! asks for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::algorithm::Algorithm;
use crate::key::{KID_BYTES_MAX, Key};
use crate::token::object_in;
use crate::verify::KEYS_MAX;

/// The most bytes of a key set.
pub const JWKS_BYTES_MAX: usize = 256 << 10;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    k: Option<String>,
}

/// Reads the public keys of a key set; with `secrets` also the secrets in it, which belong in no
/// set that others can fetch.
///
/// # Errors
/// It is not a key set, or no key in it is of use here.
pub fn read(text: &[u8], secrets: bool) -> Result<Vec<Key>, String> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(format!("the key set is longer than {JWKS_BYTES_MAX} bytes"));
    }
    let set: Set =
        object_in(text).ok_or("this is no key set: it is a JSON object with a list of keys")?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("the key set has more than {KEYS_MAX} keys"));
    }
    let count = set.keys.len();
    let mut keys = Vec::new();
    let mut first_fault = None;
    for value in set.keys {
        match object_in::<Jwk>(value.get().as_bytes()).ok_or("a key is malformed") {
            Ok(jwk) if jwk.is_secret() && !secrets => {
                first_fault.get_or_insert("a secret does not belong in a set that is fetched");
            }
            Ok(jwk) => match jwk.key() {
                Ok(key) => keys.extend(key),
                Err(why) => {
                    first_fault.get_or_insert(why);
                }
            },
            Err(why) => {
                first_fault.get_or_insert(why);
            }
        }
    }
    if keys.is_empty() {
        let why = first_fault.map(|why| format!(": {why}")).unwrap_or_default();
        return Err(format!("none of the {count} keys of the set is of use here{why}"));
    }
    Ok(keys)
}

impl Jwk {
    fn is_secret(&self) -> bool {
        self.kty == "oct"
    }

    /// `None` for a key that is for something else.
    fn key(self) -> Result<Option<Key>, &'static str> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let only = match self.alg.as_deref().map(Algorithm::read) {
            Some(None) => return Ok(None),
            Some(only) => only,
            None => None,
        };
        if self.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err("the name of a key (kid) is too long");
        }
        let bytes = |field: &Option<String>| {
            let text = field.as_deref().ok_or("a key lacks one of its parts")?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of a key is not base64url")
        };
        let point = || Ok([&[4][..], &bytes(&self.x)?, &bytes(&self.y)?].concat());
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => Key::secret(&bytes(&self.k)?)?,
            ("RSA", _) => Key::rsa(&bytes(&self.n)?, &bytes(&self.e)?)?,
            ("EC", Some("P-256")) => Key::p256(&point()?)?,
            ("EC", Some("P-384")) => Key::p384(&point()?)?,
            ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(&self.x)?)?,
            _ => return Ok(None),
        };
        let kid = self.kid.filter(|kid| !kid.is_empty()).map(Into::into);
        Ok(Some(Key { kid, only, ..key }))
    }
}
