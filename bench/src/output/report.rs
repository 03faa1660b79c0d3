//! One HTML file of some runs, with nothing outside it: tables from here, charts by its script.

use std::fmt::Write as _;

use super::chart::Chart;
use super::figure::Figure;
use super::html::{escaped, fill, quoted, script_data, utc};
use super::summary::headline;
use super::threshold::unit_of;
use super::units::{bytes, count, digits, plain, share, times};
use crate::meter::real;
use crate::run::Run;

type Told = fn(&Run) -> String;

/// The facts that are shown about the origin of a run.
const FACTS: [(&str, Told); 12] = [
    ("Load", load),
    ("Server", |run| run.target.url.clone()),
    ("Transport", |run| run.target.transport.clone()),
    ("Dialect", |run| run.target.dialect.clone()),
    ("Began", |run| utc(run.began_unix_ms)),
    ("Host", |run| run.host.name.clone()),
    ("Kernel", |run| run.host.kernel.clone()),
    ("Processor", |run| format!("{}, {} cores", run.host.cpu, count(run.host.cores.into()))),
    ("Memory", |run| bytes(real(run.host.memory_bytes))),
    ("Load average", |run| digits(run.host.load)),
    ("Stolen time", |run| share(run.host.steal)),
    ("Tool", |run| format!("stentor-bench {}, seed {}", run.version, run.seed)),
];

/// A run and what it is called here; the limit that came with a run is one of its own.
struct Named<'a> {
    label: String,
    run: &'a Run,
}

/// Writes the page.
pub(crate) fn write(runs: &[Run]) -> Result<String, String> {
    let mut all = Vec::new();
    for run in runs {
        all.push(Named { label: plain(&run.label), run });
        if let Some(limit) = &run.limit {
            let label = format!("{}, bare loop", plain(&run.label));
            all.push(Named { label, run: limit });
        }
    }
    let charts: Vec<Chart> = all
        .iter()
        .map(|named| Chart::of(named.run, named.label.clone()))
        .collect::<Result<_, _>>()?;
    let commands = distinct(runs.iter().map(|run| plain(&run.command))).join(", ");
    let labels = distinct(runs.iter().map(|run| plain(&run.label))).join(", ");
    let loads = distinct(runs.iter().map(load)).join("; ");
    let values = [
        ("title", escaped(&format!("{commands}: {labels}"))),
        ("load", escaped(&loads)),
        ("rates", rates(runs).to_owned()),
        ("css", include_str!("report.css").to_owned()),
        ("js", include_str!("report.js").to_owned()),
        ("data", script_data(&charts)),
        ("faults", faults(&all)),
        ("figures", figures(&all)),
        ("thresholds", searches(&all) + &thresholds(&all)),
        ("facts", facts(&all)),
        ("commands", repeats(runs)),
    ];
    Ok(fill(include_str!("report.html"), &values))
}

/// Returns the name of the rate that all runs have.
fn rates(runs: &[Run]) -> &'static str {
    let all = |command| runs.iter().all(|run| run.command == command);
    if all("connect") {
        "Connects a second"
    } else if all("echo") {
        "Echoes a second"
    } else {
        "Deliveries a second"
    }
}

fn load(run: &Run) -> String {
    headline(run).replace("  ", " · ")
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut out = Vec::new();
    for text in texts {
        if !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

fn faults(all: &[Named<'_>]) -> String {
    let mut out = String::new();
    for Named { label, run } in all.iter().filter(|named| !named.run.faults.is_empty()) {
        let label = escaped(label);
        let _ = write!(out, "<div class=\"notice\"><strong>{label} proves nothing</strong><ul>");
        for fault in &run.faults {
            let (what, remedy) = (escaped(&fault.what), escaped(&fault.remedy));
            let _ = write!(out, "<li>{what} → {remedy}</li>");
        }
        out.push_str("</ul></div>\n");
    }
    out
}

/// A table with a column a run; `rows` are a head and what is in the cells, as HTML.
fn table(class: &str, name: &str, all: &[Named<'_>], rows: Vec<(String, Vec<String>)>) -> String {
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\">\
         <table class=\"{class}\"><thead><tr><th scope=\"col\">{name}</th>"
    );
    for Named { label, .. } in all {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(label));
    }
    out.push_str("</tr></thead><tbody>\n");
    for (head, cells) in rows {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(&head));
        for cell in cells {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody></table></div>"
}

fn figures(all: &[Named<'_>]) -> String {
    let rows = Figure::main().filter_map(|figure| {
        let found: Vec<Option<f64>> = all.iter().map(|named| figure.of(named.run)).collect();
        if found.iter().all(Option::is_none) {
            return None;
        }
        let cells = found.iter().enumerate().map(|(index, value)| {
            let Some(value) = value else { return "–".to_owned() };
            let text = escaped(&figure.unit.write(*value));
            let ratio = found[0].map(|first| value / first).filter(|ratio| ratio.is_finite());
            match ratio.filter(|_| index > 0) {
                Some(ratio) => format!("{text} <small>{}</small>", times(ratio)),
                None if index > 0 => format!("{text} <small></small>"),
                None => text,
            }
        });
        Some((figure.name.clone(), cells.collect()))
    });
    table("figures", "Figure", all, rows.collect())
}

fn searches(all: &[Named<'_>]) -> String {
    let searched = all.iter().filter_map(|named| Some((named, named.run.search.as_deref()?)));
    searched.map(|(named, search)| super::search::html(&named.label, search)).collect()
}

fn thresholds(all: &[Named<'_>]) -> String {
    let texts = distinct(
        all.iter().flat_map(|named| &named.run.thresholds).map(|verdict| verdict.threshold.clone()),
    );
    if texts.is_empty() {
        return String::new();
    }
    let cell = |named: &Named<'_>, text: &str| {
        let verdict = named.run.thresholds.iter().find(|verdict| verdict.threshold == text);
        let Some(verdict) = verdict else { return "–".to_owned() };
        let found = verdict.found.map_or("not in this run".to_owned(), |found| {
            format!("{} {}", digits(found), escaped(unit_of(text)))
        });
        let (class, word) = if verdict.met { ("met", "✓ met") } else { ("missed", "✗ missed") };
        format!("<span class=\"{class}\">{word}</span>, {}", found.trim_end())
    };
    let rows = texts
        .iter()
        .map(|text| (text.clone(), all.iter().map(|named| cell(named, text)).collect()));
    let table = table("facts", "Threshold", all, rows.collect());
    format!(
        "<section aria-labelledby=\"thresholds-title\">\n\
         <h2 id=\"thresholds-title\">Thresholds</h2>\n{table}\n</section>\n"
    )
}

fn facts(all: &[Named<'_>]) -> String {
    let rows = FACTS.map(|(name, of)| {
        (name.to_owned(), all.iter().map(|named| escaped(&of(named.run))).collect())
    });
    table("facts", "Fact", all, rows.into())
}

fn repeats(runs: &[Run]) -> String {
    let lines = runs.iter().map(|run| {
        run.command_line.iter().map(|word| quoted(&plain(word))).collect::<Vec<_>>().join(" ")
    });
    let mut out = String::new();
    for line in distinct(lines) {
        let _ = writeln!(out, "<pre><code>{}</code></pre>", escaped(&line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use crate::run::{Fault, Verdict};

    #[test]
    fn a_page_holds_all_there_is_and_nothing_from_elsewhere() {
        let page = write(&[sample::run(), sample::bare("other", 2_000_000)]).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(!page.contains("{{"), "a blank is not filled");
        for text in [
            "<title>fanout: stentor, other</title>",
            "<h2 id=\"deliveries-title\">Deliveries a second</h2>",
            "<th scope=\"col\">stentor</th><th scope=\"col\">stentor, bare loop</th>",
            "<tr><th scope=\"row\">delivery.p50</th><td>2.5 ms</td>\
             <td>1.25 ms <small>0.5×</small></td><td>5 ms <small>2×</small></td></tr>",
            "stentor proves nothing</strong><ul><li>the generator was busy: 97 % of a core → give",
            "<span class=\"met\">✓ met</span>, 3.96 ms",
            "<span class=\"missed\">✗ missed</span>, not in this run",
            "<td>2023-11-14 22:13:20 UTC</td>",
            "stentor-bench fanout -c 10000 --label &#39;it&#39;\\&#39;&#39;s&#39;</code>",
        ] {
            assert!(page.contains(text), "{text}");
        }
        // The namespace of SVG is a name; nothing else begins as an address, but the server's.
        let addresses = page.matches("://").count();
        let allowed = page.matches("http://www.w3.org/2000/svg").count()
            + page.matches("ws://127.0.0.1:9001/ws").count();
        assert_eq!(addresses, allowed);
        for tag in ["<link", "<img", "<script src", "@import", "url("] {
            assert!(!page.contains(tag), "{tag}");
        }
    }

    #[test]
    fn rates_are_of_what_was_measured() {
        let mut run = sample::run();
        for (command, text) in [("connect", "Connects a second<"), ("echo", "Echoes a second<")] {
            command.clone_into(&mut run.command);
            assert!(write(&[run.clone()]).unwrap().contains(text), "{command}");
        }
        let both = [run, sample::run()];
        assert!(write(&both).unwrap().contains("Deliveries a second<"));
    }

    #[test]
    fn hostile_text_is_only_text() {
        let evil = "</script><img src=x onerror=alert(1)>\"'{{js}}";
        let mut run = sample::bare(evil, 1_000_000);
        for text in [
            &mut run.command,
            &mut run.version,
            &mut run.target.url,
            &mut run.target.transport,
            &mut run.target.dialect,
            &mut run.host.name,
            &mut run.host.kernel,
            &mut run.host.cpu,
        ] {
            evil.clone_into(text);
        }
        run.command_line = vec![evil.to_owned()];
        run.faults = vec![Fault { what: evil.to_owned(), remedy: evil.to_owned() }];
        let threshold = format!("lost==0{evil}");
        run.thresholds = vec![Verdict { threshold, found: Some(1.0), met: false }];
        let latency = run.latencies["delivery"].clone();
        run.latencies.insert(evil.to_owned(), latency);
        run.limit = Some(Box::new(run.clone()));
        let page = write(&[run]).unwrap();
        assert!(!page.contains("<img"));
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(page.matches("'use strict';").count(), 1);
    }
}
