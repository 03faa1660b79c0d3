//! Figures as people read them: three digits and a unit.

use crate::meter::real;

/// A time in nanoseconds: `1.23 ms`.
pub(crate) fn time(ns: f64) -> String {
    scaled(ns, 1000.0, &["ns", "µs", "ms", "s"])
}

/// Bytes: `1.23 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// A share of one: `12.3 %`.
pub(crate) fn share(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// A whole number: `1,234,567`.
pub(crate) fn count(count: f64) -> String {
    let plain = format!("{:.0}", count.abs());
    let mut out = String::from(if count < 0.0 { "-" } else { "" });
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a ratio: `1.23×`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{}×", digits(ratio))
}

/// Three digits, no more than two of them behind the point, no zeros at their end.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text from elsewhere, without what moves a terminal's cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().expect("there is a unit");
    // A value that would be rounded up to a whole step is one of the next unit.
    while value.abs() >= step - 0.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / step, next);
    }
    format!("{} {unit}", digits(value))
}

/// So many of something, by its word for one.
pub(crate) fn several(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(real(number)), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_their_unit() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (12.0, "12 ns"),
            (999.4, "999 ns"),
            (999.6, "1 µs"),
            (1234.0, "1.23 µs"),
            (12_345.0, "12.3 µs"),
            (99_960.0, "100 µs"),
            (999_600.0, "1 ms"),
            (8_210_000.0, "8.21 ms"),
            (1_500_000_000.0, "1.5 s"),
            (7_200_000_000_000.0, "7200 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn other_figures() {
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(123.0), "123");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(bytes(64_000_000.0), "64 MB");
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(share(0.4821), "48.2 %");
        assert_eq!(share(0.001), "0.1 %");
        assert_eq!(times(1.0), "1×");
        assert_eq!(digits(200.0), "200");
        assert_eq!(plain("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
