//! Signed requests of backends: any query is either refused or signed by the app, held against a
//! plain reading of how libraries sign.

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::rules::App;
use crate::wire::name::percent_decoded;
use crate::wire::pusher::sign::{SignatureFault, SignedRequest, check_request};

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const NOW_S: u64 = 1_353_088_179;

/// The method, the path and the query of a request, each on a line.
///
/// # Panics
/// If a request without the right signature is taken, or one with it is refused.
pub fn signed(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, path, query) = (line(), line(), line());
    let app = App::new("3", KEY, SECRET);
    let check = |query: &str| {
        let request = SignedRequest { method, paths: &[path], query };
        check_request(&app, request, NOW_S)
    };
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    let names: Option<Vec<(String, String)>> = parts.iter().map(|part| decoded(part)).collect();
    let Some(mut pairs) = names else {
        return assert!(matches!(check(query), Err(SignatureFault::Malformed(_))));
    };
    pairs.sort();
    let is_twice = pairs.windows(2).any(|two| two[0].0 == two[1].0);
    if is_twice || pairs.len() > 32 {
        return assert!(check(query).is_err(), "{query}");
    }
    if pairs.len() == 32 {
        // With a signature there would be too many.
        return;
    }
    let shown = pairs.extract_if(.., |(name, _)| name == "auth_signature").next();
    let right = signature(method, path, &pairs);
    let is_shown = shown.is_some_and(|(_, shown)| shown == right);
    assert!(check(query).is_err() || is_shown, "{query}");

    // With the right signature only the other parameters can be wrong.
    let rest =
        parts.iter().filter(|part| decoded(part).is_some_and(|(name, _)| name != "auth_signature"));
    let mut resigned: Vec<&str> = rest.copied().collect();
    let own = format!("auth_signature={right}");
    resigned.push(&own);
    let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let is_in_time = value("auth_timestamp")
        .and_then(|value| value.parse::<u64>().ok())
        .is_some_and(|given| given.abs_diff(NOW_S) <= 600);
    let is_good = value("auth_key").is_some_and(|key| key == KEY)
        && value("auth_version").is_some_and(|version| version == "1.0")
        && is_in_time;
    assert_eq!(check(&resigned.join("&")).is_ok(), is_good, "{resigned:?}");
}

fn decoded(part: &str) -> Option<(String, String)> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    Some((percent_decoded(name)?.to_ascii_lowercase(), percent_decoded(value)?))
}

fn signature(method: &str, path: &str, pairs: &[(String, String)]) -> String {
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let signed = format!("{method}\n{path}\n{}", query.join("&"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    HEXLOWER.encode(tag.as_ref())
}
