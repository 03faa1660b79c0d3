//! How many times a median is another, and how sure that is.

use crate::random::Random;

/// Fewer runs say nothing of their spread.
pub(crate) const RUNS_MIN: usize = 3;

/// How often the runs are drawn anew.
const RESAMPLES: usize = 10_000;

/// Of the resamples, what lies below the interval, and above it as much: 95 % are within.
const TAIL: f64 = 0.025;

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    middle(&sorted)
}

/// The median of `b` by that of `a`, with the 95 % interval of a percentile bootstrap: (low, ratio,
/// high). `None` for fewer than [`RUNS_MIN`] runs a side, and where a ratio is no number.
pub(crate) fn ratio_interval(a: &[f64], b: &[f64], seed: u64) -> Option<(f64, f64, f64)> {
    if a.len() < RUNS_MIN || b.len() < RUNS_MIN {
        return None;
    }
    let ratio = median(b)? / median(a)?;
    let mut random = Random(seed);
    let (mut from_a, mut from_b) = (a.to_vec(), b.to_vec());
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let below = median_of(&mut random, a, &mut from_a);
            median_of(&mut random, b, &mut from_b) / below
        })
        .collect();
    if !ratio.is_finite() || ratios.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    Some((quantile(&ratios, TAIL), ratio, quantile(&ratios, 1.0 - TAIL)))
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index among ten thousand, rounded on purpose"
)]
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    sorted[(quantile * (sorted.len() - 1) as f64).round() as usize]
}

/// The median of as many values as there are, drawn with replacement into `drawn`.
fn median_of(random: &mut Random, values: &[f64], drawn: &mut [f64]) -> f64 {
    for slot in drawn.iter_mut() {
        *slot = values[random.below(values.len())];
    }
    drawn.sort_by(f64::total_cmp);
    middle(drawn).expect("there are values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
        assert!((0..1000).all(|_| random.below(3) < 3));
    }

    #[test]
    fn too_few_runs_and_zeros_have_no_interval() {
        assert_eq!(ratio_interval(&[1.0, 2.0], &[1.0, 2.0, 3.0], 1), None);
        assert_eq!(ratio_interval(&[1.0, 2.0, 3.0], &[1.0, 2.0], 1), None);
        assert_eq!(ratio_interval(&[0.0; 3], &[1.0; 3], 1), None);
    }

    #[test]
    fn without_spread_the_interval_is_a_point() {
        assert_eq!(ratio_interval(&[2.0; 3], &[5.0; 4], 1), Some((2.5, 2.5, 2.5)));
    }

    /// Of three runs, a median is the least with chance 7/27, the most as often: more than a
    /// fortieth each, so the interval is the whole range.
    #[test]
    fn of_three_runs_the_interval_is_the_range() {
        let found = ratio_interval(&[1.0; 3], &[1.0, 2.0, 4.0], 7);
        assert_eq!(found, Some((1.0, 2.0, 4.0)));
    }

    /// Of 9 runs, 1 to 9, the median of a draw is at most 2 with the chance that 5 of 9 draws are,
    /// 0.0304; of 13, at most 3 with 0.0157 and at most 4 with 0.0707. So a fortieth ends within 2
    /// and within 4, and by symmetry within 8 and within 10.
    #[test]
    fn of_more_runs_the_interval_is_the_binomial_one() {
        let runs: Vec<f64> = (1..=13).map(f64::from).collect();
        assert_eq!(ratio_interval(&[1.0; 3], &runs[..9], 7), Some((2.0, 5.0, 8.0)));
        assert_eq!(ratio_interval(&[1.0; 3], &runs, 7), Some((4.0, 7.0, 10.0)));
    }

    #[test]
    fn a_known_ratio_is_recovered_from_noise() {
        let mut random = Random(42);
        // Twelve even draws added up are as good as normal: mean 0, deviation 1.
        let mut noise = || {
            let sum: u32 = (0..12).map(|_| u32::try_from(random.below(1001)).unwrap()).sum();
            f64::from(sum) / 1000.0 - 6.0
        };
        let mut within = 0;
        for seed in 0..40 {
            let a: Vec<f64> = (0..15).map(|_| 100.0 + 5.0 * noise()).collect();
            let b: Vec<f64> = (0..15).map(|_| 130.0 + 5.0 * noise()).collect();
            let (low, ratio, high) = ratio_interval(&a, &b, seed).unwrap();
            assert!(low <= ratio && ratio <= high && high - low < 0.2);
            assert!((ratio - 1.3).abs() < 0.1);
            within += u32::from(low <= 1.3 && 1.3 <= high);
        }
        // The bootstrap of a median errs on the safe side.
        assert!((36..=40).contains(&within), "{within} of 40 intervals hold 1.3");
    }
}
