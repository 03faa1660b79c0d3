//! Keys that verify. The kind of a key decides which algorithms it verifies; a token has no say.

use std::fmt;

use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::algorithm::Algorithm;
use crate::der;

/// The fewest and the most bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The most bytes of a key's id.
pub(crate) const KID_BYTES_MAX: usize = 256;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A key that verifies signatures. Its `Debug` shows no part of it.
#[derive(Clone)]
pub struct Key {
    /// The id by which tokens may name it.
    pub(crate) kid: Option<Box<str>>,
    /// The only algorithm that it is for, if its key set says so.
    pub(crate) only: Option<Algorithm>,
    pub(crate) material: Material,
}

#[derive(Clone)]
pub(crate) enum Material {
    /// The secret for each of the three hashes.
    Secret(Box<[hmac::Key; 3]>),
    Rsa(Box<RsaPublicKeyComponents<Vec<u8>>>),
    /// The uncompressed point.
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl Key {
    /// A shared secret, for HS256, HS384 and HS512.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn secret(secret: &[u8]) -> Result<Self, &'static str> {
        if secret.is_empty() {
            return Err("the secret is empty");
        }
        let keys = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512]
            .map(|algorithm| hmac::Key::new(algorithm, secret));
        Ok(Self::of(Material::Secret(Box::new(keys))))
    }

    /// The public keys in a text of PEM.
    ///
    /// # Errors
    /// There is none in it, or one of a kind that no algorithm here is for.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, &'static str> {
        let mut keys = Vec::new();
        for info in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()) {
            let info = info.map_err(|_| "this is not PEM")?;
            keys.push(Self::of_info(&info)?);
        }
        if !keys.is_empty() {
            return Ok(keys);
        }
        Err(if text.contains("PRIVATE KEY") {
            "this is a private key: take its public half, with openssl pkey -pubout"
        } else if text.contains("BEGIN CERTIFICATE") {
            "this is a certificate: take the key in it, with openssl x509 -pubkey -noout"
        } else if text.contains("RSA PUBLIC KEY") {
            "this is a key in the form of PKCS #1: openssl rsa -RSAPublicKey_in -pubout converts it"
        } else {
            "there is no public key in it: the first line is -----BEGIN PUBLIC KEY-----"
        })
    }

    fn of_info(info: &[u8]) -> Result<Self, &'static str> {
        let found = der::public_key(info).ok_or("this is no public key")?;
        match (found.algorithm, found.parameters) {
            (RSA, _) => {
                let (n, e) = der::rsa_public_key(found.key).ok_or("this is no RSA key")?;
                Self::rsa(n, e)
            }
            (EC, P256) => Self::p256(found.key),
            (EC, P384) => Self::p384(found.key),
            (EC, _) => Err("the curve is neither P-256 nor P-384"),
            (ED25519, _) => Self::ed25519(found.key),
            _ => Err("the key is neither of RSA nor of P-256, P-384 or Ed25519"),
        }
    }

    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        let (n, e) = (der::without_zeros(n), der::without_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err("the RSA key has fewer than 2048 bits, or more than 8192");
        }
        if e.is_empty() || e.len() > 4 {
            return Err("the exponent of the RSA key is no usual one");
        }
        let parts = RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() };
        Ok(Self::of(Material::Rsa(Box::new(parts))))
    }

    pub(crate) fn p256(point: &[u8]) -> Result<Self, &'static str> {
        Ok(Self::of(Material::P256(uncompressed(point, 65)?)))
    }

    pub(crate) fn p384(point: &[u8]) -> Result<Self, &'static str> {
        Ok(Self::of(Material::P384(uncompressed(point, 97)?)))
    }

    pub(crate) fn ed25519(key: &[u8]) -> Result<Self, &'static str> {
        if key.len() != 32 {
            return Err("a key of Ed25519 has 32 bytes");
        }
        Ok(Self::of(Material::Ed25519(key.into())))
    }

    fn of(material: Material) -> Self {
        Self { kid: None, only: None, material }
    }

    /// The kind of the key, as people call it.
    pub fn kind(&self) -> &'static str {
        match self.material {
            Material::Secret(_) => "HMAC secret",
            Material::Rsa(_) => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
        }
    }

    /// Returns `true` if the key verifies signatures of `algorithm`.
    pub(crate) fn accepts(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        let fits = match self.material {
            Material::Secret(_) => matches!(algorithm, A::Hs256 | A::Hs384 | A::Hs512),
            Material::Rsa(_) => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == A::Es256,
            Material::P384(_) => algorithm == A::Es384,
            Material::Ed25519(_) => algorithm == A::EdDsa,
        };
        fits && self.only.is_none_or(|only| only == algorithm)
    }

    /// Returns `true` if the key has made `signature` for `message`. It never has by an algorithm
    /// that it does not accept.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.accepts(algorithm) {
            return false;
        }
        let checked = match &self.material {
            Material::Secret(keys) => {
                let key = match algorithm {
                    Algorithm::Hs256 => &keys[0],
                    Algorithm::Hs384 => &keys[1],
                    _ => &keys[2],
                };
                hmac::verify(key, message, signature)
            }
            Material::Rsa(parts) => match algorithm.rsa() {
                Some(parameters) => parts.verify(parameters, message, signature),
                None => return false,
            },
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature)
            }
            Material::Ed25519(key) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature)
            }
        };
        checked.is_ok()
    }
}

fn uncompressed(point: &[u8], len: usize) -> Result<Box<[u8]>, &'static str> {
    if point.len() != len || point.first() != Some(&4) {
        return Err("the point of the key is not in its uncompressed form");
    }
    Ok(point.into())
}
