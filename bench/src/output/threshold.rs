//! Thresholds: what a run must meet, as typed, and whether it did.

use std::str::FromStr;

use super::figure::{Figure, Unit};
use crate::run::{Run, Verdict};

/// Operators, the longer of two that begin alike first.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    (">", Operator::More),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

/// One of them: `delivery.p99<20ms`, `deliveries_per_s>100k`, `lost==0`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    operator: Operator,
    /// In its unit.
    bound: f64,
    /// What one of its unit is in the figure's own.
    scale: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, operator, bound) =
            split(text).ok_or("a figure, one of < <= > >= == != and a bound, as in lost==0")?;
        let figure = Figure::named(name)
            .ok_or_else(|| format!("no figure {name:?}; there are {}", Figure::names()))?;
        let unit_at = bound.find(|char: char| !char.is_ascii_digit() && char != '.');
        let (number, unit) = bound.split_at(unit_at.unwrap_or(bound.len()));
        let scale = scale(figure.unit, unit.trim()).ok_or_else(|| {
            format!("{bound:?} is no bound for {name}, which takes {}", takes(figure.unit))
        })?;
        let bound =
            number.parse().map_err(|_| format!("{bound:?} does not begin with a number"))?;
        Ok(Self { text: text.to_owned(), figure, operator, bound, scale })
    }
}

impl Threshold {
    /// As typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The bound in nanoseconds, if it is one of how long messages take.
    pub(crate) fn bound_ns(&self) -> Option<f64> {
        self.figure.is_of_messages().then_some(self.bound * self.scale)
    }

    /// Whether `run` meets it. A figure that the run does not have is not met.
    pub(crate) fn judge(&self, run: &Run) -> Verdict {
        let found = self.figure.of(run).map(|value| value / self.scale);
        let met = found.is_some_and(|found| self.operator.holds(found, self.bound));
        Verdict { threshold: self.text.clone(), found, met }
    }
}

/// The unit of a threshold, as typed: what follows its number.
pub(crate) fn unit_of(threshold: &str) -> &str {
    let at = threshold.rfind(|char: char| char.is_ascii_digit() || char == '.');
    threshold[at.map_or(threshold.len(), |at| at + 1)..].trim()
}

impl Operator {
    #[expect(clippy::float_cmp, reason = "equality is meant for counts, which are whole")]
    fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::Less => found < bound,
            Self::AtMost => found <= bound,
            Self::More => found > bound,
            Self::AtLeast => found >= bound,
            Self::Equal => found == bound,
            Self::Unequal => found != bound,
        }
    }
}

fn split(text: &str) -> Option<(&str, Operator, &str)> {
    let (name, rest) = text.split_at(text.find(['<', '>', '=', '!'])?);
    let (bound, operator) = OPERATORS
        .into_iter()
        .find_map(|(sign, operator)| Some((rest.strip_prefix(sign)?, operator)))?;
    Some((name.trim(), operator, bound.trim()))
}

fn scale(of: Unit, unit: &str) -> Option<f64> {
    let scales: &[(&str, f64)] = match of {
        Unit::Time => &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)],
        Unit::Share | Unit::Schedule => &[("", 1.0), ("%", 0.01)],
        _ => &[("", 1.0), ("k", 1e3), ("M", 1e6)],
    };
    scales.iter().find(|(known, _)| *known == unit).map(|(_, scale)| *scale)
}

fn takes(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "a number and ns, us, ms or s",
        Unit::Share | Unit::Schedule => "a number, or one and %",
        _ => "a number, or one and k or M",
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
        assert_eq!(unit_of("lost == 0"), "");
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
            ("delivery.p99<20", "\"20\" is no bound for delivery.p99, which takes a number and ns"),
            ("lost==0ms", "which takes a number, or one and k or M"),
            ("server.cpu_share<3k", "which takes a number, or one and %"),
            ("lost==", "\"\" does not begin with a number"),
            ("lost==-1", "\"-1\" is no bound"),
            ("lost==1.2.3", "\"1.2.3\" does not begin with a number"),
            ("lost==1<2", "\"1<2\" is no bound"),
        ] {
            let error = error(text);
            assert!(error.contains(told) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
