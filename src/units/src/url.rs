//! The address of a server, as people type it, and how it is reached.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

/// The time in which an address must answer before the next is tried, and that of the last one.
const NEXT_AFTER: Duration = Duration::from_secs(2);
const LAST_MAX: Duration = Duration::from_secs(10);

/// A `ws://` or `wss://` address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    text: String,
    /// `true` if it asks for TLS.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// If it is named.
    port: Option<u16>,
    /// Path and query.
    pub target: String,
}

impl Url {
    /// Reads `ws[s]://host[:port][/path][?query]`, the scheme in any case; without a scheme it is
    /// `ws`, without a path `/ws`. `http` stands for `ws`, and `https` for `wss`.
    ///
    /// # Errors
    /// One line that names the text and its fault.
    pub fn read(text: &str) -> Result<Self, String> {
        let whole = match text.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => format!("ws://{text}"),
        };
        let wrong =
            |why: &str| format!("{text:?} is not an address such as ws://127.0.0.1:9001/ws: {why}");
        let uri: Uri = whole.parse().map_err(|error| wrong(&format!("{error}")))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(wrong("the scheme is ws or wss")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // Without the text, which may go into a log: it would show the password there.
            return Err("a user or a password in an address is not supported".into());
        }
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
    #[must_use]
    pub fn within_tls(&self) -> Self {
        Self { tls: true, ..self.clone() }
    }

    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// All addresses that the host has, in the resolver's order.
    ///
    /// # Errors
    /// The host has none.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = (self.host.as_str(), self.port.unwrap_or(self.default_port()))
            .to_socket_addrs()
            .map_err(|error| format!("{}: {error}", self.host))?;
        let mut addresses = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            Err(format!("{} has no address", self.host))
        } else {
            Ok(addresses)
        }
    }

    /// Connects to the first address that answers: each in turn, in the resolver's order, and none
    /// but the last may take long.
    ///
    /// # Errors
    /// Why each of them does not answer.
    pub fn connect(&self) -> Result<TcpStream, String> {
        first_that_answers(&self.addresses()?).map(|(stream, _)| stream)
    }

    /// The address at which the server answers. Where the host has one only, nobody asks it.
    ///
    /// # Errors
    /// The host has no address, or none of several answers.
    pub fn reach(&self) -> Result<SocketAddr, String> {
        match self.addresses()?[..] {
            [address] => Ok(address),
            ref several => first_that_answers(several).map(|(_, address)| address),
        }
    }

    /// Host and port as the Host header has them.
    pub fn authority(&self) -> String {
        let colon = self.host.contains(':');
        let host = if colon { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) if port != self.default_port() => format!("{host}:{port}"),
            _ => host,
        }
    }
}

fn first_that_answers(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), String> {
    let mut failures = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let is_last = index + 1 == addresses.len();
        let patience = if is_last { LAST_MAX } else { NEXT_AFTER };
        match TcpStream::connect_timeout(address, patience) {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(failures.join("; "))
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
        assert_eq!(url.reach().unwrap(), SocketAddr::from(([127, 0, 0, 1], 9001)));
        let bare = Url::read("[::1]:9001").unwrap();
        assert_eq!((bare.authority().as_str(), bare.target.as_str()), ("[::1]:9001", "/ws"));
        assert!(bare.reach().unwrap().is_ipv6());
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
            ("WS://[::1]", false, "[::1]", 80),
            ("WsS://[::1]", true, "[::1]", 443),
            ("HTTPS://[::1]", true, "[::1]", 443),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!((url.tls, url.authority().as_str()), (tls, authority), "{text}");
            assert_eq!(url.reach().unwrap().port(), port, "{text}");
        }
        let asked = Url::read("ws://[::1]").unwrap().within_tls();
        assert_eq!((asked.reach().unwrap().port(), asked.host.as_str()), (443, "::1"));
    }

    #[test]
    fn the_first_address_that_answers_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (stream, address) = first_that_answers(&[closed, there]).unwrap();
        assert_eq!((address, stream.peer_addr().unwrap()), (there, there));
        let why = first_that_answers(&[closed, closed]).unwrap_err();
        assert_eq!(why.matches(&closed.to_string()).count(), 2, "{why}");
        assert!(!why.contains('\n'));
    }

    #[test]
    fn a_user_in_an_address_is_refused_and_not_shown() {
        for text in ["ws://ann@x/ws", "ws://ann:secret@x:1", "ann@x", "wss://:secret@[::1]/"] {
            let why = Url::read(text).unwrap_err();
            assert!(why.contains("is not supported") && !why.contains("secret"), "{text}: {why}");
        }
        assert!(Url::read("ws://x/ws?user=a@b").is_ok());
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in ["", "ws://", "ftp://x", "wss://", "ws://x:y", "a b"] {
            assert!(Url::read(text).unwrap_err().contains("address"), "{text}");
        }
    }
}
