//! What this host allows, read and not guessed, and what of it comes first.

use std::fs;

use rustix::process::{Resource, getrlimit};
use stentor_shards::descriptors;

use crate::config::{Invalid, Settings};

/// User-space and kernel memory of one idle client, in bytes, as measured.
const CLIENT_BYTES: u64 = 200 + 3_800;

/// Memory that one shard's ring locks, in bytes.
const RING_BYTES: u64 = 512 << 10;

/// Descriptors of the process that are not clients: standard streams, listeners, rings, admin
/// connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// The descriptors of one shard: listener, and once more for a process that takes over, three rings
/// and their event, the set of watched sockets and the wait on it, the bell's event.
const DESCRIPTORS_PER_SHARD: u64 = 9;

/// The limits of this host and process.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Cores that this process may use.
    pub(crate) cores: Vec<usize>,
    pub(crate) nofile: u64,
    pub(crate) nofile_hard: u64,
    pub(crate) nr_open: u64,
    pub(crate) memlock: u64,
    /// 0 allowed, 1 for privileged processes, 2 for none; `None`: the kernel has no such switch.
    pub(crate) io_uring_disabled: Option<u64>,
    /// Whether a seccomp filter is in force.
    pub(crate) seccomp: bool,
    pub(crate) somaxconn: u64,
    pub(crate) syn_backlog: u64,
    /// Pages of memory that TCP may use.
    pub(crate) tcp_mem_pages: u64,
    /// How many sockets this user may have watched.
    pub(crate) watches: u64,
    pub(crate) ports: (u64, u64),
    /// Bytes that may still be used, the control group's bound included.
    pub(crate) memory: u64,
}

impl Host {
    /// Raises the limit of descriptors, makes room for them, and reads everything.
    pub(crate) fn read() -> Self {
        // What cannot be raised is shown as it is.
        let _ = descriptors::raise_limit();
        let limit = getrlimit(Resource::Nofile);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ports = numbers("net/ipv4/ip_local_port_range");
        Self {
            cores: core_affinity::get_core_ids()
                .map(|ids| ids.into_iter().map(|core| core.id).collect())
                .unwrap_or_default(),
            nofile: limit.current.unwrap_or(u64::MAX),
            nofile_hard: limit.maximum.unwrap_or(u64::MAX),
            nr_open: number("fs/nr_open").unwrap_or(u64::MAX),
            memlock: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX),
            io_uring_disabled: number("kernel/io_uring_disabled"),
            seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode == 2),
            somaxconn: number("net/core/somaxconn").unwrap_or(4096),
            syn_backlog: number("net/ipv4/tcp_max_syn_backlog").unwrap_or(1024),
            tcp_mem_pages: numbers("net/ipv4/tcp_mem").get(2).copied().unwrap_or(u64::MAX),
            watches: number("fs/epoll/max_user_watches").unwrap_or(u64::MAX),
            ports: (
                ports.first().copied().unwrap_or(32_768),
                ports.get(1).copied().unwrap_or(60_999),
            ),
            memory: memory(),
        }
    }

    /// What each limit allows, in clients, the tightest first.
    pub(crate) fn capacity(&self, shards: u64) -> Vec<(&'static str, u64)> {
        let used = OTHER_DESCRIPTORS + shards * DESCRIPTORS_PER_SHARD;
        // The kernel gives an idle TCP socket no page of its own; one page is what a busy one holds
        // on average.
        let mut capacity = vec![
            ("open files (nofile)", self.nofile.saturating_sub(used)),
            ("memory", self.memory / CLIENT_BYTES),
            ("TCP memory (tcp_mem)", self.tcp_mem_pages),
            ("watched sockets (fs.epoll.max_user_watches)", self.watches),
        ];
        capacity.sort_by_key(|(_, clients)| *clients);
        capacity
    }

    /// The core of each shard: as asked, or spread evenly over the allowed ones.
    ///
    /// # Errors
    /// More shards than cores, or a core that is not allowed.
    pub(crate) fn place(&self, settings: &Settings) -> Result<Vec<usize>, Invalid> {
        let named = &settings.cores;
        if let Some(core) = named.iter().find(|core| !self.cores.contains(core)) {
            let allowed = crate::config::units::show_cores(&self.cores);
            return Err(Invalid(format!(
                "core {core} asked for, {allowed} allowed to this process"
            )));
        }
        let cores = if named.is_empty() { &self.cores } else { named };
        let count = settings.shard_count.unwrap_or(cores.len().min(64));
        if count > cores.len() {
            let there = cores.len();
            return Err(Invalid(format!(
                "{count} shards asked for, {there} cores {}",
                if named.is_empty() { "allowed to this process" } else { "named" }
            )));
        }
        // Evenly: 2 shards on 8 cores take the first and the fifth, which seldom share a physical
        // core.
        Ok((0..count).map(|shard| cores[shard * cores.len() / count]).collect())
    }

    /// Refuses what cannot work, with the knob that cures it.
    ///
    /// # Errors
    /// The first thing that keeps the server from running here.
    pub(crate) fn check(&self, shards: u64) -> Result<(), Invalid> {
        let fail = |text: String| Err(Invalid(text));
        if self.io_uring_disabled == Some(2) {
            return fail("io_uring is switched off: sysctl -w kernel.io_uring_disabled=0".into());
        }
        let memlock = shards * RING_BYTES;
        if self.memlock < RING_BYTES {
            return fail(format!(
                "memlock is {} bytes and {shards} shards lock {memlock}: LimitMEMLOCK={memlock}",
                self.memlock
            ));
        }
        let least = OTHER_DESCRIPTORS + shards * DESCRIPTORS_PER_SHARD;
        if self.nofile <= least {
            return fail(format!(
                "nofile is {} and {shards} shards need more than {least}: LimitNOFILE=1048576",
                self.nofile
            ));
        }
        Ok(())
    }
}

fn numbers(name: &str) -> Vec<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn number(name: &str) -> Option<u64> {
    numbers(name).first().copied()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = field(&meminfo, "MemAvailable:").unwrap_or(0) * 1024;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let bound = group.trim().parse().unwrap_or(u64::MAX);
    available.min(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cores: usize) -> Host {
        Host { cores: (0..cores).collect(), ..Host::read() }
    }

    fn asked(shards: Option<usize>, cores: &[usize]) -> Settings {
        Settings { shard_count: shards, cores: cores.to_vec(), ..Settings::default() }
    }

    #[test]
    fn shards_are_spread_evenly() {
        assert_eq!(host(4).place(&asked(None, &[])).unwrap(), [0, 1, 2, 3]);
        assert_eq!(host(8).place(&asked(Some(2), &[])).unwrap(), [0, 4]);
        assert_eq!(host(8).place(&asked(None, &[5, 1])).unwrap(), [5, 1]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_both_numbers() {
        let error = host(2).place(&asked(Some(3), &[])).unwrap_err().to_string();
        assert_eq!(error, "3 shards asked for, 2 cores allowed to this process");
        let error = host(2).place(&asked(None, &[7])).unwrap_err().to_string();
        assert_eq!(error, "core 7 asked for, 0,1 allowed to this process");
        let poor = Host { memlock: 1000, ..host(2) };
        assert!(poor.check(2).unwrap_err().to_string().contains("LimitMEMLOCK=1048576"));
        let few = Host { nofile: 60, ..host(2) };
        assert!(few.check(1).unwrap_err().to_string().contains("LimitNOFILE"));
    }

    #[test]
    fn the_tightest_limit_comes_first() {
        let host = Host { nofile: 1000, memory: 1 << 30, tcp_mem_pages: 5_000, ..host(1) };
        let capacity = host.capacity(1);
        assert_eq!(capacity[0], ("open files (nofile)", 1000 - 64 - 9));
        assert!(capacity.is_sorted_by_key(|(_, clients)| *clients));
    }
}
