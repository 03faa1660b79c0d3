//! Client addresses that proxies add to a header, in every permitted form, behind anything that the
//! client wrote there itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::input::Input;
use crate::wire::forwarded::{ForwardedHeader, Network, TrustedProxies};

/// The most hops of a chain.
const HOPS_MAX: usize = 6;

/// One proxy's entry.
enum Hop {
    /// An address; `true` if it is a trusted proxy's.
    Address(IpAddr, bool),
    /// The proxy does not say.
    Hidden,
}

/// A byte for the header, the hops with a byte for their kind, one for their address and one for
/// their style, then what the client wrote.
///
/// # Panics
/// If an entry is believed that must not be, or the other way round.
pub fn forwarded(data: &[u8]) {
    let mut input = Input::new(data);
    let header = match input.below(2) {
        0 => ForwardedHeader::XForwardedFor,
        _ => ForwardedHeader::Forwarded,
    };
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| Network::parse(text).unwrap());
    let proxies = TrustedProxies { networks: networks.to_vec(), unix: false };
    let count = input.below(HOPS_MAX);
    let mut expected = None;
    let mut stopped = false;
    let mut lines: Vec<String> = Vec::new();
    // From the nearest proxy to the farthest.
    for _ in 0..count {
        let hop = read_hop(&mut input);
        let style = input.byte();
        let entry = write_hop(&hop, header, style);
        // A proxy adds to the line that is there, or writes one of its own.
        match lines.first_mut().filter(|_| style & 0x80 == 0) {
            Some(line) => *line = format!("{entry}{}{line}", [",", ", ", " ,\t"][count % 3]),
            None => lines.insert(0, entry),
        }
        match hop {
            _ if stopped => {}
            Hop::Hidden => stopped = true,
            Hop::Address(address, trusted) => (expected, stopped) = (Some(address), !trusted),
        }
    }
    let own = lines.iter().map(String::as_bytes);
    let with_claim = std::iter::once(input.rest).chain(own.clone());
    assert_eq!(proxies.client(header, own), expected, "{lines:?}");
    let found = proxies.client(header, with_claim);
    // The client's own claims count only if every address before them is a trusted proxy's.
    assert!(!stopped || found == expected, "{lines:?} and what the client wrote: {found:?}");
}

fn read_hop(input: &mut Input<'_>) -> Hop {
    let (kind, last) = (input.below(5), input.byte());
    let four = |first| IpAddr::V4(Ipv4Addr::new(first, 0, 2, last));
    let six = |first| IpAddr::V6(Ipv6Addr::new(first, 0xdb8, 0, 0, 0, 0, 0, last.into()));
    match kind {
        0 => Hop::Hidden,
        1 => Hop::Address(four(10), true),
        2 => Hop::Address(four(192), false),
        3 => Hop::Address(six(0xfd00), true),
        _ => Hop::Address(six(0x2001), false),
    }
}

fn write_hop(hop: &Hop, header: ForwardedHeader, style: u8) -> String {
    let standard = header == ForwardedHeader::Forwarded;
    let node = match hop {
        Hop::Hidden => ["unknown", "_hidden", "-"][usize::from(style) % 3].to_owned(),
        Hop::Address(IpAddr::V6(six), _) if standard || style & 1 != 0 => format!("[{six}]"),
        Hop::Address(address, _) => address.to_string(),
    };
    let bare = !node.starts_with('[') && node.matches(':').count() > 1;
    let port = if style & 2 != 0 && !bare { ":51000" } else { "" };
    let node = format!("{node}{port}");
    if !standard {
        return node;
    }
    let name = if style & 4 != 0 { "For" } else { "for" };
    let quoted = style & 8 != 0 || node.contains(':');
    let value = match (quoted, style & 16 != 0) {
        (true, true) => {
            let escaped: String = node.chars().flat_map(|c| ['\\', c]).collect();
            format!("\"{escaped}\"")
        }
        (true, false) => format!("\"{node}\""),
        (false, _) => node,
    };
    let (before, behind) = match style & 0x60 {
        0x20 => ("proto=https;", ""),
        0x40 => ("", ";by=\"a,for=b;c\""),
        0x60 => ("host=h; ", ";proto=http"),
        _ => ("", ""),
    };
    format!("{before}{name}={value}{behind}")
}
