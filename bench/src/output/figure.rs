//! The figures of a run by name: what thresholds judge, and what comparisons and reports show.

use super::{hist, units};
use crate::meter::real;
use crate::run::{Latency, Returns, Run, ServerCost};

/// The names under which a run keeps latencies, the main ones first.
pub(crate) const LATENCIES: [&str; 7] =
    ["delivery", "last", "echo", "handshake", "service", "late", "return"];

/// The beginning of the name of a figure that is divided by that of the bare loop.
const RATIO: &str = "ratio.";

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    Count,
    PerSecond,
    Bytes,
    BytesPerSecond,
    /// Of one.
    Share,
    /// So many times another.
    Times,
}

impl Unit {
    /// As people read it.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Time => units::time(value),
            Self::Count => units::count(value),
            Self::PerSecond => format!("{}/s", units::count(value)),
            Self::Bytes => units::bytes(value),
            Self::BytesPerSecond => format!("{}/s", units::bytes(value)),
            Self::Share => units::share(value),
            Self::Times => units::times(value),
        }
    }
}

/// A figure that a run may have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// An entry of [`PLAIN`].
    Plain(usize),
    Latency(&'static str, Statistic),
    /// The figure itself, by that of the run's limit.
    Ratio(Box<Figure>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistic {
    Min,
    Mean,
    Max,
    Percentile(f64),
}

type Of = fn(&Run) -> Option<f64>;

/// All figures but latencies.
const PLAIN: [(&str, Unit, Of); 38] = [
    ("deliveries_per_s", Unit::PerSecond, |run| {
        per_second(run, run.totals.in_time()).filter(|_| !is_echo(run))
    }),
    ("echoes_per_s", Unit::PerSecond, |run| {
        per_second(run, run.totals.in_time()).filter(|_| is_echo(run))
    }),
    ("published_per_s", Unit::PerSecond, |run| per_second(run, run.totals.published)),
    ("bytes_per_s", Unit::BytesPerSecond, |run| per_second(run, run.totals.bytes_in)),
    ("deliveries", Unit::Count, |run| deliveries(run).map(real)),
    ("echoes", Unit::Count, |run| echoes(run).map(real)),
    ("published", Unit::Count, |run| Some(real(run.totals.published))),
    ("connects_per_s", Unit::PerSecond, |run| {
        per_second(run, run.totals.connected).filter(|_| run.command == "connect")
    }),
    ("pings", Unit::Count, |run| Some(real(run.totals.pings))),
    ("connected", Unit::Count, |run| Some(real(run.totals.connected))),
    ("resumed", Unit::Count, |run| Some(real(run.totals.resumed))),
    ("lost", Unit::Count, |run| Some(real(run.totals.lost))),
    ("duplicated", Unit::Count, |run| Some(real(run.totals.duplicated))),
    ("out_of_order", Unit::Count, |run| Some(real(run.totals.out_of_order))),
    ("disordered_clients", Unit::Count, |run| Some(real(run.totals.disordered_clients))),
    ("strays", Unit::Count, |run| Some(real(run.totals.strays))),
    ("disconnects", Unit::Count, |run| Some(real(run.totals.disconnects.values().sum()))),
    ("failures", Unit::Count, |run| Some(real(run.totals.failures.values().sum()))),
    ("refused", Unit::Count, |run| Some(real(run.totals.refused.values().sum()))),
    ("unsaid", Unit::Count, |run| Some(real(run.totals.unsaid))),
    ("returned", Unit::Count, |run| returns(run, |returns| real(returns.returned))),
    ("away", Unit::Count, |run| returns(run, |returns| real(returns.away))),
    ("recovered", Unit::Count, |run| returns(run, |returns| real(returns.recovered))),
    ("unrecovered", Unit::Count, |run| returns(run, |returns| real(returns.unrecovered))),
    ("missed", Unit::Count, |run| returns(run, |returns| real(returns.missed))),
    ("recovery", Unit::Time, |run| {
        run.returns.as_ref().and_then(|returns| returns.recovery_s).map(|seconds| seconds * 1e9)
    }),
    ("server.cpu_share", Unit::Share, |run| server(run, |server| server.cpu_share)),
    ("server.busiest_thread_share", Unit::Share, |run| {
        server(run, |server| server.busiest_thread_share)
    }),
    ("server.cpu_per_delivery", Unit::Time, |run| {
        server(run, |server| server.cpu_ns_per_delivery).filter(|_| run.totals.in_time() > 0)
    }),
    ("server.cpu_per_connect", Unit::Time, |run| {
        let cpu = server(run, |server| server.cpu_share)? * run.totals.seconds * 1e9;
        (run.command == "connect").then(|| cpu / real(run.totals.connected.max(1)))
    }),
    ("server.rss", Unit::Bytes, |run| server(run, |server| real(server.rss_bytes))),
    ("server.memory_per_client", Unit::Bytes, |run| run.server.as_ref()?.private_bytes_per_client),
    ("generator.cpu_share", Unit::Share, |run| Some(run.generator.cpu_share)),
    ("generator.cpu_per_receipt", Unit::Time, |run| Some(run.generator.cpu_ns_per_receipt)),
    ("generator.user_per_receipt", Unit::Time, |run| {
        // Older records do not know it.
        Some(run.generator.user_ns_per_receipt).filter(|ns| *ns > 0.0)
    }),
    ("search.held", Unit::Count, |run| run.search.as_ref().and_then(|search| search.held)),
    ("host.load", Unit::Count, |run| Some(run.host.load)),
    ("host.steal", Unit::Share, |run| Some(run.host.steal)),
];

/// The figures that comparisons and reports show, if the runs have them.
const MAIN: [&str; 30] = [
    "search.held",
    "delivery.p50",
    "delivery.p99",
    "delivery.p99.9",
    "delivery.max",
    "last.p50",
    "last.p99",
    "echo.p50",
    "echo.p99",
    "handshake.p50",
    "handshake.p99",
    "return.p99",
    "recovery",
    "late.p99",
    "deliveries_per_s",
    "echoes_per_s",
    "bytes_per_s",
    "connects_per_s",
    "server.cpu_per_connect",
    "server.cpu_share",
    "server.cpu_per_delivery",
    "server.memory_per_client",
    "generator.cpu_share",
    "generator.cpu_per_receipt",
    "lost",
    "disconnects",
    "failures",
    "ratio.delivery.p50",
    "ratio.delivery.p99",
    "ratio.server.cpu_per_delivery",
];

impl Figure {
    /// The figure that is called `name`, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if let Some(of) = name.strip_prefix(RATIO) {
            let figure = Self::named(of).filter(|figure| figure.unit != Unit::Times)?;
            let source = Source::Ratio(Box::new(figure));
            return Some(Self { name: name.to_owned(), unit: Unit::Times, source });
        }
        if let Some(index) = PLAIN.iter().position(|(plain, ..)| *plain == name) {
            let source = Source::Plain(index);
            return Some(Self { name: name.to_owned(), unit: PLAIN[index].1, source });
        }
        let (latency, statistic) = name.split_once('.')?;
        let latency = LATENCIES.into_iter().find(|known| *known == latency)?;
        let source = Source::Latency(latency, Statistic::named(statistic)?);
        Some(Self { name: name.to_owned(), unit: Unit::Time, source })
    }

    /// Those that comparisons and reports show.
    pub(crate) fn main() -> impl Iterator<Item = Self> {
        MAIN.into_iter().filter_map(Self::named)
    }

    /// Returns the names of all figures, for a message about an unknown one.
    pub(crate) fn names() -> String {
        let plain = PLAIN.map(|(name, ..)| name).join(", ");
        format!("{}.<min|mean|max|p50|p99.9|...>, {plain}, {RATIO}<any>", LATENCIES.join("|"))
    }

    /// Returns `true` for a time from a message's intended moment, or from its sending.
    pub(crate) fn is_of_messages(&self) -> bool {
        matches!(self.source, Source::Latency("delivery" | "last" | "service" | "echo", _))
    }

    /// Returns the figure of a run.
    pub(crate) fn of(&self, run: &Run) -> Option<f64> {
        let value = match &self.source {
            Source::Plain(index) => PLAIN[*index].2(run),
            Source::Latency(name, statistic) => {
                run.latencies.get(*name).and_then(|latency| statistic.of(latency))
            }
            Source::Ratio(figure) => {
                run.limit.as_ref().and_then(|limit| Some(figure.of(run)? / figure.of(limit)?))
            }
        };
        value.filter(|value| value.is_finite())
    }
}

impl Statistic {
    fn named(name: &str) -> Option<Self> {
        match name {
            "min" => Some(Self::Min),
            "mean" => Some(Self::Mean),
            "max" => Some(Self::Max),
            _ => {
                let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
                (percent > 0.0 && percent < 100.0).then_some(Self::Percentile(percent))
            }
        }
    }

    fn of(self, latency: &Latency) -> Option<f64> {
        if latency.count == 0 {
            return None;
        }
        match self {
            Self::Min => Some(real(latency.min_ns)),
            Self::Mean => Some(latency.mean_ns),
            Self::Max => Some(real(latency.max_ns)),
            Self::Percentile(percent) => {
                let stored = [
                    (50.0, latency.p50_ns),
                    (90.0, latency.p90_ns),
                    (99.0, latency.p99_ns),
                    (99.9, latency.p999_ns),
                    (99.99, latency.p9999_ns),
                ];
                let near = |(stored, _): &(f64, u64)| (stored - percent).abs() < 1e-9;
                if let Some((_, ns)) = stored.into_iter().find(near) {
                    return Some(real(ns));
                }
                let histogram = hist::decode(&latency.histogram).ok()?;
                (!histogram.is_empty()).then(|| real(histogram.value_at_quantile(percent / 100.0)))
            }
        }
    }
}

fn per_second(run: &Run, count: u64) -> Option<f64> {
    (run.totals.seconds > 0.0).then(|| real(count) / run.totals.seconds)
}

/// Receipts of messages that were meant for all.
fn deliveries(run: &Run) -> Option<u64> {
    (!is_echo(run)).then_some(run.totals.deliveries)
}

/// Receipts by who had said it.
fn echoes(run: &Run) -> Option<u64> {
    is_echo(run).then_some(run.totals.deliveries)
}

/// Returns `true` if every client heard itself alone.
pub(crate) fn is_echo(run: &Run) -> bool {
    run.command == "echo"
}

fn returns(run: &Run, figure: fn(&Returns) -> f64) -> Option<f64> {
    run.returns.as_ref().map(figure)
}

fn server(run: &Run, figure: fn(&ServerCost) -> f64) -> Option<f64> {
    run.server.as_ref().map(figure)
}

/// Returns the main latency of a run: its name and its distribution.
pub(crate) fn main_latency(run: &Run) -> Option<(&'static str, &Latency)> {
    LATENCIES
        .into_iter()
        .filter_map(|name| Some((name, run.latencies.get(name)?)))
        .find(|(_, latency)| latency.count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn found(name: &str) -> Option<f64> {
        Figure::named(name).unwrap().of(&sample::run())
    }

    fn is(name: &str, right: f64) {
        let value = found(name).unwrap();
        assert!((value - right).abs() <= right * 0.001, "{name}: {value} for {right}");
    }

    #[test]
    fn figures_are_found_by_name() {
        is("delivery.min", 1e6);
        is("delivery.p50", 2.5e6);
        is("delivery.p75", 3.25e6);
        is("delivery.max", 4.01e6);
        is("last.p99.9", 3.0 * 3.99e6);
        is("deliveries_per_s", 499_999.667);
        is("bytes_per_s", 64e6);
        is("lost", 1.0);
        is("disconnects", 12.0);
        is("failures", 3.0);
        is("refused", 4.0);
        is("server.cpu_share", 0.482);
        is("server.cpu_per_delivery", 1000.0);
        is("host.load", 0.42);
        is("ratio.delivery.p50", 2.0);
        is("ratio.server.cpu_per_delivery", 2.0);
    }

    #[test]
    fn what_a_run_lacks_is_none() {
        assert_eq!(found("echo.p50"), None);
        let mut run = sample::bare("", 1000);
        let of = |name: &str, run: &Run| Figure::named(name).unwrap().of(run);
        assert_eq!(of("ratio.delivery.p50", &run), None);
        run.server = None;
        run.totals.seconds = 0.0;
        assert_eq!(of("server.cpu_share", &run), None);
        assert_eq!(of("deliveries_per_s", &run), None);
        run.latencies.insert("echo".to_owned(), Latency::default());
        assert_eq!(of("echo.max", &run), None);
        run.latencies.remove("delivery");
        assert_eq!(main_latency(&run).unwrap().0, "last");
    }

    #[test]
    fn other_names_are_unknown() {
        for name in ["", "p99", "delivery", "delivery.p0", "delivery.p100", "delivery.pNaN"] {
            assert_eq!(Figure::named(name), None, "{name}");
        }
        assert_eq!(Figure::named("ratio.ratio.lost"), None);
        assert_eq!(Figure::named("deliveries.p50"), None);
    }

    #[test]
    fn all_that_is_shown_exists() {
        assert_eq!(Figure::main().count(), MAIN.len());
        let text = include_str!("../../OUTPUTS.md");
        let all = PLAIN.map(|(name, ..)| name).into_iter().chain(LATENCIES);
        for name in all {
            assert!(
                Figure::names().contains(name) && text.contains(&format!("`{name}`")),
                "{name}"
            );
        }
    }
}
