//! Counts, rates, times and sizes as people type them.

use std::time::Duration;

/// The number before a unit, and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit.trim()))
}

fn thousands(unit: &str) -> Option<f64> {
    match unit {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "m" | "M" => Some(1e6),
        _ => None,
    }
}

/// `800`, `10k`, `1.5M`.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a count such as 800 or 10k");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let count = number * thousands(unit).ok_or_else(wrong)?;
    if count.fract() != 0.0 || count > 1e9 {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    let count = count as usize;
    Ok(count)
}

/// `500/s`, `1k/s`, `30/m`, or a number of times a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a rate such as 500/s");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (factor, per) = unit.split_once('/').unwrap_or((unit, "s"));
    let seconds = match per.trim() {
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(wrong()),
    };
    let rate = number * thousands(factor.trim()).ok_or_else(wrong)? / seconds;
    if (1e-3..=1e7).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

/// `5%`, or `0.05`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share such as 5%");
    match split(text).ok_or_else(wrong)? {
        (percent, "%") => Ok(percent / 100.0),
        (share, "") => Ok(share),
        _ => Err(wrong()),
    }
}

/// `30s`, `500ms`, `2m`, `1h`; a bare number is in seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 30s or 500ms");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "" | "s" => number,
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    if seconds > 7.0 * 24.0 * 3600.0 {
        return Err(format!("{text} is more than a week"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// `128`, `16KiB`, `1MiB`, `4kB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a size such as 128 or 16KiB");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    if bytes.fract() != 0.0 || bytes > 1e9 {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    let bytes = bytes as usize;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!(
            (count("800"), count("10k"), count("1.5M")),
            (Ok(800), Ok(10_000), Ok(1_500_000))
        );
        assert_eq!((rate("500/s"), rate("1k/s"), rate("30/m")), (Ok(500.0), Ok(1000.0), Ok(0.5)));
        assert_eq!(rate("20"), Ok(20.0));
        assert_eq!(
            (time("30s"), time("2")),
            (Ok(Duration::from_secs(30)), Ok(Duration::from_secs(2)))
        );
        assert_eq!(
            (time("500ms"), time("1.5m")),
            (Ok(Duration::from_millis(500)), Ok(Duration::from_secs(90)))
        );
        assert_eq!((share("5%"), share("0.25")), (Ok(0.05), Ok(0.25)));
        assert_eq!((size("128"), size("16KiB"), size("4kB")), (Ok(128), Ok(16_384), Ok(4_000)));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for text in ["", "x", "-1", "1.5", "10q", "1e400", "∞"] {
            assert!(count(text).unwrap_err().contains("count"), "{text}");
        }
        for text in ["", "0", "5/h", "-3", "1000M"] {
            assert!(rate(text).unwrap_err().contains("rate"), "{text}");
        }
        for text in ["", "s", "-1s", "3d", "999h"] {
            assert!(time(text).is_err(), "{text}");
        }
        for text in ["", "5p", "%", "-1%"] {
            assert!(share(text).unwrap_err().contains("share"), "{text}");
        }
        for text in ["", "1.5", "9GB", "-2"] {
            assert!(size(text).unwrap_err().contains("size"), "{text}");
        }
    }
}
