//! Streams over HTTP: requests for a response that never ends, and the answers to them.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::BytesMut;
use serde::Deserialize;

use super::body::Body;
use super::command::Said;
use super::dialect::Dialect;
use super::entry::Entry;
use super::http::{self, Head, Limits, Start};
use super::name::percent_decoded;
use super::path::local_path;
use super::protobuf;
use super::refusal::Refusal;
use super::transport::{BYTES, Transport};
use super::zip;
use crate::model::past::{Behind, Numbering, Since};

/// The parameter by which a request without a body says what its client would send first.
const FIRST_WORDS: &str = "cf_connect";

/// The most bytes of names of headers that a page may ask for.
const ASKED_BYTES_MAX: usize = 1 << 10;

/// A request for a stream, or one beside a stream, in whose head nothing is wrong by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamRequest {
    /// The size of the head in bytes.
    pub(crate) head_len: usize,
    pub(crate) purpose: Purpose,
    /// The facts for the admission of the client.
    pub(crate) entry: Entry,
    /// The first words of the client, if they stand in the URL.
    pub(crate) first_words: Option<String>,
    /// The headers that a page of another origin would send.
    pub(crate) asked_headers: Option<Box<str>>,
    pub(crate) is_post: bool,
    /// The body, of which nothing has come so far.
    pub(crate) body: Body,
    /// The client waits to be told before it sends the body.
    pub(crate) expects_continue: bool,
}

/// The purpose of a request that is no upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To listen to a response that never ends.
    Listen,
    /// To speak for a client that listens to one.
    Emulate,
    /// To know what pages of other origins may do with these methods.
    Preflight(&'static str),
}

/// A path at which clients ask for streams, or speak for those that listen to one.
#[derive(Debug)]
struct Route {
    path: &'static str,
    /// The methods, as an `Allow` header lists them.
    methods: &'static str,
    purpose: Purpose,
    dialect: Dialect,
    /// The dialect of a request whose body is bytes.
    binary: Option<Dialect>,
    transport: Transport,
}

impl Route {
    const fn new(
        path: &'static str,
        methods: &'static str,
        dialect: Dialect,
        transport: Transport,
    ) -> Self {
        Self { path, methods, purpose: Purpose::Listen, dialect, binary: None, transport }
    }
}

/// All of them.
const ROUTES: &[Route] = &[
    Route::new("/sse", "GET", Dialect::Plain, Transport::NumberedEvents),
    Route::new("/connection/sse", "GET, POST", Dialect::Centrifugo, Transport::Events),
    Route {
        binary: Some(Dialect::Protobuf),
        ..Route::new("/connection/http_stream", "POST", Dialect::Centrifugo, Transport::Chunks)
    },
    Route::new("/connection/uni_sse", "GET, POST", Dialect::Uni, Transport::Events),
    Route::new("/connection/uni_http_stream", "POST", Dialect::Uni, Transport::Chunks),
    Route {
        purpose: Purpose::Emulate,
        binary: Some(Dialect::Protobuf),
        ..Route::new("/emulation", "POST", Dialect::Centrifugo, Transport::Chunks)
    },
];

/// Reads a request that is no upgrade. Returns `None` if it is for the control plane.
pub(super) fn read(
    head: &Head<'_>,
    head_len: usize,
    limits: &Limits<'_>,
) -> Result<Option<StreamRequest>, Refusal> {
    let (path, query) = head.target();
    let path = local_path(path, limits.path_prefix);
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else { return Ok(None) };
    let is_preflight = head.method() == "OPTIONS";
    if !is_preflight && !route.methods.split(", ").any(|method| method == head.method()) {
        return Err(Refusal::Method(route.methods));
    }
    head.check_host()?;
    let transport = match route.transport {
        Transport::Chunks if !head.is_modern() => Transport::Lines,
        transport if limits.compresses && takes_gzip(head) => transport.zipped(),
        transport => transport,
    };
    let binary = route.binary.filter(|_| has_bytes(head));
    let stated = Entry { transport, ..Entry::new(binary.unwrap_or(route.dialect)) };
    if is_preflight {
        return Ok(Some(StreamRequest {
            head_len,
            purpose: Purpose::Preflight(route.methods),
            entry: http::complete(stated, head, "", limits)?,
            first_words: None,
            asked_headers: asked_headers(head),
            is_post: false,
            body: Body::default(),
            expects_continue: false,
        }));
    }
    let mut entry = http::complete(stated, head, query, limits)?;
    if let Some(id) =
        head.single("last-event-id", "two last ids")?.filter(|_| transport.has_one_channel())
    {
        // An id of somebody else's events is a position that nobody knows.
        let since = std::str::from_utf8(id).ok().and_then(http::read_since);
        entry.behind =
            Some(Behind::Since(since.unwrap_or(Since { epoch: Numbering::Foreign, offset: 0 })));
    }
    Ok(Some(StreamRequest {
        head_len,
        purpose: route.purpose,
        entry,
        first_words: first_words(query)?,
        asked_headers: None,
        is_post: head.method() == "POST",
        body: Body::of(head)?,
        expects_continue: head.has_token("expect", "100-continue"),
    }))
}

/// Returns `true` if the client asks for the coding gzip, or for any.
fn takes_gzip(head: &Head<'_>) -> bool {
    head.tokens("accept-encoding").any(|token| {
        let mut parts = token.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let is_gzip =
            [&b"gzip"[..], b"x-gzip", b"*"].iter().any(|known| coding.eq_ignore_ascii_case(known));
        // A weight of zero says that it is not wanted.
        let is_zero = |weight: &[u8]| {
            let value = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="));
            value.is_some_and(|value| value.iter().all(|byte| b"0.".contains(byte)))
        };
        is_gzip && !parts.any(is_zero)
    })
}

/// Returns the headers for which a browser asks on behalf of a page, if these can be names of some.
fn asked_headers(head: &Head<'_>) -> Option<Box<str>> {
    let asked = head.values("access-control-request-headers").next()?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    let sound = asked.len() <= ASKED_BYTES_MAX && asked.iter().all(is_part);
    std::str::from_utf8(asked).ok().filter(|_| sound).map(Box::from)
}

/// Returns `true` if the body of a request is bytes, as its header says.
fn has_bytes(head: &Head<'_>) -> bool {
    head.values("content-type").any(|value| {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(BYTES.as_bytes())
    })
}

/// Returns what a client would send first, as its URL says.
pub(super) fn first_words(query: &str) -> Result<Option<String>, Refusal> {
    let mut found = None;
    for pair in query.split('&') {
        let Some((FIRST_WORDS, value)) = pair.split_once('=') else { continue };
        let decoded = percent_decoded(value)
            .ok_or(Refusal::BadRequest("cf_connect is not percent-encoded"))?;
        if found.replace(decoded).is_some() {
            return Err(Refusal::BadRequest("a parameter stands twice"));
        }
    }
    Ok(found)
}

/// Writes the head of a response that never ends, and the part of its body that tells where its
/// client begins.
pub(crate) fn put_opening(out: &mut Vec<u8>, entry: &Entry, start: Start) {
    let transport = entry.transport();
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nCache-Control: no-store, no-transform\r\n\
         X-Accel-Buffering: no\r\nConnection: close\r\n",
        transport.content_type(entry.dialect.is_binary())
    );
    if transport.is_chunked() {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if transport.is_zipped() {
        out.extend_from_slice(b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
    }
    put_sharing(out, entry.origin.as_deref());
    start.put_headers(out);
    out.extend_from_slice(b"\r\n");
    let begin = out.len();
    if transport.is_of_events() {
        put_first_event(out, transport, start);
    }
    if transport.is_zipped() {
        let bytes = out.split_off(begin);
        let mut body = BytesMut::new();
        zip::put_opening(&mut body, &bytes, transport.is_chunked());
        out.extend_from_slice(&body);
    }
}

/// Writes the first bytes of server-sent events: those that tell the client where it begins.
fn put_first_event(out: &mut Vec<u8>, transport: Transport, start: Start) {
    // Some proxies and browsers wait for the first byte of the body. No carriage return: behind one
    // a widespread client of Node.js loses the first event if both come in one piece.
    out.extend_from_slice(b"\n");
    if let Some(position) = start.position.filter(|_| transport.has_one_channel()) {
        let _ = writeln!(out, "id: {}:{}", position.epoch, position.offset);
        if let Some(recovered) = start.recovered {
            let _ = writeln!(out, "event: recovered\ndata: {recovered}");
        }
        out.extend_from_slice(b"\n");
    }
}

/// Writes the headers by which a page of another origin, which is allowed, may read an answer.
pub(super) fn put_sharing(out: &mut Vec<u8>, origin: Option<&str>) {
    if let Some(origin) = origin {
        let _ = write!(
            out,
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Credentials: true\r\n\
             Access-Control-Expose-Headers: Stentor-Position, Stentor-Recovered\r\nVary: Origin\r\n"
        );
    }
}

/// Returns the answer to a browser that asks what a page of another origin may do here. Its origin
/// has been allowed, and so it may send the headers that it likes.
pub(crate) fn preflight_answer(
    origin: Option<&str>,
    methods: &str,
    asked_headers: Option<&str>,
) -> Vec<u8> {
    let headers = asked_headers.unwrap_or("Authorization, Content-Type, Last-Event-ID");
    let mut out = format!(
        "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Methods: {methods}, OPTIONS\r\n\
         Access-Control-Allow-Headers: {headers}\r\n\
         Access-Control-Max-Age: 300\r\nConnection: close\r\n"
    )
    .into_bytes();
    put_sharing(&mut out, origin);
    out.extend_from_slice(b"\r\n");
    out
}

/// The answer to a request that spoke for a client.
pub(crate) fn heard_answer(origin: Option<&str>) -> Vec<u8> {
    let mut out = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n".to_vec();
    put_sharing(&mut out, origin);
    out.extend_from_slice(b"\r\n");
    out
}

/// A request that speaks for a client that listens to a stream.
#[derive(Debug)]
pub(crate) struct Emulation<'a> {
    /// The client, by the name that only the client itself and this process know.
    pub(crate) session: Cow<'a, str>,
    /// The process.
    pub(crate) node: Cow<'a, str>,
    /// Its words.
    pub(crate) words: Said,
}

/// The same in JSON.
#[derive(Deserialize)]
struct InJson<'a> {
    #[serde(borrow, default)]
    session: Cow<'a, str>,
    #[serde(borrow, default)]
    node: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

impl<'a> Emulation<'a> {
    /// Reads the body of a request in the form of a dialect; `None` if it is none of these.
    pub(crate) fn read(dialect: Dialect, body: &'a [u8]) -> Option<Self> {
        if dialect.is_binary() {
            return protobuf::read::emulation(body);
        }
        // A list would be read as the fields in their order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let read: InJson<'_> = serde_json::from_slice(body).ok().filter(|_| is_object)?;
        let words = Said::Text(read.data.into_owned().into());
        Some(Self { session: read.session, node: read.node, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulation_names_its_client_and_its_words() {
        let body = br#"{"session":"s","node":"n","data":"{\"id\":1}","more":[1]}"#;
        let read = Emulation::read(Dialect::Centrifugo, body).unwrap();
        assert_eq!((&*read.session, &*read.node), ("s", "n"));
        assert!(matches!(read.words, Said::Text(words) if words.as_str() == r#"{"id":1}"#));
        for none in [&b""[..], b"{}", b"[]", b"{\"data\":{}}", b"{\"data\":\"\xff\"}"] {
            assert!(Emulation::read(Dialect::Centrifugo, none).is_none(), "{none:?}");
        }
        let body = b"\x0a\x01n\x12\x01s\x1a\x02\x01\xff";
        let read = Emulation::read(Dialect::Protobuf, body).unwrap();
        assert_eq!((&*read.session, &*read.node), ("s", "n"));
        assert!(matches!(read.words, Said::Binary(words) if words[..] == [1, 0xff]));
        assert!(Emulation::read(Dialect::Protobuf, b"\x0a\x05n").is_none());
    }

    #[test]
    fn first_words_are_decoded_as_forms_are() {
        let words = |query: &str| first_words(query);
        assert_eq!(words("a=b&cf_connect=%7B%22a%22%3A+1%2B1%7D"), Ok(Some("{\"a\": 1+1}".into())));
        assert_eq!(words("cf_connected=1"), Ok(None));
        assert!(words("cf_connect=%ff").is_err() && words("cf_connect=a&cf_connect=b").is_err());
    }
}
