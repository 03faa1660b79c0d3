//! Addresses to listen on, in the forms that people write: an address or a name with a port, or a
//! port alone.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

/// Reads `127.0.0.1:9001`, `[::1]:9001`, `localhost:9001`, `:9001`, `*:9001` or `9001`.
///
/// A port without a host stands for all addresses of this host. A name is resolved now, once; where
/// it has several addresses the first IPv4 one is taken, which clients of both families reach by
/// that name.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &str| {
        format!("{text:?} is not an address such as 127.0.0.1:9001, localhost:9001 or :9001{why}")
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(wrong(""));
    }
    let port: u16 = port.parse().map_err(|_| wrong(": a port is at most 65535"))?;
    if host.is_empty() || host == "*" {
        return Ok(everywhere(port));
    }
    if !is_name(host) {
        let bare_ipv6 = host.parse::<Ipv6Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok();
        let hint = if bare_ipv6 { ": an IPv6 address stands in brackets" } else { "" };
        return Err(wrong(hint));
    }
    let found: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.collect();
    let ipv4 = found.iter().find(|address| address.is_ipv4());
    ipv4.or(found.first()).copied().ok_or_else(|| format!("{host} has no address"))
}

fn is_name(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// All addresses of this host: those of both families, where it has IPv6.
fn everywhere(port: u16) -> SocketAddr {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    if TcpListener::bind(both).is_ok() {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |text: &str| address(text).unwrap();
        assert_eq!(read("127.0.0.1:9001"), SocketAddr::from(([127, 0, 0, 1], 9001)));
        assert_eq!(read("[::1]:0").to_string(), "[::1]:0");
        assert_eq!(read("[::]:9001").to_string(), "[::]:9001");
        for all in [":9001", "9001", "*:9001"] {
            let found = read(all);
            assert!(found.ip().is_unspecified() && found.port() == 9001, "{all}: {found}");
        }
        let local = read("localhost:9001");
        assert!(local.ip().is_loopback() && local.port() == 9001, "{local}");
    }

    #[test]
    fn other_texts_are_refused_in_one_line() {
        for (text, part) in [
            ("", "is not an address such as"),
            ("localhost", "is not an address"),
            (":", "is not an address"),
            (":65536", "a port is at most 65535"),
            ("99999", "a port is at most 65535"),
            ("::1", "stands in brackets"),
            ("a b:1", "is not an address"),
            ("127.0.0.1:x", "is not an address"),
            ("http://127.0.0.1:9001", "is not an address"),
            ("nobody.invalid:9001", "nobody.invalid"),
            ("256.0.0.1:9001", "256.0.0.1"),
        ] {
            let why = address(text).unwrap_err();
            assert!(why.contains(part) && !why.contains('\n'), "{text:?}: {why}");
        }
    }
}
