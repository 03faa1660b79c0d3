//! Walks from the nearest proxy to the client, and headers that nobody should believe.

use proptest::prelude::*;

use super::*;

fn trusted(networks: &[&str]) -> TrustedProxies {
    let networks = networks.iter().map(|text| Network::parse(text).unwrap()).collect();
    TrustedProxies { networks, unix: false }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn networks_are_read_shown_and_refused() {
    for (text, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "203.0.113.9", "::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("::1", "::1", "::2"),
        ("::/0", "2001:db8::1", "127.0.0.1"),
    ] {
        let network = Network::parse(text).unwrap();
        assert_eq!(network.to_string(), text);
        assert!(network.contains(ip(inside)), "{inside} is in {text}");
        assert!(!network.contains(ip(outside)), "{outside} is not in {text}");
    }
    for (text, part) in [
        ("10.0.0.0/33", "not 0 to 32"),
        ("::/129", "not 0 to 128"),
        ("10.0.0.0/+8", "not 0 to 32"),
        ("10.0.0.0/", "not 0 to 32"),
        ("10.0.0.1/8", "meant is 10.0.0.0/8"),
        ("proxy.internal", "is not a network"),
        ("", "is not a network"),
    ] {
        let error = Network::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_address() {
    let proxies = trusted(&["127.0.0.0/8"]);
    assert!(proxies.trusts(Some(ip("::ffff:127.0.0.1"))));
    assert!(!proxies.trusts(None), "a Unix socket is named apart");
    assert!(TrustedProxies { networks: Vec::new(), unix: true }.trusts(None));
}

#[test]
fn the_walk_goes_from_right_to_left_over_trusted_proxies() {
    let proxies = trusted(&["10.0.0.0/8", "fd00::/8"]);
    for (values, expected) in [
        (vec!["192.0.2.7"], Some("192.0.2.7")),
        (vec!["192.0.2.7, 10.0.0.1"], Some("192.0.2.7")),
        (vec!["198.51.100.1, 192.0.2.7,10.0.0.1 , fd00::5"], Some("192.0.2.7")),
        (vec!["198.51.100.1", "192.0.2.7", "10.0.0.1"], Some("192.0.2.7")),
        (vec!["10.0.0.2, 10.0.0.1"], Some("10.0.0.2")),
        (vec!["192.0.2.7:51000"], Some("192.0.2.7")),
        (vec!["2001:db8::7"], Some("2001:db8::7")),
        (vec!["[2001:db8::7]:51000"], Some("2001:db8::7")),
        (vec!["[2001:db8::7]"], Some("2001:db8::7")),
        (vec!["::ffff:192.0.2.7"], Some("192.0.2.7")),
        (vec!["192.0.2.7, unknown, 10.0.0.1"], Some("10.0.0.1")),
        (vec!["192.0.2.7, "], None),
        (vec!["' OR 1=1 --"], None),
        (vec![""], None),
        (vec![], None),
    ] {
        let bytes = values.iter().map(|value| value.as_bytes());
        let found = proxies.client(ForwardedHeader::XForwardedFor, bytes);
        assert_eq!(found, expected.map(ip), "{values:?}");
    }
}

#[test]
fn the_standard_header_is_read_with_its_quotes() {
    let proxies = trusted(&["10.0.0.0/8"]);
    for (values, expected) in [
        (vec!["for=192.0.2.7"], Some("192.0.2.7")),
        (vec!["For=\"192.0.2.7:51000\";proto=https;by=10.0.0.1"], Some("192.0.2.7")),
        (vec!["proto=http; for=\"[2001:db8::7]:51000\""], Some("2001:db8::7")),
        (vec!["for=198.51.100.1, for=192.0.2.7, for=10.0.0.1"], Some("192.0.2.7")),
        (vec!["for=192.0.2.7", "for=10.0.0.1"], Some("192.0.2.7")),
        (vec!["for=\"1\\92.0.2.7\""], Some("192.0.2.7")),
        (vec!["for=192.0.2.7;host=\"a,for=198.51.100.1\""], Some("192.0.2.7")),
        (vec!["for=_hidden, for=10.0.0.1"], Some("10.0.0.1")),
        (vec!["for=unknown"], None),
        (vec!["for=192.0.2.7;for=192.0.2.8"], None),
        (vec!["by=192.0.2.7"], None),
        (vec!["for=\"192.0.2.7"], None),
    ] {
        let bytes = values.iter().map(|value| value.as_bytes());
        let found = proxies.client(ForwardedHeader::Forwarded, bytes);
        assert_eq!(found, expected.map(ip), "{values:?}");
    }
}

#[test]
fn ipv6_networks_count_as_one_and_ipv4_addresses_each() {
    let (a, b) = (ip("2001:db8:1:2:aaaa::1"), ip("2001:db8:1:2:bbbb::2"));
    assert_eq!(limit_key(a, 64), limit_key(b, 64));
    assert_ne!(limit_key(a, 128), limit_key(b, 128));
    assert_ne!(limit_key(a, 64), limit_key(ip("2001:db8:1:3::1"), 64));
    assert_eq!(limit_key(ip("::ffff:192.0.2.7"), 64), ip("192.0.2.7"));
    assert_ne!(limit_key(ip("192.0.2.7"), 64), limit_key(ip("192.0.2.8"), 64));
}

proptest! {
    /// The entries of the client, which come before those of the proxies, do not change the answer.
    #[test]
    fn addresses_that_a_client_claims_are_not_believed(
        claim in "[ -~]{0,60}", lines in any::<bool>(), standard in any::<bool>(),
    ) {
        let proxies = trusted(&["10.0.0.0/8"]);
        let (header, own) = if standard {
            (ForwardedHeader::Forwarded, "for=192.0.2.7, for=10.0.0.1")
        } else {
            (ForwardedHeader::XForwardedFor, "192.0.2.7, 10.0.0.1")
        };
        // In one line an open quote may swallow what follows: such a line is not believed.
        let values = if lines {
            vec![claim.clone(), own.to_owned()]
        } else {
            vec![format!("{claim}, {own}")]
        };
        let found = proxies.client(header, values.iter().map(String::as_bytes));
        let quotes = standard && claim.contains('"') && !lines;
        prop_assert!(found == Some(ip("192.0.2.7")) || quotes && found.is_none(), "{:?}", found);
    }

    /// The walk against a plain reading of addresses that are all written alike.
    #[test]
    fn the_walk_is_the_last_address_that_is_no_proxy(
        hops in proptest::collection::vec((any::<bool>(), 0..250_u8), 0..8),
    ) {
        let proxies = trusted(&["10.0.0.0/8"]);
        let addresses: Vec<IpAddr> = hops
            .iter()
            .map(|(proxy, last)| IpAddr::from([if *proxy { 10 } else { 192 }, 0, 2, *last]))
            .collect();
        let text = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let stranger = addresses.iter().rev().find(|address| !proxies.trusts(Some(**address)));
        let expected = stranger.or(addresses.first()).copied();
        let found = proxies.client(ForwardedHeader::XForwardedFor, [text.as_bytes()].into_iter());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), standard in any::<bool>(),
    ) {
        let header = if standard {
            ForwardedHeader::Forwarded
        } else {
            ForwardedHeader::XForwardedFor
        };
        trusted(&["0.0.0.0/0", "::/0"]).client(header, bytes.split(|byte| *byte == b'\n'));
    }
}
