//! The PROXY protocol, versions 1 and 2: how a proxy tells the address of the client whose bytes
//! follow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;

/// The signatures of version 1 and version 2.
const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part of version 2: signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// The outcome of reading the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Introduction {
    /// The bytes may become a header: more are needed.
    Partial,
    /// The bytes are no header.
    Absent,
    /// A header of `len` bytes, with the client's address.
    Client { len: usize, address: SocketAddr },
    /// A header of `len` bytes that tells no address: the proxy speaks for itself, or for a client
    /// of which it does not know more.
    Itself { len: usize },
    /// The bytes begin like a header and are not a valid one, for this reason.
    Broken(&'static str),
}

/// Reads the header at the beginning of a connection. It may be `bytes_max` long at most.
pub(crate) fn introduction(bytes: &[u8], bytes_max: usize) -> Introduction {
    if bytes.starts_with(SIGNATURE) {
        return version_2(bytes, bytes_max);
    }
    if bytes.starts_with(LINE) {
        return version_1(bytes);
    }
    if SIGNATURE.starts_with(bytes) || LINE.starts_with(bytes) {
        return Introduction::Partial;
    }
    Introduction::Absent
}

fn version_1(bytes: &[u8]) -> Introduction {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        if bytes.len() >= LINE_BYTES_MAX {
            return Introduction::Broken("the PROXY line is too long");
        }
        return Introduction::Partial;
    };
    let len = end + 2;
    let Ok(line) = std::str::from_utf8(&window[LINE.len()..end]) else {
        return Introduction::Broken("the PROXY line is not text");
    };
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // The rest of such a line is to be passed over, whatever it is.
        return Introduction::Itself { len };
    }
    let (source, destination) = (words.next(), words.next());
    let (port, own_port) = (words.next().and_then(port), words.next().and_then(port));
    let (source, destination) = match family {
        "TCP4" => (ip::<Ipv4Addr>(source), ip::<Ipv4Addr>(destination)),
        "TCP6" => (ip::<Ipv6Addr>(source), ip::<Ipv6Addr>(destination)),
        _ => return Introduction::Broken("the PROXY line names no known family"),
    };
    match (source, destination, port, own_port, words.next()) {
        (Some(ip), Some(_), Some(port), Some(_), None) => {
            Introduction::Client { len, address: SocketAddr::new(ip, port) }
        }
        _ => Introduction::Broken("the PROXY line names no two addresses and ports"),
    }
}

fn ip<T: FromStr + Into<IpAddr>>(text: Option<&str>) -> Option<IpAddr> {
    text?.parse::<T>().ok().map(Into::into)
}

/// A port in its only form: digits without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain && (text == "0" || !text.starts_with('0')))
}

fn version_2(bytes: &[u8], bytes_max: usize) -> Introduction {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    match bytes.get(12) {
        Some(&(LOCAL | PROXY)) | None => {}
        Some(_) => return Introduction::Broken("the PROXY header has an unknown version"),
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Introduction::Partial };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > bytes_max {
        return Introduction::Broken("the PROXY header is too long");
    }
    let (command, family) = (fixed[12], fixed[13]);
    // Addresses come first; what follows them, such as the name that TLS was asked for, is skipped.
    let needed = match (command, family) {
        (PROXY, TCP4) => 12,
        (PROXY, TCP6) => 36,
        _ => 0,
    };
    if len < FIXED_BYTES + needed {
        return Introduction::Broken("the PROXY header is too short for its addresses");
    }
    let Some(header) = bytes.get(FIXED_BYTES..len) else { return Introduction::Partial };
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (ip, port) = match needed {
        12 => {
            let ip: [u8; 4] = header[..4].try_into().unwrap_or_default();
            (IpAddr::from(ip), number(8))
        }
        36 => {
            let ip: [u8; 16] = header[..16].try_into().unwrap_or_default();
            (IpAddr::from(ip), number(32))
        }
        // LOCAL, families without an address of a network, and what is to be invented yet.
        _ => return Introduction::Itself { len },
    };
    Introduction::Client { len, address: SocketAddr::new(ip, port) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 600;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    fn client(len: usize, address: &str) -> Introduction {
        Introduction::Client { len, address: address.parse().unwrap() }
    }

    #[test]
    fn lines_of_version_1() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 51000 9001\r\n", client(42, "192.0.2.7:51000")),
            ("PROXY TCP6 2001:db8::7 ::1 51000 9001\r\n", client(39, "[2001:db8::7]:51000")),
            ("PROXY UNKNOWN\r\n", Introduction::Itself { len: 15 }),
            ("PROXY UNKNOWN ff ff 1 2\r\n", Introduction::Itself { len: 25 }),
            ("GET / HTTP/1.1\r\n", Introduction::Absent),
            ("POST / HTTP/1.1\r\n", Introduction::Absent),
            ("\r\nGET / HTTP/1.1\r\n", Introduction::Absent),
            ("P", Introduction::Partial),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 51000 9001\r", Introduction::Partial),
            ("", Introduction::Partial),
        ] {
            assert_eq!(introduction(line.as_bytes(), MAX), expected, "{line}");
        }
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 51000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 51000 9001 1\r\n",
            "PROXY TCP4 ::1 ::1 51000 9001\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 51000 9001\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 9001\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 9001\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 9001\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 1 9001\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 9001\r\n",
            "PROXY \r\n",
        ] {
            let read = introduction(line.as_bytes(), MAX);
            assert!(matches!(read, Introduction::Broken(_)), "{line}: {read:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        let read = introduction(long.as_bytes(), MAX);
        assert_eq!(read, Introduction::Broken("the PROXY line is too long"));
    }

    #[test]
    fn headers_of_version_2() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xc7, 0x38, 0x23, 0x29];
        assert_eq!(introduction(&v2(0x21, 0x11, &v4), MAX), client(28, "192.0.2.7:51000"));
        let with_more = [&v4[..], &[4, 0, 1, 0]].concat();
        assert_eq!(introduction(&v2(0x21, 0x11, &with_more), MAX), client(32, "192.0.2.7:51000"));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[2], v6[3], v6[15]) = (0x20, 0x01, 0x0d, 0xb8, 7);
        (v6[32], v6[33]) = (0xc7, 0x38);
        assert_eq!(introduction(&v2(0x21, 0x21, &v6), MAX), client(52, "[2001:db8::7]:51000"));
        // The proxy itself, a family without addresses, a Unix socket, a family of the future.
        for (command, family) in
            [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x31), (0x21, 0x99)]
        {
            let header = v2(command, family, &[0; 216]);
            assert_eq!(introduction(&header, MAX), Introduction::Itself { len: 232 });
        }
        for (header, why) in [
            (v2(0x21, 0x11, &v4[..11]), "the PROXY header is too short for its addresses"),
            (v2(0x21, 0x21, &v4), "the PROXY header is too short for its addresses"),
            (v2(0x21, 0x11, &[0; 600]), "the PROXY header is too long"),
            (v2(0x22, 0x11, &v4), "the PROXY header has an unknown version"),
            (v2(0x11, 0x11, &v4), "the PROXY header has an unknown version"),
        ] {
            assert_eq!(introduction(&header, MAX), Introduction::Broken(why));
        }
    }

    proptest! {
        /// Every beginning of a header is partial, and what follows it changes nothing.
        #[test]
        fn a_header_in_pieces_is_the_same_header(
            octets in any::<[u8; 16]>(), port in any::<u16>(), more in 0..50_usize,
            six in any::<bool>(),
            binary in any::<bool>(), rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let v4: [u8; 4] = octets[..4].try_into().unwrap();
            let ip = if six { IpAddr::from(octets) } else { IpAddr::from(v4) };
            let header = if binary {
                let mut body = if six { octets.to_vec() } else { v4.to_vec() };
                body.extend_from_within(..);
                body.extend(port.to_be_bytes());
                body.extend([0; 2]);
                body.extend(vec![0xee; more]);
                v2(0x21, if six { 0x21 } else { 0x11 }, &body)
            } else {
                let family = if six { "TCP6" } else { "TCP4" };
                format!("PROXY {family} {ip} {ip} {port} 1\r\n").into_bytes()
            };
            for cut in 0..header.len() {
                prop_assert_eq!(introduction(&header[..cut], MAX), Introduction::Partial);
            }
            let expected =
                Introduction::Client { len: header.len(), address: SocketAddr::new(ip, port) };
            prop_assert_eq!(introduction(&[&header[..], &rest].concat(), MAX), expected);
        }

        #[test]
        fn no_bytes_panic(
            start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [[&b""[..], LINE, SIGNATURE][start], &bytes].concat();
            match introduction(&bytes, MAX) {
                Introduction::Client { len, .. } | Introduction::Itself { len } => {
                    prop_assert!(len <= bytes.len() && len <= MAX);
                }
                _ => {}
            }
        }
    }
}
