//! Writes the text form of a histogram that the public `HdrHistogram` plotter reads: for the
//! server's own percentiles and for the load tool's files.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Percentile steps for each halving of the distance to 100 %, as the Java original defaults to.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The unit of the values that a histogram holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Written with three decimals of a millisecond.
    Microseconds,
    /// Written with six decimals of a millisecond.
    Nanoseconds,
}

impl Unit {
    /// The number of these in a millisecond.
    fn per_ms(self) -> f64 {
        match self {
            Self::Microseconds => 1e3,
            Self::Nanoseconds => 1e6,
        }
    }

    /// The decimals of a millisecond that keep this unit. The original writes as many as the
    /// histogram has digits, which would round small values away.
    fn decimals(self) -> usize {
        match self {
            Self::Microseconds => 3,
            Self::Nanoseconds => 6,
        }
    }
}

/// Writes a histogram as a percentile distribution in milliseconds.
pub fn write(histogram: &Histogram<u64>, unit: Unit) -> String {
    let (ms, digits) = (|value: f64| value / unit.per_ms(), unit.decimals());
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for Row { value, percent, total } in rows(histogram) {
        let (value, quantile) = (ms(real(value)), percent / 100.0);
        if percent < 100.0 {
            let inverse = 1.0 / (1.0 - quantile);
            let _ = writeln!(out, "{value:12.digits$} {quantile:14.12} {total:10} {inverse:14.2}");
        } else {
            let _ = writeln!(out, "{value:12.digits$} {quantile:14.12} {total:10}");
        }
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.digits$}, StdDeviation   = {:12.digits$}]\n\
         #[Max     = {:12.digits$}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(real(histogram.max())),
        histogram.len(),
        histogram.buckets(),
        (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two(),
    );
    out
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn real(count: u64) -> f64 {
    count as f64
}

/// The least value that so many percent do not exceed, and how many do not.
struct Row {
    value: u64,
    percent: f64,
    total: u64,
}

/// As the original walks: in percent, whose steps are exact. In shares of one, as the library has
/// them, a step of 0.1 is not, and where a bucket ends at just the 60 % the next one is taken.
fn rows(histogram: &Histogram<u64>) -> Vec<Row> {
    let (mut rows, mut percent, mut total) = (Vec::new(), 0.0, 0_u64);
    for bucket in histogram.iter_recorded() {
        total = total.saturating_add(bucket.count_at_value());
        let reached = 100.0 * real(total) / real(histogram.len());
        let value = bucket.value_iterated_to();
        while reached >= percent {
            rows.push(Row { value, percent, total });
            let next = percent + step(percent);
            // The last bucket is in one row, and in that of 100 %. Where counts are so great that a
            // step is lost, one row for each bucket will do.
            if total == histogram.len() || next <= percent {
                break;
            }
            percent = next;
        }
    }
    if let Some(&Row { value, total, .. }) = rows.last() {
        rows.push(Row { value, percent: 100.0, total });
    }
    rows
}

/// From one row to the next: a fixed part of each halving of what is left to 100 %.
fn step(percent: f64) -> f64 {
    let halvings = (100.0 / (100.0 - percent)).log2().floor();
    100.0 / (f64::from(TICKS_PER_HALF_DISTANCE) * (halvings + 1.0).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the load tool makes them: nanoseconds, in three digits.
    fn empty() -> Histogram<u64> {
        Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap()
    }

    #[test]
    fn a_small_distribution_is_written_to_the_letter() {
        let mut histogram = empty();
        for us in [1, 2, 3, 1000] {
            histogram.record(us * 1000).unwrap();
        }
        let text = write(&histogram, Unit::Nanoseconds);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "    0.001000 0.000000000000          1           1.00");
        assert!(lines.contains(&"    0.002000 0.500000000000          2           2.00"), "{text}");
        assert!(lines.contains(&"    1.000447 1.000000000000          4"), "{text}");
        let footer = &lines[lines.len() - 3..];
        assert_eq!(footer[0], "#[Mean    =     0.251548, StdDeviation   =     0.432230]");
        assert_eq!(footer[1], "#[Max     =     1.000447, Total count    =            4]");
        assert_eq!(footer[2], "#[Buckets =           32, SubBuckets     =         2048]");
    }

    /// The server's form: microseconds, three decimals.
    #[test]
    fn microseconds_have_three_decimals() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        (1..=1000).for_each(|us| histogram.record(us).unwrap());
        let text = write(&histogram, Unit::Microseconds);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "       0.001 0.000000000000          1           1.00");
        assert!(lines.contains(&"       0.500 0.500000000000        500           2.00"), "{text}");
        assert!(
            lines.contains(&"#[Mean    =        0.500, StdDeviation   =        0.289]"),
            "{text}"
        );
    }

    /// The original does so; see `scripts/read_back.sh`.
    #[test]
    fn a_bucket_that_ends_at_a_percentile_is_its_value() {
        let mut histogram = empty();
        (1..=100).for_each(|us| histogram.record(us * 1000).unwrap());
        let text = write(&histogram, Unit::Nanoseconds);
        for at in [10_u32, 20, 30, 40, 50, 55, 60, 65, 70, 75] {
            let quantile = format!(" {:14.12} ", f64::from(at) / 100.0);
            let line = text.lines().find(|line| line.contains(&quantile)).unwrap();
            let words: Vec<f64> =
                line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let us = f64::from(at);
            assert!((words[0] * 1000.0 - us).abs() < us / 1000.0, "{line}");
            assert!((words[2] - us).abs() < 0.5, "{line}");
        }
        assert_eq!(
            write(&empty(), Unit::Nanoseconds).lines().count(),
            5,
            "nothing but header and footer"
        );
    }

    #[test]
    fn counts_beyond_what_a_share_tells_apart_come_to_an_end() {
        let mut histogram = empty();
        histogram.record_n(1000, u64::MAX / 2).unwrap();
        histogram.record(2000).unwrap();
        histogram.record(3000).unwrap();
        assert!(write(&histogram, Unit::Nanoseconds).lines().count() < 1000);
    }

    #[test]
    fn rows_only_grow() {
        let mut histogram = empty();
        (1..=10_000).for_each(|us| histogram.record(us * 997).unwrap());
        let rows: Vec<Vec<f64>> = write(&histogram, Unit::Nanoseconds)
            .lines()
            .filter(|line| line.starts_with(' ') && !line.contains("Value"))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        assert!((rows.last().unwrap()[2] - 10_000.0).abs() < 0.5);
    }
}
