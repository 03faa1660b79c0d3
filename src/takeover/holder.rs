//! Which process listens at an address, for the one line that says why another cannot.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use stentor_shards::overlaps;

/// A listening socket as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    address: SocketAddr,
    user: u32,
    inode: u64,
}

/// Names the process that listens at `address` or at one that takes its connections; `None` if
/// there is none.
///
/// The kernel lets sockets of one user that all ask for it share a port. This one does not ask.
pub(crate) fn of(address: SocketAddr) -> Option<String> {
    if address.port() == 0 {
        return None;
    }
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let probe = socket(family, SocketType::STREAM, None).ok()?;
    // Connections of an earlier process that are still ending are in nobody's way.
    sockopt::set_socket_reuseaddr(&probe, true).ok()?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // As the listeners are: of both families.
        sockopt::set_ipv6_v6only(&probe, false).ok()?;
    }
    match bind(&probe, &address) {
        Err(Errno::ADDRINUSE) => Some(describe(address)),
        _ => None,
    }
}

/// Names the listener at `address`, as well as it can be seen from here.
pub(crate) fn describe(address: SocketAddr) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}"));
    let tables = ["tcp", "tcp6"].map(|name| read(name).unwrap_or_default());
    let all = || tables.iter().flat_map(|table| table.lines().filter_map(listed));
    let Some(listed) = all().find(|listed| overlaps(listed.address, address)) else {
        return "another process".into();
    };
    let Listed { address, user, inode } = listed;
    match process_of(inode) {
        Some((pid, name)) => format!("process {pid} ({name}), which listens at {address}"),
        None => format!("a process of user {user} that cannot be seen from here, at {address}"),
    }
}

/// One line of `/proc/net/tcp` or `tcp6`, if it is of a listener.
fn listed(line: &str) -> Option<Listed> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (ip, port) = local.split_once(':')?;
    let mut rest = fields.skip(3);
    let (user, _, inode) = (rest.next()?, rest.next()?, rest.next()?);
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    let is_listening = state == "0A";
    let listed = Listed { address, user: user.parse().ok()?, inode: inode.parse().ok()? };
    is_listening.then_some(listed)
}

/// Words of 32 bits in hexadecimal, each in this host's own order.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Finds the process that has a socket open. Those of other users cannot be looked into.
fn process_of(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let holds = |folder: &Path| {
        let open = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.as_os_str() == wanted.as_str())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbered =
        processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry)));
    let (pid, entry) = numbered.find(|(_, entry)| holds(&entry.path()))?;
    let name = fs::read(entry.path().join("comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).trim().escape_debug().to_string();
    Some((pid, name))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_under_every_form_of_its_address() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let own = std::process::id().to_string();
        for form in ["127.0.0.1", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"] {
            let address: SocketAddr = format!("{form}:{port}").parse().unwrap();
            let who = of(address).unwrap_or_else(|| panic!("{form} seems to be free"));
            assert!(who.contains(&own) && who.contains("127.0.0.1"), "{form}: {who}");
        }
        let other: SocketAddr = format!("127.0.0.2:{port}").parse().unwrap();
        assert_eq!(of(other), None, "another address");
        let wide = TcpListener::bind("[::]:0").unwrap();
        let port = wide.local_addr().unwrap().port();
        for form in ["127.0.0.1", "[::1]", "0.0.0.0"] {
            let address: SocketAddr = format!("{form}:{port}").parse().unwrap();
            assert!(of(address).is_some(), "{form}");
        }
        drop(wide);
        assert_eq!(of(format!("127.0.0.1:{port}").parse().unwrap()), None, "it has gone");
    }

    #[test]
    fn only_listeners_are_taken_from_the_kernels_list() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:2329 00000000:0000 {state} 00000000:00000000 00:00000000 \
                 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0"
            )
        };
        let address = "127.0.0.1:9001".parse().unwrap();
        assert_eq!(listed(&line("0A")), Some(Listed { address, user: 1000, inode: 4711 }));
        assert_eq!(listed(&line("01")), None);
        for nonsense in ["", "  sl  local_address rem_address   st", "0: 1:2 3:4 0A 5 6 7 8 9 10"] {
            assert_eq!(listed(nonsense), None, "{nonsense}");
        }
    }
}
