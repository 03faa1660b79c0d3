//! Runs side by side: medians over the runs of a label, their spread, and ratios to the first.

use std::fmt::Write as _;

use super::figure::Figure;
use super::ratio::{RUNS_MIN, median, ratio_interval};
use super::summary::headline;
use super::units::plain;
use crate::run::{Fault, Load, Run};

/// The same runs give the same intervals.
const SEED: u64 = 1;

/// The figure that some servers do not have, for a reason that is told.
const MEMORY: &str = "server.memory_per_client";

/// The heads of the columns; the first two are to the left.
const HEADS: [&str; 6] = ["figure", "run", "median", "spread", "ratio", "95 % interval"];

/// The runs of one label.
struct Side<'a> {
    label: String,
    runs: Vec<&'a Run>,
}

/// Writes a table of the main figures that any of the runs have: a row for each label.
pub(crate) fn write(runs: &[Run]) -> String {
    write_figures(runs, Figure::main())
}

/// The same of some figures.
pub(crate) fn write_figures(runs: &[Run], figures: impl Iterator<Item = Figure>) -> String {
    let sides = sides(runs);
    let mut out = String::new();
    for side in &sides {
        let load = side.runs.first().map(|run| headline(run)).unwrap_or_default();
        let _ = writeln!(out, "{}: {}  {load}", side.label, several(side.runs.len()));
    }
    out.push('\n');
    let mut rows = vec![HEADS.map(str::to_owned)];
    let mut asks_memory = false;
    for figure in figures {
        let of_figure = figure_rows(&figure, &sides);
        let idle = runs.iter().any(|run| run.command == "idle");
        asks_memory |= figure.name == MEMORY && (idle || !of_figure.is_empty());
        rows.extend(of_figure);
    }
    table(&mut out, &rows);
    notes(&mut out, &sides, asks_memory);
    out
}

/// Returns `true` if the median of a side proves nothing: half or more of its runs prove nothing.
pub(crate) fn proves_nothing(runs: &[Run]) -> bool {
    let faulty = |side: &Side<'_>| side.runs.iter().filter(|run| !run.faults.is_empty()).count();
    sides(runs).iter().any(|side| 2 * faulty(side) >= side.runs.len())
}

fn sides(runs: &[Run]) -> Vec<Side<'_>> {
    let mut sides: Vec<Side<'_>> = Vec::new();
    for run in runs {
        let label = plain(&run.label);
        match sides.iter_mut().find(|side| side.label == label) {
            Some(side) => side.runs.push(run),
            None => sides.push(Side { label, runs: vec![run] }),
        }
    }
    sides
}

fn figure_rows(figure: &Figure, sides: &[Side<'_>]) -> Vec<[String; 6]> {
    let found: Vec<Vec<f64>> = sides
        .iter()
        .map(|side| side.runs.iter().filter_map(|run| figure.of(run)).collect())
        .collect();
    if found.iter().all(Vec::is_empty) {
        return Vec::new();
    }
    let rows = sides.iter().zip(&found).enumerate().map(|(index, (side, values))| {
        let name = if index == 0 { figure.name.clone() } else { String::new() };
        let Some(middle) = median(values) else {
            let none = String::new;
            return [name, side.label.clone(), "-".to_owned(), none(), none(), none()];
        };
        let (ratio, interval) =
            if index == 0 { (String::new(), String::new()) } else { ratio(&found[0], values) };
        let spread = spread(figure, values);
        [name, side.label.clone(), figure.unit.write(middle), spread, ratio, interval]
    });
    rows.collect()
}

/// The least and the most.
fn spread(figure: &Figure, values: &[f64]) -> String {
    if values.len() < 2 {
        return String::new();
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", figure.unit.write(least), figure.unit.write(most))
}

fn ratio(first: &[f64], values: &[f64]) -> (String, String) {
    let ratio = median(values).zip(median(first)).map(|(this, first)| this / first);
    let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) else {
        return (String::new(), String::new());
    };
    let interval = if first.len() < RUNS_MIN || values.len() < RUNS_MIN {
        "too few runs".to_owned()
    } else {
        ratio_interval(first, values, SEED)
            .map(|(low, _, high)| format!("{low:.3} to {high:.3}"))
            .unwrap_or_default()
    };
    (format!("{ratio:.3}×"), interval)
}

/// Adds the notes that a reader must know before believing the figures.
fn notes(out: &mut String, sides: &[Side<'_>], asks_memory: bool) {
    let mut notes = Vec::new();
    for side in sides {
        let (label, of) = (&side.label, several(side.runs.len()));
        for fault in counted(side.runs.iter().filter_map(|run| run.faults.first())) {
            let (Fault { what, remedy }, faulty) = fault;
            let (what, remedy) = (plain(what), plain(remedy));
            notes.push(format!("{label}: {faulty} of {of} proved nothing: {what} → {remedy}"));
        }
        let asked = side.runs.iter().filter(|run| asks_memory && run.command != "connect");
        let untold = asked.filter_map(|run| run.server.as_ref()?.memory_untold.as_deref());
        for (why, untold) in counted(untold) {
            let why = plain(why);
            notes.push(format!("{label}: {untold} of {of} without memory for each client: {why}"));
        }
    }
    let mut runs = sides.iter().flat_map(|side| &side.runs);
    if let Some(first) = runs.next() {
        let runs: Vec<_> = runs.collect();
        if runs.iter().any(|run| run.command != first.command || asked(run) != asked(first)) {
            notes.push("the loads differ".to_owned());
        }
        if runs.iter().any(|run| run.host.name != first.host.name || run.host.cpu != first.host.cpu)
        {
            notes.push("the hosts differ".to_owned());
        }
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "! {note}");
    }
}

/// How often each is there, in the order of their first.
fn counted<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for one in all {
        match counts.iter_mut().find(|(known, _)| *known == one) {
            Some((_, count)) => *count += 1,
            None => counts.push((one, 1)),
        }
    }
    counts
}

/// Returns the load that a server was given. A storm lasts as long as it takes.
fn asked(run: &Run) -> Load {
    let measured = run.command == "connect";
    let seconds = if measured { 0.0 } else { run.load.seconds };
    Load { seconds, ..run.load.clone() }
}

fn several(runs: usize) -> String {
    format!("{runs} run{}", if runs == 1 { "" } else { "s" })
}

fn table(out: &mut String, rows: &[[String; 6]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4, 5].map(|column| width(column).unwrap_or_default());
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 | 1 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{brief, sample};

    /// Runs of `label` with a median latency of about 2.5 times the floors.
    fn runs(label: &str, floors_us: &[u64]) -> Vec<Run> {
        floors_us.iter().map(|us| sample::bare(label, us * 1000)).collect()
    }

    #[test]
    fn three_runs_a_side_have_an_interval() {
        let mut all = runs("stentor", &[1000, 1020, 980]);
        all.extend(runs("raw", &[500, 510, 490]));
        all[1].faults = sample::run().faults;
        all[4].load.bytes = 64;
        all[5].host.name = "bench-2".to_owned();
        assert_eq!(write(&all), include_str!("golden/compare.txt"));
    }

    #[test]
    fn two_runs_a_side_are_too_few() {
        let mut all = runs("a", &[1000, 1020, 990]);
        all.extend(runs("b", &[2000, 2040]));
        let text = write(&all);
        assert!(text.contains("too few runs"));
        let rows: Vec<&str> = text.lines().filter(|line| line.contains('×')).skip(2).collect();
        assert!(rows.iter().all(|row| row.ends_with("too few runs")), "{text}");
    }

    #[test]
    fn each_label_is_a_side_of_its_own() {
        let all = [runs("x", &[1000]), runs("y", &[4000]), runs("z\x1b", &[500])].concat();
        let text = write(&all);
        let ratios: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("delivery.p50"))
            .take(3)
            .map(|line| line.split_whitespace().find(|word| word.ends_with('×')).unwrap_or("-"))
            .collect();
        assert_eq!(ratios, ["-", "4.000×", "0.500×"]);
        assert!(text.contains("z\u{fffd}: 1 run "));
    }

    #[test]
    fn memory_that_is_not_told_has_no_ratio() {
        let mut all = [runs("x", &[1000; 3]), runs("y", &[1000; 3])].concat();
        for run in &mut all[3..] {
            let server = run.server.as_mut().unwrap();
            server.private_bytes_per_client = None;
            server.memory_untold = Some("it had\x1b clients before".to_owned());
        }
        let text = write(&all);
        let mut lines = text.lines().skip_while(|line| !line.starts_with("server.memory_per"));
        assert!(lines.next().unwrap().contains("3.12 kB"), "{text}");
        assert!(lines.next().unwrap().ends_with("  -"), "{text}");
        let why = "! y: 3 of 3 runs without memory for each client: it had\u{fffd} clients before";
        assert!(text.lines().any(|line| line == why), "{text}");
        let fanouts = write_figures(&all, Figure::named("delivery.p50").into_iter());
        assert!(!fanouts.contains("without memory"), "{fanouts}");
        let mut run = all.pop().unwrap();
        run.server.as_mut().unwrap().memory_untold.take();
        assert_eq!(brief::write(&Run { command: "idle".to_owned(), ..run }).find("memory"), None);
    }

    #[test]
    fn a_figure_of_one_side_only_has_no_ratio() {
        let mut all = [runs("x", &[1000]), runs("y", &[3000])].concat();
        all[0].server = None;
        let text = write(&all);
        let mut lines = text.lines().skip_while(|line| !line.starts_with("server.cpu_share"));
        assert!(lines.next().unwrap().ends_with('-'));
        assert!(lines.next().unwrap().ends_with("48.2 %"));
        assert!(!text.contains("echo.p50"));
    }
}
