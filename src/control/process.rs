//! What the kernel says of this process: descriptors, memory and time used.

use std::fs;

/// Descriptors open now.
#[expect(clippy::cast_precision_loss, reason = "a count of descriptors")]
pub(crate) fn open_descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").map_or(0.0, |listed| listed.count() as f64)
}

/// Memory that is resident.
pub(crate) fn resident_bytes() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "a page is small")]
    let page = rustix::param::page_size() as f64;
    pages * page
}

/// User and system time of all threads since the start.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "ticks of a second")]
    let (used, second) = (ticks(&stat) as f64, rustix::param::clock_ticks_per_second() as f64);
    used / second
}

/// The 14th and 15th field. They are counted from the last parenthesis: the second field is the
/// process's name, which may hold anything.
fn ticks(stat: &str) -> u64 {
    let Some((_, after_name)) = stat.rsplit_once(')') else { return 0 };
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_past_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 99 0 0 0 250 31 0 0 20 0 1 0 5 0 0";
        assert_eq!((ticks(stat), ticks("")), (281, 0));
        assert!(open_descriptors() > 0.0 && resident_bytes() > 0.0);
    }
}
