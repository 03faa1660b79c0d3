//! The address of a client behind proxies: networks of trusted proxies, and the headers in which
//! proxies name their clients.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The whitespace that may stand around the entries of a list.
const BLANKS: [char; 2] = [' ', '\t'];

/// A network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The proxies that are believed when they name their clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks whose addresses are proxies.
    pub networks: Vec<Network>,
    /// Every peer that connects through a Unix socket is a proxy.
    pub unix: bool,
}

/// The header that trusted proxies write. Only one is read: a proxy passes the other one on as the
/// client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or a single address.
    ///
    /// # Errors
    /// The text is no network; the error says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{text:?} is not a network such as 10.0.0.0/8 or ::1"))?;
        let bits = bits(address);
        let prefix = match prefix {
            None => bits,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| format!("the prefix of {text:?} is not 0 to {bits}"))?,
        };
        if masked(address, prefix) != address {
            let network = masked(address, prefix);
            return Err(format!(
                "{text:?} has bits beyond its prefix; meant is {network}/{prefix}"
            ));
        }
        Ok(Self { address, prefix })
    }

    /// Returns `true` if an address lies in this network. `address` is not IPv4 within IPv6.
    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.address) {
            self.address.fmt(out)
        } else {
            write!(out, "{}/{}", self.address, self.prefix)
        }
    }
}

impl TrustedProxies {
    /// Returns `true` if no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns `true` if this peer of a connection is a trusted proxy. A peer of a Unix socket has
    /// no address.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|address| address.to_canonical()) {
            Some(address) => self.networks.iter().any(|network| network.contains(address)),
            None => self.unix,
        }
    }

    /// Returns the address of the client behind a trusted proxy. `values` are those of `header`,
    /// in order.
    ///
    /// The last entry is the nearest proxy's, so it is read first: each entry is believed as long
    /// as the one that wrote it is trusted. The first address that is no proxy's is the client. An
    /// entry that is no address ends the walk at the proxy that wrote it.
    pub(crate) fn client<'a>(
        &self,
        header: ForwardedHeader,
        values: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Option<IpAddr> {
        let mut found = None;
        for value in values.rev() {
            let Ok(value) = std::str::from_utf8(value) else { return found };
            let entries: Vec<Option<IpAddr>> = match header {
                ForwardedHeader::XForwardedFor => {
                    value.split(',').map(|entry| node(entry.trim_matches(BLANKS))).collect()
                }
                ForwardedHeader::Forwarded => split_unquoted(value, b',')
                    .into_iter()
                    .map(|element| for_of(element).and_then(|text| node(&text)))
                    .collect(),
            };
            for address in entries.into_iter().rev() {
                let Some(address) = address else { return found };
                found = Some(address);
                if !self.trusts(found) {
                    return found;
                }
            }
        }
        found
    }
}

/// The key under which clients of one address are counted: an IPv6 network of `ipv6_prefix` bits
/// counts as one, since most sites have at least 2^64 addresses.
pub(crate) fn limit_key(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => masked(address.into(), ipv6_prefix),
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits beyond the prefix at zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

/// The parts of a list whose separators stand in no quoted string.
fn split_unquoted(text: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(text[begin..at].trim_matches(BLANKS));
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim_matches(BLANKS));
    parts
}

/// The value of `for` in an element of `Forwarded`.
fn for_of(element: &str) -> Option<String> {
    let mut values = split_unquoted(element, b';')
        .into_iter()
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("for"))
        .map(|(_, value)| value);
    let value = values.next()?;
    // Twice is no `for` that could be believed.
    if values.next().is_some() {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut text = String::new();
    let mut chars = quoted.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(text)
}

/// The address of `192.0.2.7`, `192.0.2.7:51000`, `2001:db8::7`, `[2001:db8::7]` and
/// `[2001:db8::7]:51000`; none of a hidden or an unknown one.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok(),
    };
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
