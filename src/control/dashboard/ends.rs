//! The reasons for which the last thousand connections ended.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use stentor_shards::Report;

/// The number of ends that are looked at.
const ENDS_MAX: u64 = 1000;

/// The newest ends, as far as samples tell them apart.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Counts since the start at the last sample.
    before: BTreeMap<&'static str, u64>,
    /// The ends that each sample has brought, the oldest sample first, and their sum.
    recent: VecDeque<(&'static str, u64)>,
    count: u64,
}

impl Ends {
    /// Takes the counts of all shards.
    pub(super) fn take(&mut self, reports: &[Report]) {
        let mut now: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (reason, count) in reports.iter().flat_map(|report| &report.closes) {
            *now.entry(reason).or_default() += count;
        }
        self.note(now);
    }

    fn note(&mut self, now: BTreeMap<&'static str, u64>) {
        for (reason, count) in &now {
            let new = count.saturating_sub(self.before.get(reason).copied().unwrap_or(0));
            if new > 0 {
                self.recent.push_back((reason, new));
                self.count += new;
            }
        }
        self.before = now;
        // The oldest leave; those of one sample leave in no particular order.
        while self.count > ENDS_MAX {
            let Some((_, oldest)) = self.recent.front_mut() else { return };
            let over = (self.count - ENDS_MAX).min(*oldest);
            *oldest -= over;
            self.count -= over;
            if *oldest == 0 {
                self.recent.pop_front();
            }
        }
    }

    /// Returns the number of ends that are looked at, and how many had each reason.
    pub(super) fn told(&self) -> Value {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in &self.recent {
            *reasons.entry(reason).or_default() += count;
        }
        json!({ "count": self.count, "reasons": reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ends_leave() {
        let mut ends = Ends::default();
        ends.note([("gone", 900), ("slow", 0)].into());
        assert_eq!(ends.told(), json!({ "count": 900, "reasons": { "gone": 900 } }));
        ends.note([("gone", 900), ("slow", 300)].into());
        let told = ends.told();
        assert_eq!(told, json!({ "count": 1000, "reasons": { "gone": 700, "slow": 300 } }));
        ends.note([("gone", 900), ("slow", 5_000)].into());
        assert_eq!(ends.told(), json!({ "count": 1000, "reasons": { "slow": 1000 } }));
        assert!(ends.recent.len() <= 2, "what is looked at no longer takes no memory");
    }
}
