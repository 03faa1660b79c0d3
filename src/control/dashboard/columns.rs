//! The last minutes: one column for each sample, with rates and the distribution of latencies.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use serde_json::Value;

/// The most columns that are kept: 10 minutes of seconds.
const COLUMNS_MAX: usize = 600;

/// Upper bounds of the rows of the heat map, in microseconds; the last row has none.
pub(super) const BOUNDS_US: [u64; 17] = [
    20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000,
];

/// Columns, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Columns {
    kept: VecDeque<Value>,
}

impl Columns {
    pub(super) fn extend(&mut self, column: Option<Value>) {
        self.kept.extend(column);
        while self.kept.len() > COLUMNS_MAX {
            self.kept.pop_front();
        }
    }

    pub(super) fn told(&self) -> Value {
        self.kept.iter().cloned().collect()
    }
}

/// Returns the number of values of a histogram in each row.
pub(super) fn rows(latency: &Histogram<u64>) -> Vec<u64> {
    let mut rows = vec![0; BOUNDS_US.len() + 1];
    for value in latency.iter_recorded() {
        let row = BOUNDS_US.partition_point(|bound| *bound < value.value_iterated_to());
        rows[row] += value.count_at_value();
    }
    rows
}

/// Returns the latencies that `now` has and `before` has not: each shard counts from its start.
pub(super) fn since(now: &Histogram<u64>, before: Option<&Histogram<u64>>) -> Histogram<u64> {
    let mut difference = now.clone();
    if let Some(before) = before
        && difference.subtract(before).is_err()
    {
        return now.clone();
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        for value in values {
            histogram.record(*value).unwrap();
        }
        histogram
    }

    #[test]
    fn each_latency_is_in_the_row_of_its_bound() {
        let rows = rows(&of(&[1, 20, 21, 999, 1_000, 59_000_000]));
        let at = |bound: u64| rows[BOUNDS_US.partition_point(|one| *one < bound)];
        assert_eq!((at(20), at(50), at(1_000), rows[BOUNDS_US.len()]), (2, 1, 2, 1));
        assert_eq!(rows.iter().sum::<u64>(), 6);
    }

    #[test]
    fn only_what_is_new_counts() {
        let new = since(&of(&[5, 5, 700]), Some(&of(&[5])));
        assert_eq!((new.len(), new.max()), (2, 700));
        assert_eq!(since(&of(&[5]), None).len(), 1);
        assert_eq!(since(&of(&[5]), Some(&of(&[9]))).len(), 1, "a shard that began anew");
    }

    #[test]
    fn old_columns_make_room() {
        let mut columns = Columns::default();
        (0..COLUMNS_MAX + 5).for_each(|number| columns.extend(Some(number.into())));
        let told = columns.told();
        let told = told.as_array().unwrap();
        assert_eq!((told.len(), &told[0]), (COLUMNS_MAX, &5.into()));
    }
}
