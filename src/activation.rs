//! Listening sockets that the service manager has opened (`LISTEN_FDS`), for the public and the
//! admin address.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt;

use crate::config::{Invalid, Settings};
use crate::takeover::{SOCKETS_MAX, Sockets};

/// The name that marks the socket of the admin address, in `FileDescriptorName=` or as the name of
/// a socket unit.
const ADMIN_NAMES: [&str; 2] = ["admin", "stentor-admin.socket"];

/// Takes the sockets that were opened for this process; `None` where there are none. To be called
/// before anything else is opened.
///
/// # Errors
/// A descriptor is not a listening TCP socket, or no socket is left for clients.
pub(crate) fn take(settings: &Settings) -> Result<Option<Sockets>, Invalid> {
    let count = count(env::var("LISTEN_FDS").ok(), env::var("LISTEN_PID").ok())?;
    if count == 0 {
        return Ok(None);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut given = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for index in 0..count {
        let number = index + 3;
        let wrong = |why: String| Invalid(format!("LISTEN_FDS: descriptor {number}: {why}"));
        let listener = given
            .take_tcp_listener(index)
            .map_err(|_| wrong("it is not a TCP socket".into()))?
            .ok_or_else(|| wrong("it is not there".into()))?;
        if !sockopt::socket_acceptconn(&listener).unwrap_or(false) {
            return Err(wrong(
                "it does not listen (Accept=no is wanted in the socket unit)".into(),
            ));
        }
        // A shard never waits in a call.
        listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
        if is_for_admin(names.get(index).copied(), address, settings) {
            settings.check_admin(address).map_err(|Invalid(why)| wrong(why))?;
            if sockets.admin.replace(listener.into()).is_some() {
                return Err(wrong("a second socket for the admin address".into()));
            }
        } else {
            sockets.listeners.push(listener.into());
        }
    }
    if sockets.listeners.is_empty() {
        return Err(Invalid("LISTEN_FDS: no socket is for clients".into()));
    }
    Ok(Some(sockets))
}

/// Returns the number of descriptors that are for this process.
fn count(count: Option<String>, pid: Option<String>) -> Result<usize, Invalid> {
    let (Some(count), pid) = (count.filter(|count| !count.is_empty()), pid) else { return Ok(0) };
    let given_to_another = pid.is_none_or(|pid| pid.parse() != Ok(std::process::id()));
    if given_to_another {
        return Ok(0);
    }
    count
        .parse()
        .ok()
        .filter(|count| *count <= SOCKETS_MAX)
        .ok_or_else(|| Invalid(format!("LISTEN_FDS is {count:?}, not a number to {SOCKETS_MAX}")))
}

fn is_for_admin(name: Option<&str>, address: SocketAddr, settings: &Settings) -> bool {
    name.is_some_and(|name| ADMIN_NAMES.contains(&name)) || settings.admin == Some(address)
}

/// Gives each shard a socket where there are fewer sockets than shards. A socket of another user,
/// or one that does not share its port, allows no second one beside it: shards then share it.
pub(crate) fn spread(
    listeners: Vec<OwnedFd>,
    settings: &Settings,
) -> std::io::Result<Vec<OwnedFd>> {
    let shards = settings.shards.cores.len();
    let (for_tls, others): (Vec<_>, Vec<_>) =
        listeners.into_iter().partition(|listener| is_for_tls(listener, settings));
    let mut all = spread_alike(others, shards)?;
    all.extend(spread_alike(for_tls, shards)?);
    Ok(all)
}

/// Returns `true` for a socket of the address for TLS.
fn is_for_tls(listener: &OwnedFd, settings: &Settings) -> bool {
    settings.tls.listen.is_some() && address_of(listener).ok() == settings.tls.listen
}

/// The first socket that is not of the address for TLS.
pub(crate) fn first_for_clients<'a>(
    listeners: &'a [OwnedFd],
    settings: &Settings,
) -> Option<&'a OwnedFd> {
    listeners.iter().find(|listener| !is_for_tls(listener, settings))
}

/// The same for the sockets of one address.
fn spread_alike(listeners: Vec<OwnedFd>, shards: usize) -> std::io::Result<Vec<OwnedFd>> {
    let own = rustix::process::geteuid().as_raw();
    let is_open = |listener: &OwnedFd| {
        sockopt::socket_reuseport(listener).unwrap_or(false)
            && rustix::fs::fstat(listener).is_ok_and(|stat| stat.st_uid == own)
    };
    if listeners.is_empty() || listeners.iter().all(is_open) {
        return Ok(listeners);
    }
    let mut all = listeners;
    for index in 0..shards.saturating_sub(all.len()) {
        let twin = all[index].try_clone()?;
        all.push(twin);
    }
    Ok(all)
}

/// The address that an inherited socket listens on.
pub(crate) fn address_of(listener: &OwnedFd) -> std::io::Result<SocketAddr> {
    TcpListener::from(listener.try_clone()?).local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_another_process_are_not_touched() {
        let own = || Some(std::process::id().to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(count(some("2"), own()), Ok(2));
        for (fds, pid) in
            [(None, own()), (some(""), own()), (some("2"), some("1")), (some("2"), None)]
        {
            assert_eq!(count(fds, pid), Ok(0));
        }
        for wrong in ["-1", "two", "130", "4000000000"] {
            assert!(count(some(wrong), own()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_admin_socket_is_told_by_its_name_or_its_address() {
        let settings = Settings::default();
        let [public, admin] = ["0.0.0.0:80", "127.0.0.1:9002"].map(|text| text.parse().unwrap());
        assert!(is_for_admin(Some("admin"), public, &settings));
        assert!(is_for_admin(Some("stentor-admin.socket"), public, &settings));
        assert!(is_for_admin(Some("stentor.socket"), admin, &settings));
        assert!(!is_for_admin(Some("stentor.socket"), public, &settings));
        assert!(!is_for_admin(None, public, &settings));
        // The rule of the setting holds for a socket too.
        assert!(settings.check_admin(admin).is_ok() && settings.check_admin(public).is_err());
    }

    #[test]
    fn a_socket_that_allows_no_other_is_shared_by_the_shards() {
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        assert_eq!(spread_alike(vec![socket()], 3).unwrap().len(), 3);
        assert_eq!(spread_alike(vec![socket(), socket()], 1).unwrap().len(), 2);
        let shared = socket();
        sockopt::set_socket_reuseport(&shared, true).unwrap();
        assert_eq!(spread_alike(vec![shared], 3).unwrap().len(), 1, "the others bind their own");
        assert!(spread_alike(Vec::new(), 3).unwrap().is_empty());
    }
}
