//! Pieces of text that all views have in common.

use hdrhistogram::Histogram;

use super::picture::{Phase, Picture};
use crate::meter::real;
use crate::output::units::{count, digits, time};

/// Returns the phase of a run in words.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "connecting",
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Ending => "waiting for the last",
    }
}

/// How far the phase is: seconds, or clients.
pub(super) fn progress(picture: &Picture) -> String {
    match (picture.phase, picture.of_s) {
        (Phase::Connecting, _) | (Phase::Measuring, None) => clients(picture),
        (Phase::WarmUp | Phase::Measuring, Some(of_s)) => {
            format!("{:.0} of {} s", picture.passed_s.min(of_s).floor(), digits(of_s))
        }
        _ => format!("{} under way", count(real(picture.under_way()))),
    }
}

/// How many have come.
pub(super) fn clients(picture: &Picture) -> String {
    let (connected, asked) = (real(picture.connected), real(picture.head.asked));
    format!("{} of {} clients", count(connected), count(asked))
}

/// Returns the rate and latency of the last second that is over.
pub(super) fn last_second(picture: &Picture) -> String {
    let said = what_happened(picture);
    match picture.sums().away {
        0 => said,
        away => format!("{said}  away {}", count(real(away))),
    }
}

fn what_happened(picture: &Picture) -> String {
    if picture.head.unit.is_empty() {
        return format!("{} connected", count(real(picture.connected)));
    }
    let last = picture.last();
    let rate = rate(picture);
    let lost = count(real(picture.sums().missing));
    let lost = if picture.head.hearers > 0 { format!("  lost {lost}") } else { String::new() };
    if last.is_empty() {
        return rate + &lost;
    }
    format!("{rate}  p50 {}  p99 {}{lost}", percentile(last, 0.5), percentile(last, 0.99))
}

/// How much came in the last second that is over.
pub(super) fn rate(picture: &Picture) -> String {
    format!("{} {}/s", count(real(picture.rate())), picture.head.unit)
}

/// A percentile, or a dash where nothing was measured.
pub(super) fn percentile(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() {
        return "–".to_owned();
    }
    time(real(histogram.value_at_quantile(quantile)))
}
