//! `HdrHistogram`'s interval log: one histogram a second, for the public log analysers.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use super::hist;
use crate::run::Run;

/// Names the columns; readers skip it.
const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// Nanoseconds in the unit of `Interval_Max`, milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Writes the seconds of a run as an interval log: histograms of nanoseconds, moments in seconds
/// since the run began, maxima in milliseconds.
pub(crate) fn write(run: &Run) -> Result<String, String> {
    let mut out = Vec::new();
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(run.began_unix_ms);
    let mut codec = V2DeflateSerializer::new();
    IntervalLogWriterBuilder::new()
        .add_comment(&format!("[Logged with stentor-bench {}]", without_controls(&run.version)))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(began)
        .with_base_time(began)
        .begin_log_with(&mut out, &mut codec)
        .map_err(|error| failed(&error))?;
    // The writer knows no legend; a second one, without a header, goes on behind it.
    out.extend_from_slice(LEGEND.as_bytes());
    let mut log = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut out, &mut codec)
        .map_err(|error| failed(&error))?;
    let ends = run.series.iter().skip(1).map(|second| second.at_s).chain([run.totals.seconds]);
    for (second, end) in run.series.iter().zip(ends) {
        let histogram = hist::decode(&second.histogram)?;
        let (at, length) = (duration(second.at_s), duration(end - second.at_s));
        log.write_histogram(&histogram, at, length, None).map_err(|error| failed(&error))?;
    }
    String::from_utf8(out).map_err(|error| failed(&error))
}

/// A number that is no length of time stands for none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A comment is one line, in which no control character may stand.
fn without_controls(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::output::sample;

    #[test]
    fn the_header_is_what_readers_look_for() {
        let log = write(&sample::run()).unwrap();
        let header: Vec<&str> = log.lines().take(6).collect();
        assert_eq!(
            header,
            [
                "#[Logged with stentor-bench 0.1.0]",
                "#[Histogram log format version 1.3]",
                "#[StartTime: 1700000000.250 (seconds since epoch)]",
                "#[BaseTime: 1700000000.250 (seconds since epoch)]",
                LEGEND.trim_end(),
                "#[MaxValueDivisor: 1000000.000]",
            ]
        );
    }

    #[test]
    fn every_second_is_there_and_whole() {
        let run = sample::run();
        let log = write(&run).unwrap();
        let mut seconds = run.series.iter();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let second = seconds.next().unwrap();
            let histogram = hist::decode(&second.histogram).unwrap();
            assert_eq!(interval.start_timestamp(), Duration::from_secs_f64(second.at_s));
            assert_eq!(interval.duration(), Duration::from_secs(1));
            assert_eq!(hist::decode(interval.encoded_histogram()).unwrap(), histogram);
            let max_ms = crate::meter::real(histogram.max()) / NS_PER_MS;
            assert!((interval.max() - max_ms).abs() < 0.001);
        }
        assert!(seconds.next().is_none());
    }
}
