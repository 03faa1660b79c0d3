//! `/metrics` as scrapers use it: the format that they ask for, read in full by the reference
//! parsers, and nothing in dashboards, rules and docs that it does not have.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{Client, raw};
use crate::real_clients::{python, run};
use crate::server::{Server, get};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The body and the content type of a scrape.
fn scrape(server: &Server, accept: &str) -> (String, String) {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{accept}\r\n");
    let answer = raw(server.admin, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    (body.to_owned(), kind.unwrap_or_default().to_owned())
}

#[test]
fn a_scraper_gets_the_format_that_it_asks_for() {
    let server = Server::start(&[]);
    let (text, open) = ("text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0");
    for (accept, kind) in [
        ("", text),
        ("Accept: */*\r\n", text),
        ("Accept: text/plain;version=0.0.4\r\n", text),
        ("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n", open),
        ("Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text\r\n", open),
    ] {
        let (body, found) = scrape(&server, accept);
        assert_eq!(found, format!("{kind}; charset=utf-8"), "{accept}");
        assert_eq!(body.ends_with("# EOF\n"), kind == open, "{accept}");
        let counter = if kind == open { "stentor_accepts" } else { "stentor_accepts_total" };
        assert!(body.contains(&format!("\n# TYPE {counter} counter\n")), "{accept}");
    }
    let refused =
        "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept: text/*;q=0\r\n\r\n";
    assert!(raw(server.admin, refused.as_bytes()).starts_with("HTTP/1.1 406"));
}

#[test]
fn the_reference_parsers_read_both_formats_in_full() {
    let server = Server::start(&["--shards", "2"]);
    let mut client = Client::plain(server.address, "/ws");
    for _ in 0..20 {
        client.send("x");
        client.next_text();
    }
    let mut command = python("metrics_check.py");
    command.arg(format!("http://{}/metrics", server.admin));
    run(command);
}

/// Debian's package of Prometheus brings promtool; without it only the reference parsers judge.
#[test]
fn promtool_has_nothing_to_say() {
    let is_there = Command::new("promtool").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: there is no promtool");
        return;
    }
    let server = Server::start(&["--shards", "2"]);
    let (_, text) = get(server.admin, "/metrics");
    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut lint = lint.stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut lint.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let told = lint.wait_with_output().unwrap();
    assert!(told.status.success() && told.stdout.is_empty() && told.stderr.is_empty(), "{told:?}");
    for (what, file) in [("check", "alerts.yml"), ("test", "alerts.test.yml")] {
        let mut rules = Command::new("promtool");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/prometheus");
        rules.args([what, "rules"]).arg(folder.join(file));
        run(rules);
    }
}

/// The names of samples, and the values of the label `reason`.
fn told(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned);
    let reasons = text.split("reason=\"").skip(1).filter_map(|rest| rest.split('"').next());
    (names.collect(), reasons.map(str::to_owned).collect())
}

/// The names of our metrics in a query, and the reasons that it selects.
fn used(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let words = query.split(|at: char| !at.is_ascii_alphanumeric() && at != '_' && at != '$');
    let ours = words.filter(|word| ["stentor_", "process_"].iter().any(|of| word.starts_with(of)));
    let reasons = query.split("reason=").skip(1).flat_map(|rest| {
        let listed = rest.trim_start_matches(['~', '\\', '"']);
        listed.split(['"', '\\']).next().unwrap_or_default().split('|')
    });
    (ours.map(str::to_owned).collect(), reasons.map(str::to_owned).collect())
}

#[test]
fn rules_and_dashboard_use_what_is_there() {
    let server = Server::start(&[]);
    let (mut names, reasons) = told(&get(server.admin, "/metrics").1);
    // The page has those too that only some configurations have samples of.
    let page = read("src/control/METRICS.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.extend(rows.map(str::to_owned));
    let rules = read("scripts/prometheus/alerts.yml");
    let dashboard: Value = serde_json::from_str(&read("scripts/grafana/stentor.json")).unwrap();
    let mut queries: Vec<String> = rules.lines().map(str::to_owned).collect();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            queries.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    let variable = &dashboard["templating"]["list"][1]["query"]["query"];
    queries.push(variable.as_str().unwrap().to_owned());
    let mut count = 0;
    for query in &queries {
        let (metrics, selected) = used(query);
        count += metrics.len();
        assert!(metrics.is_subset(&names), "{query}: {:?}", metrics.difference(&names));
        assert!(selected.is_subset(&reasons), "{query}: {:?}", selected.difference(&reasons));
    }
    assert!(count > 40, "the queries are not where this test looks");
    let alerts = rules.matches("- alert: ").count();
    let tested = read("scripts/prometheus/alerts.test.yml");
    assert!(tested.contains(&format!("value: {alerts} }}")), "the test expects {alerts} alerts");
}

#[test]
fn the_metrics_page_names_every_reason() {
    let server = Server::start(&[]);
    let page = read("src/control/METRICS.md");
    for reason in told(&get(server.admin, "/metrics").1).1 {
        assert!(page.contains(&format!("`{reason}`")), "METRICS.md lacks the reason {reason}");
    }
}
