//! Reasons to refuse a handshake: one variant, one HTTP status, one counter.

use std::borrow::Cow;

use super::stream;
use crate::model::channel::NoChannel;
use crate::model::verdict::{Dismissal, Rejection};
use crate::proof::TokenFault;
use crate::rules::Denied;

/// A handshake that is answered with something else than 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request makes no sense; the text says why.
    BadRequest(&'static str),
    /// The text says where a user comes from.
    UserRequired(&'static str),
    /// The token is invalid, expired or revoked; the text says no more than this.
    Token(&'static str),
    /// The key of the token is not known yet.
    TokenKey,
    Origin,
    /// Nothing is at the path that is named.
    NotFound(Box<str>),
    /// The method is another one than these.
    Method(&'static str),
    Slow,
    UserTaken,
    Version,
    TooManyFromAddress,
    HeadTooLarge,
    Full,
    Draining,
    ChannelRoom,
    /// The rules of a channel do not let the client in.
    Denied {
        channel: Box<str>,
        why: Denied,
    },
    /// The body of the request is too large.
    BodyTooLarge,
    /// The request is for a client of another process.
    NoNode,
    /// Too much waits to be done.
    Busy,
    /// The application's backend does not let the client in.
    Rejected(Rejection),
    /// The backend sends the client away.
    Dismissed(Dismissal),
    /// The client would be in more channels than one may be in.
    TooManyChannels,
    /// The app that it asks for does not let it in.
    App(AppFault),
    /// The client sent no request in time. It is not answered: the next request on such a
    /// connection would take the answer for its own.
    NoRequest,
}

/// The reasons for which an app of Pusher's protocol does not let a client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppFault {
    /// No app has this key.
    Unknown,
    /// The app is disabled.
    Disabled,
    /// The app has as many clients as it may have.
    Quota,
    /// The version of the protocol is no number.
    BadVersion,
    /// The version of the protocol is none of this server's.
    Unsupported,
    /// The request names no version.
    NoProtocol,
}

impl AppFault {
    /// Returns the reason for people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unknown => "no app has this key",
            Self::Disabled => "the app is disabled",
            Self::Quota => "the app has as many clients as it may have",
            Self::BadVersion => "protocol is not a number",
            Self::Unsupported => "this server speaks the versions 5 to 7 of the protocol",
            Self::NoProtocol => "protocol is missing",
        }
    }
}

/// Seconds after which a client that found no room should try again.
const RETRY_AFTER_S: u32 = 2;

impl Refusal {
    /// The counters' names, by [`index`](Self::index).
    pub(crate) const LABELS: [&'static str; 24] = [
        "bad_request",
        "user_required",
        "origin",
        "not_found",
        "method",
        "slow",
        "user_taken",
        "version",
        "address",
        "head_too_large",
        "full",
        "draining",
        "channel_room",
        "no_request",
        "denied",
        "token",
        "token_key",
        "body_too_large",
        "no_node",
        "busy",
        "rejected",
        "dismissed",
        "channels",
        "app",
    ];

    /// The refusal for a channel that cannot be had.
    pub(crate) fn of(why: NoChannel, channel: &str) -> Self {
        match why {
            NoChannel::NoRoom => Self::ChannelRoom,
            NoChannel::Unavailable => Self::Busy,
            NoChannel::UnknownNamespace => {
                Self::Denied { channel: channel.into(), why: Denied::UnknownNamespace }
            }
        }
    }

    /// The refusal of a connection for its token.
    pub(crate) fn of_token(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Expired => Self::Token("the token has expired"),
            TokenFault::Invalid => Self::Token("the token is not valid here"),
            TokenFault::Revoked => Self::Token("the token was revoked"),
            TokenFault::UnknownKey => Self::TokenKey,
        }
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::BadRequest(_) => 0,
            Self::UserRequired(_) => 1,
            Self::Origin => 2,
            Self::NotFound(_) => 3,
            Self::Method(_) => 4,
            Self::Slow => 5,
            Self::UserTaken => 6,
            Self::Version => 7,
            Self::TooManyFromAddress => 8,
            Self::HeadTooLarge => 9,
            Self::Full => 10,
            Self::Draining => 11,
            Self::ChannelRoom => 12,
            Self::NoRequest => 13,
            Self::Denied { .. } => 14,
            Self::Token(_) => 15,
            Self::TokenKey => 16,
            Self::BodyTooLarge => 17,
            Self::NoNode => 18,
            Self::Busy => 19,
            Self::Rejected(_) => 20,
            Self::Dismissed(_) => 21,
            Self::TooManyChannels => 22,
            Self::App(_) => 23,
        }
    }

    /// Status line, text for people, and headers of its own.
    fn parts(&self) -> (&'static str, Cow<'static, str>, String) {
        let retry = || format!("Retry-After: {RETRY_AFTER_S}\r\n");
        let (status, text, headers) = match self {
            Self::BadRequest(why) => ("400 Bad Request", *why, String::new()),
            Self::UserRequired(how) => {
                ("401 Unauthorized", *how, "WWW-Authenticate: user realm=\"stentor\"\r\n".into())
            }
            Self::Token(why) => (
                "401 Unauthorized",
                *why,
                "WWW-Authenticate: Bearer realm=\"stentor\", error=\"invalid_token\"\r\n".into(),
            ),
            Self::TokenKey => {
                let why = "the key of this token is not known yet: try again";
                ("503 Service Unavailable", why, retry())
            }
            Self::Origin => ("403 Forbidden", "this origin is not allowed", String::new()),
            Self::NotFound(path) => {
                let text = format!("no WebSocket at {path}: try /ws");
                return ("404 Not Found", text.into(), String::new());
            }
            Self::Method(methods) => {
                let text = format!("the methods here: {methods}");
                return ("405 Method Not Allowed", text.into(), format!("Allow: {methods}\r\n"));
            }
            Self::Slow => ("408 Request Timeout", "the request came too slowly", String::new()),
            Self::UserTaken => ("409 Conflict", "this user is connected already", String::new()),
            Self::Version => (
                "426 Upgrade Required",
                "this server speaks WebSocket version 13",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".into(),
            ),
            Self::TooManyFromAddress => {
                ("429 Too Many Requests", "too many clients from this address", retry())
            }
            Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "the request head is too large",
                String::new(),
            ),
            Self::BodyTooLarge => ("413 Content Too Large", "the body is too large", String::new()),
            Self::NoNode => ("404 Not Found", "no node of that name: connect again", String::new()),
            Self::Busy => ("503 Service Unavailable", "too much waits: try again", retry()),
            Self::Full => ("503 Service Unavailable", "no room for another client", retry()),
            Self::Draining => ("503 Service Unavailable", "draining", retry()),
            Self::ChannelRoom => {
                ("503 Service Unavailable", "no room for another channel", retry())
            }
            Self::Denied { channel, why } => {
                return ("403 Forbidden", format!("{channel}: {why}").into(), String::new());
            }
            Self::Rejected(Rejection { text, is_passing: true, .. }) => {
                return ("503 Service Unavailable", one_line(text).into(), retry());
            }
            Self::Rejected(Rejection { text, .. })
            | Self::Dismissed(Dismissal { reason: text, .. }) => {
                return ("403 Forbidden", one_line(text).into(), String::new());
            }
            Self::TooManyChannels => {
                ("400 Bad Request", "more channels than a client may be in", String::new())
            }
            Self::App(fault) => ("403 Forbidden", fault.text(), String::new()),
            Self::NoRequest => ("", "", String::new()),
        };
        (status, text.into(), headers)
    }

    /// The whole response; empty where nothing is to be said. A page of `origin` may read it.
    pub(crate) fn response(&self, origin: Option<&str>) -> Vec<u8> {
        if *self == Self::NoRequest {
            return Vec::new();
        }
        let (status, text, headers) = self.parts();
        let length = text.len() + 1;
        let mut response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n{headers}"
        )
        .into_bytes();
        stream::put_sharing(&mut response, origin);
        response.extend_from_slice(format!("\r\n{text}\n").as_bytes());
        response
    }
}

/// A text of the backend in one line: operators read it in logs of proxies.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_a_whole_response_that_the_protocol_page_lists() {
        let page = include_str!("../../PROTOCOL.md");
        let all = [
            Refusal::BadRequest("a name is empty"),
            Refusal::UserRequired("a user is required"),
            Refusal::Origin,
            Refusal::NotFound("/chat".into()),
            Refusal::Method("GET"),
            Refusal::Slow,
            Refusal::UserTaken,
            Refusal::Version,
            Refusal::TooManyFromAddress,
            Refusal::HeadTooLarge,
            Refusal::Full,
            Refusal::Draining,
            Refusal::ChannelRoom,
            Refusal::NoRequest,
            Refusal::Denied { channel: "a:b".into(), why: Denied::UnknownNamespace },
            Refusal::of_token(TokenFault::Expired),
            Refusal::of_token(TokenFault::UnknownKey),
            Refusal::BodyTooLarge,
            Refusal::NoNode,
            Refusal::Busy,
            Refusal::Rejected(Rejection { code: 9, text: "not you".into(), is_passing: false }),
            Refusal::Dismissed(Dismissal { code: 4001, reason: "go".into() }),
            Refusal::TooManyChannels,
            Refusal::App(AppFault::Unknown),
        ];
        for (index, refusal) in all.into_iter().enumerate() {
            assert_eq!(refusal.index(), index);
            if refusal == Refusal::NoRequest {
                assert!(refusal.response(None).is_empty(), "nothing was asked");
                continue;
            }
            let response = String::from_utf8(refusal.response(None)).unwrap();
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{response}");
            assert!(page.contains(&format!("`{}`", &head[9..12])), "{response}");
        }
    }
}
