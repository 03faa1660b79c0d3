//! Thresholds: what a run must meet, as typed, and whether it did.

use std::str::FromStr;

use stentor_units::threshold::{Bound, Kind, Operator, bound, split};

use super::figure::{Figure, Unit};
use crate::run::{Run, Verdict};

/// One of them: `delivery.p99<20ms`, `deliveries_per_s>100k`, `lost==0`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    operator: Operator,
    bound: Bound,
}

impl FromStr for Threshold {
    type Err = String;

    /// Reads a threshold. A figure that is only a statistic is the delivery's: `p99<20ms` stands
    /// for `delivery.p99<20ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, operator, bound_text) = split(text)?;
        let of_delivery = || Figure::named(&format!("delivery.{name}"));
        let figure = Figure::named(name)
            .or_else(of_delivery)
            .ok_or_else(|| format!("no figure {name:?}; there are {}", Figure::names()))?;
        let short = if figure.name == name { "" } else { "delivery." };
        let text = format!("{short}{}", text.trim());
        let bound = bound(name, kind(figure.unit), bound_text)?;
        Ok(Self { text, figure, operator, bound })
    }
}

impl Threshold {
    /// As typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The bound in nanoseconds, if it is one of how long messages take.
    pub(crate) fn bound_ns(&self) -> Option<f64> {
        self.figure.is_of_messages().then_some(self.bound.value)
    }

    /// Judges `run`. A figure that the run does not have is not met.
    pub(crate) fn judge(&self, run: &Run) -> Verdict {
        let found = self.figure.of(run);
        let met = found.is_some_and(|found| self.operator.holds(found, self.bound.value));
        let found = found.map(|found| found / self.bound.scale);
        Verdict { threshold: self.text.clone(), found, met }
    }
}

/// The unit of a threshold as typed: what follows its last number. A bare time is in seconds.
pub(crate) fn unit_of(threshold: &str) -> &str {
    let at = threshold.rfind(|char: char| char.is_ascii_digit() || char == '.');
    let unit = threshold[at.map_or(threshold.len(), |at| at + 1)..].trim();
    let is_time = |read: Threshold| read.figure.unit == Unit::Time;
    if unit.is_empty() && threshold.parse().is_ok_and(is_time) { "s" } else { unit }
}

fn kind(unit: Unit) -> Kind {
    match unit {
        Unit::Time => Kind::Time,
        Unit::Count => Kind::Count,
        Unit::PerSecond => Kind::PerSecond,
        Unit::Bytes => Kind::Bytes,
        Unit::BytesPerSecond => Kind::BytesPerSecond,
        Unit::Share | Unit::Times => Kind::Share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn judged(text: &str) -> Verdict {
        text.parse::<Threshold>().unwrap().judge(&sample::run())
    }

    #[test]
    fn verdicts_by_operator_and_unit() {
        // p99 of delivery is 3.96 ms, 1 of 1,500,000 is lost, in 3 s; 12 disconnects, CPU 48.2 %.
        for (text, met) in [
            ("delivery.p99<20ms", true),
            ("delivery.p99 < 3.9ms", false),
            ("delivery.p99>3.9ms", true),
            ("p99<20ms", true),
            ("p99.9<1us", false),
            ("delivery.p99<20", true),
            ("delivery.p99<0.001", false),
            ("delivery.p99<1m30s", true),
            ("deliveries_per_s>100k/s", true),
            ("deliveries_per_s>6M/m", true),
            ("delivery.p99<4000us", true),
            ("delivery.p99<4000µs", true),
            ("delivery.p99<3900000ns", false),
            ("last.max<=1s", true),
            ("lost==0", false),
            ("lost==1", true),
            ("lost!=1", false),
            ("lost!=0", true),
            ("lost<1", false),
            ("lost<=1", true),
            ("lost>=1", true),
            ("lost>1", false),
            ("deliveries_per_s>100k", true),
            ("deliveries_per_s>0.4M", true),
            ("deliveries_per_s>1M", false),
            ("server.cpu_share<0.5", true),
            ("server.cpu_share<48%", false),
            ("server.cpu_per_delivery<=1us", true),
            ("disconnects==0", false),
            ("ratio.delivery.p50<250%", true),
            ("ratio.delivery.p50<1.5", false),
        ] {
            assert_eq!(judged(text).met, met, "{text}");
        }
    }

    #[test]
    fn what_is_found_is_in_the_unit_of_the_threshold() {
        let verdict = judged(" deliveries_per_s > 100k ");
        assert_eq!(verdict.threshold, "deliveries_per_s > 100k");
        assert!((verdict.found.unwrap() - 499.999_667).abs() < 1e-5, "{verdict:?}");
        assert!((judged("server.cpu_share<50%").found.unwrap() - 48.2).abs() < 1e-9);
        assert_eq!("last.p50<2ms".parse::<Threshold>().unwrap().bound_ns(), Some(2e6));
        assert_eq!("handshake.p50<2ms".parse::<Threshold>().unwrap().bound_ns(), None);
        assert_eq!(unit_of("delivery.p99<20ms"), "ms");
        assert_eq!((unit_of("lost == 0"), unit_of("p99<2"), unit_of("p99<1m2s")), ("", "s", "s"));
        assert_eq!("p99 < 2ms".parse::<Threshold>().unwrap().text(), "delivery.p99 < 2ms");
        assert_eq!(unit_of("server.cpu_share<50 %"), "%");
    }

    #[test]
    fn a_figure_that_is_not_there_is_not_met() {
        let missing = Verdict { threshold: "echo.p50>0ms".to_owned(), found: None, met: false };
        assert_eq!(judged("echo.p50>0ms"), missing);
        assert!(!judged("echo.p50!=1ms").met);
    }

    #[test]
    fn nonsense_is_answered_with_what_there_is() {
        let error = |text: &str| text.parse::<Threshold>().unwrap_err();
        for (text, told) in [
            ("", "a figure, one of < <= > >= == != and a bound"),
            ("delivery.p99", "a figure, one of"),
            ("lost=0", "a figure, one of"),
            ("lost=<0", "a figure, one of"),
            ("lots==0", "no figure \"lots\"; there are delivery|last|"),
            ("delivery.p999<1ms", "no figure \"delivery.p999\""),
            ("delivery.p99<20kB", "\"20kB\" is no bound for delivery.p99, which takes a time such"),
            ("p101<1ms", "no figure \"p101\""),
            ("lost==0ms", "which takes a number, or one and k or M"),
            ("server.cpu_share<3k", "which takes a number, or one and %"),
            ("lost==", "\"\" is no bound for lost"),
            ("lost==-1", "\"-1\" is no bound"),
            ("lost==1.2.3", "\"1.2.3\" is no bound"),
            ("lost==1<2", "\"1<2\" is no bound"),
        ] {
            let error = error(text);
            assert!(error.contains(told) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
