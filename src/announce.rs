//! The log lines of a server that is ready: the address of the page, the cores of the shards, and
//! the capacity of this host.

use crate::config::{self, Settings};
use crate::control;
use crate::doctor;
use crate::host::{Host, Verdict};

/// Where clients come: a URL, or the path of a Unix socket.
pub(crate) fn where_clients_come(handle: &stentor_shards::Handle, settings: &Settings) -> String {
    let unix = || settings.unix.as_ref().map(ToString::to_string);
    let scheme =
        if settings.tls.is_on() && settings.tls.listen.is_none() { "https" } else { "http" };
    let url = handle.address().map(|address| format!("{scheme}://{address}/"));
    url.or_else(unix).unwrap_or_default()
}

/// Says where the page is, how the shards lie, and what this host can carry.
pub(crate) fn announce(
    host: &Host,
    verdict: &Verdict,
    settings: &Settings,
    (handle, control): (&stentor_shards::Handle, &control::Control),
) {
    let cores = config::units::show_cores(&settings.shards.cores);
    let (shards, sleeps_in) = (settings.shards.cores.len(), doctor::sleeps_in(verdict.ring));
    let cpu_quota = host.quota();
    tracing::info!(shards, cores, cpu_quota, sleeps_in, "one shard on each of these cores");
    let capacity = host.capacity(verdict.needs);
    if let Some((limit, clients)) = capacity.first() {
        tracing::info!(clients, limit, "this host carries about so many clients; the first limit");
        let asked = settings.shards.clients.min(settings.shards.clients_per_shard * shards);
        let defaults = stentor_shards::Config::with_cores(Vec::new());
        if settings.shards.clients != defaults.clients && asked as u64 > *clients {
            tracing::warn!(asked, clients, limit, "max-clients is more than this host carries");
        }
    }
    if u64::from(settings.shards.backlog) > host.somaxconn {
        tracing::warn!(somaxconn = host.somaxconn, "the kernel caps the backlog at somaxconn");
    }
    let url = where_clients_come(handle, settings);
    let tls = handle.tls_address().map(|address| format!("https://{address}/"));
    let scheme = if settings.tls.admin_cert.is_some() { "https" } else { "http" };
    let admin = control.admin().map(|admin| format!("{scheme}://{admin}/"));
    tracing::info!(url, admin, tls, "ready");
}
