//! The settings of tokens: the keys that verify them, and what they must say.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use stentor_auth::{Expected, Key as TokenKey, read_jwks};
use stentor_units::time::show as show_time;

use super::keys::{Key, time};
use super::secret;

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
}

impl Tokens {
    /// Returns `true` if there is anything that verifies tokens.
    pub(crate) fn has_keys(&self) -> bool {
        self.hmac_secret.is_some() || self.public_key.is_some() || self.jwks.is_some()
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
    let named = |why: String| format!("{}: {why}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(named(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
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

/// The settings of tokens, in the order of `--help`.
pub(super) const KEYS: &[Key] = &[
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
            Some(Jwks::Url(uri)) => uri.to_string(),
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
mod tests {
    use super::*;

    #[test]
    fn a_key_set_is_a_file_or_a_url_that_nobody_can_change_on_the_way() {
        let url = |text: &str| Jwks::Url(text.parse().unwrap());
        for text in [
            "https://id.example/jwks.json",
            "http://127.0.0.1:8000/jwks",
            "http://localhost/jwks",
            "http://[::1]:80/",
        ] {
            assert_eq!(jwks(text), Ok(url(text)), "{text}");
        }
        assert_eq!(jwks("/etc/keys.json"), Ok(Jwks::File("/etc/keys.json".into())));
        for (text, why) in [
            ("", "it is empty"),
            ("http://id.example/jwks", "http is for this host only"),
            ("ftp://id.example/jwks", "the scheme is https"),
            ("https://", "it is not a URL"),
            ("https://ana:secret@id.example/", "a user or a password"),
        ] {
            let found = jwks(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn keys_come_from_texts_and_files_with_their_setting_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let vectors = include_str!("../auth/vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let pem = vectors["tokens"][6]["pem"].as_str().unwrap();
        let set = serde_json::json!({ "keys": [vectors["tokens"][6]["jwk"]] });
        std::fs::write(path("key.pem"), pem).unwrap();
        std::fs::write(path("jwks.json"), set.to_string()).unwrap();
        std::fs::write(path("secret"), "s\n").unwrap();
        let mut tokens = Tokens {
            hmac_secret_file: Some(path("secret")),
            public_key: Some(path("key.pem").display().to_string()),
            jwks: Some(Jwks::File(path("jwks.json"))),
            ..Tokens::default()
        };
        let warning = tokens.complete().unwrap();
        assert!(warning.is_some_and(|text| text.contains("shorter than 32 bytes")));
        assert_eq!((tokens.hmac_secret.as_deref(), tokens.keys().unwrap().len()), (Some("s"), 3));
        assert!(tokens.complete().unwrap_err().contains("are both set"));
        for (public_key, jwks, why) in [
            (Some("/nowhere.pem".to_owned()), None, "token-public-key: /nowhere.pem: No such"),
            (Some("-----BEGIN x".to_owned()), None, "token-public-key: this is not PEM"),
            (None, Some("/dev/zero"), "token-jwks: /dev/zero: it is longer than"),
            (None, Some("/dev/null"), "token-jwks: /dev/null: this is no key set"),
        ] {
            let jwks = jwks.map(|path| Jwks::File(path.into()));
            let mut tokens = Tokens { public_key, jwks, ..Tokens::default() };
            let found = tokens.complete().unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        let one_line = pem.trim_end().replace('\n', "\\n");
        let mut tokens = Tokens { public_key: Some(one_line), ..Tokens::default() };
        assert_eq!(tokens.complete(), Ok(None));
    }
}
