//! A histogram of microseconds as the buckets of a metric in seconds.

use hdrhistogram::Histogram;

/// Upper bounds of the fan-out latency's buckets, in seconds; the last one takes all.
const BUCKETS: [f64; 17] = [
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
    f64::INFINITY,
];

/// A histogram of microseconds in the buckets of the metric, each with its own count as the encoder
/// wants them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are small constants; a sum in seconds needs no more digits"
)]
pub(super) fn bucketed(latency: &Histogram<u64>) -> (f64, Vec<(f64, u64)>) {
    let mut below = 0;
    let mut buckets = Vec::with_capacity(BUCKETS.len());
    for bound in BUCKETS {
        let through = match bound {
            f64::INFINITY => latency.len(),
            _ => latency.count_between(0, (bound * 1e6) as u64).min(latency.len()),
        };
        buckets.push((bound, through.saturating_sub(below)));
        below = below.max(through);
    }
    (latency.mean() * latency.len() as f64 / 1e6, buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_to_all() {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        for us in [10, 60, 300, 20_000, 59_000_000] {
            latency.record(us).unwrap();
        }
        let (sum, buckets) = bucketed(&latency);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!((buckets[0].1, buckets[1].1, buckets.last().unwrap().1), (1, 1, 1));
        assert!((sum - 59.02).abs() < 0.2, "{sum}");
    }
}
