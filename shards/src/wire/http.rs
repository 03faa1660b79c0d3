//! The request head: an upgrade with its parameters, a request for a stream, a visit for the
//! control plane, or nonsense.

use std::io::Write as _;
use std::sync::Arc;

use async_tungstenite::tungstenite::handshake::derive_accept_key;

use super::credentials;
use super::entry::Entry;
use super::extension::Terms;
use super::forwarded::{ForwardedHeader, TrustedProxies};
use super::name::{check_name, percent_decoded};
use super::path::{local_path, shown_path};
use super::pusher::request::asked;
use super::refusal::Refusal;
use super::route;
use super::stream::{self, StreamRequest};
use super::transport::Transport;
use crate::config::UserFrom;
use crate::model::message::Position;
use crate::model::past::{Behind, Numbering, Since};

/// The most messages that a URL can ask for before the live ones.
const HISTORY_MAX: u32 = 1000;

/// The most headers of a request.
const HEADERS_MAX: usize = 64;

/// The bounds of a head, and the settings with which it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) head_bytes: usize,
    pub(crate) name_bytes: usize,
    /// The prefix under which all paths exist as well.
    pub(crate) path_prefix: &'a str,
    /// The proxies that are trusted and the header they write, if the peer is one of them.
    pub(crate) behind: Option<(&'a TrustedProxies, ForwardedHeader)>,
    /// Messages may be compressed for clients that can read such.
    pub(crate) compresses: bool,
    /// There is a key that verifies tokens; without one they are not read.
    pub(crate) takes_tokens: bool,
    pub(crate) user_from: &'a UserFrom,
    /// The headers that hooks pass on.
    pub(crate) passed_headers: &'a [Box<str>],
}

/// A request for a WebSocket in which nothing is wrong by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// The size of the head in bytes.
    pub(crate) head_len: usize,
    /// The answer to its key.
    pub(crate) accept: String,
    /// The facts for the admission of the client.
    pub(crate) entry: Entry,
    /// The first words of the client, if they stand in the URL.
    pub(crate) first_words: Option<String>,
}

/// The outcome of reading the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    Partial,
    TooLarge,
    Bad(&'static str),
    Refused(Refusal),
    /// An HTTP request for the control plane.
    Visit,
    Upgrade(Box<Upgrade>),
    Stream(Box<StreamRequest>),
}

/// Reads a request head.
pub(crate) fn parse(head: &[u8], limits: &Limits<'_>) -> Parsed {
    match head {
        [] => return Parsed::Partial,
        // A TLS record: its sender waits for an answer that plain HTTP never gives.
        [0x16, ..] => return Parsed::Bad("this port speaks plain HTTP, not TLS"),
        [first, ..] if !first.is_ascii_alphabetic() && !b"\r\n".contains(first) => {
            return Parsed::Bad("not an HTTP request");
        }
        _ => {}
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len > limits.head_bytes => return Parsed::TooLarge,
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if head.len() >= limits.head_bytes => {
            return Parsed::TooLarge;
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::TooLarge,
        Err(_) => return Parsed::Bad("not an HTTP request"),
    };
    let request = Head { request: &request };
    let read = if request.has_token("upgrade", "websocket") {
        upgrade(&request, head_len, limits).map(|upgrade| Parsed::Upgrade(Box::new(upgrade)))
    } else {
        let stream = stream::read(&request, head_len, limits);
        stream.map(|read| read.map_or(Parsed::Visit, |read| Parsed::Stream(Box::new(read))))
    };
    match read {
        Ok(parsed) => parsed,
        Err(Refusal::BadRequest(why)) => Parsed::Bad(why),
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// A complete head, with look-ups as RFC 9110 wants them.
pub(super) struct Head<'a> {
    request: &'a httparse::Request<'a, 'a>,
}

impl<'a> Head<'a> {
    pub(super) fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let headers = self.request.headers.iter();
        headers
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    pub(super) fn tokens(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    /// Returns those of some headers that are text. Their names are in lower case.
    pub(super) fn passed(&self, names: &[Box<str>]) -> Vec<(Box<str>, Box<str>)> {
        let each = names.iter().flat_map(|name| self.values(name).map(move |value| (name, value)));
        each.filter_map(|(name, value)| {
            Some((name.clone(), std::str::from_utf8(value).ok()?.into()))
        })
        .collect()
    }

    pub(super) fn method(&self) -> &'a str {
        self.request.method.unwrap_or_default()
    }

    /// Returns `true` for HTTP/1.1, as against HTTP/1.0.
    pub(super) fn is_modern(&self) -> bool {
        self.request.version == Some(1)
    }

    /// Returns the path and the query of the target, which may be a whole URL.
    pub(super) fn target(&self) -> (&'a str, &'a str) {
        let target = origin_form(self.request.path.unwrap_or_default());
        target.split_once('?').unwrap_or((target, ""))
    }

    pub(super) fn has_token(&self, name: &'a str, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Returns the value of a header that may occur once.
    pub(super) fn single(
        &self,
        name: &'a str,
        twice: &'static str,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() { Err(Refusal::BadRequest(twice)) } else { Ok(value) }
    }

    /// HTTP/1.1 needs one `Host` header.
    pub(super) fn check_host(&self) -> Result<(), Refusal> {
        match self.single("host", "two hosts")? {
            None if self.is_modern() => Err(Refusal::BadRequest("HTTP/1.1 needs a Host header")),
            _ => Ok(()),
        }
    }

    fn text(&self, name: &'a str, twice: &'static str) -> Result<Option<Box<str>>, Refusal> {
        let Some(value) = self.single(name, twice)? else { return Ok(None) };
        match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(Refusal::BadRequest("a header is not text")),
        }
    }
}

fn upgrade(head: &Head<'_>, head_len: usize, limits: &Limits<'_>) -> Result<Upgrade, Refusal> {
    let bad = |why| Err(Refusal::BadRequest(why));
    if head.method() != "GET" {
        return Err(Refusal::Method("GET"));
    }
    if !head.is_modern() {
        return bad("an upgrade needs HTTP/1.1");
    }
    head.check_host()?;
    let (path, query) = head.target();
    let offers = |subprotocol: &str| {
        head.tokens("sec-websocket-protocol").any(|name| name == subprotocol.as_bytes())
    };
    let path_here = local_path(path, limits.path_prefix);
    let Some(route) = route::find(&path_here, query, offers) else {
        return Err(Refusal::NotFound(shown_path(path).into()));
    };
    if !head.has_token("connection", "upgrade") {
        return bad("the Connection header does not say upgrade");
    }
    match head.single("sec-websocket-version", "two versions")? {
        Some(b"13") => {}
        _ => return Err(Refusal::Version),
    }
    let key = match head.single("sec-websocket-key", "two keys")? {
        Some(key) if is_key(key) => key,
        _ => return bad("Sec-WebSocket-Key is not 16 bytes in base64"),
    };
    let has_body = head.values("transfer-encoding").next().is_some()
        || head.values("content-length").any(|length| length != b"0");
    if has_body {
        return bad("an upgrade has no body");
    }
    let app = if route.is_of_app() { asked(&path_here, query) } else { None };
    let stated = Entry { subprotocol: route.subprotocol, app, ..Entry::new(route.dialect) };
    let mut entry = complete(stated, head, query, limits)?;
    if limits.compresses {
        entry.deflate = Terms::agree(head.values("sec-websocket-extensions"));
        entry.transport = entry.deflate.map_or(Transport::WebSocket, Terms::transport);
    }
    let is_deaf = entry.dialect.is_deaf();
    let first_words = if is_deaf { stream::first_words(query)? } else { None };
    Ok(Upgrade { head_len, accept: derive_accept_key(key), entry, first_words })
}

/// Adds to an entry everything else that a request shows.
pub(super) fn complete(
    mut entry: Entry,
    head: &Head<'_>,
    query: &str,
    limits: &Limits<'_>,
) -> Result<Entry, Refusal> {
    entry.origin = head.text("origin", "two origins")?;
    entry.host = head.text("host", "two hosts")?;
    entry.is_forwarded = head.values("x-forwarded-for").next().is_some()
        || head.values("forwarded").next().is_some();
    let headers = head.passed(limits.passed_headers);
    if !headers.is_empty() {
        entry.presented.get_or_insert_default().headers = headers;
    }
    if let Some((proxies, header)) = limits.behind {
        entry.address = proxies.client(header, head.values(header.name()));
        // The nearest proxy writes the last one.
        let host = head.tokens("x-forwarded-host").last();
        entry.proxied_host = host.and_then(|host| std::str::from_utf8(host).ok()).map(Box::from);
    }
    // Its app decides about such a client, by signatures alone.
    if entry.app.is_some() {
        return Ok(entry);
    }
    read_query(query, &mut entry, limits)
        .and_then(|()| credentials::take_token(head, &mut entry, limits))
        .and_then(|()| credentials::take_user(head, &mut entry, limits))
        .map_err(Refusal::BadRequest)?;
    Ok(entry)
}

/// The path and query of a target that may be a whole URL (RFC 9112, 3.2.2).
fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find(['/', '?']).map_or("/", |at| &rest[at..])
}

/// Returns `true` if a key is 16 bytes in base64: 22 digits, the last of which carries two bits,
/// and two equal signs.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24
        && key[..21].iter().all(digit)
        && matches!(key[21], b'A' | b'Q' | b'g' | b'w')
        && key.ends_with(b"==")
}

fn read_query(query: &str, entry: &mut Entry, limits: &Limits<'_>) -> Result<(), &'static str> {
    let mut seen = [false; 7];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "channel" => 0,
            "user" => 1,
            "echo" => 2,
            "join" => 3,
            "since" => 4,
            "history" => 5,
            "token" if limits.takes_tokens => 6,
            _ => continue,
        };
        if std::mem::replace(&mut seen[place], true) {
            return Err("a parameter stands twice");
        }
        let value = percent_decoded(value).ok_or("a parameter is not percent-encoded UTF-8")?;
        match name {
            "token" => entry.token = Some(value.into()),
            "user" if *limits.user_from != UserFrom::Url => {
                return Err("the user comes from elsewhere here: leave out ?user=");
            }
            "channel" | "user" => {
                check_name(&value, limits.name_bytes)?;
                let name = Arc::from(value);
                if place == 0 { entry.channels.push(name) } else { entry.user = Some(name) }
            }
            "echo" => {
                entry.echo = match value.as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err("echo is true or false"),
                }
            }
            "since" => {
                let since = read_since(&value).ok_or("since is EPOCH:OFFSET")?;
                entry.behind = Some(Behind::Since(since));
            }
            "history" => {
                let count = digits(&value).and_then(|digits| digits.parse().ok());
                let count = count.filter(|count| *count <= HISTORY_MAX);
                let count = count.ok_or("history is a number of messages, at most 1000")?;
                // A position says more.
                entry.behind = entry.behind.or(Some(Behind::Last(count)));
            }
            _ => {
                entry.joined = Some(match value.as_str() {
                    "newline" => true,
                    "none" => false,
                    _ => return Err("join is newline or none"),
                });
            }
        }
    }
    Ok(())
}

/// Reads a position as the answer to an earlier request has told it.
pub(super) fn read_since(text: &str) -> Option<Since> {
    let (epoch, offset) = text.split_once(':')?;
    Some(Since { epoch: Numbering::read(epoch), offset: digits(offset)?.parse().ok()? })
}

/// Returns the text if it has no sign, which Rust's own parser would take.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

/// The place in its channel at which a client begins, told in the head of the answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// The position in front of the first message.
    pub(crate) position: Option<Position>,
    /// The client is told everything behind the position that it named.
    pub(crate) recovered: Option<bool>,
}

impl Start {
    /// Writes the headers that tell it.
    pub(super) fn put_headers(self, out: &mut Vec<u8>) {
        if let Some(Position { epoch, offset }) = self.position {
            let _ = write!(out, "Stentor-Position: {epoch}:{offset}\r\n");
        }
        if let Some(recovered) = self.recovered {
            let _ = write!(out, "Stentor-Recovered: {recovered}\r\n");
        }
    }
}

/// Writes the 101.
pub(crate) fn put_switching(out: &mut Vec<u8>, accept: &str, entry: &Entry, start: Start) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    if let Some(subprotocol) = entry.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if let Some(terms) = entry.deflate {
        terms.put_header(out);
    }
    start.put_headers(out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
