//! Tests with the vectors that the planner's tests read as well: every shown text reads back.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use crate::{quantity, threshold, time};

/// Reads each text of a kind: to its value, or to one line that names the text.
fn each(kind: &str, read: impl Fn(&str) -> Result<Value, String>) {
    let vectors: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let rows = vectors[kind].as_array().unwrap();
    assert!(rows.len() > 8, "{kind}");
    for row in rows {
        let (text, value) = (row[0].as_str().unwrap(), &row[1]);
        match read(text) {
            Ok(found) => {
                let same = found == *value || found.as_f64() == value.as_f64();
                assert!(same && !value.is_null(), "{kind} {text:?}: {found}, not {value}");
            }
            Err(why) => {
                assert!(value.is_null(), "{kind} {text:?}: {why}");
                assert!(!why.contains('\n'), "{why}");
                assert!(kind == "threshold" || why.contains(text), "{kind} {text:?}: {why}");
            }
        }
    }
}

#[test]
fn every_vector_is_read_as_it_says() {
    let ns = |text: &str| time(text).map(|time| u64::try_from(time.as_nanos()).unwrap());
    each("time", |text| ns(text).map(Value::from));
    each("size", |text| quantity::size(text).map(Value::from));
    each("count", |text| quantity::count(text).map(Value::from));
    each("rate", |text| quantity::rate(text).map(Value::from));
    each("share", |text| quantity::share(text).map(Value::from));
    each("threshold", |text| {
        let (name, operator, bound) = threshold::split(text)?;
        Ok([name, operator.sign(), bound].map(str::to_owned).to_vec().into())
    });
}

#[test]
fn bounds_are_read_in_the_unit_of_their_figure() {
    use threshold::Kind;
    for (kind, text, value, scale) in [
        (Kind::Time, "20ms", 20e6, 1e6),
        (Kind::Time, "2", 2e9, 1e9),
        (Kind::Time, "1m30s", 90e9, 1e9),
        (Kind::Count, "1.5", 1.5, 1.0),
        (Kind::Count, "0.4M", 0.4e6, 1e6),
        (Kind::PerSecond, "100k", 100e3, 1e3),
        (Kind::PerSecond, "60k/m", 1e3, 1e3 / 60.0),
        (Kind::Bytes, "64k", 65536.0, 1024.0),
        (Kind::BytesPerSecond, "10MB/s", 10e6, 1e6),
        (Kind::Share, "50%", 0.5, 0.01),
    ] {
        let bound = threshold::bound("figure", kind, text).unwrap();
        assert_eq!(bound, threshold::Bound { value, scale }, "{text}");
    }
    for (kind, text) in [
        (Kind::Time, "20kB"),
        (Kind::Count, "1s"),
        (Kind::PerSecond, "0ms"),
        (Kind::Bytes, "x"),
        (Kind::Share, "3k"),
        (Kind::Count, ""),
        (Kind::Count, "-1"),
    ] {
        let why = threshold::bound("figure", kind, text).unwrap_err();
        assert!(why.contains("is no bound for figure, which takes"), "{why}");
    }
}

proptest! {
    #[test]
    fn a_time_that_is_shown_reads_back(
        ns in 0..=30_u64 * 86_400 * 1_000_000_000,
        unit in prop::sample::select(vec![1_u64, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000]),
    ) {
        let shown = time::show(Duration::from_nanos(ns / unit * unit));
        prop_assert_eq!(time(&shown), Ok(Duration::from_nanos(ns / unit * unit)), "{}", shown);
    }

    #[test]
    fn a_size_that_is_shown_reads_back(bytes in 0..1_u64 << 50, shift in 0..40_u32) {
        let bytes = bytes >> shift << shift;
        prop_assert_eq!(quantity::size(&quantity::show_size(bytes)), Ok(bytes));
    }

    #[test]
    fn a_rate_that_is_shown_reads_back(hundredths in 1..1_000_000_000_u32) {
        let rate = f64::from(hundredths) / 100.0;
        prop_assert_eq!(quantity::rate(&quantity::show_rate(rate)), Ok(rate));
    }

    #[test]
    fn no_text_brings_a_panic(text in "[0-9._ehmsknKMiB/% \u{b5}-]{0,24}|.{0,12}") {
        let _ = (time(&text), quantity::size(&text), quantity::count(&text));
        let _ = (quantity::rate(&text), quantity::share(&text), crate::Url::read(&text));
    }
}

#[test]
fn a_time_beyond_all_bounds_is_too_long_and_not_too_fine() {
    for text in ["31d", "1e18d", "999999999999999999e18d", "999999999999999999e18ns"] {
        assert_eq!(time(text), Err(format!("{text} is more than 30 days")));
    }
    assert_eq!(time("0.5ns"), Err("0.5ns is finer than a nanosecond".to_owned()));
}
