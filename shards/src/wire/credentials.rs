//! The parts of a request head by which a client shows who it is: its token, and the user that a
//! trusted proxy names.

use std::sync::Arc;

use super::entry::Entry;
use super::http::{Head, Limits};
use super::name::check_name;
use crate::config::UserFrom;

/// The mark before a token in the list of subprotocols. A token consists of characters that may
/// stand there, and browsers can send no other header.
pub(crate) const SUBPROTOCOL: &str = "stentor.token.";

/// Takes the token from the `Authorization` header or the list of subprotocols, unless the query
/// had one. A client shows one token.
pub(super) fn take_token(
    head: &Head<'_>,
    entry: &mut Entry,
    limits: &Limits<'_>,
) -> Result<(), &'static str> {
    if !limits.takes_tokens {
        return Ok(());
    }
    let twice = "a request shows one token";
    let bearers = head.values("authorization").filter_map(bearer);
    let offered = head.tokens("sec-websocket-protocol");
    let offered = offered.filter_map(|name| name.strip_prefix(SUBPROTOCOL.as_bytes()));
    for token in bearers.chain(offered) {
        let token = std::str::from_utf8(token).map_err(|_| "a token is text")?;
        if entry.token.replace(token.into()).is_some() {
            return Err(twice);
        }
    }
    Ok(())
}

/// The credentials behind the scheme `Bearer`, whose name has no case (RFC 9110, 11.1 and 11.4).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = authorization.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

/// Takes the user from the header of a trusted proxy, where users come from one. The same header of
/// anybody else is not read.
pub(super) fn take_user(
    head: &Head<'_>,
    entry: &mut Entry,
    limits: &Limits<'_>,
) -> Result<(), &'static str> {
    let UserFrom::Header(name) = limits.user_from else { return Ok(()) };
    if limits.behind.is_none() {
        return Ok(());
    }
    let mut values = head.values(name);
    let Some(value) = values.next().filter(|value| !value.is_empty()) else { return Ok(()) };
    if values.next().is_some() {
        return Err("the header of the user stands twice");
    }
    let user = std::str::from_utf8(value).map_err(|_| "the header of the user is not text")?;
    check_name(user, limits.name_bytes)?;
    entry.user = Some(Arc::from(user));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::forwarded::{ForwardedHeader, Network, TrustedProxies};
    use super::super::http::{Parsed, parse};
    use super::*;

    const TOKEN: &str = "aaa.bbb.c-_";

    fn entry(target: &str, headers: &[&str], limits: &Limits<'_>) -> Result<Entry, &'static str> {
        let usual = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let headers = headers.join("\r\n");
        let head = format!("GET {target} HTTP/1.1\r\n{usual}\r\n{headers}\r\n\r\n");
        match parse(head.replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes(), limits) {
            Parsed::Upgrade(upgrade) => Ok(upgrade.entry),
            Parsed::Bad(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    fn limits(user_from: &UserFrom) -> Limits<'_> {
        let (head_bytes, name_bytes) = (2048, 64);
        Limits {
            passed_headers: &[],
            head_bytes,
            name_bytes,
            path_prefix: "",
            behind: None,
            compresses: false,
            takes_tokens: true,
            user_from,
        }
    }

    #[test]
    fn a_token_comes_in_one_of_three_ways() {
        let from = UserFrom::Url;
        let limits = limits(&from);
        let (query, bearer) =
            (format!("/ws?token={TOKEN}"), format!("AUTHORIZATION: bearer {TOKEN}"));
        let offer = format!("Sec-WebSocket-Protocol: stentor.v1, stentor.token.{TOKEN}");
        let bearer = bearer.as_str();
        let offer = offer.as_str();
        for (target, headers) in
            [(query.as_str(), &[][..]), ("/ws", &[bearer]), ("/ws", &[offer]), ("/", &[bearer])]
        {
            let found = entry(target, headers, &limits).unwrap();
            assert_eq!(found.token.as_deref(), Some(TOKEN), "{target} {headers:?}");
            assert_eq!(found.dialect.has_requests(), headers.contains(&offer));
            let ignoring = Limits { takes_tokens: false, ..limits };
            assert_eq!(entry(target, headers, &ignoring).unwrap().token, None);
        }
        for (target, headers) in
            [(query.as_str(), &[bearer][..]), ("/ws", &[bearer, offer]), ("/ws", &[bearer, bearer])]
        {
            let found = entry(target, headers, &limits).unwrap_err();
            assert_eq!(found, "a request shows one token");
        }
        let twice = format!("/ws?token={TOKEN}&token={TOKEN}");
        assert_eq!(entry(&twice, &[], &limits), Err("a parameter stands twice"));
        let basic = entry("/ws", &["Authorization: Basic YTpi"], &limits).unwrap();
        assert_eq!(basic.token, None, "it is for somebody else");
    }

    #[test]
    fn a_user_comes_from_one_place() {
        for from in [UserFrom::Token, UserFrom::Header("x-user".into())] {
            let found = entry("/ws?user=ana", &[], &limits(&from));
            assert!(found.unwrap_err().ends_with("leave out ?user="), "{from:?}");
        }
        let from = UserFrom::Header("x-user".into());
        let networks = vec![Network::parse("10.0.0.0/8").unwrap()];
        let proxies = TrustedProxies { networks, unix: false };
        let behind = Some((&proxies, ForwardedHeader::XForwardedFor));
        let trusted = Limits { behind, ..limits(&from) };
        let user = |headers: &[&str], limits: &Limits<'_>| {
            entry("/ws", headers, limits).map(|entry| entry.user.map(|user| user.to_string()))
        };
        assert_eq!(user(&["X-User: ana"], &trusted), Ok(Some("ana".into())));
        assert_eq!(user(&["X-User: ana"], &limits(&from)), Ok(None), "from anybody else");
        assert_eq!(user(&["X-User:"], &trusted), Ok(None));
        assert!(user(&["X-User: ana", "X-User: bob"], &trusted).is_err());
        assert!(user(&["X-User: \x7f"], &trusted).is_err());
        let other = Limits { user_from: &UserFrom::Url, ..trusted };
        assert_eq!(user(&["X-User: ana"], &other), Ok(None));
    }
}
