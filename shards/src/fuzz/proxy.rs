//! The PROXY protocol before a request, in any pieces: the client address and the bytes left for
//! the request must agree with a plain reading of the specification.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::input::{Input, pieces};
use super::world::{HEAD_BYTES, World, config};
use crate::config::{Config, ProxyProtocol};
use crate::sim::reader::split_head;
use crate::wire::proxy::{Introduction, introduction};

/// The meaning of the first bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// The bytes may become a header.
    Unfinished,
    /// The bytes are no header and cannot become one.
    Nothing,
    /// The bytes begin like a header and break its rules.
    Nonsense,
    /// A header of so many bytes, and the client that it names.
    Header(usize, Option<IpAddr>),
}

/// A byte of switches, a list of lengths, then what the connection brings.
///
/// # Panics
/// If the server and the specification disagree.
pub fn proxy(data: &[u8]) {
    let mut input = Input::new(data);
    let switches = input.byte();
    let (required, trusted) = (switches & 1 != 0, switches & 2 != 0);
    let cuts = input.cuts();
    let bytes = input.rest;
    let told = told(bytes);
    let read = match introduction(bytes, HEAD_BYTES) {
        Introduction::Partial => Told::Unfinished,
        Introduction::Absent => Told::Nothing,
        Introduction::Broken(_) => Told::Nonsense,
        Introduction::Itself { len } => Told::Header(len, None),
        Introduction::Client { len, address } => Told::Header(len, Some(address.ip())),
    };
    assert_eq!(read, told);
    // The headers that a trusted proxy adds have a target of their own.
    let forwarded = bytes.windows(9).any(|part| part.eq_ignore_ascii_case(b"forwarded"));
    if bytes.len() >= HEAD_BYTES || told == Told::Unfinished || forwarded {
        return;
    }
    let mut asked = config();
    asked.proxy_protocol = if required { ProxyProtocol::Required } else { ProxyProtocol::Optional };
    // The simulation's connections have no address, as those of a Unix socket.
    asked.trusted_proxies.unix = trusted;
    let (heard, address) = answer(asked.clone(), bytes, &[]);
    match &told {
        Told::Nothing if !required => assert_eq!(heard, answer(config(), bytes, &[]).0),
        Told::Header(len, _) if trusted => {
            assert_eq!(heard, answer(config(), &bytes[*len..], &[]).0);
        }
        _ => assert!(heard.starts_with("HTTP/1.1 400 "), "{told:?}: {heard}"),
    }
    let client = match told {
        Told::Header(_, client) if trusted => client.map(|client| client.to_canonical()),
        _ => None,
    };
    let open = heard.starts_with("HTTP/1.1 101");
    assert!(!open || address == client, "{address:?} for {client:?}");
    let split = answer(asked, bytes, cuts);
    assert!(!open || split == (heard, address), "in pieces of {cuts:?}");
}

/// Returns the head of the answer to these bytes and an empty line behind them, and the address
/// that the shard takes for the client's.
fn answer(config: Config, bytes: &[u8], cuts: &[u8]) -> (String, Option<IpAddr>) {
    let mut world = World::new(config);
    let client = world.silent();
    world.say(&client, &pieces(bytes, cuts), || {});
    if client.outbound().is_empty() && !client.is_closed() {
        world.say(&client, &[b"\r\n\r\n"], || {});
    }
    let shard = &world.shards.all[0];
    let address =
        shard.clients.roster.iter().find_map(|(slot, _)| shard.clients.roster.told_address(slot));
    let heard = client.outbound();
    let head = String::from_utf8_lossy(split_head(&heard).0).into_owned();
    (if shard.clients.tally.visitors > 0 { "a visit".into() } else { head }, address)
}

fn told(bytes: &[u8]) -> Told {
    let signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
    if signature.starts_with(bytes) || b"PROXY ".starts_with(bytes) {
        Told::Unfinished
    } else if bytes.starts_with(&signature) {
        told_in_binary(&bytes[12..])
    } else if bytes.starts_with(b"PROXY ") {
        told_in_a_line(bytes)
    } else {
        Told::Nothing
    }
}

/// Reads the part of version 2 that follows the signature.
fn told_in_binary(bytes: &[u8]) -> Told {
    if bytes.first().is_some_and(|byte| *byte != 0x20 && *byte != 0x21) {
        return Told::Nonsense;
    }
    let [command, family, high, low, body @ ..] = bytes else { return Told::Unfinished };
    let len = usize::from(*high) * 256 + usize::from(*low);
    let addresses = match (command, family) {
        (0x21, 0x11) => 4 + 4 + 2 + 2,
        (0x21, 0x21) => 16 + 16 + 2 + 2,
        _ => 0,
    };
    if 16 + len > HEAD_BYTES || len < addresses {
        return Told::Nonsense;
    }
    if body.len() < len {
        return Told::Unfinished;
    }
    let client = match addresses {
        12 => <[u8; 4]>::try_from(&body[..4]).ok().map(|octets| Ipv4Addr::from(octets).into()),
        36 => <[u8; 16]>::try_from(&body[..16]).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    };
    Told::Header(16 + len, client)
}

fn told_in_a_line(bytes: &[u8]) -> Told {
    let end = (0..bytes.len().min(106)).find(|at| bytes[*at..].starts_with(b"\r\n"));
    let Some(end) = end else {
        return if bytes.len() < 107 { Told::Unfinished } else { Told::Nonsense };
    };
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return Told::Nonsense };
    let words: Vec<&str> = line.split(' ').collect();
    if words[1] == "UNKNOWN" {
        return Told::Header(end + 2, None);
    }
    let [_, family, source, destination, ports @ ..] = &words[..] else { return Told::Nonsense };
    let plain = |port: &&str| port.parse::<u16>().is_ok_and(|number| number.to_string() == *port);
    let address = |text: &str| -> Option<IpAddr> {
        text.parse().ok().filter(|ip: &IpAddr| match *family {
            "TCP4" => ip.is_ipv4(),
            "TCP6" => ip.is_ipv6(),
            _ => false,
        })
    };
    match (address(source), address(destination)) {
        (Some(source), Some(_)) if ports.len() == 2 && ports.iter().all(plain) => {
            Told::Header(end + 2, Some(source))
        }
        _ => Told::Nonsense,
    }
}
