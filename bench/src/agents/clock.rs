//! How far two clocks are apart, from messages that went there and back.
//!
//! All stamps of a run are of one clock, the coordinator's: an agent adds its offset wherever it
//! reads its own, so nothing is converted afterwards.

use serde::{Deserialize, Serialize};

/// Whose monotonic clock a process reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// This boot of this kernel.
    boot: String,
    /// Containers may have a clock of their own.
    namespace: String,
}

impl Source {
    /// This process's.
    pub(crate) fn here() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
        Self { boot: boot.trim().to_owned(), namespace: namespace.to_string_lossy().into_owned() }
    }

    /// Returns `true` if both name one clock; an unknown clock is another one.
    pub(super) fn is(&self, other: &Self) -> bool {
        !self.boot.is_empty() && !self.namespace.is_empty() && self == other
    }
}

/// One message there and back.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "moments have their unit in their name")]
pub(crate) struct Exchange {
    /// When it left, here.
    pub(crate) asked_ns: u64,
    /// When it was answered, there.
    pub(crate) there_ns: u64,
    /// When the answer was here.
    pub(crate) answered_ns: u64,
}

impl Exchange {
    fn round_trip_ns(&self) -> u64 {
        self.answered_ns.saturating_sub(self.asked_ns)
    }
}

/// The time to add to the other clock, and the most by which it may be wrong either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) ns: i64,
    pub(crate) uncertainty_ns: u64,
}

impl Offset {
    /// From the fastest of several exchanges: the answer was given somewhere between its two ends,
    /// so the middle is wrong by no more than half of it.
    pub(crate) fn of(exchanges: &[Exchange]) -> Option<Self> {
        let fastest = exchanges.iter().min_by_key(|exchange| exchange.round_trip_ns())?;
        let half = fastest.round_trip_ns() / 2;
        let middle = fastest.asked_ns + half;
        // The difference of two moments fits where the moments do; where not, nothing is known.
        let ns = i64::try_from(i128::from(middle) - i128::from(fastest.there_ns)).ok()?;
        Some(Self { ns, uncertainty_ns: half + 1 })
    }

    /// Where both sides say that they read one clock and nothing speaks against it, there is
    /// nothing to add. Copies of one virtual machine may bear one name and have two clocks.
    pub(crate) fn between(here: &Source, there: &Source, measured: Self) -> Self {
        let agrees = measured.ns.unsigned_abs() <= measured.uncertainty_ns;
        if here.is(there) && agrees { Self::default() } else { measured }
    }
}

/// How well one agent's clock was known over a whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "times have their unit in their name")]
pub(crate) struct Alignment {
    /// The time that was added.
    pub(crate) offset_ns: i64,
    /// How much more, or less, would have been right at the end.
    pub(crate) drift_ns: i64,
    /// The most by which a moment may be wrong.
    pub(crate) uncertainty_ns: u64,
}

impl Alignment {
    /// From what was measured before, which was used, and what was measured after.
    pub(crate) fn of(before: Offset, after: Offset) -> Self {
        let drift_ns = after.ns.saturating_sub(before.ns);
        let at_end = drift_ns.unsigned_abs().saturating_add(after.uncertainty_ns);
        Self { offset_ns: before.ns, drift_ns, uncertainty_ns: before.uncertainty_ns.max(at_end) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exchange(asked_ns: u64, there_ns: u64, answered_ns: u64) -> Exchange {
        Exchange { asked_ns, there_ns, answered_ns }
    }

    #[test]
    fn the_fastest_exchange_decides() {
        assert_eq!(Offset::of(&[]), None);
        // The other clock is 1,000 behind; the fast exchange takes 20, the slow one 500, nearly all
        // of it on the way there.
        let exchanges = [exchange(5_000, 4_480, 5_500), exchange(7_000, 6_010, 7_020)];
        assert_eq!(Offset::of(&exchanges), Some(Offset { ns: 1_000, uncertainty_ns: 11 }));
        let ahead = Offset::of(&[exchange(100, 9_105, 110)]).unwrap();
        assert_eq!((ahead.ns, ahead.uncertainty_ns), (-9_000, 6));
    }

    #[test]
    fn one_clock_is_taken_for_one_unless_it_cannot_be() {
        let here = Source::here();
        let close = Offset { ns: -3_000, uncertainty_ns: 20_000 };
        let far = Offset { ns: 3_000_000, uncertainty_ns: 20_000 };
        assert!(here.is(&Source::here()), "{here:?}");
        assert_eq!(Offset::between(&here, &here.clone(), close), Offset::default());
        assert_eq!(Offset::between(&here, &here.clone(), far), far, "a copy of this machine");
        let other = Source { boot: "another".to_owned(), ..here.clone() };
        assert_eq!(Offset::between(&here, &other, close), close);
        let unknown = Source::default();
        assert_eq!(Offset::between(&unknown, &unknown.clone(), close), close);
    }

    #[test]
    fn drift_is_part_of_what_is_not_known() {
        let before = Offset { ns: 1_000, uncertainty_ns: 50 };
        let after = Offset { ns: 1_300, uncertainty_ns: 40 };
        let known = Alignment::of(before, after);
        assert_eq!((known.offset_ns, known.drift_ns, known.uncertainty_ns), (1_000, 300, 340));
        let back = Alignment::of(after, before);
        assert_eq!((back.offset_ns, back.drift_ns, back.uncertainty_ns), (1_300, -300, 350));
        assert_eq!(Alignment::of(Offset::default(), Offset::default()), Alignment::default());
    }

    proptest! {
        /// However unevenly the ways there and back take their time, the truth lies within the
        /// stated uncertainty.
        #[test]
        fn the_truth_lies_within(
            truth in -1_000_000_000_i64..1_000_000_000,
            ways in proptest::collection::vec((0_u64..5_000_000, 0_u64..5_000_000), 1..20),
        ) {
            let start = 10_000_000_000_u64;
            let exchanges: Vec<_> = ways
                .iter()
                .map(|(there, back)| {
                    let at = start + there;
                    exchange(start, at.saturating_add_signed(-truth), at + back)
                })
                .collect();
            let found = Offset::of(&exchanges).unwrap();
            prop_assert!(found.ns.abs_diff(truth) <= found.uncertainty_ns);
        }
    }
}
