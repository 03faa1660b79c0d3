//! The kernel's figures of this process: descriptors, memory, threads, and time used.

use std::fs;
use std::sync::OnceLock;

/// The process at one moment. A value that the kernel does not tell is `None`, not zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    /// User and system time of all threads since the start.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) open_descriptors: Option<u64>,
    /// The soft limit of open descriptors; without one there is no value.
    pub(crate) descriptors_max: Option<u64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// The start, in seconds since 1970. It does not move while the process lives.
    pub(crate) start_seconds: Option<f64>,
}

/// Reads all of it.
pub(crate) fn read() -> Process {
    let stat = Stat::read(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    let page = rustix::param::page_size() as u64;
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let descriptors = fs::read_dir("/proc/self/fd").ok();
    Process {
        cpu_seconds: stat.map(|stat| seconds(stat.user_and_system)),
        open_descriptors: descriptors.map(|listed| listed.count() as u64),
        descriptors_max: limits.current,
        resident_bytes: stat.map(|stat| stat.resident_pages * page),
        virtual_bytes: stat.map(|stat| stat.virtual_bytes),
        threads: stat.map(|stat| stat.threads),
        start_seconds: start_seconds(),
    }
}

/// Read once: the kernel's time of boot moves when somebody sets the clock.
fn start_seconds() -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| {
        let stat = Stat::read(&fs::read_to_string("/proc/self/stat").ok()?)?;
        Some(boot_seconds(&fs::read_to_string("/proc/stat").ok()?)? + seconds(stat.start))
    })
}

fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "ticks of a second")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The fields of `/proc/self/stat` that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    user_and_system: u64,
    threads: u64,
    start: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Fields are counted from the last parenthesis: the second field is the process's name, which
    /// may hold anything. The field behind it is the third.
    fn read(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            user_and_system: field(14)? + field(15)?,
            threads: field(20)?,
            start: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_past_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 99 0 0 0 250 31 0 0 20 0 5 0 77 4096 3 9";
        let expected = Stat {
            user_and_system: 281,
            threads: 5,
            start: 77,
            virtual_bytes: 4096,
            resident_pages: 3,
        };
        assert_eq!(Stat::read(stat), Some(expected));
        assert_eq!((Stat::read(""), Stat::read("7 (a) S 1")), (None, None));
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }

    #[test]
    fn this_process_is_told_in_full_and_its_start_does_not_move() {
        let (first, then) = (read(), read());
        assert!(first.open_descriptors.is_some_and(|count| count > 0), "{first:?}");
        assert!(first.resident_bytes < first.virtual_bytes, "{first:?}");
        assert!(first.threads.is_some_and(|count| count > 0), "{first:?}");
        assert!(first.start_seconds.is_some_and(|start| start > 1e9), "{first:?}");
        assert_eq!(first.start_seconds, then.start_seconds);
        assert!(first.cpu_seconds <= then.cpu_seconds);
    }
}
