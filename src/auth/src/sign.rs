//! A signer, for tokens to try a server out with. A server that only verifies has no need of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use ring::{hmac, rand};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::algorithm::Algorithm;

/// The claims of a token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The user.
    pub user: Option<String>,
    /// The claim that holds the user.
    pub user_claim: Option<String>,
    /// The seconds for which it is good; for ever without it.
    pub lasts_s: Option<u64>,
    /// The patterns of channels in which everything is allowed.
    pub channels: Vec<String>,
    /// The channels that the server subscribes the client to.
    pub joins: Vec<String>,
    /// The channel of a subscription token.
    pub subscription: Option<String>,
    /// JSON that presence shows.
    pub info: Option<Value>,
    /// The id of the token.
    pub id: Option<String>,
    /// The audience.
    pub audience: Option<String>,
    /// The issuer.
    pub issuer: Option<String>,
    /// The name of the key.
    pub kid: Option<String>,
}

/// A private key or a secret.
pub struct Signer {
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    /// Signs with a shared secret, by HS256.
    pub fn secret(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { algorithm: Algorithm::Hs256, material: Material::Secret(key) }
    }

    /// Signs with a private key in PEM: RSA, P-256, P-384 or Ed25519.
    ///
    /// # Errors
    /// There is no such key in it.
    pub fn from_pem(text: &str) -> Result<Self, &'static str> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(
            |_| "there is no private key in it: the first line is -----BEGIN PRIVATE KEY-----",
        )?;
        match &der {
            PrivateKeyDer::Pkcs1(der) => Self::rsa(RsaKeyPair::from_der(der.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(der) => Self::of_pkcs8(der.secret_pkcs8_der()),
            _ => Err(
                "a key in this form is not read here: openssl pkcs8 -topk8 -nocrypt converts it",
            ),
        }
    }

    fn rsa<E>(pair: Result<RsaKeyPair, E>) -> Result<Self, &'static str> {
        let pair =
            pair.map_err(|_| "the RSA key is broken, or its size is not from 2048 to 4096")?;
        Ok(Self { algorithm: Algorithm::Rs256, material: Material::Rsa(Box::new(pair)) })
    }

    fn of_pkcs8(der: &[u8]) -> Result<Self, &'static str> {
        let rng = SystemRandom::new();
        for (algorithm, kind) in [
            (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(kind, der, &rng) {
                return Ok(Self { algorithm, material: Material::Ec(pair) });
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self { algorithm: Algorithm::EdDsa, material: Material::Ed25519(pair) });
        }
        Self::rsa(RsaKeyPair::from_pkcs8(der)).map_err(
            |_| "the key is neither of RSA (2048 to 4096 bits) nor of P-256, P-384 or Ed25519",
        )
    }

    /// Makes a token with these claims at the Unix time `now_s`.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn token(&self, wishes: &Wishes, now_s: u64) -> Result<String, &'static str> {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let Some(kid) = &wishes.kid {
            header["kid"] = Value::from(kid.as_str());
        }
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let claims = Value::Object(wishes.claims(now_s));
        let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        let signature = self.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        let rng = SystemRandom::new();
        let no_random = |_| "the system has no random numbers";
        match &self.material {
            Material::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Material::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &rng, message, &mut out)
                    .map_err(no_random)?;
                Ok(out)
            }
            Material::Ec(pair) => {
                pair.sign(&rng, message).map(|made| made.as_ref().to_vec()).map_err(no_random)
            }
            Material::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// Returns a random id for a token.
///
/// # Errors
/// The system has no random numbers.
pub fn random_id() -> Result<String, &'static str> {
    let bytes: rand::Random<[u8; 12]> =
        rand::generate(&SystemRandom::new()).map_err(|_| "the system has no random numbers")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.expose()))
}

impl Wishes {
    fn claims(&self, now_s: u64) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        put(self.user_claim.as_deref().unwrap_or("sub"), text(&self.user));
        put("iat", Some(now_s.into()));
        put("exp", self.lasts_s.map(|lasts| now_s.saturating_add(lasts).into()));
        put("jti", text(&self.id));
        put("aud", text(&self.audience));
        put("iss", text(&self.issuer));
        put("info", self.info.clone());
        put("channel", text(&self.subscription));
        put("channels", some(&self.joins).map(Value::from));
        let all = ["subscribe", "publish", "presence", "history"];
        let cap = |channels| json!([{ "channels": channels, "allow": all }]);
        put("caps", some(&self.channels).map(cap));
        claims
    }
}
