//! The public addresses become this process's own: by sockets of the service manager, by those of
//! the process that serves them until now, or because they are free.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use stentor_shards::{is_for_tls, overlaps};

use crate::activation::{self, Activated};
use crate::config::Settings;
use crate::takeover::{self, Claim, Newcomer, Refused, Sockets};
use crate::{End, exit, unix};

/// Makes the address this process's own, by the sockets of the service manager or of the process
/// that serves it until now, or shares it where that is asked for.
pub(crate) fn claim(
    settings: &mut Settings,
    activated: Option<Activated>,
    fingerprint: u64,
) -> Result<Claim, End> {
    if let Some(activated) = activated {
        return Ok(activated.claim(settings));
    }
    if let Some(name) = &settings.unix {
        let (listener, place) = unix::listen(name, settings)
            .map_err(|error| End::Failed(exit::RUN, format!("cannot listen on {name}: {error}")))?;
        if let Some(at) = settings.tls.listen {
            check_is_free(at)?;
        }
        return Ok(Claim::at(place, listener));
    }
    if !settings.take_over {
        return Ok(Claim::shared(Sockets::default()));
    }
    let newcomer = Newcomer {
        fingerprint,
        base: settings.take_over_settle,
        is_forced: settings.take_over_is_forced,
    };
    let claimed = takeover::claim(settings.shards.listen, newcomer).map_err(|refused| {
        let code = match refused {
            Refused::Settling { .. } => exit::HELD,
            _ => exit::RUN,
        };
        End::Failed(code, refused.to_string())
    });
    claimed.and_then(|claim| with_address_for_tls(claim, settings))
}

/// Sees to it that the address for TLS is this process's as well, and that no socket is taken for
/// another: the older process may have listened at an address that is not asked for any more.
fn with_address_for_tls(mut claim: Claim, settings: &Settings) -> Result<Claim, End> {
    let (listen, for_tls) = (settings.shards.listen, settings.tls.listen);
    let address = |socket: &OwnedFd| activation::address_of(socket).ok();
    claim.sockets.listeners.retain(|socket| {
        address(socket).is_some_and(|at| overlaps(at, listen) || is_for_tls(at, for_tls))
    });
    let mut addresses = claim.sockets.listeners.iter().filter_map(address);
    let is_had = addresses.any(|at| is_for_tls(at, for_tls));
    for_tls.filter(|_| !is_had).map_or(Ok(()), check_is_free)?;
    Ok(claim)
}

/// Refuses to share an address with another process: the kernel would spread connections over both.
fn check_is_free(at: SocketAddr) -> Result<(), End> {
    match takeover::holder_of(at) {
        None => Ok(()),
        Some(who) => {
            let why = format!("cannot listen on {at}: address in use by {who}");
            Err(End::Failed(exit::RUN, why))
        }
    }
}
