//! A search as people read it: its steps, its answer, and what moved first.

use std::fmt::Write as _;

use super::figure::Figure;
use super::html::escaped;
use super::ratio::median;
use super::units::{count, digits, plain, share};
use crate::run::{By, Ended, Run, Search, Step};

/// The figures that the table shows of a step: the median of its repeats.
const FIGURES: [(&str, &str); 6] = [
    ("delivery.p50", "p50"),
    ("delivery.p99", "p99"),
    ("deliveries_per_s", "deliveries"),
    ("lost", "lost"),
    ("server.cpu_share", "server"),
    ("generator.cpu_share", "generator"),
];

/// Returns the name of a load.
pub(crate) fn load(by: By, load: f64) -> String {
    match by {
        By::Rate if load < 1000.0 => format!("{}/s", digits(load)),
        By::Rate => format!("{}/s", count(load)),
        By::Clients => format!("{} clients", count(load)),
    }
}

/// Returns the purpose of the search in one line.
pub(crate) fn headline(search: &Search) -> String {
    let what = match search.by {
        By::Rate => "greatest rate",
        By::Clients => "most clients",
    };
    let Search { repeats, precision, .. } = search;
    let runs = if *repeats == 1 { "1 run".to_owned() } else { format!("{repeats} runs") };
    format!("{what} with {}  within {}  {runs} a load", slos(search), share(*precision))
}

/// The steps by load, the answer, and what moved first.
pub(crate) fn write(search: &Search) -> String {
    let mut out = String::new();
    let rows = rows(search);
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            // Words to the left, figures to the right.
            if column == 1 || column + 1 == row.len() {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let _ = writeln!(out, "    {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    let _ = writeln!(out, "\n    {}", answer(search));
    for (place, moved) in search.moved.iter().enumerate() {
        let word = if place == 0 { "moved first" } else { "also" };
        let _ = writeln!(out, "    {word}: {}", plain(&moved.said));
    }
    out
}

/// The answer in one line.
pub(crate) fn answer(search: &Search) -> String {
    let said = |value: f64| load(search.by, value);
    let slos = slos(search);
    let up_to = search.held.map_or_else(
        || "nothing is known to hold".to_owned(),
        |held| format!("{} are known to hold {slos}", said(held)),
    );
    let beyond = search.missed.map_or_else(String::new, |missed| {
        let why = step_of(search, missed).map(|step| plain(&step.why.join("; ")));
        format!("; {} miss it: {}", said(missed), why.unwrap_or_default())
    });
    match search.ended {
        Ended::Found => {
            let held = search.held.map(said).unwrap_or_default();
            format!("{held} hold {slos}{beyond}")
        }
        Ended::Max => {
            let held = search.held.map(said).unwrap_or_default();
            format!("{held} hold {slos}, and more was not to be tried: a greater --max tells more")
        }
        Ended::None => {
            let first = beyond.trim_start_matches("; ");
            format!("not even the first load holds {slos}: {first}; a lower --start tells more")
        }
        Ended::Unproven | Ended::Unreachable | Ended::Interrupted => {
            let fault = search.fault.clone().unwrap_or_default();
            format!("{up_to}{beyond}; {} → {}", plain(&fault.what), plain(&fault.remedy))
        }
    }
}

/// The same table for a page.
pub(crate) fn html(label: &str, search: &Search) -> String {
    let mut out = format!(
        "<section><h2>Search: {}</h2>\n<p>{}</p>\n<p>{}</p>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"Steps\"><table class=\"figures\">\n",
        escaped(label),
        escaped(&headline(search).replace("  ", " · ")),
        escaped(&answer(search)),
    );
    for (place, row) in rows(search).iter().enumerate() {
        let (scope, tag) = if place == 0 { ("col", "th") } else { ("row", "td") };
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("<th scope=\"{scope}\">{}</th>", escaped(cell)),
            _ => format!("<{tag}>{}</{tag}>", escaped(cell)),
        });
        let line = format!("<tr>{}</tr>", cells.collect::<String>());
        let line = if place == 0 { format!("<thead>{line}</thead><tbody>") } else { line };
        let _ = writeln!(out, "{line}");
    }
    out.push_str("</tbody></table></div>\n");
    if !search.moved.is_empty() {
        let moved = search.moved.iter().map(|moved| format!("<li>{}</li>", escaped(&moved.said)));
        let _ = writeln!(out, "<p>What moved first:</p><ol>{}</ol>", moved.collect::<String>());
    }
    out + "</section>\n"
}

/// A head, and a row for each step.
fn rows(search: &Search) -> Vec<Vec<String>> {
    let mut head = vec!["load".to_owned(), "verdict".to_owned(), "runs".to_owned()];
    head.extend(FIGURES.map(|(_, label)| label.to_owned()));
    head.push("why".to_owned());
    let mut steps: Vec<&Step> = search.steps.iter().collect();
    steps.sort_by(|a, b| a.load.total_cmp(&b.load));
    let rows = steps.into_iter().map(|step| {
        let runs = count(crate::meter::real(step.runs.len() as u64));
        let mut row = vec![load(search.by, step.load), plain(&step.verdict), runs];
        row.extend(FIGURES.map(|(name, _)| figure(name, &step.runs)));
        row.push(plain(&step.why.join("; ")));
        row
    });
    std::iter::once(head).chain(rows).collect()
}

fn figure(name: &str, runs: &[Run]) -> String {
    let figure = Figure::named(name).expect("the name is in the table");
    let found: Vec<f64> = runs.iter().filter_map(|run| figure.of(run)).collect();
    median(&found).map_or("-".to_owned(), |value| figure.unit.write(value))
}

fn step_of(search: &Search, value: f64) -> Option<&Step> {
    #[expect(clippy::float_cmp, reason = "the very load that was tried")]
    search.steps.iter().find(|step| step.load == value)
}

fn slos(search: &Search) -> String {
    plain(&search.slos.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn steps_are_in_the_order_of_their_loads() {
        let text = write(&sample::search());
        let loads: Vec<&str> = text
            .lines()
            .take(4)
            .map(|line| line.split_whitespace().next().unwrap_or_default())
            .collect();
        assert_eq!(loads, ["load", "50/s", "75/s", "100/s"], "{text}");
        assert!(text.contains("moved first: server CPU, busiest thread: 62 % → 99 %"), "{text}");
    }

    #[test]
    fn the_answer_is_one_line_for_every_end() {
        let mut search = sample::search();
        let known = "50/s are known to hold delivery.p99<20ms, lost==0; 100/s miss it: \
                     delivery.p99<20ms: 35.2 ms; the generator was late: p99 9 ms → give it a \
                     core of its own";
        assert_eq!(answer(&search), known);
        let mut of = |ended, held, missed| {
            (search.ended, search.held, search.missed) = (ended, held, missed);
            answer(&search)
        };
        assert_eq!(
            of(Ended::Found, Some(50.0), Some(100.0)),
            "50/s hold delivery.p99<20ms, lost==0; 100/s miss it: delivery.p99<20ms: 35.2 ms"
        );
        let max = of(Ended::Max, Some(1e6), None);
        assert!(max.starts_with("1,000,000/s hold") && max.contains("--max"), "{max}");
        let none = of(Ended::None, None, Some(100.0));
        assert!(none.starts_with("not even the first load holds"), "{none}");
        assert!(none.contains("100/s miss it") && none.contains("--start"), "{none}");
        let nothing = of(Ended::Interrupted, None, None);
        assert!(nothing.starts_with("nothing is known to hold; the generator"), "{nothing}");
        assert_eq!(load(By::Clients, 12_000.0), "12,000 clients");
        assert_eq!(load(By::Rate, 0.5), "0.5/s");
    }

    #[test]
    fn text_from_elsewhere_is_only_text() {
        let mut search = sample::search();
        search.steps[1].why = vec!["<img src=x>\x1b[2J".to_owned()];
        search.moved[0].said = "<img>".to_owned();
        let page = html("<img>", &search);
        assert!(!page.contains("<img"), "{page}");
        assert!(!write(&search).contains('\x1b'));
    }
}
