//! The text form of a distribution that the public `HdrHistogram` plotter reads.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::meter::real;

/// Percentile steps for each halving of the distance to 100 %, as the Java original defaults to.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Writes a histogram of nanoseconds as a percentile distribution in milliseconds.
///
/// The original writes as many decimals as the histogram has digits; six keep nanoseconds.
pub(crate) fn write(histogram: &Histogram<u64>) -> String {
    let ms = |ns: f64| ns / 1e6;
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let value = ms(real(step.value_iterated_to()));
        let quantile = step.quantile_iterated_to();
        total += step.count_since_last_iteration();
        if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            let _ = writeln!(out, "{value:12.6} {quantile:14.12} {total:10} {inverse:14.2}");
        } else {
            let _ = writeln!(out, "{value:12.6} {quantile:14.12} {total:10}");
        }
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]\n\
         #[Max     = {:12.6}, Total count    = {:12}]\n\
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::hist;

    #[test]
    fn a_small_distribution_is_written_to_the_letter() {
        let mut histogram = hist::empty();
        for us in [1, 2, 3, 1000] {
            histogram.record(us * 1000).unwrap();
        }
        let text = write(&histogram);
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

    #[test]
    fn rows_only_grow() {
        let mut histogram = hist::empty();
        (1..=10_000).for_each(|us| histogram.record(us * 997).unwrap());
        let rows: Vec<Vec<f64>> = write(&histogram)
            .lines()
            .filter(|line| line.starts_with(' ') && !line.contains("Value"))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        assert!((rows.last().unwrap()[2] - 10_000.0).abs() < 0.5);
    }
}
