//! Counts, sizes, rates and shares: `10k`, `64KiB`, `500/s`, `5%`.

use crate::number::Number;

const COUNTS: [(&[&str], u64); 4] =
    [(&[""], 1), (&["k"], 1_000), (&["m"], 1_000_000), (&["g"], 1_000_000_000)];

/// A letter alone is a power of 1,024, as in most servers' settings.
const SIZES: [(&[&str], u64); 8] = [
    (&["", "b"], 1),
    (&["k", "kib"], 1 << 10),
    (&["m", "mib"], 1 << 20),
    (&["g", "gib"], 1 << 30),
    (&["t", "tib"], 1 << 40),
    (&["kb"], 1_000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
];

/// The periods of a rate, in seconds.
const PERIODS: [(&[&str], u32); 3] = [(&["s", "sec"], 1), (&["m", "min"], 60), (&["h"], 3_600)];

fn find<T: Copy>(units: &[(&[&str], T)], unit: &str) -> Option<T> {
    let unit = unit.trim().to_ascii_lowercase();
    units.iter().find(|(names, _)| names.contains(&unit.as_str())).map(|(_, factor)| *factor)
}

/// Returns a number and the size of its unit, which is one of `units`.
fn split(text: &str, units: &[(&[&str], u64)]) -> Option<(Number, u64)> {
    let (number, unit) = Number::read(text.trim())?;
    Some((number, find(units, unit)?))
}

fn whole(text: &str, units: &[(&[&str], u64)]) -> Option<u64> {
    let (number, factor) = split(text, units)?;
    number.times(factor)?.try_into().ok()
}

/// `800`, `10k`, `1.5M`: whole things.
///
/// # Errors
/// One line that names the text.
pub fn count(text: &str) -> Result<u64, String> {
    whole(text, &COUNTS).ok_or_else(|| format!("{text:?} is not a count such as 800 or 10k"))
}

/// `65536`, `64k`, `64KiB`, `1 MB`: bytes, where `k`, `M` and `G` alone are powers of 1,024.
///
/// # Errors
/// One line that names the text.
pub fn size(text: &str) -> Result<u64, String> {
    whole(text, &SIZES).ok_or_else(|| format!("{text:?} is not a size such as 65536 or 64KiB"))
}

/// The shortest text that reads back as this size: `64KiB`, `1000`.
pub fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// `500/s`, `10k/s`, `30/m`, or a bare number: times a second, more than none.
///
/// # Errors
/// One line that names the text.
pub fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a rate such as 500/s");
    let (rate, _) = per_second(text, &COUNTS).ok_or_else(wrong)?;
    if rate > 0.0 && rate.is_finite() { Ok(rate) } else { Err(wrong()) }
}

/// A rate as it can be typed: `500/s`.
pub fn show_rate(rate: f64) -> String {
    format!("{rate}/s")
}

/// Reads a rate. Returns the amount per second, and the size of its unit.
fn per_second(text: &str, units: &[(&[&str], u64)]) -> Option<(f64, f64)> {
    let (amount, period) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = f64::from(find(&PERIODS, period)?);
    let (value, scale) = amount_in(amount, units)?;
    Some((value / seconds, scale / seconds))
}

#[expect(clippy::cast_precision_loss, reason = "units are far below 2^53")]
fn amount_in(text: &str, units: &[(&[&str], u64)]) -> Option<(f64, f64)> {
    let (number, factor) = split(text, units)?;
    let factor = factor as f64;
    Some((number.value() * factor, factor))
}

/// `5%`, or `0.05`.
///
/// # Errors
/// One line that names the text.
pub fn share(text: &str) -> Result<f64, String> {
    read_share(text)
        .map(|(share, _)| share)
        .ok_or_else(|| format!("{text:?} is not a share such as 5%"))
}

fn read_share(text: &str) -> Option<(f64, f64)> {
    match Number::read(text.trim())? {
        (number, "%") => Some((number.value() / 100.0, 0.01)),
        (number, "") => Some((number.value(), 1.0)),
        _ => None,
    }
}

/// The amounts of thresholds, which need not be whole: the value, and the size of its unit.
pub(crate) mod amount {
    use super::{COUNTS, SIZES, amount_in};

    pub(crate) fn count(text: &str) -> Option<(f64, f64)> {
        amount_in(text, &COUNTS)
    }

    pub(crate) fn size(text: &str) -> Option<(f64, f64)> {
        amount_in(text, &SIZES)
    }

    pub(crate) fn count_per_second(text: &str) -> Option<(f64, f64)> {
        super::per_second(text, &COUNTS)
    }

    pub(crate) fn size_per_second(text: &str) -> Option<(f64, f64)> {
        super::per_second(text, &SIZES)
    }

    pub(crate) fn share(text: &str) -> Option<(f64, f64)> {
        super::read_share(text)
    }
}
