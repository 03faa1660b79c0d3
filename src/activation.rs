//! Listening sockets that the service manager has opened (`LISTEN_FDS`), for the public and the
//! admin address.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt;
use stentor_shards::{is_for_tls, overlaps};

use crate::config::{Invalid, Settings};
use crate::takeover::{Claim, SOCKETS_MAX, Sockets};

/// The name that marks the socket of the admin address, in `FileDescriptorName=` or as the name of
/// a socket unit.
const ADMIN_NAMES: [&str; 2] = ["admin", "stentor-admin.socket"];

/// The same for the address for TLS.
const TLS_NAMES: [&str; 2] = ["tls", "stentor-tls.socket"];

/// The sockets of the service manager.
#[derive(Debug)]
pub(crate) struct Activated {
    sockets: Sockets,
    /// The address of those for TLS.
    tls: Option<SocketAddr>,
}

impl Activated {
    /// Makes their addresses those of the settings. Where all of them are for TLS, it is spoken at
    /// the one address that there is.
    pub(crate) fn claim(self, settings: &mut Settings) -> Claim {
        let Self { sockets, tls } = self;
        let mut at = sockets.listeners.iter().filter_map(|socket| address_of(socket).ok());
        let plain = at.find(|at| !is_for_tls(*at, tls));
        settings.tls.listen = tls.filter(|_| plain.is_some()).or(settings.tls.listen);
        if let (None, Some(_)) = (plain, tls) {
            settings.tls.listen = None;
        }
        settings.shards.listen = plain.or(tls).unwrap_or(settings.shards.listen);
        let admin = sockets.admin.as_ref().and_then(|socket| address_of(socket).ok());
        settings.admin = admin.or(settings.admin);
        settings.unix = None;
        tracing::info!(sockets = sockets.listeners.len(), "sockets of the service manager");
        Claim::shared(sockets)
    }
}

/// Takes the sockets that were opened for this process; `None` where there are none. To be called
/// before anything else is opened.
///
/// # Errors
/// A descriptor is not a listening TCP socket, no socket is left for clients, or one may be for TLS
/// or not.
pub(crate) fn take(settings: &Settings) -> Result<Option<Activated>, Invalid> {
    let count = count(env::var("LISTEN_FDS").ok(), env::var("LISTEN_PID").ok())?;
    if count == 0 {
        return Ok(None);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut given = ListenFd::from_env();
    let mut sockets = Sockets::default();
    let mut tls = None;
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
            let name = names.get(index).copied();
            if at_address_for_tls(name, address, settings).map_err(wrong)? {
                if tls.is_some_and(|tls| !overlaps(tls, address)) {
                    return Err(wrong("a second address for TLS".into()));
                }
                tls = tls.or(Some(address));
            }
            sockets.listeners.push(listener.into());
        }
    }
    if sockets.listeners.is_empty() {
        return Err(Invalid("LISTEN_FDS: no socket is for clients".into()));
    }
    Ok(Some(Activated { sockets, tls }))
}

/// Returns `true` for a socket of the address for TLS, by its name or its address.
///
/// # Errors
/// It could be meant for it or not.
fn at_address_for_tls(
    name: Option<&str>,
    address: SocketAddr,
    settings: &Settings,
) -> Result<bool, String> {
    if name.is_some_and(|name| TLS_NAMES.contains(&name)) {
        return if settings.tls.is_on() {
            Ok(true)
        } else {
            Err("it is named for TLS, which needs tls-cert and tls-key".into())
        };
    }
    if is_for_tls(address, settings.tls.listen) {
        return Ok(true);
    }
    match settings.tls.listen {
        // What is meant for TLS must never be served in the clear.
        Some(listen) if listen.port() == address.port() => Err(format!(
            "{address} has the port of tls-listen {listen}, and another address: \
             FileDescriptorName=tls marks a socket for TLS"
        )),
        _ => Ok(false),
    }
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
    let is_sealed = |listener: &OwnedFd| {
        address_of(listener).is_ok_and(|local| is_for_tls(local, settings.tls.listen))
    };
    let (for_tls, others): (Vec<_>, Vec<_>) = listeners.into_iter().partition(is_sealed);
    let mut all = spread_alike(others, shards)?;
    all.extend(spread_alike(for_tls, shards)?);
    Ok(all)
}

/// Gives each shard a socket where there are fewer of one address.
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
    fn a_socket_for_tls_is_told_by_its_name_or_its_address() {
        let mut settings = Settings::default();
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let is_for_tls =
            |name, address, settings: &_| at_address_for_tls(name, at(address), settings);
        assert!(is_for_tls(Some("tls"), "[::]:9443", &settings).is_err(), "no certificate");
        settings.tls.certs = vec!["cert.pem".into()];
        for name in TLS_NAMES {
            assert_eq!(is_for_tls(Some(name), "[::]:9443", &settings), Ok(true));
        }
        settings.tls.listen = Some(at("0.0.0.0:9443"));
        // The usual form of a socket unit for the same address.
        assert_eq!(is_for_tls(None, "[::]:9443", &settings), Ok(true));
        assert_eq!(is_for_tls(None, "[::]:9001", &settings), Ok(false));
        settings.tls.listen = Some(at("10.0.0.5:9443"));
        let why = is_for_tls(Some("stentor.socket"), "127.0.0.1:9443", &settings).unwrap_err();
        assert!(why.contains("has the port of tls-listen 10.0.0.5:9443"), "{why}");
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
