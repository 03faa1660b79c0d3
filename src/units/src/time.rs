//! Times: `25`, `25s`, `1m30s`, `250ms`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::number::Number;

/// The units in nanoseconds, the longest first.
const UNITS: [(&[&str], u64); 7] = [
    (&["d"], 86_400_000_000_000),
    (&["h"], 3_600_000_000_000),
    (&["m", "min"], 60_000_000_000),
    (&["s", "sec"], SECOND),
    (&["ms"], 1_000_000),
    (&["us", "µs", "μs"], 1_000),
    (&["ns"], 1),
];

const SECOND: u64 = 1_000_000_000;

/// The longest time that can be typed.
pub const MAX: Duration = Duration::from_hours(30 * 24);

/// Reads a time; without a unit it is in seconds.
///
/// # Errors
/// One line that names the text: it is no time, finer than a nanosecond, or more than 30 days.
pub fn time(text: &str) -> Result<Duration, String> {
    read(text).map(|(time, _)| time)
}

/// The time, and the nanoseconds of the unit that it ends with.
pub(crate) fn read(text: &str) -> Result<(Duration, u64), String> {
    let wrong = || format!("{text:?} is not a time such as 25s, 1m30s or 250ms");
    let (mut rest, mut sum, mut last) = (text.trim(), 0_u128, u64::MAX);
    loop {
        let (number, behind) = Number::read(rest).ok_or_else(wrong)?;
        let end = behind.find(|char: char| !char.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let ns = match unit {
            // A bare number stands alone.
            "" if last == u64::MAX && behind.is_empty() => SECOND,
            _ => unit_ns(unit).ok_or_else(wrong)?,
        };
        if ns >= last {
            return Err(wrong());
        }
        let part = number.times(ns).ok_or_else(|| format!("{text} is finer than a nanosecond"))?;
        sum = sum.saturating_add(part);
        (rest, last) = (behind.trim_start(), ns);
        if rest.is_empty() {
            break;
        }
    }
    if sum > MAX.as_nanos() {
        return Err(format!("{text} is more than 30 days"));
    }
    let ns = u64::try_from(sum).map_err(|_| wrong())?;
    Ok((Duration::from_nanos(ns), last))
}

fn unit_ns(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, ns)| *ns)
}

/// The shortest text that reads back as this time: `25s`, `1m30s`, `250ms`, `0`.
pub fn show(time: Duration) -> String {
    let mut left = time.as_nanos();
    if left == 0 {
        return "0".into();
    }
    // A time finer than a second is written in one unit: 1500ms rather than 1s500ms.
    let whole = left.is_multiple_of(u128::from(SECOND));
    let units = UNITS.iter().filter(|(_, ns)| whole || *ns < SECOND);
    let mut out = String::new();
    for (names, ns) in units {
        let ns = u128::from(*ns);
        if left >= ns && (whole || left.is_multiple_of(ns)) {
            let _ = write!(out, "{}{}", left / ns, names[0]);
            left %= ns;
        }
    }
    out
}
