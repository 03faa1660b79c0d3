//! The limits of this host, read and not guessed, and the one that is reached first.

mod findings;
mod group;
mod needs;
mod ring;

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stentor_shards::descriptors;
use stentor_units::quantity::show_size;

use crate::config::Settings;
use crate::config::units::show_cores;

pub(crate) use findings::{Finding, Verdict};
pub(crate) use group::Bounds;
pub(crate) use needs::{CLIENT_BYTES, Needs, PROCESS_DESCRIPTORS, SPARE_DESCRIPTORS};

/// The most shards that are started unless more are asked for.
const SHARDS_MAX: usize = 64;

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
    /// `true` if a seccomp filter is in force.
    pub(crate) seccomp: bool,
    pub(crate) kernel: String,
    pub(crate) somaxconn: u64,
    pub(crate) syn_backlog: u64,
    /// Pages of memory that TCP may use.
    pub(crate) tcp_mem_pages: u64,
    /// The number of sockets that this user may have watched.
    pub(crate) watches: u64,
    pub(crate) ports: (u64, u64),
    /// Bytes that may still be used, the control groups' bounds included.
    pub(crate) memory: u64,
    /// The limits of the control groups.
    pub(crate) group: Bounds,
}

impl Host {
    /// Raises the limits of descriptors and of locked memory to the most that this process may
    /// have, makes room for the descriptors, and reads everything.
    pub(crate) fn read() -> Self {
        // A limit that cannot be raised is shown as it is.
        let _ = descriptors::raise_limit();
        let memlock = getrlimit(Resource::Memlock);
        let _ = setrlimit(Resource::Memlock, Rlimit { current: memlock.maximum, ..memlock });
        let limit = getrlimit(Resource::Nofile);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ports = numbers("net/ipv4/ip_local_port_range");
        let group = group::read(Path::new("/"));
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
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            somaxconn: number("net/core/somaxconn").unwrap_or(4096),
            syn_backlog: number("net/ipv4/tcp_max_syn_backlog").unwrap_or(1024),
            tcp_mem_pages: numbers("net/ipv4/tcp_mem").get(2).copied().unwrap_or(u64::MAX),
            watches: number("fs/epoll/max_user_watches").unwrap_or(u64::MAX),
            ports: (
                ports.first().copied().unwrap_or(32_768),
                ports.get(1).copied().unwrap_or(60_999),
            ),
            memory: memory(&group),
            group,
        }
    }

    /// The number of clients that each limit allows, the tightest first.
    pub(crate) fn capacity(&self, needs: Needs) -> Vec<(&'static str, u64)> {
        // The kernel gives an idle TCP socket no page of its own; one page is what a busy one holds
        // on average.
        let watches = self.watches.saturating_sub(needs.watches());
        let mut capacity = vec![
            ("open files (nofile)", self.nofile.saturating_sub(needs.descriptors())),
            ("memory", self.memory / CLIENT_BYTES),
            ("TCP memory (tcp_mem)", self.tcp_mem_pages),
            ("watched sockets (fs.epoll.max_user_watches)", watches),
        ];
        capacity.sort_by_key(|(_, clients)| *clients);
        capacity
    }

    /// Cores' worth of time that the control groups allow, where they allow less than all.
    pub(crate) fn quota(&self) -> Option<f64> {
        let (cpus, _) = self.group.cpus.as_ref()?;
        #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 cores")]
        let all = self.cores.len() as f64;
        (*cpus < all).then_some(*cpus)
    }

    /// The most shards that the quota keeps busy: it, rounded up.
    pub(crate) fn quota_shards(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "as few as there are cores")]
        #[expect(clippy::cast_sign_loss, reason = "no group allows less than nothing")]
        let whole = |cpus: f64| (cpus.ceil() as usize).max(1);
        self.quota().map_or(usize::MAX, whole)
    }

    /// The core of each shard: as asked, or spread evenly over the allowed ones, of which a CPU
    /// quota takes as many as it keeps busy.
    ///
    /// # Errors
    /// More shards than cores, or a core that is not allowed.
    pub(crate) fn place(&self, settings: &Settings) -> Result<Vec<usize>, Finding> {
        let named = &settings.cores;
        let allowed = show_cores(&self.cores);
        if let Some(core) = named.iter().find(|core| !self.cores.contains(core)) {
            let cause = format!("core {core} asked for, {allowed} allowed to this process");
            return Err(Finding::fatal("cores", cause, format!("--cores {allowed}")));
        }
        let cores = if named.is_empty() { &self.cores } else { named };
        let usual = if named.is_empty() { self.quota_shards() } else { named.len() };
        let count = settings.shard_count.unwrap_or(cores.len().min(SHARDS_MAX).min(usual));
        let there = cores.len();
        if count > there {
            let which = if named.is_empty() { "allowed to this process" } else { "named" };
            let cause = format!("{count} shards asked for, {there} cores {which}");
            return Err(Finding::fatal("cores", cause, format!("--shards {there}")));
        }
        // Evenly: 2 shards on 8 cores take the first and the fifth, which seldom share a physical
        // core.
        Ok((0..count).map(|shard| cores[shard * cores.len() / count]).collect())
    }

    /// Returns the needs of the configured shards, with the ring tried out, and the limits that do
    /// not meet them.
    pub(crate) fn judge(&self, settings: &Settings) -> Verdict {
        Verdict::of(self, settings, stentor_shards::rt::try_ring)
    }
}

/// A number of bytes for people, rounded down to whole units.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let unit = if bytes >= 10 << 30 {
        30
    } else if bytes >= 10 << 20 {
        20
    } else {
        10
    };
    if bytes == u64::MAX {
        return "unlimited".into();
    }
    show_size(bytes >> unit << unit)
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

/// Bytes of memory that the kernel can hand out on this host.
pub(crate) fn memory_available() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field(&meminfo, "MemAvailable:").unwrap_or(0) * 1024
}

fn memory(group: &Bounds) -> u64 {
    let available = memory_available();
    group.memory.as_ref().map_or(available, |(bytes, _)| available.min(*bytes))
}

#[cfg(test)]
mod tests {
    use stentor_shards::Ring;

    use super::*;

    fn host(cores: usize) -> Host {
        Host { cores: (0..cores).collect(), group: Bounds::default(), ..Host::read() }
    }

    fn asked(shards: Option<usize>, cores: &[usize]) -> Settings {
        Settings { shard_count: shards, cores: cores.to_vec(), ..Settings::default() }
    }

    #[test]
    fn shards_are_spread_evenly() {
        assert_eq!(host(4).place(&asked(None, &[])).unwrap(), [0, 1, 2, 3]);
        assert_eq!(host(8).place(&asked(Some(2), &[])).unwrap(), [0, 4]);
        assert_eq!(host(8).place(&asked(None, &[5, 1])).unwrap(), [5, 1]);
        assert_eq!(host(200).place(&asked(None, &[])).unwrap().len(), 64);
    }

    #[test]
    fn a_quota_bounds_the_shards_that_nobody_asked_for() {
        for (cpus, shards) in [(0.2, 1), (1.0, 1), (1.5, 2), (3.9, 4), (64.0, 8)] {
            let group = Bounds { cpus: Some((cpus, "/cpu.max".into())), memory: None };
            let host = Host { group, ..host(8) };
            assert_eq!(host.place(&asked(None, &[])).unwrap().len(), shards, "{cpus}");
            assert_eq!(host.place(&asked(Some(8), &[])).unwrap().len(), 8);
            assert_eq!(host.place(&asked(None, &[3, 4, 5])).unwrap(), [3, 4, 5]);
        }
    }

    #[test]
    fn cores_that_are_not_there_are_refused_with_both_numbers() {
        let error = host(2).place(&asked(Some(3), &[])).unwrap_err().to_string();
        assert_eq!(error, "3 shards asked for, 2 cores allowed to this process: --shards 2");
        let error = host(2).place(&asked(None, &[7])).unwrap_err().to_string();
        assert_eq!(error, "core 7 asked for, 0,1 allowed to this process: --cores 0,1");
    }

    #[test]
    fn the_tightest_limit_comes_first() {
        let host = Host { nofile: 1000, memory: 1 << 30, tcp_mem_pages: 5_000, ..host(1) };
        let capacity = host.capacity(Needs::of(1, Ring::Required));
        assert_eq!(capacity[0], ("open files (nofile)", 1000 - 16 - 48 - 9));
        assert!(capacity.is_sorted_by_key(|(_, clients)| *clients));
        assert_eq!(host.capacity(Needs::of(1, Ring::Off))[0].1, 1000 - 16 - 48 - 4);
    }
}
