//! Times, sizes, switches and lists as people write them, read and written back.

use std::time::Duration;

/// `25s`, `500ms`, `2m`, `1h`, or `0`.
pub(crate) fn read_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text:?} is not a time such as 25s, 500ms or 2m");
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim() {
        "" if number == 0.0 => 0.0,
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    if seconds > 30.0 * 24.0 * 3600.0 {
        return Err(format!("{text} is more than 30 days"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

pub(crate) fn show_time(time: Duration) -> String {
    let ms = time.as_millis();
    if ms == 0 {
        "0".into()
    } else if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{ms}ms")
    }
}

/// `65536`, `64KiB`, `1 MiB`, `2GB`.
pub(crate) fn read_size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text:?} is not a size such as 65536, 64KiB or 1MiB");
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

pub(crate) fn show_size(bytes: usize) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

pub(crate) fn read_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// `0,2-5`.
pub(crate) fn read_cores(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let wrong = || format!("{part:?} is not a core or a range such as 0 or 2-5");
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if last < first || last > 4096 {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

pub(crate) fn show_cores(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(read_time("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(read_time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(read_time("0"), Ok(Duration::ZERO));
        assert_eq!(read_time("2m").map(show_time), Ok("120s".into()));
        for wrong in ["", "5", "s", "-1s", "5 parsecs", "1e99s", "999999h"] {
            assert!(read_time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read_size("64KiB"), Ok(65_536));
        assert_eq!(read_size("1 MB"), Ok(1_000_000));
        assert_eq!(show_size(1 << 20), "1MiB");
        assert_eq!(show_size(1000), "1000");
        for wrong in ["", "-1", "5X", "99999999999999999999", "99999999999GiB"] {
            assert!(read_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cores() {
        assert_eq!(read_cores("0,2-4"), Ok(vec![0, 2, 3, 4]));
        assert!(read_cores("4-2").is_err());
        assert!(read_cores("a").is_err());
        assert!(read_cores("0-99999999").is_err());
    }
}
