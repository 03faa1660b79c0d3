//! Sums over the threads of a load.

use std::collections::BTreeMap;
use std::io;

use hdrhistogram::Histogram;

/// Adds counts by name.
pub(super) fn add(all: &mut BTreeMap<String, u64>, some: BTreeMap<String, u64>) {
    for (name, count) in some {
        *all.entry(name).or_default() += count;
    }
}

/// Adds what another thread saw.
pub(super) fn merge(all: &mut Histogram<u64>, some: &Histogram<u64>) -> io::Result<()> {
    all.add(some).map_err(io::Error::other)
}
