//! Counts, rates, times, sizes and shares as people type them, within the bounds of this tool; the
//! grammar is that of `stentor-units`.

pub(crate) use stentor_units::{share, time};

/// The most clients, bytes or repeats that make sense.
const WHOLE_MAX: u64 = 1_000_000_000;

/// `800`, `10k`, `1.5M`.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    bounded(text, stentor_units::count(text)?)
}

/// `128`, `16KiB`, `1MiB`, `4kB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    bounded(text, stentor_units::size(text)?)
}

fn bounded(text: &str, value: u64) -> Result<usize, String> {
    let value = Some(value).filter(|value| *value <= WHOLE_MAX);
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.ok_or_else(|| format!("{text} is more than {WHOLE_MAX}"))
}

/// `500/s`, `1k/s`, `30/m`, or a number of times a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = stentor_units::rate(text)?;
    if (1e-3..=1e7).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("{text} is no rate from 0.001/s to 10M/s"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!((count("10k"), size("16KiB"), rate("30/m")), (Ok(10_000), Ok(16_384), Ok(0.5)));
        assert_eq!((time("2"), share("5%")), (Ok(Duration::from_secs(2)), Ok(0.05)));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        assert!(count("2G").is_err() && size("9GB").is_err());
        assert!(rate("1000M").is_err() && rate("1/h").is_err());
    }
}
