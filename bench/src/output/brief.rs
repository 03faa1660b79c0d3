//! A run in one line, for those who wait for more of them.

use super::figure::{Figure, main_latency};
use super::units::time;
use crate::meter::real;
use crate::run::Run;

/// The figures behind the latency, if the run has them.
const FIGURES: [(&str, &str); 6] = [
    ("deliveries_per_s", "deliveries"),
    ("connects_per_s", "connects"),
    ("lost", "lost"),
    ("server.cpu_share", "server"),
    ("server.memory_per_client", "memory per client"),
    ("generator.cpu_share", "generator"),
];

/// Writes the line.
pub(crate) fn write(run: &Run) -> String {
    let mut parts = Vec::new();
    if let Some((_, latency)) = main_latency(run) {
        parts.push(format!("p50 {}", time(real(latency.p50_ns))));
        parts.push(format!("p99 {}", time(real(latency.p99_ns))));
    }
    let messages = run.totals.published > 0;
    for (name, label) in FIGURES {
        let shown = match name {
            "deliveries_per_s" | "lost" => messages,
            "server.memory_per_client" => run.command == "idle",
            _ => true,
        };
        let figure = Figure::named(name).expect("the name is in the table");
        if let Some(value) = figure.of(run).filter(|_| shown) {
            parts.push(format!("{label} {}", figure.unit.write(value)));
        }
    }
    if !run.faults.is_empty() {
        parts.push("proves nothing".to_owned());
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_line_says_what_was_measured() {
        assert_eq!(
            write(&sample::run()),
            "p50 2.5 ms  p99 3.97 ms  deliveries 500,000/s  lost 1  server 48.2 %  \
             generator 61.4 %  proves nothing"
        );
        let mut idle = sample::bare("", 1_000_000);
        (idle.command, idle.totals) = ("idle".to_owned(), crate::run::Totals::default());
        idle.latencies.clear();
        assert_eq!(write(&idle), "server 48.2 %  memory per client 3.12 kB  generator 61.4 %");
    }
}
