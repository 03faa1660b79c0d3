//! `stentor doctor`: every limit of the host that matters, what it allows, and the line that lifts
//! it, for people and, with `--json`, for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stentor_shards::{Ring, rt};
use stentor_units::time::show as show_time;

use crate::config::Settings;
use crate::config::units::show_cores;
use crate::host::{
    CLIENT_BYTES, Finding, Host, PROCESS_DESCRIPTORS, SPARE_DESCRIPTORS, Verdict, show_bytes,
};

/// One line of the table.
struct Row {
    limit: &'static str,
    value: String,
    allows: String,
    /// The setting that lifts it, where that is worth doing.
    cure: Option<String>,
}

/// A number of clients for which a host is worth tuning.
const MANY_CLIENTS: u64 = 1_000_000;

/// Returns the output of `doctor` for people.
pub(crate) fn describe(host: &Host, verdict: &Verdict, settings: &Settings) -> String {
    let mut text = String::new();
    for row in rows(host, verdict, settings) {
        let mark = mark(&row, verdict);
        let _ = writeln!(text, "{mark} {:<26} {:<24} {}", row.limit, row.value, row.allows);
        if let Some(cure) = &row.cure {
            let _ = writeln!(text, "       lift it: {cure}");
        }
    }
    if !verdict.findings.is_empty() {
        text.push('\n');
    }
    for finding in &verdict.findings {
        let _ = writeln!(text, "{} {finding}", if finding.fatal { "FAIL" } else { "warn" });
    }
    let capacity = host.capacity(verdict.needs);
    if let [(first, clients), (second, later), ..] = capacity[..] {
        let _ =
            writeln!(text, "\nThis host carries about {clients} clients; first limit: {first}.");
        let _ = writeln!(text, "Lift it, and the next is {second} at about {later}.");
    }
    text
}

/// Returns the first word of a row: a limit that a finding blames is not in order.
fn mark(row: &Row, verdict: &Verdict) -> &'static str {
    let blamed = format!("{} is ", row.limit);
    let blames = |finding: &&Finding| finding.limit == row.limit || finding.cause.contains(&blamed);
    let mut found = verdict.findings.iter().filter(blames).peekable();
    if found.peek().is_none() {
        return if row.cure.is_some() { "low " } else { "ok  " };
    }
    if found.any(|finding| finding.fatal) { "FAIL" } else { "low " }
}

/// Returns the output of `doctor --json`. Sizes are in bytes, times in milliseconds; `null` is no
/// limit, or none that this kernel has.
pub(crate) fn record(host: &Host, verdict: &Verdict) -> String {
    let findings: Vec<Value> = verdict
        .findings
        .iter()
        .map(|one| {
            json!({"limit": one.limit, "fatal": one.fatal, "cause": one.cause, "cure": one.cure})
        })
        .collect();
    let capacity: Vec<Value> = host
        .capacity(verdict.needs)
        .iter()
        .map(|(limit, clients)| json!({"limit": limit, "clients": clients}))
        .collect();
    let record = json!({
        "schema": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "healthy": verdict.refusal().is_none(),
        "shards": verdict.needs.shards,
        "cores": verdict.cores,
        "sleeps_in": sleeps_in(verdict.ring),
        "needs": {
            "client_bytes": CLIENT_BYTES,
            "client_descriptors": 1,
            "client_watches": 1,
            "process_descriptors": PROCESS_DESCRIPTORS,
            "spare_descriptors": SPARE_DESCRIPTORS,
            "shard_descriptors": verdict.needs.shard_descriptors(),
            "shard_locked_bytes": if verdict.needs.ring { rt::RING_BYTES } else { 0 },
            "nap_ms": rt::NAP.as_millis(),
        },
        "limits": limits(host),
        "capacity": capacity,
        "findings": findings,
    });
    format!("{record:#}\n")
}

fn limits(host: &Host) -> Value {
    let bound = |value: u64| (value != u64::MAX).then_some(value);
    let cpus = host.group.cpus.as_ref();
    json!({
        "cores": host.cores,
        "cpu_quota": cpus.map(|(cpus, _)| cpus),
        "cpu_quota_file": cpus.map(|(_, says)| says.display().to_string()),
        "nofile": bound(host.nofile),
        "nofile_hard": bound(host.nofile_hard),
        "nr_open": bound(host.nr_open),
        "memlock": bound(host.memlock),
        "io_uring_disabled": host.io_uring_disabled,
        "seccomp": host.seccomp,
        "somaxconn": host.somaxconn,
        "syn_backlog": host.syn_backlog,
        "tcp_mem_pages": bound(host.tcp_mem_pages),
        "watches": bound(host.watches),
        "port_first": host.ports.0,
        "port_last": host.ports.1,
        "memory_bytes": host.memory,
        "memory_file": host.group.memory.as_ref().map(|(_, says)| says.display().to_string()),
    })
}

/// Where shards sleep, in a word.
pub(crate) fn sleeps_in(ring: Ring) -> &'static str {
    if ring == Ring::Off { "epoll" } else { "io_uring" }
}

fn rows(host: &Host, verdict: &Verdict, settings: &Settings) -> Vec<Row> {
    let mut rows = process_rows(host, verdict);
    rows.extend(kernel_rows(host, settings));
    rows
}

fn row(limit: &'static str, value: String, allows: String, cure: Option<String>) -> Row {
    Row { limit, value, allows, cure }
}

/// Limits of this process and of its control groups.
fn process_rows(host: &Host, verdict: &Verdict) -> Vec<Row> {
    let needs = verdict.needs;
    let (shards, spare) = (needs.shards, host.nofile.saturating_sub(needs.descriptors()));
    let sleep = if verdict.ring == Ring::Off {
        "shards sleep in epoll".to_owned()
    } else {
        format!("shards nap for {} and sleep in io_uring", show_time(rt::NAP))
    };
    let (quota, throttles) = host.group.cpus.as_ref().map_or_else(
        || ("none".to_owned(), "all cores all the time".to_owned()),
        |(cpus, says)| (format!("{cpus} cores"), format!("by {}", says.display())),
    );
    let bound = host.group.memory.as_ref().filter(|(bytes, _)| *bytes == host.memory);
    let by = bound.map(|(_, says)| format!(", by {}", says.display())).unwrap_or_default();
    vec![
        row("cores", show_cores(&host.cores), format!("{shards} shards"), None),
        row("cpu quota", quota, throttles, None),
        row(
            "nofile",
            format!("{} of {}", host.nofile, host.nofile_hard),
            format!("{spare} clients beside {} descriptors of our own", needs.descriptors()),
            (host.nofile < MANY_CLIENTS)
                .then(|| "LimitNOFILE=1048576 in a unit, or ulimit -Hn 1048576 before".into()),
        ),
        row(
            "memlock",
            show_bytes(host.memlock),
            format!(
                "{} for the rings of {shards} shards; it is a limit of the user",
                show_bytes(needs.locked_bytes())
            ),
            None,
        ),
        row(
            "kernel.io_uring_disabled",
            host.io_uring_disabled.map_or_else(|| "not there".into(), |value| value.to_string()),
            sleep,
            None,
        ),
        row(
            "seccomp",
            if host.seccomp { "a filter is in force" } else { "none" }.into(),
            "container defaults block io_uring".into(),
            None,
        ),
        row(
            "memory",
            show_bytes(host.memory),
            format!("{} clients of {CLIENT_BYTES} bytes{by}", host.memory / CLIENT_BYTES),
            None,
        ),
    ]
}

/// Settings of the kernel for the whole host.
fn kernel_rows(host: &Host, settings: &Settings) -> Vec<Row> {
    let sysctl = |when: bool, line: &str| when.then(|| format!("sysctl -w {line}"));
    let backlog = u64::from(settings.shards.backlog);
    let (first, last) = host.ports;
    vec![
        row(
            "fs.nr_open",
            host.nr_open.to_string(),
            "the most that nofile can be".into(),
            sysctl(host.nr_open < MANY_CLIENTS, "fs.nr_open=2097152"),
        ),
        row(
            "fs.epoll.max_user_watches",
            host.watches.to_string(),
            "sockets that one user's processes may watch".into(),
            sysctl(host.watches < host.nofile, "fs.epoll.max_user_watches=2097152"),
        ),
        row(
            "net.core.somaxconn",
            host.somaxconn.to_string(),
            format!("backlog {backlog} asked for"),
            sysctl(host.somaxconn < backlog, &format!("net.core.somaxconn={backlog}")),
        ),
        row(
            "tcp_max_syn_backlog",
            host.syn_backlog.to_string(),
            "half-open connections in a storm".into(),
            sysctl(host.syn_backlog < 1024, "net.ipv4.tcp_max_syn_backlog=8192"),
        ),
        row(
            "net.ipv4.tcp_mem",
            format!("{} pages", host.tcp_mem_pages),
            format!(
                "{} for all sockets' buffers",
                show_bytes(host.tcp_mem_pages.saturating_mul(4096))
            ),
            None,
        ),
        row(
            "ip_local_port_range",
            format!("{first}-{last}"),
            format!("{} connections from one address to here", last.saturating_sub(first) + 1),
            None,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_listed_and_a_low_one_has_its_cure() {
        let host = Host { nofile: 1024, nofile_hard: 1024, somaxconn: 128, ..Host::read() };
        let settings = Settings::default();
        let verdict = host.judge(&settings);
        let text = describe(&host, &verdict, &settings);
        for limit in [
            "cores",
            "cpu quota",
            "nofile",
            "nr_open",
            "max_user_watches",
            "memlock",
            "io_uring",
            "seccomp",
            "somaxconn",
            "tcp_mem",
            "port_range",
        ] {
            assert!(text.contains(limit), "{limit}: {text}");
        }
        assert!(text.contains("sysctl -w net.core.somaxconn=4096"), "{text}");
        assert!(text.contains("LimitNOFILE=1048576"));
    }

    #[test]
    fn no_row_says_ok_of_a_limit_that_a_finding_blames() {
        let host = Host { nofile: 10, memlock: 0, ..Host::read() };
        let first_word = |ring: Ring, limit: &str| {
            let mut settings = Settings::default();
            settings.shards.ring = ring;
            let text = describe(&host, &host.judge(&settings), &settings);
            let line = text.lines().find(|line| line[5..].starts_with(limit)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(first_word(Ring::Required, "nofile"), "FAIL");
        assert_eq!(first_word(Ring::Required, "memlock"), "FAIL");
        assert_eq!(first_word(Ring::Auto, "memlock"), "low");
        assert_eq!(first_word(Ring::Off, "memlock"), "ok");
        assert_eq!(first_word(Ring::Required, "net.ipv4.tcp_mem"), "ok");
    }

    #[test]
    fn the_record_has_every_finding_and_every_need() {
        let host = Host { nofile: 10, ..Host::read() };
        let verdict = host.judge(&Settings::default());
        let record: Value = serde_json::from_str(&record(&host, &verdict)).unwrap();
        assert_eq!(record["healthy"], false);
        assert_eq!(record["limits"]["nofile"], 10);
        let fatal = record["findings"].as_array().unwrap();
        assert!(fatal.iter().any(|one| one["limit"] == "nofile" && one["fatal"] == true));
        assert_eq!(record["needs"]["nap_ms"], 10);
        assert!(record["needs"]["shard_descriptors"].as_u64().unwrap() >= 4);
    }
}
