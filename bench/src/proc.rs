//! The kernel's figures of a process: CPU time to the nanosecond, and private memory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::{fs, io};

/// A tick of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that runs these servers.
const TICK_NS: u64 = 10_000_000;

/// The running times of a process's threads until some moment.
///
/// A running thread's time lags by up to a scheduler tick, so look when the process sleeps.
#[derive(Debug, Clone)]
pub(crate) struct CpuTime {
    /// Nanoseconds of each live thread, as the scheduler counts them.
    threads: HashMap<OsString, u64>,
    /// User and system time of all threads that ever were, each cut to whole ticks.
    ticks: u64,
}

impl CpuTime {
    /// The time of all threads of a process until now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread that ended in between has no file any more.
            if let Ok(line) = fs::read_to_string(thread.path().join("schedstat")) {
                let time = run_time_ns(&line).ok_or_else(|| unreadable("schedstat", &line))?;
                threads.insert(thread.file_name(), time);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = ticks_of(&stat).ok_or_else(|| unreadable("stat", &stat))?;
        Ok(Self { threads, ticks })
    }

    /// Nanoseconds that were run since `earlier`.
    ///
    /// The exact count misses threads that ended; the ticks have them, but two may have been cut.
    /// Both are at most the truth, so the larger one is nearer.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let exact = self.threads.iter().map(|(thread, time)| {
            time.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0))
        });
        let ticks = self.ticks.saturating_sub(earlier.ticks).saturating_sub(2);
        exact.sum::<u64>().max(ticks * TICK_NS)
    }

    /// Nanoseconds that the busiest of the threads that live has run since `earlier`.
    pub(crate) fn busiest_since(&self, earlier: &Self) -> u64 {
        let before = |thread| earlier.threads.get(thread).copied().unwrap_or(0);
        let each = self.threads.iter().map(|(thread, time)| time.saturating_sub(before(thread)));
        each.max().unwrap_or(0)
    }
}

/// The memory of a process in user space, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    pub(crate) private: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let private = private_of(&rollup).ok_or_else(|| unreadable("smaps_rollup", &rollup))?;
        Ok(Self { rss: line_of(&rollup, "Rss:"), pss: line_of(&rollup, "Pss:"), private })
    }
}

/// Returns `true` if a process runs. One that has ended and waits for its parent does not.
pub(crate) fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// One line of a rollup, which is in KiB.
fn line_of(rollup: &str, name: &str) -> u64 {
    let line = rollup.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Names of shells, which start servers and serve nobody.
const SHELLS: [&str; 6] = ["sh", "dash", "bash", "ash", "zsh", "ksh"];

/// The process that does the work of a group: its leader, or the first that a shell leading it has
/// started.
pub(crate) fn worker_of(leader: u32) -> u32 {
    let name = fs::read_to_string(format!("/proc/{leader}/comm")).unwrap_or_default();
    if !SHELLS.contains(&name.trim()) {
        return leader;
    }
    let Ok(all) = fs::read_dir("/proc") else { return leader };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_group = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        *pid != leader && group_of(&stat) == Some(leader)
    };
    pids.filter(of_group).min().unwrap_or(leader)
}

/// The process group: the fifth field of `/proc/PID/stat`, the second of which is a name in
/// brackets.
fn group_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// User and system ticks of a process.
pub(crate) fn cpu_ticks(pid: u32) -> Option<(u64, u64)> {
    split_ticks_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Returns the time in nanoseconds for which the calling thread has run outside of the kernel, as
/// the kernel's ticks divide its time.
pub(crate) fn thread_user_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    split_ticks_of(&stat).map_or(0, |(user, _)| user * TICK_NS)
}

/// Ticks that the hypervisor took from this host, and all ticks.
pub(crate) fn steal_ticks() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .take(8)
        .map_while(|ticks| ticks.parse().ok())
        .collect();
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
pub(crate) fn tick_seconds(ticks: u64) -> f64 {
    ticks as f64 * TICK_NS as f64 / 1e9
}

/// A part of a whole; of nothing, none.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub(crate) fn part(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Resident memory of a process in bytes: the second of statm's numbers, which are in pages. Costs
/// the process nothing, as the exact figures of [`Memory`] do.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn unreadable(file: &str, text: &str) -> io::Error {
    io::Error::other(format!("{file} reads {text:?}"))
}

/// User and system time of a process together.
fn ticks_of(stat: &str) -> Option<u64> {
    split_ticks_of(stat).map(|(user, system)| user + system)
}

/// User and system time of a process: the 14th and 15th fields, the second of which is a name in
/// brackets.
fn split_ticks_of(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The first of a schedstat's three numbers: time on a CPU. The others are time in a run queue, and
/// turns.
fn run_time_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The lines that begin with `Private_`, which are in KiB: clean, dirty, and pages of hugetlbfs.
fn private_of(rollup: &str) -> Option<u64> {
    let mut lines = rollup.lines().filter(|line| line.starts_with("Private_")).peekable();
    lines.peek()?;
    let kib = lines.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Some(kib.sum::<Option<u64>>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_a_cpu_is_the_first_number() {
        assert_eq!(run_time_ns("210007668 824819 111\n"), Some(210_007_668));
        assert_eq!(run_time_ns("\n"), None);
        assert_eq!(run_time_ns("x 1 2"), None);
    }

    #[test]
    fn private_memory_is_every_line_that_says_so() {
        let rollup = "00400000-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    900 kB\n\
                      Private_Clean:         12 kB\nPrivate_Dirty:        100 kB\n\
                      Private_Hugetlb: 7 kB\n";
        assert_eq!(private_of(rollup), Some(119 * 1024));
        assert_eq!(private_of("Rss: 1 kB\n"), None);
        assert_eq!(private_of("Private_Dirty: much\n"), None);
    }

    #[test]
    fn ticks_stand_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 3 0 5 6 7";
        assert_eq!((ticks_of(stat), group_of(stat)), (Some(42), Some(7)));
        assert_eq!(ticks_of("7 (a) S 1"), None);
    }

    #[test]
    fn new_threads_count_in_full_and_ended_ones_by_their_ticks() {
        let time = |threads: &[(&str, u64)], ticks| CpuTime {
            threads: threads.iter().map(|(name, time)| (OsString::from(name), *time)).collect(),
            ticks,
        };
        let before = time(&[("1", 500), ("2", 70)], 10);
        assert_eq!(time(&[("1", 600), ("2", 70), ("3", 5)], 12).since(&before), 105);
        assert_eq!(time(&[("1", 600)], 15).since(&before), 3 * TICK_NS);
        assert_eq!(time(&[("1", 600), ("2", 171), ("3", 5)], 12).busiest_since(&before), 101);
    }

    #[test]
    fn this_process_has_memory_and_a_missing_one_is_an_error() {
        let pid = std::process::id();
        assert!(CpuTime::of(pid).is_ok());
        assert!(Memory::of(pid).unwrap().private > 10_000);
        assert!(CpuTime::of(u32::MAX).is_err());
        assert!(rss_bytes(pid).unwrap() > 100_000 && rss_bytes(u32::MAX).is_none());
    }
}
