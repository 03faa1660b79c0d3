//! Origins of browsers (RFC 6454): which ones may open a client, and how patterns name them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The `Origin` headers that may open a client. A request without one is not a browser's and
/// passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any origin.
    Any,
    /// Only the host that the request names in `Host`.
    SameHost,
    /// These, beside the same host.
    Listed(Vec<OriginPattern>),
}

/// One pattern of a list of allowed origins.
///
/// - `https://example.org` and `http://example.org:8080`: that scheme, host and port. Upper case
///   and a default port (80 for `http`, 443 for `https`) make no difference.
/// - `https://*.example.org`: every host below `example.org`, however many labels, and not
///   `example.org` itself.
/// - `http://localhost:*`: any port of a host.
/// - `null`: pages without an origin, such as sandboxed frames.
/// - `file://`: pages from files, as some app shells send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `null`.
    Null,
    /// `file://`.
    File,
    /// A scheme, a host and a port.
    Site(Site),
}

/// A pattern of scheme, host and port, in lower case and without a default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    scheme: String,
    /// The parent domain, if the pattern begins with `*.`; else the whole host.
    host: String,
    below: bool,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    /// The scheme's default port, or that of a scheme without ports.
    Default,
    Number(u16),
}

impl OriginPattern {
    /// Reads one pattern.
    ///
    /// # Errors
    /// The text is no origin, or no browser could ever send an origin that matches it; the error
    /// says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "null" => return Ok(Self::Null),
            "file://" => return Ok(Self::File),
            _ => {}
        }
        let wrong = |why: &str| Err(format!("{text:?} {why}"));
        let Some((scheme, rest)) = lower.split_once("://") else {
            return wrong("is not an origin such as https://example.org");
        };
        let better = match scheme {
            "ws" => Some("http"),
            "wss" => Some("https"),
            _ => None,
        };
        if let Some(better) = better {
            return wrong(&format!("never matches: the origin of a page is {better}://{rest}"));
        }
        if !is_scheme(scheme) {
            return wrong("never matches: a scheme is letters, digits, +, - and .");
        }
        if rest.contains(['/', '?', '#']) {
            return wrong("never matches: an origin ends after host and port");
        }
        if rest.contains('@') {
            return wrong("never matches: an origin names no user");
        }
        let Some((host, port)) = split_port(rest) else {
            return wrong("never matches: its port is not 1 to 65535, or *");
        };
        let (below, host) = match host.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, host),
        };
        if let Err(why) = check_host(host, below) {
            return wrong(&format!("never matches: {why}"));
        }
        let port = match port {
            Port::Number(port) if default_port(scheme) == Some(port) => Port::Default,
            port => port,
        };
        let (scheme, host) = (scheme.to_owned(), normal_host(host));
        Ok(Self::Site(Site { scheme, host, below, port }))
    }

    /// Returns `true` if a request's `Origin` is of this pattern.
    fn matches(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::Null, Origin::Null) | (Self::File, Origin::File) => true,
            (Self::Site(pattern), Origin::Site { scheme, host, port }) => {
                pattern.scheme == *scheme
                    && (pattern.port == Port::Any || pattern.port == *port)
                    && pattern.is_of_host(host)
            }
            _ => false,
        }
    }
}

impl Site {
    fn is_of_host(&self, host: &str) -> bool {
        if !self.below {
            return self.host == host;
        }
        let label = host.strip_suffix(&self.host).and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|labels| !labels.is_empty() && !labels.split('.').any(str::is_empty))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = match self {
            Self::Null => return out.write_str("null"),
            Self::File => return out.write_str("file://"),
            Self::Site(site) => site,
        };
        let below = if site.below { "*." } else { "" };
        write!(out, "{}://{below}{}", site.scheme, site.host)?;
        match site.port {
            Port::Any => out.write_str(":*"),
            Port::Default => Ok(()),
            Port::Number(port) => write!(out, ":{port}"),
        }
    }
}

/// The `Origin` of a request.
enum Origin {
    Null,
    File,
    Site { scheme: String, host: String, port: Port },
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "null" => return Some(Self::Null),
            "file://" => return Some(Self::File),
            _ => {}
        }
        let (scheme, rest) = lower.split_once("://")?;
        let (host, port) = split_port(rest)?;
        if !is_scheme(scheme) || check_host(host, false).is_err() {
            return None;
        }
        let port = match port {
            Port::Any => return None,
            Port::Number(port) if default_port(scheme) == Some(port) => Port::Default,
            port => port,
        };
        Some(Self::Site { scheme: scheme.to_owned(), host: normal_host(host), port })
    }
}

/// Returns `true` if a request with this `Origin` may open a client. `hosts` are the names under
/// which the client knows this server.
pub(crate) fn origin_allowed(
    origins: &Origins,
    origin: Option<&str>,
    hosts: [Option<&str>; 2],
) -> bool {
    let Some(origin) = origin else { return true };
    let same_host = || hosts.into_iter().any(|host| is_same_host(origin, host));
    match origins {
        Origins::Any => true,
        Origins::SameHost => same_host(),
        Origins::Listed(listed) => {
            same_host()
                || Origin::parse(origin)
                    .is_some_and(|origin| listed.iter().any(|allowed| allowed.matches(&origin)))
        }
    }
}

fn is_same_host(origin: &str, host: Option<&str>) -> bool {
    let (Some(host), Some((scheme, authority))) = (host, origin.split_once("://")) else {
        return false;
    };
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    // Behind a proxy that ends TLS the Host header may name either default port, or none.
    let bare = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(default_port).map(str::to_owned).unwrap_or(name)
    };
    bare(authority) == bare(host)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Splits a port off, where there is one.
fn split_port(authority: &str) -> Option<(&str, Port)> {
    // The colons of an IPv6 address stand in brackets.
    let bracket = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[bracket..].find(':').map(|at| bracket + at) else {
        return Some((authority, Port::Default));
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    if port == "*" {
        return Some((host, Port::Any));
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    Some((host, Port::Number(port)))
}

/// Checks a host in lower case. The error says why no origin has it.
fn check_host(host: &str, below: bool) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse().ok());
        let _: Ipv6Addr = address.ok_or("its address is not IPv6")?;
        return if below { Err("an address has no subdomains") } else { Ok(()) };
    }
    if host.contains('*') {
        return Err("* stands for the first labels of a host, as in https://*.example.org");
    }
    if !host.is_ascii() {
        return Err("browsers send such a host in its ASCII form, xn--...");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err("its host has a character that no host has");
    }
    if host.trim_end_matches('.').split('.').any(str::is_empty) {
        return Err("its host has an empty label");
    }
    if below && host.parse::<Ipv4Addr>().is_ok() {
        return Err("an address has no subdomains");
    }
    Ok(())
}

/// A host as browsers write it: an IPv6 address in its short form.
fn normal_host(host: &str) -> String {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match address.map(str::parse::<Ipv6Addr>) {
        Some(Ok(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
