//! Histograms of nanoseconds, as everything here records them.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest time that is told apart: an hour and more, in nanoseconds.
pub(crate) const LONGEST_NS: u64 = 4_000_000_000_000;

/// The shortest: a microsecond.
pub(crate) const SHORTEST_NS: u64 = 1_000;

/// A histogram of nanoseconds to three digits.
pub(crate) fn nanoseconds() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3).map_err(io::Error::other)
}

/// Returns a time in nanoseconds; one of centuries is cut.
pub(crate) fn ns_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
