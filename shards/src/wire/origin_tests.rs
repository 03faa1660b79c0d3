//! Patterns that match, patterns that do not, and patterns that never could.

use proptest::prelude::*;

use super::*;

fn allows(pattern: &str, origin: &str) -> bool {
    let origins = Origins::Listed(vec![OriginPattern::parse(pattern).unwrap()]);
    origin_allowed(&origins, Some(origin), [None; 2])
}

fn allowed(origins: &Origins, origin: Option<&str>, host: Option<&str>) -> bool {
    origin_allowed(origins, origin, [host, None])
}

#[test]
fn a_proxy_may_know_the_server_by_another_name() {
    let hosts = [Some("backend:9001"), Some("chat.example")];
    assert!(origin_allowed(&Origins::SameHost, Some("https://chat.example"), hosts));
    assert!(!origin_allowed(&Origins::SameHost, Some("https://evil.example"), hosts));
}

#[test]
fn the_same_host_is_compared_without_default_ports() {
    let same = Origins::SameHost;
    let host = Some("Example.org:80");
    assert!(allowed(&same, None, host));
    assert!(allowed(&same, Some("http://example.org"), host));
    assert!(allowed(&same, Some("http://127.0.0.1:9001"), Some("127.0.0.1:9001")));
    assert!(allowed(&same, Some("https://[::1]"), Some("[::1]:443")));
    assert!(!allowed(&same, Some("http://example.org:9001"), host));
    assert!(!allowed(&same, Some("null"), Some("null")));
    for wrong in ["null", "http://evil.org", "http://example.org.evil.org", "file://example.org"] {
        assert!(!allowed(&same, Some(wrong), host), "{wrong}");
    }
    assert!(!allowed(&same, Some("http://example.org"), None));
    assert!(allowed(&Origins::Any, Some("null"), None));
}

#[test]
fn patterns_match_the_origins_they_name_and_no_others() {
    for (pattern, origin, expected) in [
        ("https://app.example", "https://App.example", true),
        ("https://app.example:443", "https://app.example", true),
        ("https://app.example", "https://app.example:443", true),
        ("HTTP://App.Example:80", "http://app.example", true),
        ("https://app.example:80", "https://app.example", false),
        ("http://app.example", "https://app.example", false),
        ("https://app.example", "https://app.example:8443", false),
        ("https://app.example", "https://app.example.evil.example", false),
        ("https://app.example", "https://evil-app.example", false),
        ("https://*.example.org", "https://a.example.org", true),
        ("https://*.example.org", "https://b.a.example.org", true),
        ("https://*.example.org", "https://example.org", false),
        ("https://*.example.org", "https://.example.org", false),
        ("https://*.example.org", "https://evilexample.org", false),
        ("https://*.example.org", "https://a.example.org.evil.org", false),
        ("https://*.example.org", "https://evil.org/.example.org", false),
        ("https://*.example.org", "https://evil.org#.example.org", false),
        ("https://*.example.org", "https://a@b.example.org", false),
        ("https://*.example.org", "http://a.example.org", false),
        ("https://*.example.org:8443", "https://a.example.org:8443", true),
        ("https://*.example.org:8443", "https://a.example.org", false),
        ("http://localhost:*", "http://localhost:5173", true),
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "http://localhost.evil.org:5173", false),
        ("http://[0:0::1]:3000", "http://[::1]:3000", true),
        ("null", "null", true),
        ("null", "https://null", false),
        ("file://", "file://", true),
        ("file://", "file://evil", false),
        ("capacitor://localhost", "capacitor://localhost", true),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true),
    ] {
        assert_eq!(allows(pattern, origin), expected, "{pattern} and {origin}");
    }
}

#[test]
fn patterns_that_could_never_match_are_refused_with_the_reason() {
    for (pattern, part) in [
        ("app.example", "is not an origin such as"),
        ("https://", "no host"),
        ("https://app.example/", "ends after host and port"),
        ("https://app.example/chat", "ends after host and port"),
        ("wss://app.example", "https://app.example"),
        ("https://me@app.example", "names no user"),
        ("https://app.example:0", "1 to 65535"),
        ("https://app.example:x", "1 to 65535"),
        ("https://app.example:", "1 to 65535"),
        ("https://*", "* stands for the first labels"),
        ("https://a*.example", "* stands for the first labels"),
        ("https://*.*.example", "* stands for the first labels"),
        ("https://a.*.example", "* stands for the first labels"),
        ("*://app.example", "a scheme is letters"),
        ("https://*.127.0.0.1", "no subdomains"),
        ("https://[::g]", "not IPv6"),
        ("https://*.[::1]", "no subdomains"),
        ("https://b\u{fc}cher.example", "xn--"),
        ("https://a..example", "empty label"),
        ("https://a b", "no host has"),
    ] {
        let error = OriginPattern::parse(pattern).unwrap_err();
        assert!(error.contains(part), "{pattern}: {error}");
    }
}

proptest! {
    /// A pattern without a star matches what it shows, and reads back as it was.
    #[test]
    fn every_pattern_reads_back(
        text in "(https?|app)://(\\*\\.)?[a-z0-9-]{1,8}(\\.[a-z]{1,5}){0,3}(:[1-9][0-9]{0,3})?",
    ) {
        let pattern = OriginPattern::parse(&text).unwrap();
        let shown = pattern.to_string();
        prop_assert_eq!(OriginPattern::parse(&shown).unwrap(), pattern);
        prop_assert!(allows(&text, &text.replace("*.", "any.where.")));
        prop_assert!(!allows(&text, &text.replace("://", "://x")) || text.contains('*'));
    }

    /// A wildcard matches what ends with its parent behind a dot, and nothing else.
    #[test]
    fn a_wildcard_is_anchored(host in "[ab.]{0,12}") {
        let labels: Vec<&str> = host.split('.').collect();
        let expected = labels.len() > 2
            && labels[labels.len() - 2..] == ["a", "b"]
            && !labels.iter().any(|label| label.is_empty());
        prop_assert_eq!(allows("https://*.a.b", &format!("https://{host}")), expected);
    }

    #[test]
    fn no_text_panics(origin in any::<String>(), host in any::<String>()) {
        let _ = OriginPattern::parse(&origin);
        let listed = Origins::Listed(vec![OriginPattern::parse("https://*.a").unwrap()]);
        origin_allowed(&listed, Some(&origin), [Some(&host), None]);
    }
}
