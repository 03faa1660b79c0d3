//! What the kernel says of a process: CPU time to the nanosecond, and private memory.

use std::fs;

/// CPU time of all threads of a process, in nanoseconds, as the scheduler counts it.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let lines =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    lines.filter_map(|line| first_number(&line)).sum()
}

/// Private memory of a process in bytes, user space.
pub(crate) fn private_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| first_number(line.split_once(':')?.1))
        .sum::<u64>()
        * 1024
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu_ns(pid) > 0);
        assert!(private_bytes(pid) > 10_000);
        assert_eq!(first_number(" 1232 kB"), Some(1232));
    }
}
