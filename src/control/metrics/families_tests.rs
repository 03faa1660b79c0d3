//! Tests of the families of metrics, and of the page that lists them.

use super::*;

fn scrape() -> Scrape {
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
    latency.record(700).unwrap();
    latency.record(50_000_000).unwrap();
    Scrape {
        unanswered: 1,
        reports: vec![Report {
            clients: 3,
            busy_microseconds: 1_500_000,
            refusals: vec![("full", 2)],
            closes: vec![("slow", 1)],
            ..Report::default()
        }],
        latencies: vec![(3, latency)],
        once: OnceCounts { keys: 4, replays: 5, evictions: 6 },
        reloads: (7, 8),
        keys: KeyCounts { fetches: 7, failures: 1 },
        tls: Tls::sample(),
        engine: Engine::sample(),
        backend: Backend::default(),
        apps: Apps::one(),
        process: crate::control::process::read(),
        uptime_s: 1,
    }
}

#[test]
fn a_scrape_is_open_metrics_text() {
    let text = scrape().write().unwrap();
    for line in [
        "stentor_clients{shard=\"0\"} 3",
        "stentor_accepts_total{shard=\"0\"} 0",
        "stentor_refusals_total{shard=\"0\",reason=\"full\"} 2",
        "stentor_busy_seconds_total{shard=\"0\"} 1.5",
        "stentor_fanout_seconds_bucket{le=\"0.001\",shard=\"3\"} 1",
        "stentor_fanout_seconds_bucket{le=\"+Inf\",shard=\"3\"} 2",
        "stentor_fanout_seconds_count{shard=\"3\"} 2",
        "# TYPE stentor_fanout_seconds histogram",
        "# UNIT stentor_fanout_seconds seconds",
        "# TYPE process_cpu_seconds counter",
        "stentor_idempotency_evictions_total 6",
        "stentor_token_key_fetches_total 7",
        "stentor_token_key_fetch_failures_total 1",
        "stentor_tls_certificate_expiry_seconds{file=\"a.pem\"} 1900000000",
        "stentor_app_clients{app=\"1\"} 0",
        "stentor_app_connections_total{app=\"1\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// The name, type, unit and meaning of every family, from the `OpenMetrics` text.
fn families(text: &str) -> Vec<[String; 4]> {
    let mut found: Vec<[String; 4]> = Vec::new();
    for line in text.lines() {
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, help] => {
                let [name, help] = [name, help].map(str::to_owned);
                found.push([name, String::new(), String::new(), help]);
            }
            ["#", "TYPE", _, kind] => found.last_mut().unwrap()[1] = kind.into(),
            ["#", "UNIT", _, unit] => found.last_mut().unwrap()[2] = unit.into(),
            _ => {}
        }
    }
    found
}

/// The rows of a table for the families whose name `wants` selects.
fn rows(families: &[[String; 4]], wants: impl Fn(&str) -> bool) -> String {
    let wanted = families.iter().filter(|[name, ..]| wants(name));
    let rows = wanted.map(|[name, kind, unit, help]| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        format!("| `{name}{suffix}` | {kind} | {unit} | {help} |\n")
    });
    rows.collect()
}

/// With `WRITE_PAGES=1` in the environment the test writes the page.
#[test]
fn the_metrics_page_lists_exactly_the_families_of_a_scrape() {
    let page = include_str!("../METRICS.md");
    let text = scrape().write().unwrap();
    let families = families(&text);
    let of_shard = |name: &str| {
        text.contains(&format!("\n{name}_bucket{{le=\"+Inf\",shard="))
            || ["{", "_total{"].iter().any(|end| text.contains(&format!("\n{name}{end}shard=")))
    };
    let tables = [
        ("## Of each shard\n", rows(&families, of_shard)),
        (
            "## Of the server\n",
            rows(&families, |name| name.starts_with("stentor_") && !of_shard(name)),
        ),
        ("## Of the process\n", rows(&families, |name| name.starts_with("process_"))),
    ];
    let mut expected = page.to_owned();
    for (title, rows) in tables {
        let head = "| --- | --- | --- | --- |\n";
        let section = expected.find(title).expect(title);
        let begin = section + expected[section..].find(head).expect(title) + head.len();
        let length: usize = expected[begin..]
            .split_inclusive('\n')
            .take_while(|line| line.starts_with("| `"))
            .map(str::len)
            .sum();
        expected.replace_range(begin..begin + length, &rows);
    }
    if std::env::var_os("WRITE_PAGES").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control/METRICS.md");
        std::fs::write(path, &expected).unwrap();
    } else {
        assert!(page == expected, "METRICS.md must read (WRITE_PAGES=1):\n{expected}");
    }
}
