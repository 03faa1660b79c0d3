//! `stentor doctor`: every limit of the host that matters, what it allows, and the line that lifts
//! it.

use std::fmt::Write as _;

use stentor_units::quantity::show_size;

use crate::config::Settings;
use crate::config::units::show_cores;
use crate::host::Host;

/// One line of the table.
struct Row {
    limit: &'static str,
    value: String,
    allows: String,
    /// What lifts it, where that is worth doing.
    cure: Option<String>,
    fatal: bool,
}

/// What `doctor` found.
pub(crate) struct Findings {
    pub(crate) text: String,
    /// Whether the server can run here.
    pub(crate) healthy: bool,
}

/// A number of clients for which a host is worth tuning.
const MANY_CLIENTS: u64 = 1_000_000;

/// Looks at everything.
pub(crate) fn examine(host: &Host, settings: &Settings) -> Findings {
    let shards = host.place(settings).map_or(host.cores.len(), |cores| cores.len()) as u64;
    let rows = rows(host, shards, settings);
    let mut text = String::new();
    for row in &rows {
        let mark = if row.fatal {
            "FAIL"
        } else if row.cure.is_some() {
            "low "
        } else {
            "ok  "
        };
        let _ = writeln!(text, "{mark} {:<22} {:<24} {}", row.limit, row.value, row.allows);
        if let Some(cure) = &row.cure {
            let _ = writeln!(text, "       lift it: {cure}");
        }
    }
    let capacity = host.capacity(shards);
    if let [(first, clients), (second, later), ..] = capacity[..] {
        let _ =
            writeln!(text, "\nThis host carries about {clients} clients; first limit: {first}.");
        let _ = writeln!(text, "Lift it, and the next is {second} at about {later}.");
    }
    Findings { text, healthy: !rows.iter().any(|row| row.fatal) }
}

#[expect(clippy::too_many_lines, reason = "one table stays one table")]
fn rows(host: &Host, shards: u64, settings: &Settings) -> Vec<Row> {
    let row = |limit, value: String, allows: String, cure: Option<String>| Row {
        limit,
        value,
        allows,
        cure,
        fatal: false,
    };
    let sysctl = |when: bool, line: &str| when.then(|| format!("sysctl -w {line}"));
    let backlog = u64::from(settings.shards.backlog);
    let (first, last) = host.ports;
    let mut rows = vec![
        row("cores", show_cores(&host.cores), format!("{shards} shards"), None),
        row(
            "nofile",
            format!("{} of {}", host.nofile, host.nofile_hard),
            format!("about {} clients", host.nofile.saturating_sub(100)),
            (host.nofile < MANY_CLIENTS)
                .then(|| "LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576 before".into()),
        ),
        row(
            "fs.nr_open",
            host.nr_open.to_string(),
            "the most that nofile can be".into(),
            sysctl(host.nr_open < MANY_CLIENTS, "fs.nr_open=2097152"),
        ),
        row(
            "memlock",
            if host.memlock == u64::MAX { "unlimited".into() } else { size(host.memlock) },
            format!("{} rings of 512KiB", (host.memlock >> 19).min(9999)),
            (host.memlock < shards << 19).then(|| format!("LimitMEMLOCK={}", shards << 19)),
        ),
        row(
            "kernel.io_uring_disabled",
            host.io_uring_disabled.map_or_else(|| "not there".into(), |value| value.to_string()),
            "0: every process may use io_uring".into(),
            sysctl(host.io_uring_disabled.unwrap_or(0) > 0, "kernel.io_uring_disabled=0"),
        ),
        row(
            "seccomp",
            if host.seccomp { "a filter is in force" } else { "none" }.into(),
            "container defaults block io_uring".into(),
            host.seccomp.then(|| "docker run --security-opt seccomp=unconfined".into()),
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
            format!("{} for all sockets' buffers", size(host.tcp_mem_pages.saturating_mul(4096))),
            None,
        ),
        row(
            "ip_local_port_range",
            format!("{first}-{last}"),
            format!("{} connections from one address to here", last.saturating_sub(first) + 1),
            None,
        ),
        row("memory", size(host.memory), format!("about {} clients", host.memory / 4_700), None),
    ];
    if let Err(why) = host.check(shards) {
        rows.push(Row {
            limit: "start",
            value: "not possible".into(),
            allows: why.to_string(),
            cure: None,
            fatal: true,
        });
    }
    rows
}

/// Roughly, for people.
fn size(bytes: u64) -> String {
    let unit = if bytes >= 10 << 30 {
        30
    } else if bytes >= 10 << 20 {
        20
    } else {
        10
    };
    show_size(bytes >> unit << unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_listed_and_a_low_one_has_its_cure() {
        let host = Host { nofile: 1024, nofile_hard: 1024, somaxconn: 128, ..Host::read() };
        let findings = examine(&host, &Settings::default());
        for limit in [
            "nofile",
            "nr_open",
            "memlock",
            "io_uring",
            "seccomp",
            "somaxconn",
            "tcp_mem",
            "port_range",
            "cores",
        ] {
            assert!(findings.text.contains(limit), "{limit}: {}", findings.text);
        }
        assert!(findings.text.contains("sysctl -w net.core.somaxconn=4096"), "{}", findings.text);
        assert!(findings.text.contains("LimitNOFILE=1048576"));
        assert!(findings.healthy);
        let sick = Host { io_uring_disabled: Some(2), ..host };
        assert!(!examine(&sick, &Settings::default()).healthy);
    }
}
