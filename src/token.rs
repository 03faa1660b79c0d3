//! `stentor token`: makes a token for trying out, or says what is wrong with one.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use stentor_auth::{Fault, Signer, TOKEN_BYTES_MAX, Verifier, Wishes, random_id, read_jwks};
use stentor_shards::proof::{Asking, Proof, Right};
use stentor_shards::unix_ms;
use stentor_units::time::show as show_time;

use crate::config::tokens::{Jwks, Tokens, without_query};
use crate::control::fetch;
use crate::exit;

/// The time in seconds for which a token is good; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lasting(pub(crate) Option<u64>);

/// The token to make or to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The token to check; `-` is standard input.
    pub(crate) check: Option<String>,
    pub(crate) private_key: Option<PathBuf>,
    pub(crate) wishes: Wishes,
}

/// The exit code and its reason.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: u8,
    pub(crate) why: String,
}

fn failed(code: u8) -> impl Fn(String) -> Failed {
    move |why| Failed { code, why: exit::harmless_line(&why) }
}

/// Returns the text for standard output.
///
/// # Errors
/// No key is set, or the token proves nothing.
pub(crate) fn perform(asked: &Asked, tokens: &Tokens) -> Result<String, Failed> {
    match &asked.check {
        None => make(asked, tokens),
        Some(token) => check(token, &asked.wishes, tokens),
    }
}

fn make(asked: &Asked, tokens: &Tokens) -> Result<String, Failed> {
    let signer = match (&asked.private_key, &tokens.hmac_secret) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            let signer = text.and_then(|text| Signer::from_pem(&text).map_err(Into::into));
            signer.map_err(|why| failed(exit::CONFIG)(format!("{}: {why}", path.display())))?
        }
        (None, Some(secret)) => Signer::secret(secret.as_bytes()),
        (None, None) => {
            let why = "no key to sign with: set --token-hmac-secret-file, or --private-key";
            return Err(failed(exit::USAGE)(why.into()));
        }
    };
    let mut wishes = asked.wishes.clone();
    let text = |text: &Option<Box<str>>| text.as_ref().map(ToString::to_string);
    wishes.user_claim = text(&tokens.user_claim);
    wishes.audience = text(&tokens.audience);
    wishes.issuer = text(&tokens.issuer);
    let no_random = |why: &str| failed(exit::RUN)(why.into());
    if wishes.id.is_none() {
        wishes.id = Some(random_id().map_err(no_random)?);
    }
    let mut token = signer.token(&wishes, unix_ms() / 1000).map_err(no_random)?;
    if token.len() > TOKEN_BYTES_MAX {
        let why = format!("the token would be longer than {TOKEN_BYTES_MAX} bytes");
        return Err(failed(exit::USAGE)(why));
    }
    token.push('\n');
    Ok(token)
}

fn check(given: &str, wishes: &Wishes, tokens: &Tokens) -> Result<String, Failed> {
    let mut token = given.to_owned();
    if given == "-" {
        token.clear();
        let input = std::io::stdin().take(2 * TOKEN_BYTES_MAX as u64).read_to_string(&mut token);
        input.map_err(|error| failed(exit::RUN)(format!("standard input: {error}")))?;
    }
    if !tokens.has_keys() {
        let why = "no key to check it with: set --token-hmac-secret-file, --token-public-key or \
                   --token-jwks";
        return Err(failed(exit::USAGE)(why.into()));
    }
    let mut keys = tokens.keys().map_err(failed(exit::CONFIG))?;
    if let Some(Jwks::Url(uri)) = &tokens.jwks {
        let set = fetch::fetch_alone(uri).and_then(|set| read_jwks(&set, false));
        keys.extend(set.map_err(|why| {
            failed(exit::RUN)(format!("token-jwks: {}: {why}", without_query(uri)))
        })?);
    }
    let verifier = Verifier::new(keys, tokens.expected(), None);
    let verifier = verifier.map_err(|why| failed(exit::CONFIG)(why.into()))?;
    let now_s = unix_ms() / 1000;
    let told = tell(&verifier, token.trim(), wishes, now_s);
    told.map_err(|fault| failed(exit::RUN)(format!("the token is refused: {fault}")))
}

/// Tells what a token proves.
fn tell(verifier: &Verifier, token: &str, wishes: &Wishes, now_s: u64) -> Result<String, Fault> {
    let mut out = String::new();
    if let Some(channel) = &wishes.subscription {
        let asking = Asking { channel, client: "", user: wishes.user.as_deref() };
        let proof = verifier.check_subscription(token, asking, now_s)?;
        let _ = writeln!(out, "subscription: {channel}");
        put_end(&mut out, proof.expires, now_s);
    } else {
        let proof = verifier.check_connection(token, now_s)?;
        put_connection(&mut out, &proof, now_s);
    }
    Ok(out)
}

fn put_connection(out: &mut String, proof: &Proof, now_s: u64) {
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            // Claims may hold anything, and a terminal obeys some of it.
            let _ = writeln!(out, "{name}: {}", exit::harmless_line(value));
        }
    };
    put("user", Some(proof.user.as_deref().unwrap_or("none: the client is anonymous")));
    put("id", proof.id.as_deref());
    put("info", proof.info.as_deref());
    put("meta", proof.meta.as_deref());
    for channel in &proof.channels {
        put("subscribed to", Some(channel));
    }
    for cap in &proof.caps {
        let names: Vec<_> = cap.channels.iter().map(ToString::to_string).collect();
        let has = |(right, name): (Right, &'static str)| cap.rights.has(right).then_some(name);
        let rights: Vec<_> = Right::ALL.into_iter().filter_map(has).collect();
        put("may", Some(&format!("{} in {}", rights.join(", "), names.join(", "))));
    }
    put_end(out, proof.expires, now_s);
}

fn put_end(out: &mut String, expires: Option<u64>, now_s: u64) {
    let _ = match expires {
        None => writeln!(out, "expires: never"),
        Some(end) => {
            let left = Duration::from_secs(end.saturating_sub(now_s));
            writeln!(out, "expires: in {}", show_time(left))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens { hmac_secret: Some("hunter2".into()), ..Tokens::default() }
    }

    #[test]
    fn a_token_that_was_made_is_checked() {
        let wishes = Wishes {
            user: Some("ana".into()),
            lasts_s: Some(3600),
            channels: vec!["chat:*".into()],
            joins: vec!["news".into()],
            info: Some(serde_json::json!({ "a": "\u{1b}[31m" })),
            ..Wishes::default()
        };
        let asked = Asked { wishes, ..Asked::default() };
        let token = perform(&asked, &tokens()).unwrap();
        let check = Asked { check: Some(token.clone()), ..Asked::default() };
        let told = perform(&check, &tokens()).unwrap();
        assert!(told.starts_with("user: ana\nid: "), "{told}");
        let rest = "subscribed to: news\nmay: subscribe, publish, presence, history in chat:*\n\
                    expires: in 1h\n";
        assert!(told.contains(rest) && !told.contains('\u{1b}'), "{told}");
        let other = Tokens { hmac_secret: Some("hunter3".into()), ..Tokens::default() };
        let Failed { code, why } = perform(&check, &other).unwrap_err();
        assert_eq!((code, &*why), (exit::RUN, "the token is refused: the signature is wrong"));
        let none = perform(&check, &Tokens::default()).unwrap_err();
        assert_eq!(none.code, exit::USAGE);
    }

    #[test]
    fn a_subscription_token_is_checked_for_its_channel() {
        let subscription = Some("news".to_owned());
        let user = Some("ana".to_owned());
        let wishes = Wishes { user, subscription, lasts_s: None, ..Wishes::default() };
        let asked = Asked { wishes: wishes.clone(), ..Asked::default() };
        let token = perform(&asked, &tokens()).unwrap();
        let check = Some(token);
        let told = perform(&Asked { check: check.clone(), wishes, ..Asked::default() }, &tokens());
        assert_eq!(told.unwrap(), "subscription: news\nexpires: never\n");
        let refused = perform(&Asked { check, ..Asked::default() }, &tokens()).unwrap_err();
        assert!(refused.why.contains("is for a subscription"), "{}", refused.why);
    }
}
