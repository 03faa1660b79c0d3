//! The address of a server, as people type it.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use http::Uri;
use serde::{Deserialize, Serialize};

/// A `ws://` or `wss://` address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Url {
    text: String,
    /// Whether it asks for TLS.
    pub(crate) tls: bool,
    pub(crate) host: String,
    /// If it is named.
    port: Option<u16>,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    /// Reads `ws[s]://host[:port][/path][?query]`; without a scheme it is `ws`, without a path
    /// `/ws`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("ws://{text}") };
        let wrong =
            |why: &str| format!("{text:?} is not an address such as ws://127.0.0.1:9001/ws: {why}");
        let uri: Uri = whole.parse().map_err(|error| wrong(&format!("{error}")))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(wrong("the scheme is ws or wss")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host"))?;
        let numbered = uri.authority().is_some_and(|authority| {
            let port =
                authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, port)| port);
            !port.contains(':') || authority.port_u16().is_some()
        });
        if !numbered {
            return Err(wrong("the port is a number"));
        }
        let target = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("/") => "/ws",
            Some(target) => target,
        };
        Ok(Self {
            text: whole.clone(),
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16(),
            target: target.to_owned(),
        })
    }

    /// The same server, reached within TLS.
    pub(crate) fn within_tls(&self) -> Self {
        Self { tls: true, ..self.clone() }
    }

    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// The first address that the host has.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, String> {
        let mut found = (self.host.as_str(), self.port.unwrap_or(self.default_port()))
            .to_socket_addrs()
            .map_err(|error| format!("{}: {error}", self.host))?;
        found.next().ok_or_else(|| format!("{} has no address", self.host))
    }

    /// For the Host header.
    pub(crate) fn authority(&self) -> String {
        let colon = self.host.contains(':');
        let host = if colon { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) if port != self.default_port() => format!("{host}:{port}"),
            _ => host,
        }
    }
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_typed() {
        let url = Url::read("ws://127.0.0.1:9001/ws?channel=a%20b").unwrap();
        assert_eq!(
            (url.authority().as_str(), url.target.as_str()),
            ("127.0.0.1:9001", "/ws?channel=a%20b")
        );
        assert_eq!(url.resolve().unwrap(), SocketAddr::from(([127, 0, 0, 1], 9001)));
        let bare = Url::read("[::1]:9001").unwrap();
        assert_eq!((bare.authority().as_str(), bare.target.as_str()), ("[::1]:9001", "/ws"));
        assert!(bare.resolve().unwrap().is_ipv6());
        assert_eq!(Url::read("ws://example.org").unwrap().authority(), "example.org");
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        for (text, tls, authority, port) in [
            ("wss://[::1]", true, "[::1]", 443),
            ("https://[::1]:443/x", true, "[::1]", 443),
            ("wss://[::1]:80", true, "[::1]:80", 80),
            ("ws://[::1]:443", false, "[::1]:443", 443),
            ("http://[::1]", false, "[::1]", 80),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!((url.tls, url.authority().as_str()), (tls, authority), "{text}");
            assert_eq!(url.resolve().unwrap().port(), port, "{text}");
        }
        let asked = Url::read("ws://[::1]").unwrap().within_tls();
        assert_eq!((asked.resolve().unwrap().port(), asked.host.as_str()), (443, "::1"));
    }

    #[test]
    fn what_is_no_address_is_said() {
        for text in ["", "ws://", "ftp://x", "wss://", "ws://x:y", "a b"] {
            assert!(Url::read(text).unwrap_err().contains("address"), "{text}");
        }
    }
}
