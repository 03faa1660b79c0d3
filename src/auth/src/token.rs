//! The outer form of a token: three parts of base64url, of which the first is a header of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::algorithm::Algorithm;
use crate::fault::Fault;
use crate::key::KID_BYTES_MAX;

/// A token in its parts. Nothing in it is proven yet.
pub(crate) struct Parts<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// The bytes that were signed.
    pub(crate) message: &'a [u8],
    pub(crate) claims: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that a reader must know. None is known here.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// Splits a token and reads its header.
pub(crate) fn split(token: &str) -> Result<Parts<'_>, Fault> {
    let three = "a token is three parts with a dot between them";
    let (message, signature) = token.rsplit_once('.').ok_or(Fault::Malformed(three))?;
    let (header, claims) = message.split_once('.').ok_or(Fault::Malformed(three))?;
    if claims.contains('.') {
        return Err(Fault::Malformed(three));
    }
    let decode = |part: &str, why| URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Malformed(why));
    let header = decode(header, "the header is not base64url")?;
    let header: Header = object_in(&header)
        .ok_or(Fault::Malformed("the header is not a JSON object with an alg"))?;
    if header.crit.is_some() {
        return Err(Fault::Malformed("the header asks for an extension (crit)"));
    }
    if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(Fault::Malformed("the name of the key (kid) is too long"));
    }
    let algorithm = Algorithm::read(&header.alg)
        .ok_or(Fault::Malformed("the algorithm (alg) is none of those that are known here"))?;
    Ok(Parts {
        algorithm,
        kid: header.kid,
        message: message.as_bytes(),
        claims: decode(claims, "the claims are not base64url")?,
        signature: decode(signature, "the signature is not base64url")?,
    })
}

/// Reads a JSON object. A list is none, though its elements could stand for the fields in turn.
pub(crate) fn object_in<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(bytes).ok()).flatten()
}
