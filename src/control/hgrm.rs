//! The text form of a histogram that the public `HdrHistogram` plotter reads.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Percentile steps for each halving of the distance to 100 %, as the Java original defaults to.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// One histogram of all.
pub(crate) fn merged(parts: &[(usize, Histogram<u64>)]) -> Option<Histogram<u64>> {
    let mut parts = parts.iter().map(|(_, part)| part);
    let mut whole = parts.next()?.clone();
    for part in parts {
        whole.add(part).ok()?;
    }
    Some(whole)
}

/// Writes a histogram of microseconds as a percentile distribution in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn write(histogram: &Histogram<u64>) -> String {
    let ms = |us: f64| us / 1000.0;
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let value = ms(step.value_iterated_to() as f64);
        let quantile = step.quantile_iterated_to();
        let count = histogram.count_between(0, step.value_iterated_to());
        if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            let _ = writeln!(out, "{value:12.3} {quantile:14.12} {count:10} {inverse:14.2}");
        } else {
            let _ = writeln!(out, "{value:12.3} {quantile:14.12} {count:10}");
        }
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        2 * 10_u64.pow(u32::from(histogram.sigfig())).next_power_of_two(),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_distribution_has_the_form_and_the_counts() {
        let mut one = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        let mut other = one.clone();
        (1..=500).for_each(|us| one.record(us * 1000).unwrap());
        (501..=1000).for_each(|us| other.record(us * 1000).unwrap());
        let text = write(&merged(&[(0, one), (1, other)]).unwrap());
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|line| line.starts_with(' ') && !line.contains("Value"))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[1] <= b[1] && a[2] <= b[2]));
        let median = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!((median[0] - 500.0).abs() < 1.0, "{median:?}");
        let last = rows.last().unwrap();
        assert!((last[2] - 1000.0).abs() < 0.5 && (last[1] - 1.0).abs() < 1e-9, "{last:?}");
        assert!(text.contains("Total count    =         1000]"));
    }
}
