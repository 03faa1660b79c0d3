//! Counts by cause, of causes that a server words: only so many are told apart.

use std::collections::BTreeMap;

/// The most causes that are told apart; what comes after them is `other`.
pub(super) const CAUSES_MAX: usize = 64;

/// Counts one more of a cause.
pub(super) fn count(counts: &mut BTreeMap<String, u64>, cause: &str) {
    let known = counts.len() < CAUSES_MAX || counts.contains_key(cause);
    let cause = if known { cause } else { "other" };
    *counts.entry(cause.to_owned()).or_default() += 1;
}
