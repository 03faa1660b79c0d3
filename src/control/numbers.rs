//! The numbers of a shard's report under the names that `/api/stats` and `/metrics` have for them.

use stentor_shards::{NUMBERS, Number, NumberKind, Report};

/// The name of a number's family in `/metrics`, without the unit and without `_total`.
pub(crate) fn family(number: &Number) -> String {
    let bare = number.name.strip_suffix("_total").unwrap_or(number.name);
    let unit = match number.kind {
        NumberKind::GaugeBytes => "_bytes",
        NumberKind::CounterMicroseconds => "_microseconds",
        NumberKind::Gauge | NumberKind::Counter => "",
    };
    format!("stentor_{}", bare.strip_suffix(unit).unwrap_or(bare))
}

/// The names and values of one report.
pub(crate) fn named(report: &Report) -> impl Iterator<Item = (&'static str, u64)> {
    NUMBERS.iter().map(move |number| (number.name, (number.of)(report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_decides_the_kind_of_number() {
        let mut seen = std::collections::HashSet::new();
        for number in NUMBERS {
            let counts =
                matches!(number.kind, NumberKind::Counter | NumberKind::CounterMicroseconds);
            assert_eq!(number.name.ends_with("_total"), counts, "{}", number.name);
            assert!(seen.insert(family(number)), "{} is there twice", number.name);
        }
        assert!(seen.contains("stentor_busy") && seen.contains("stentor_outbox"));
    }
}
