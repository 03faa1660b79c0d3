//! Heads that pass, heads that do not, and bytes that are no head at all.

use proptest::prelude::*;

use super::*;
use crate::model::message::Epoch;
use crate::wire::dialect::Dialect;
use crate::wire::stream::Purpose;

const LIMITS: Limits<'_> = Limits {
    passed_headers: &[],
    head_bytes: 2048,
    name_bytes: 64,
    path_prefix: "",
    behind: None,
    compresses: false,
    takes_tokens: false,
    user_from: &UserFrom::Url,
};

fn head(target: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = format!("GET {target} HTTP/1.1\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

const USUAL: [&str; 5] = [
    "Host: example.org",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

fn with(extra: &[&'static str]) -> Vec<&'static str> {
    USUAL.iter().chain(extra).copied().collect()
}

fn without(name: &str) -> Vec<&'static str> {
    USUAL.iter().filter(|header| !header.starts_with(name)).copied().collect()
}

fn not_found(path: &str) -> Parsed {
    Parsed::Refused(Refusal::NotFound(path.into()))
}

fn upgraded(bytes: &[u8]) -> Upgrade {
    match parse(bytes, &LIMITS) {
        Parsed::Upgrade(upgrade) => *upgrade,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_target_may_be_a_whole_url() {
    for (target, channel) in [
        ("http://example.org/ws?channel=a", Some("a")),
        ("http://example.org?channel=b", Some("b")),
        ("http://example.org", None),
        ("/ws?channel=c&next=http://x/y", Some("c")),
    ] {
        assert_eq!(
            upgraded(&head(target, &USUAL)).entry.channels.first().map(|name| &**name),
            channel,
            "{target}"
        );
    }
    let elsewhere = parse(&head("http://example.org/other", &USUAL), &LIMITS);
    assert_eq!(elsewhere, not_found("/other"));
    let nowhere = parse(&head("/ws", &without("Host")), &LIMITS);
    assert_eq!(nowhere, Parsed::Bad("HTTP/1.1 needs a Host header"));
}

#[test]
fn the_example_of_the_rfc_is_answered_as_the_rfc_says() {
    let bytes = head("/ws?channel=a%20b&user=bob&echo=false&join=newline&other=1", &USUAL);
    let upgrade = upgraded(&bytes);
    assert_eq!(upgrade.head_len, bytes.len());
    assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let entry = upgrade.entry;
    assert_eq!(entry.channels, ["a b".into()]);
    assert_eq!(entry.user.as_deref(), Some("bob"));
    assert!(!entry.echo && entry.dialect == Dialect::Plain);
    assert_eq!(entry.joined, Some(true));
    let mut out = Vec::new();
    let entry = Entry { subprotocol: Some("stentor.v1"), ..Entry::new(Dialect::Stentor) };
    put_switching(&mut out, &upgrade.accept, &entry, Start::default());
    assert!(
        out.ends_with(
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: stentor.v1\r\n\r\n"
        )
    );
}

#[test]
fn the_json_dialect_is_found_among_others() {
    let offers = with(&["sec-websocket-protocol: other, stentor.v1"]);
    assert_eq!(upgraded(&head("/", &offers)).entry.dialect, Dialect::Stentor);
    let lines = with(&["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b,stentor.v1 ,c"]);
    assert_eq!(upgraded(&head("/", &lines)).entry.dialect, Dialect::Stentor);
    for others in ["other", "stentor.v10", "Stentor.v1", "x stentor.v1"] {
        let line = format!("Sec-WebSocket-Protocol: {others}");
        let mut headers = USUAL.to_vec();
        headers.push(&line);
        assert_eq!(upgraded(&head("/", &headers)).entry.dialect, Dialect::Plain, "{others}");
    }
}

const HISTORY: &str = "history is a number of messages, at most 1000";

#[test]
fn http_errors_name_the_fault() {
    let cases: Vec<(Vec<u8>, Parsed)> = vec![
        (head("/other", &USUAL), not_found("/other")),
        (head("/ws", &without("Sec-WebSocket-Version")), Parsed::Refused(Refusal::Version)),
        (
            head("/ws", &without("Sec-WebSocket-Key")),
            Parsed::Bad("Sec-WebSocket-Key is not 16 bytes in base64"),
        ),
        (
            head("/ws", &without("Connection")),
            Parsed::Bad("the Connection header does not say upgrade"),
        ),
        (head("/ws", &with(&["Host: other"])), Parsed::Bad("two hosts")),
        (head("/ws", &with(&["Origin: a", "Origin: b"])), Parsed::Bad("two origins")),
        (head("/ws", &with(&["Sec-WebSocket-Version: 13"])), Parsed::Bad("two versions")),
        (head("/ws", &with(&[USUAL[4]])), Parsed::Bad("two keys")),
        (head("/ws", &with(&["Content-Length: 5"])), Parsed::Bad("an upgrade has no body")),
        (
            head("/ws", &with(&["Transfer-Encoding: chunked"])),
            Parsed::Bad("an upgrade has no body"),
        ),
        (head("/ws?join=maybe", &USUAL), Parsed::Bad("join is newline or none")),
        (
            head("/ws?%c3%28=1&&user=a%2", &USUAL),
            Parsed::Bad("a parameter is not percent-encoded UTF-8"),
        ),
        (vec![0x16], Parsed::Bad("this port speaks plain HTTP, not TLS")),
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n".to_vec(), Parsed::Partial),
        (head("/ws?channel=", &USUAL), Parsed::Bad("a name is empty")),
        (head("/ws?channel=a%0ab", &USUAL), Parsed::Bad("a name holds control characters")),
        (head("/ws?history=%2B5", &USUAL), Parsed::Bad(HISTORY)),
        (head("/ws?history=1001", &USUAL), Parsed::Bad(HISTORY)),
        (head("/ws?since=a:%2B5", &USUAL), Parsed::Bad("since is EPOCH:OFFSET")),
        (head("/ws?user=a&user=b", &USUAL), Parsed::Bad("a parameter stands twice")),
        (head("/ws?echo=maybe", &USUAL), Parsed::Bad("echo is true or false")),
        (head("/ws?user=%ff", &USUAL), Parsed::Bad("a parameter is not percent-encoded UTF-8")),
        (head("/ws", &without("Upgrade")), Parsed::Visit),
        (vec![0x16, 3, 1], Parsed::Bad("this port speaks plain HTTP, not TLS")),
        (vec![0x81, 0x85], Parsed::Bad("not an HTTP request")),
        (b"GET /ws HT".to_vec(), Parsed::Partial),
        (b"nonsense\r\n\r\n".to_vec(), Parsed::Bad("not an HTTP request")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse(&bytes, &LIMITS), expected, "{}", String::from_utf8_lossy(&bytes));
    }
    let post = String::from_utf8(head("/ws", &USUAL)).unwrap().replacen("GET", "POST", 1);
    assert_eq!(parse(post.as_bytes(), &LIMITS), Parsed::Refused(Refusal::Method("GET")));
    let old = String::from_utf8(head("/ws", &USUAL)).unwrap().replacen("1.1", "1.0", 1);
    assert_eq!(parse(old.as_bytes(), &LIMITS), Parsed::Bad("an upgrade needs HTTP/1.1"));
}

#[test]
fn a_key_is_16_bytes_in_base64() {
    for key in [
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25j=Q==",
        "dGhlIHNhbXBsZSBub25jZ\u{e4}==",
        "dGhlIHNhbXBsZSBub25jZR==",
        "",
    ] {
        let line = format!("Sec-WebSocket-Key: {key}");
        let mut headers = without("Sec-WebSocket-Key");
        headers.push(&line);
        let expected = Parsed::Bad("Sec-WebSocket-Key is not 16 bytes in base64");
        assert_eq!(parse(&head("/ws", &headers), &LIMITS), expected, "{key}");
    }
}

#[test]
fn bytes_behind_the_head_are_left_to_the_session() {
    let mut bytes = head("/ws", &with(&["Content-Length: 0"]));
    let head_len = bytes.len();
    bytes.extend([0x81, 0x80, 0, 0, 0, 0]);
    assert_eq!(upgraded(&bytes).head_len, head_len);
}

#[test]
fn a_head_is_bounded_in_bytes_and_headers() {
    let long = format!("X: {}", "x".repeat(2100));
    assert_eq!(parse(&head("/ws", &[&long]), &LIMITS), Parsed::TooLarge);
    assert_eq!(parse(&[b'G'; 2048], &LIMITS), Parsed::TooLarge);
    let many = vec!["A: b"; 65];
    assert_eq!(parse(&head("/ws", &many), &LIMITS), Parsed::TooLarge);
}

#[test]
fn the_endpoint_stands_under_a_prefix_and_without_it() {
    let limits = Limits { path_prefix: "/chat", ..LIMITS };
    for target in
        ["/ws", "/ws/", "//ws", "/", "/chat/ws", "/chat/ws/?user=a", "/chat", "//chat//ws"]
    {
        let parsed = parse(&head(target, &USUAL), &limits);
        assert!(matches!(parsed, Parsed::Upgrade(_)), "{target}: {parsed:?}");
    }
    for target in ["/chatter", "/chat/chat/ws", "/wss", "/ws/x"] {
        assert_eq!(parse(&head(target, &USUAL), &limits), not_found(target), "{target}");
    }
    assert_eq!(parse(&head("/chat/ws", &USUAL), &LIMITS), not_found("/chat/ws"));
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    use crate::wire::forwarded::Network;
    let networks = vec![Network::parse("10.0.0.0/8").unwrap()];
    let proxies = TrustedProxies { networks, unix: false };
    let bytes = head(
        "/ws",
        &with(&[
            "X-Forwarded-For: 198.51.100.1, 192.0.2.7, 10.0.0.1",
            "Forwarded: for=203.0.113.1",
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Host: chat.example",
        ]),
    );
    let read = |behind| match parse(&bytes, &Limits { behind, ..LIMITS }) {
        Parsed::Upgrade(upgrade) => upgrade.entry,
        other => panic!("{other:?}"),
    };
    let stranger = read(None);
    assert_eq!((stranger.address, stranger.proxied_host), (None, None));
    assert!(stranger.is_forwarded);
    let believed = read(Some((&proxies, ForwardedHeader::XForwardedFor)));
    assert_eq!(believed.address, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(believed.proxied_host.as_deref(), Some("chat.example"));
    let standard = read(Some((&proxies, ForwardedHeader::Forwarded)));
    assert_eq!(standard.address, Some("203.0.113.1".parse().unwrap()));
    assert!(!upgraded(&head("/ws", &USUAL)).entry.is_forwarded);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        parse(&bytes, &LIMITS);
    }

    /// A head in pieces is the same head: every beginning of a good one is partial.
    #[test]
    fn every_beginning_of_a_good_head_is_partial(cut in 1_usize..100) {
        let bytes = head("/ws?channel=x", &USUAL);
        let cut = cut.min(bytes.len() - 1);
        prop_assert_eq!(parse(&bytes[..cut], &LIMITS), Parsed::Partial);
    }

    /// Bytes that are nearly an upgrade: a good head with a few of its bytes changed.
    #[test]
    fn no_damaged_head_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
    ) {
        let headers = with(&["Origin: http://[::1]:80", "Sec-WebSocket-Protocol: stentor.v1"]);
        let mut bytes = head("/ws?channel=a%20b&user=%C3%A4&echo=false&join=none", &headers);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Parsed::Upgrade(upgrade) = parse(&bytes, &LIMITS) {
            prop_assert!(upgrade.head_len <= bytes.len());
            for name in upgrade.entry.channels.iter().chain(&upgrade.entry.user) {
                prop_assert_eq!(check_name(name, LIMITS.name_bytes), Ok(()));
            }
        }
    }

    /// Every name comes through a URL as it was, or is refused for what it is.
    #[test]
    fn every_name_passes_through_a_url(name in any::<String>()) {
        use std::fmt::Write;
        let mut target = String::from("/ws?user=");
        for byte in name.bytes() {
            write!(target, "%{byte:02x}").unwrap();
        }
        let bytes = head(&target, &USUAL);
        match (check_name(&name, LIMITS.name_bytes), parse(&bytes, &LIMITS)) {
            (Ok(()), Parsed::Upgrade(upgrade)) => {
                prop_assert_eq!(upgrade.entry.user, Some(name.into()));
            },
            (Err(why), Parsed::Bad(said)) => prop_assert_eq!(why, said),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

fn get(target: &str, headers: &[&str]) -> Parsed {
    parse(&head(target, &[&["Host: example.org"][..], headers].concat()), &LIMITS)
}

#[test]
fn a_request_for_events_names_its_channel_and_the_last_one_that_it_heard() {
    let stream = |target: &str, headers: &[&str]| match get(target, headers) {
        Parsed::Stream(request) => request.entry,
        other => panic!("{target}: {other:?}"),
    };
    let entry = stream("/sse?channel=a&since=0000002a:1", &["Last-Event-ID: 0000002a:7"]);
    assert_eq!(entry.transport, Transport::NumberedEvents);
    assert_eq!(entry.channels, ["a".into()]);
    let known = |offset| Behind::Since(Since { epoch: Numbering::Is(Epoch(0x2a)), offset });
    assert_eq!(entry.behind, Some(known(7)), "the URL of a page stays what it was");
    assert_eq!(stream("/sse?since=0000002a:1", &[]).behind, Some(known(1)));
    let unknown = Some(Behind::Since(Since { epoch: Numbering::Foreign, offset: 0 }));
    assert_eq!(stream("/sse", &["Last-Event-ID: of another server"]).behind, unknown);
    assert_eq!(get("/sse", &["Last-Event-ID: a", "Last-Event-ID: b"]), Parsed::Bad("two last ids"));
    assert_eq!(get("/sse?channel=", &[]), Parsed::Bad("a name is empty"));
    assert_eq!(get("/ssex", &[]), Parsed::Visit);
    let post = b"POST /sse HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(parse(post, &LIMITS), Parsed::Refused(Refusal::Method("GET")));
    let old = b"GET /sse HTTP/1.0\r\n\r\n";
    assert!(matches!(parse(old, &LIMITS), Parsed::Stream(_)), "proxies speak it by default");
    let asks = b"OPTIONS /sse HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\n\r\n";
    let Parsed::Stream(request) = parse(asks, &LIMITS) else { panic!("no preflight") };
    assert_eq!(request.purpose, Purpose::Preflight("GET"));
}
