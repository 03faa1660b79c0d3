//! The settings of tokens: the keys that verify them, and what they must say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderName;
use stentor_auth::{Expected, Key as TokenKey, read_jwks};
use stentor_shards::UserFrom;
use stentor_units::time::show as show_time;

use super::keys::{Key, time};
use super::{file, secret};

/// The most bytes of a file with keys.
const FILE_BYTES_MAX: u64 = stentor_auth::JWKS_BYTES_MAX as u64;

/// The most that the clocks of issuer and server may differ.
const LEEWAY_MAX: Duration = Duration::from_mins(10);

/// A secret that is shorter than this can be guessed, as RFC 7518 has it for HS256.
const SECRET_BYTES_MIN: usize = 32;

/// The place of a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Jwks {
    File(PathBuf),
    /// The control thread fetches it.
    Url(Uri),
}

/// The settings of tokens, as they were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) hmac_secret: Option<String>,
    /// The file that the secret was read from.
    pub(crate) hmac_secret_file: Option<PathBuf>,
    /// Public keys in PEM, or the path of their file.
    pub(crate) public_key: Option<String>,
    pub(crate) jwks: Option<Jwks>,
    pub(crate) audience: Option<Box<str>>,
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) leeway: Duration,
    pub(crate) user_claim: Option<Box<str>>,
    /// The source of users; `None`: as the keys suggest.
    pub(crate) user_from: Option<UserFrom>,
}

impl Tokens {
    /// Returns `true` if there is anything that verifies tokens.
    pub(crate) fn has_keys(&self) -> bool {
        self.hmac_secret.is_some() || self.public_key.is_some() || self.jwks.is_some()
    }

    /// The source of users.
    ///
    /// # Errors
    /// Users are to come from tokens that nothing verifies.
    pub(crate) fn user_from(&self) -> Result<UserFrom, String> {
        match &self.user_from {
            Some(UserFrom::Token) if !self.has_keys() => {
                Err("user-from is token and no key verifies one: set token-hmac-secret, \
                     token-public-key or token-jwks"
                    .into())
            }
            Some(from) => Ok(from.clone()),
            None if self.has_keys() => Ok(UserFrom::Token),
            None => Ok(UserFrom::Url),
        }
    }

    /// The demands on the claims of a token.
    pub(crate) fn expected(&self) -> Expected {
        Expected {
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway_s: self.leeway.as_secs(),
            user_claim: self.user_claim.clone(),
        }
    }

    /// Reads all keys but those of a set that must be fetched.
    ///
    /// # Errors
    /// A key that is none, or a file that cannot be read, with the name of its setting.
    pub(crate) fn keys(&self) -> Result<Vec<TokenKey>, String> {
        let mut keys = Vec::new();
        if let Some(secret) = &self.hmac_secret {
            let key = TokenKey::secret(secret.as_bytes());
            keys.push(key.map_err(|why| format!("token-hmac-secret: {why}"))?);
        }
        if let Some(given) = &self.public_key {
            keys.extend(public_keys(given).map_err(|why| format!("token-public-key: {why}"))?);
        }
        if let Some(Jwks::File(path)) = &self.jwks {
            let found = text_in(path).and_then(|text| {
                let named = |why| format!("{}: {why}", path.display());
                read_jwks(text.as_bytes(), true).map_err(named)
            });
            keys.extend(found.map_err(|why| format!("token-jwks: {why}"))?);
        }
        if keys.len() > stentor_auth::KEYS_MAX {
            return Err(format!("there are more than {} token keys", stentor_auth::KEYS_MAX));
        }
        Ok(keys)
    }

    /// Reads the secret's file again. The files of public keys and key sets are read whenever keys
    /// are asked for.
    ///
    /// # Errors
    /// The file cannot be read, with the name of its setting.
    pub(crate) fn read_again(&self) -> Result<Self, String> {
        let mut again = self.clone();
        if again.hmac_secret_file.is_some() {
            again.hmac_secret = None;
        }
        again.complete()?;
        Ok(again)
    }

    /// Reads the secret's file, checks all keys, and returns an oddity that is no reason to stop.
    pub(super) fn complete(&mut self) -> Result<Option<String>, String> {
        if let Some(path) = &self.hmac_secret_file {
            if self.hmac_secret.is_some() {
                let both = "token-hmac-secret and token-hmac-secret-file are both set";
                return Err(format!("{both}: leave one out"));
            }
            let text =
                secret::text_in(path).map_err(|why| format!("token-hmac-secret-file: {why}"));
            self.hmac_secret = Some(text?);
        }
        self.keys()?;
        let short = self.hmac_secret.as_ref().is_some_and(|text| text.len() < SECRET_BYTES_MIN);
        Ok(short.then(|| {
            format!("token-hmac-secret is shorter than {SECRET_BYTES_MIN} bytes: it can be guessed")
        }))
    }
}

fn public_keys(given: &str) -> Result<Vec<TokenKey>, String> {
    if given.contains("-----BEGIN") {
        return Ok(TokenKey::from_pem(&as_lines(given))?);
    }
    let path = Path::new(given);
    let named = |why| format!("{}: {why}", path.display());
    TokenKey::from_pem(&text_in(path)?).map_err(named)
}

/// A variable often holds `\n` in the place of line ends.
fn as_lines(pem: &str) -> String {
    pem.replace("\\n", "\n")
}

fn text_in(path: &Path) -> Result<String, String> {
    file::text_in(path, FILE_BYTES_MAX).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns a URL without its query, which may hold a secret.
pub(crate) fn without_query(uri: &Uri) -> String {
    let text = uri.to_string();
    text.split_once('?').map_or(text.clone(), |(rest, _)| format!("{rest}?***"))
}

fn jwks(text: &str) -> Result<Jwks, String> {
    if !text.contains("://") {
        return if text.is_empty() {
            Err("it is empty".into())
        } else {
            Ok(Jwks::File(text.into()))
        };
    }
    let uri: Uri = text.parse().map_err(|_| "it is not a URL")?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost"
        || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Err("the URL names no host".into()),
        _ if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("the URL holds a user or a password, which would be shown".into())
        }
        Some("https") => Ok(Jwks::Url(uri)),
        Some("http") if is_here => Ok(Jwks::Url(uri)),
        Some("http") => {
            Err("http is for this host only: others on the way could change the keys, \
                             so use https"
                .into())
        }
        _ => Err("the scheme is https".into()),
    }
}

fn filled(text: &str) -> Result<Option<Box<str>>, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(Some(text.into())) }
}

fn shown(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

/// One row of the table.
macro_rules! row {
    ($name:literal, $value:literal, $help:literal, $get:expr, $set:expr) => {
        Key {
            name: $name,
            group: "Tokens",
            value: $value,
            help: $help,
            secret: false,
            get: $get,
            set: $set,
        }
    };
}

/// Reads the source of users; `None`: as the keys suggest.
fn user_from(text: &str) -> Result<Option<UserFrom>, String> {
    match text {
        "auto" => Ok(None),
        "url" => Ok(Some(UserFrom::Url)),
        "token" => Ok(Some(UserFrom::Token)),
        _ => match text.strip_prefix("header:") {
            Some(name) if HeaderName::try_from(name).is_ok() => {
                Ok(Some(UserFrom::Header(name.into())))
            }
            Some(name) => Err(format!("{name:?} is no name of a header")),
            None => Err(format!("{text:?} is none of auto url token header:NAME")),
        },
    }
}

/// The settings of tokens, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
    row!(
        "user-from",
        "WHERE",
        "Where a client's user comes from: url (?user=), token, or header:NAME of a trusted proxy; \
         auto = token if a key is set, else url",
        |s| match &s.tokens.user_from {
            None => "auto".into(),
            Some(UserFrom::Url) => "url".into(),
            Some(UserFrom::Token) => "token".into(),
            Some(UserFrom::Header(name)) => format!("header:{name}"),
        },
        |s, text| {
            s.tokens.user_from = user_from(text)?;
            Ok(())
        }
    ),
    Key {
        name: "token-hmac-secret",
        group: "Tokens",
        value: "SECRET",
        help: "Secret that tokens are signed with by HS256, HS384 or HS512",
        secret: true,
        // A secret from a file is shown as that file.
        get: |s| match s.tokens.hmac_secret_file {
            None => shown(s.tokens.hmac_secret.as_deref()),
            Some(_) => String::new(),
        },
        set: |s, text| {
            s.tokens.hmac_secret = filled(text)?.map(Into::into);
            Ok(())
        },
    },
    row!(
        "token-hmac-secret-file",
        "FILE",
        "File that holds this secret and nothing else",
        |s| s
            .tokens
            .hmac_secret_file
            .as_ref()
            .map_or_else(String::new, |p| p.display().to_string()),
        |s, text| {
            s.tokens.hmac_secret_file = filled(text)?.map(|path| (*path).into());
            Ok(())
        }
    ),
    row!(
        "token-public-key",
        "PEM",
        "Public keys for RS256 to RS512, ES256, ES384 and EdDSA: PEM, or a file that holds it",
        |s| shown(s.tokens.public_key.as_deref()),
        |s, text| {
            s.tokens.public_key = filled(text)?.map(Into::into);
            Ok(())
        }
    ),
    row!(
        "token-jwks",
        "URL",
        "Key set (JWKS): a file, or a URL with https that is fetched every five minutes",
        |s| match &s.tokens.jwks {
            None => String::new(),
            Some(Jwks::File(path)) => path.display().to_string(),
            Some(Jwks::Url(uri)) => without_query(uri),
        },
        |s, text| {
            s.tokens.jwks = Some(jwks(text)?);
            Ok(())
        }
    ),
    row!(
        "token-audience",
        "NAME",
        "Audience (aud) that a token must name",
        |s| shown(s.tokens.audience.as_deref()),
        |s, text| {
            s.tokens.audience = filled(text)?;
            Ok(())
        }
    ),
    row!(
        "token-issuer",
        "NAME",
        "Issuer (iss) that a token must name",
        |s| shown(s.tokens.issuer.as_deref()),
        |s, text| {
            s.tokens.issuer = filled(text)?;
            Ok(())
        }
    ),
    row!(
        "token-leeway",
        "TIME",
        "How far the clocks of issuer and server may differ",
        |s| show_time(s.tokens.leeway),
        |s, text| {
            s.tokens.leeway = time(text, Duration::ZERO, LEEWAY_MAX)?;
            Ok(())
        }
    ),
    row!(
        "token-user-claim",
        "NAME",
        "Claim that holds the user; default sub",
        |s| shown(s.tokens.user_claim.as_deref()),
        |s, text| {
            s.tokens.user_claim = filled(text)?.filter(|name| &**name != "sub");
            Ok(())
        }
    ),
];

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
