//! Signatures of Pusher's protocol: HMAC-SHA256 in lower-case hex, made with the secret of an app
//! and compared in constant time.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::rules::{App, Secret};
use crate::wire::name::percent_decoded;

/// The bytes of a signature in hex.
const SIGNATURE_BYTES: usize = 64;

/// The most parameters of a signed request.
const PARAMETERS_MAX: usize = 32;

/// The parameter that is no part of what it signs.
const SIGNATURE: &str = "auth_signature";

/// Returns the signature of a text, such as the body of a webhook.
pub fn signature(secret: &Secret, text: &[u8]) -> String {
    HEXLOWER.encode(hmac::sign(secret.key(), text).as_ref())
}

/// Returns `true` if `auth` lets a client into a private channel: the key of the app, a colon, and
/// the signature of the client's socket id and the channel. A backend that signs all channels alike
/// puts data behind these, as for presence channels.
pub(crate) fn lets_into_private(
    app: &App,
    auth: &str,
    socket: &str,
    (channel, data): (&str, Option<&str>),
) -> bool {
    is_of(app, auth, &format!("{socket}:{channel}"))
        || data.is_some_and(|data| lets_into_presence(app, auth, socket, (channel, data)))
}

/// Returns `true` if `auth` lets a client into a presence channel as the member that the data
/// describes.
///
/// Names of channels hold colons, so other data in the signed text could be the end of a longer
/// name. That of backends is a JSON object, whose first character no name has.
pub(crate) fn lets_into_presence(
    app: &App,
    auth: &str,
    socket: &str,
    (channel, data): (&str, &str),
) -> bool {
    data.trim_start().starts_with('{') && is_of(app, auth, &format!("{socket}:{channel}:{data}"))
}

/// Returns `true` if `auth` signs a client in as the user that the data names.
pub(crate) fn signs_in(app: &App, auth: &str, socket: &str, user_data: &str) -> bool {
    is_of(app, auth, &format!("{socket}::user::{user_data}"))
}

fn is_of(app: &App, auth: &str, signed: &str) -> bool {
    // Keys hold no colon, and they are no secret.
    let shown = auth.split_once(':').filter(|(key, _)| **key == *app.key);
    shown.is_some_and(|(_, shown)| is_signature(&app.secret, shown, signed.as_bytes()))
}

/// Compares in constant time; only the length and the alphabet of what is shown are found sooner.
fn is_signature(secret: &Secret, shown: &str, signed: &[u8]) -> bool {
    if shown.len() != SIGNATURE_BYTES {
        return false;
    }
    let Ok(shown) = HEXLOWER.decode(shown.as_bytes()) else { return false };
    hmac::verify(secret.key(), signed, &shown).is_ok()
}

/// A request of an app's backend, as it came.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The paths that may have been signed: the one that came, and those that a proxy may have made
    /// it of.
    pub paths: &'a [&'a str],
    /// The query without its question mark, as it came.
    pub query: &'a str,
}

/// The parameters of a request whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedParameters(BTreeMap<String, String>);

impl SignedParameters {
    /// Returns a parameter by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A request whose signature is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// Its query cannot be read.
    #[error("the query is malformed: {0}")]
    Malformed(&'static str),
    /// A parameter is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The key is not the app's.
    #[error("auth_key is not the key of this app")]
    WrongKey,
    /// The version of the way of signing.
    #[error("auth_version is not 1.0")]
    WrongVersion,
    /// The signature is not that of the request.
    #[error("auth_signature is not the HMAC-SHA256 in hex of METHOD, path and sorted parameters")]
    WrongSignature,
    /// The time of signing is too far from the server's.
    #[error(
        "auth_timestamp {given} is not within {window_s} s of the server's time {server}: set the \
         clock, and sign anew"
    )]
    Expired {
        /// The time of signing, in Unix seconds.
        given: u64,
        /// The server's time.
        server: u64,
        /// The most by which they may differ.
        window_s: u64,
    },
}

/// Checks the signature of a request to an app, and returns its parameters.
///
/// # Errors
/// The first fault.
pub fn check_request(
    app: &App,
    request: SignedRequest<'_>,
    now_s: u64,
) -> Result<SignedParameters, SignatureFault> {
    let parameters = parameters(request.query)?;
    let shown = |name| parameters.get(name).ok_or(SignatureFault::Missing(name));
    if **shown("auth_key")? != *app.key {
        return Err(SignatureFault::WrongKey);
    }
    if shown("auth_version")? != "1.0" {
        return Err(SignatureFault::WrongVersion);
    }
    let given: u64 = shown("auth_timestamp")?
        .parse()
        .map_err(|_| SignatureFault::Malformed("auth_timestamp is not a number of seconds"))?;
    let signature = shown(SIGNATURE)?;
    let is_good = |path: &&str| {
        let signed = signed_text(request.method, path, &parameters);
        is_signature(&app.secret, signature, signed.as_bytes())
    };
    if !request.paths.iter().any(is_good) {
        return Err(SignatureFault::WrongSignature);
    }
    let window_s = app.signature_window.as_secs();
    if given.abs_diff(now_s) > window_s {
        return Err(SignatureFault::Expired { given, server: now_s, window_s });
    }
    Ok(SignedParameters(parameters))
}

/// Reads a query. Names are compared in lower case, as they are signed.
fn parameters(query: &str) -> Result<BTreeMap<String, String>, SignatureFault> {
    let mut found = BTreeMap::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decoded = percent_decoded(name).zip(percent_decoded(value));
        let (name, value) =
            decoded.ok_or(SignatureFault::Malformed("a parameter is not percent-encoded UTF-8"))?;
        if found.len() == PARAMETERS_MAX {
            return Err(SignatureFault::Malformed("it has more than 32 parameters"));
        }
        // Of two values one would be signed and the other one perhaps used.
        if found.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(SignatureFault::Malformed("a parameter stands twice"));
        }
    }
    Ok(found)
}

/// The text that is signed: the method, the path, and the parameters in the order of their names,
/// with values that are not encoded.
fn signed_text(method: &str, path: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut text = format!("{method}\n{path}\n");
    let signed = parameters.iter().filter(|(name, _)| *name != SIGNATURE);
    for (at, (name, value)) in signed.enumerate() {
        if at > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "1234.1234";
    const NOW_S: u64 = 1_353_088_179;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
                         &body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=\
                         da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn app() -> App {
        App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")
    }

    fn auth(signature: &str) -> String {
        format!("278d425bdf160c739803:{signature}")
    }

    #[test]
    fn signatures_of_channels_and_users_are_those_of_the_protocols_documents() {
        let app = app();
        let private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert!(lets_into_private(&app, &auth(private), SOCKET, ("private-foobar", None)));
        assert!(!lets_into_private(&app, &auth(private), "1234.1235", ("private-foobar", None)));
        assert!(!lets_into_private(&app, &auth(private), SOCKET, ("private-foobaz", None)));
        assert!(!lets_into_presence(&app, &auth(private), SOCKET, ("private-foobar", "")));
        let user = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
        assert!(signs_in(&app, &auth(user), SOCKET, "{\"id\":\"12345\"}"));
        assert!(!signs_in(&app, &auth(user), SOCKET, "{\"id\":\"12346\"}"));
    }

    /// Pusher's page on signatures prints, for the member "Mr. Channels", the signature of a member
    /// "Mr. Pusher": the name was changed in the example and the signature was not.
    #[test]
    fn the_presence_vector_of_the_protocols_documents_is_that_of_another_name() {
        let app = app();
        let printed = "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c";
        let right = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
        let channels = "{\"user_id\":10,\"user_info\":{\"name\":\"Mr. Channels\"}}";
        let pusher = "{\"user_id\":10,\"user_info\":{\"name\":\"Mr. Pusher\"}}";
        for (data, signature, is_good) in [
            (channels, right, true),
            (channels, printed, false),
            (pusher, printed, true),
            (pusher, right, false),
        ] {
            let of = ("presence-foobar", data);
            assert_eq!(lets_into_presence(&app, &auth(signature), SOCKET, of), is_good, "{data}");
        }
    }

    #[test]
    fn only_the_whole_signature_in_lower_case_is_one() {
        let app = app();
        let right = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        for wrong in [
            String::new(),
            right.into(),
            "278d425bdf160c739803".into(),
            "278d425bdf160c739803:".into(),
            format!("278d425bdf160c739804:{right}"),
            format!(":{right}"),
            auth(&right.to_uppercase()),
            auth(&right[..62]),
            auth(&format!("{right}00")),
            auth(&format!("{right} ")),
            auth(&right.replace('5', "g")),
            auth(&"0".repeat(64)),
            auth(&"\u{e9}".repeat(32)),
        ] {
            assert!(
                !lets_into_private(&app, &wrong, SOCKET, ("private-foobar", None)),
                "{wrong:?}"
            );
        }
    }

    fn check(path: &str, query: &str, now_s: u64) -> Result<SignedParameters, SignatureFault> {
        check_request(&app(), SignedRequest { method: "POST", paths: &[path], query }, now_s)
    }

    #[test]
    fn the_request_of_the_protocols_documents_is_good() {
        let parameters = check("/apps/3/events", QUERY, NOW_S).unwrap();
        assert_eq!(parameters.get("body_md5"), Some("ec365a775a4cd0599faeb73354201b6f"));
        // In another order, with names in another case and values encoded, it is the same request.
        let parts: Vec<&str> = QUERY.split('&').collect();
        let (first, rest) = parts.split_first().unwrap();
        let other = format!("{}&{}", rest.join("&"), first.replace("auth_key", "Auth%5FKey"));
        assert!(check("/apps/3/events", &other, NOW_S).is_ok(), "{other}");
    }

    #[test]
    fn any_change_of_a_request_breaks_its_signature() {
        let wrong = Err(SignatureFault::WrongSignature);
        assert_eq!(check("/apps/3/event", QUERY, NOW_S), wrong);
        assert_eq!(check("/x/apps/3/events", QUERY, NOW_S), wrong);
        assert_eq!(check("/apps/3/events", &format!("{QUERY}&info=x"), NOW_S), wrong);
        assert_eq!(check("/apps/3/events", &QUERY.replace("ec365", "ec366"), NOW_S), wrong);
        let get = SignedRequest { method: "GET", paths: &["/apps/3/events"], query: QUERY };
        assert_eq!(check_request(&app(), get, NOW_S), wrong);
        let paths = &["/events", "/apps/3/events"][..];
        let either = SignedRequest { method: "POST", paths, query: QUERY };
        assert!(check_request(&app(), either, NOW_S).is_ok());
    }

    #[test]
    fn a_request_is_good_for_ten_minutes_around_its_time() {
        for (now_s, is_good) in [
            (NOW_S - 600, true),
            (NOW_S + 600, true),
            (NOW_S - 601, false),
            (NOW_S + 601, false),
            (0, false),
        ] {
            assert_eq!(check("/apps/3/events", QUERY, now_s).is_ok(), is_good, "{now_s}");
        }
        let why = check("/apps/3/events", QUERY, NOW_S + 601).unwrap_err().to_string();
        assert!(why.contains("1353088179 is not within 600 s of the server's time"), "{why}");
    }

    #[test]
    fn queries_that_cannot_be_read_are_refused() {
        let many = (0..33).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        for (query, part) in [
            (String::new(), "auth_key is missing"),
            ("auth_key=278d425bdf160c739803".into(), "auth_version is missing"),
            (QUERY.replace("auth_signature", "auth_signatur"), "auth_signature is missing"),
            (QUERY.replace("1.0", "1.1"), "auth_version is not 1.0"),
            (QUERY.replace("278d", "278e"), "auth_key is not the key of this app"),
            (QUERY.replace("=1353088179", "=-1"), "auth_timestamp is not a number"),
            (QUERY.replace("=1353088179", "=99999999999999999999"), "auth_timestamp is not a"),
            (format!("{QUERY}&AUTH_KEY=x"), "a parameter stands twice"),
            (format!("{QUERY}&a=%zz"), "not percent-encoded UTF-8"),
            (format!("{QUERY}&a=%ff"), "not percent-encoded UTF-8"),
            (many, "more than 32 parameters"),
        ] {
            let why = check("/apps/3/events", &query, NOW_S).unwrap_err().to_string();
            assert!(why.contains(part), "{query}: {why}");
        }
    }
}
