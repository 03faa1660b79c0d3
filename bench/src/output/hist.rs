//! Histograms as a run keeps them: nanoseconds, three digits, base64 of the compressed V2 form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use hdrhistogram::{Counter, Histogram};

use crate::run::Latency;

/// The longest time that is told apart from longer ones: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An empty histogram for nanoseconds; record with `saturating_record`.
pub(crate) fn empty() -> Histogram<u64> {
    empty_of()
}

fn empty_of<T: Counter>() -> Histogram<T> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are right for three digits")
}

/// Its text; of an empty one, none.
pub(crate) fn encode(histogram: &Histogram<impl Counter>) -> String {
    if histogram.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes what is written to it");
    STANDARD.encode(bytes)
}

/// Reads the output of [`encode`], or of any other writer of the V2 form.
pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, String> {
    decode_of(text)
}

fn decode_of<T: Counter>(text: &str) -> Result<Histogram<T>, String> {
    if text.is_empty() {
        return Ok(empty_of());
    }
    let bytes = STANDARD.decode(text).map_err(|error| format!("not a histogram: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("not a histogram: {error}"))
}

/// A histogram as its text, in what is told as JSON.
pub(crate) mod text {
    use hdrhistogram::{Counter, Histogram};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        histogram: &Histogram<impl Counter>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(histogram))
    }

    pub(crate) fn deserialize<'de, T: Counter, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Histogram<T>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::decode_of(&text).map_err(D::Error::custom)
    }
}

/// One histogram of all.
pub(crate) fn merged<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut whole = empty();
    // A histogram of another writer may reach further than an hour.
    whole.auto(true);
    for part in parts {
        whole.add(part).expect("one that resizes itself has room for every value");
    }
    whole
}

impl Latency {
    /// Returns a run's summary of a histogram of nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p999_ns: histogram.value_at_quantile(0.999),
            p9999_ns: histogram.value_at_quantile(0.9999),
            max_ns: histogram.max(),
            histogram: encode(histogram),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = empty();
        values.into_iter().for_each(|ns| histogram.saturating_record(ns));
        histogram
    }

    #[test]
    fn what_is_written_is_read_back() {
        let histogram = of((1..=1000).map(|us| us * 1000));
        let latency = Latency::of(&histogram);
        assert_eq!(decode(&latency.histogram).unwrap(), histogram);
        assert_eq!(latency.count, 1000);
        for (found, right) in [
            (latency.min_ns, 1000),
            (latency.p50_ns, 500_000),
            (latency.p90_ns, 900_000),
            (latency.p99_ns, 990_000),
            (latency.p999_ns, 999_000),
            (latency.p9999_ns, 1_000_000),
            (latency.max_ns, 1_000_000),
        ] {
            assert!(found.abs_diff(right) * 1000 <= right, "{found} for {right}");
        }
    }

    #[test]
    fn nothing_is_an_empty_text() {
        assert_eq!(Latency::of(&empty()), Latency::default());
        assert!(decode("").unwrap().is_empty());
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let values = (0_u64..5000).map(|number| number * number * 77 + 13);
        let (odd, even): (Vec<u64>, Vec<u64>) = values.clone().partition(|value| value % 2 == 1);
        assert_eq!(merged([&of(odd), &of(even)]), of(values));
        assert!(merged([]).is_empty());
    }

    #[test]
    fn longer_than_an_hour_is_merged_too() {
        let mut long = Histogram::<u64>::new(3).unwrap();
        long.record(LONGEST_NS * 40).unwrap();
        assert_eq!(merged([&long, &of([5])]).len(), 2);
        assert!(merged([&long]).max() > LONGEST_NS * 39);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(decode("???").unwrap_err().starts_with("not a histogram: "));
        assert!(decode("AAAABBBB").unwrap_err().starts_with("not a histogram: "));
    }
}
