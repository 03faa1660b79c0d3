//! The figures that moved first: those of the greatest load that held beside those of the least
//! that did not, and which of them stands at a limit.

use std::collections::BTreeMap;

use super::verdict::growth;
use crate::output::figure::{Figure, Unit};
use crate::output::ratio::median;
use crate::output::units::{count, plain, share, time};
use crate::run::{Moved, Run};

/// From here on a thread's core is what it lacks.
const NEAR_FULL: f64 = 0.90;

/// A host from which so much was stolen is part of its figures.
const STOLEN: f64 = 0.05;

/// A latency that is so many times what it was has moved.
const GROWN: f64 = 1.5;

/// How a figure moved, and whether it stood at its limit before.
struct Move {
    moved: Moved,
    before: bool,
}

/// Returns the figures that moved from the runs that held to those that did not: a figure that
/// stood at its limit already comes first, then causes come before effects.
pub(super) fn moved(held: &[&Run], missed: &[&Run]) -> Vec<Moved> {
    let mut moves: Vec<Move> = counts(held, missed);
    moves.extend(shares(held, missed));
    moves.extend(lag(held, missed));
    moves.extend(latency(held, missed));
    moves.sort_by_key(|one| !one.before);
    moves.into_iter().map(|one| one.moved).collect()
}

fn middle(runs: &[&Run], of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    median(&runs.iter().filter_map(|run| of(run)).collect::<Vec<_>>())
}

fn both(name: &str, held: &[&Run], missed: &[&Run]) -> Option<(f64, f64)> {
    let figure = Figure::named(name)?;
    middle(held, |run| figure.of(run)).zip(middle(missed, |run| figure.of(run)))
}

/// Clients that were refused or closed, and messages that were lost: none of them is normal.
fn counts(held: &[&Run], missed: &[&Run]) -> Vec<Move> {
    let rows: [(&str, &str, Reasons); 3] = [
        ("failures", "refused connects", |run| &run.totals.failures),
        ("lost", "lost", |run| &run.totals.disconnects),
        ("disconnects", "clients closed by the server", |run| &run.totals.disconnects),
    ];
    let mut moves = Vec::new();
    for (name, what, reasons) in rows {
        let Some((from, to)) = both(name, held, missed).filter(|(from, to)| to > from) else {
            continue;
        };
        let why = reasons_of(missed, reasons);
        let closed =
            if name == "lost" && !why.is_empty() { "closed clients by code: " } else { "" };
        let why = if why.is_empty() { why } else { format!(" ({closed}{why})") };
        let said = format!("{what}: {} → {}{why}", count(from), count(to));
        moves.push(row(name, from, to, said, from > 0.0));
    }
    moves
}

type Reasons = fn(&Run) -> &BTreeMap<String, u64>;

/// The most frequent three of all runs together.
fn reasons_of(runs: &[&Run], reasons: Reasons) -> String {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, number) in runs.iter().flat_map(|run| reasons(run)) {
        *all.entry(reason).or_default() += number;
    }
    let mut all: Vec<(&str, u64)> = all.into_iter().filter(|(_, number)| *number > 0).collect();
    all.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let said = all.iter().take(3).map(|(reason, number)| format!("{} {number}", plain(reason)));
    said.collect::<Vec<_>>().join(", ")
}

/// Shares of a core, or of the host, that have reached what there is.
fn shares(held: &[&Run], missed: &[&Run]) -> Vec<Move> {
    let rows = [
        ("server.busiest_thread_share", "server CPU, busiest thread", "of a core", NEAR_FULL),
        ("generator.cpu_share", "generator CPU, busiest thread", "of a core", NEAR_FULL),
        ("host.steal", "stolen from this host", "of its cores", STOLEN),
    ];
    let mut moves = Vec::new();
    for (name, what, of, full) in rows {
        if let Some((from, to)) = both(name, held, missed).filter(|(_, to)| *to >= full) {
            let said = format!("{what}: {} → {} {of}", share(from), share(to));
            moves.push(row(name, from, to, said, from >= full));
        }
    }
    moves
}

/// The share of publications that do not get through.
fn lag(held: &[&Run], missed: &[&Run]) -> Option<Move> {
    let (from, to) = middle(held, growth).zip(middle(missed, growth))?;
    let said =
        format!("the queue: of what is published {} → {} stays behind", share(from), share(to));
    (to > 0.05 && to > 2.0 * from).then(|| row("queue_growth", from, to, said, false))
}

/// The whole distribution, or its tail alone.
fn latency(held: &[&Run], missed: &[&Run]) -> Option<Move> {
    let (p50, p50_to) = both("delivery.p50", held, missed)?;
    let (p99, p99_to) = both("delivery.p99", held, missed)?;
    let grown = |from: f64, to: f64| to >= GROWN * from;
    let middle = format!("p50 {} → {}", time(p50), time(p50_to));
    let tail = format!("p99 {} → {}", time(p99), time(p99_to));
    let said = match (grown(p50, p50_to), grown(p99, p99_to)) {
        (true, _) => format!("all of the latency: {middle}, {tail}"),
        (false, true) => format!("the tail alone: {tail}, while {middle}"),
        (false, false) => format!("latency, by little: {tail}, {middle}"),
    };
    let figure = Figure::named("delivery.p99")?;
    debug_assert_eq!(figure.unit, Unit::Time);
    Some(row("delivery.p99", p99, p99_to, said, false))
}

fn row(figure: &str, from: f64, to: f64, said: String, before: bool) -> Move {
    Move { moved: Moved { figure: figure.to_owned(), from, to, said }, before }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn run(floor_ns: u64) -> Run {
        let mut run = sample::bare("", floor_ns);
        run.totals.lost = 0;
        run.totals.disconnects.clear();
        run.totals.failures.clear();
        for second in &mut run.series {
            second.deliveries = second.published * run.totals.connected;
        }
        run
    }

    fn said(held: &Run, missed: &Run) -> Vec<String> {
        moved(&[held], &[missed]).into_iter().map(|one| one.said).collect()
    }

    fn with_cpu(floor_ns: u64, share: f64) -> Run {
        let mut run = run(floor_ns);
        run.server.as_mut().unwrap().busiest_thread_share = share;
        run
    }

    #[test]
    fn a_full_core_comes_before_what_follows_from_it() {
        let told = said(&with_cpu(1_000_000, 0.62), &with_cpu(9_000_000, 0.99));
        assert_eq!(
            told,
            [
                "server CPU, busiest thread: 62 % → 99 % of a core",
                "all of the latency: p50 2.5 ms → 22.5 ms, p99 3.97 ms → 35.7 ms"
            ]
        );
    }

    #[test]
    fn what_stood_at_its_limit_already_moved_first() {
        let held = with_cpu(1_000_000, 0.97);
        let mut missed = with_cpu(1_000_000, 0.99);
        missed.totals.lost = 1200;
        missed.totals.disconnects = [("1008".to_owned(), 3), ("none".to_owned(), 0)].into();
        let told = said(&held, &missed);
        assert_eq!(told[0], "server CPU, busiest thread: 97 % → 99 % of a core");
        assert_eq!(told[1], "lost: 0 → 1,200 (closed clients by code: 1008 3)");
        assert_eq!(told[2], "clients closed by the server: 0 → 3 (1008 3)");
        assert_eq!(told[3], "latency, by little: p99 3.97 ms → 3.97 ms, p50 2.5 ms → 2.5 ms");
    }

    #[test]
    fn a_generator_at_its_limit_is_named() {
        let mut missed = run(1_000_000);
        missed.generator.cpu_share = 0.93;
        missed.host.steal = 0.2;
        let told = said(&run(1_000_000), &missed);
        assert_eq!(told[0], "generator CPU, busiest thread: 61.4 % → 93 % of a core");
        assert_eq!(told[1], "stolen from this host: 0.1 % → 20 % of its cores");
    }

    #[test]
    fn a_queue_and_a_tail_are_told_apart() {
        let mut missed = run(1_000_000);
        missed.latencies.get_mut("delivery").unwrap().p99_ns = 90_000_000;
        for second in &mut missed.series {
            second.deliveries /= 2;
        }
        let told = said(&run(1_000_000), &missed);
        assert_eq!(told[0], "the queue: of what is published 0 % → 50 % stays behind");
        assert_eq!(told[1], "the tail alone: p99 3.97 ms → 90 ms, while p50 2.5 ms → 2.5 ms");
    }

    #[test]
    fn medians_are_compared_and_missing_figures_are_left_out() {
        let (mut odd, full) = (with_cpu(1_000_000, 1.0), with_cpu(1_000_000, 0.5));
        odd.latencies.clear();
        let held = [&full, &full, &odd];
        let found = moved(&held, &[&odd, &odd, &full]);
        assert_eq!((found[0].from, found[0].to), (0.5, 1.0));
        let mut unknown = run(1_000_000);
        unknown.server = None;
        unknown.latencies.clear();
        assert_eq!(moved(&[&unknown], &[&unknown]), []);
    }
}
