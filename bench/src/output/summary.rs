//! The summary of a run, for a terminal or a log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal;

use super::figure::{Figure, is_echo};
use super::units::{bytes, count, digits, plain, several, share, time, times};
use super::{search, threshold};
use crate::meter::real;
use crate::run::{Latency, Load, Run, ServerCost};

/// Where the dots behind a label end.
const LABEL_WIDTH: usize = 27;

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const FAINT: &str = "2";

/// The titles of a run's latencies, in the order in which they are shown.
const LATENCIES: [(&str, &str); 7] = [
    ("delivery", "publish to each receipt"),
    ("last", "publish to last receipt"),
    ("echo", "echo"),
    ("service", "sent to each receipt"),
    ("handshake", "handshake"),
    ("return", "end to return of a client"),
    ("late", "generator late by"),
];

/// Of these the limit's share is shown.
const RATIOS: [(&str, &str); 4] = [
    ("CPU per delivery", "ratio.server.cpu_per_delivery"),
    ("p50", "ratio.delivery.p50"),
    ("p99", "ratio.delivery.p99"),
    ("deliveries/s", "ratio.deliveries_per_s"),
];

/// Returns `true` if standard output shows colours, and its reader wants them.
pub(crate) fn wants_colour() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && std::io::stdout().is_terminal()
}

/// Writes the summary; what is wrong with the run comes last.
pub(crate) fn write(run: &Run, colour: bool) -> String {
    let mut page = Page { out: String::new(), colour };
    page.thresholds(run);
    if let Some(search) = &run.search {
        page.heading(&format!("SEARCH  {}", search::headline(search)), BOLD);
        page.out.push_str(&search::write(search));
    }
    page.heading(&format!("RESULTS  {}", headline(run)), BOLD);
    for (name, label) in LATENCIES {
        if let Some(latency) = run.latencies.get(name).filter(|latency| latency.count > 0) {
            page.line(label, &percentiles(latency));
        }
    }
    if let Some(own) = own_part(run) {
        page.line("of it the generator's own", &own);
    }
    page.out.push('\n');
    page.totals(run);
    page.out.push('\n');
    page.costs(run);
    page.faults(run);
    page.out
}

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn heading(&mut self, text: &str, code: &str) {
        let text = self.paint(&format!("█ {text}"), code);
        let gap = if self.out.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.out, "{gap}  {text}\n");
    }

    fn line(&mut self, label: &str, text: &str) {
        let dots = ".".repeat(LABEL_WIDTH.saturating_sub(label.chars().count()));
        let dots = self.paint(&dots, FAINT);
        let _ = writeln!(self.out, "    {label}{dots}: {text}");
    }

    /// Nothing is good; what is more stands out.
    fn none(&mut self, label: &str, number: u64, more: &str) {
        let code = if number == 0 { GREEN } else { RED };
        let number = self.paint(&count(real(number)), code);
        self.line(label, &format!("{number}{more}"));
    }

    fn thresholds(&mut self, run: &Run) {
        if run.thresholds.is_empty() {
            return;
        }
        self.heading("THRESHOLDS", BOLD);
        let width = run.thresholds.iter().map(|verdict| verdict.threshold.chars().count()).max();
        for verdict in &run.thresholds {
            let mark = if verdict.met { self.paint("✓", GREEN) } else { self.paint("✗", RED) };
            let found = verdict.found.map_or("not in this run".to_owned(), |found| {
                format!("{} {}", digits(found), threshold::unit_of(&verdict.threshold))
            });
            let text = plain(&verdict.threshold);
            let width = width.unwrap_or_default();
            let _ = writeln!(self.out, "    {mark} {text:width$}  {}", found.trim_end());
        }
    }

    fn totals(&mut self, run: &Run) {
        let totals = &run.totals;
        let rate = |name| {
            let figure = Figure::named(name).expect("the name is in the table");
            figure.of(run).map_or(String::new(), |value| format!("  {}", figure.unit.write(value)))
        };
        if matches!(run.command.as_str(), "connect" | "idle") {
            let connected = count(real(totals.connected));
            let cost = rate("server.cpu_per_connect");
            let cost = if cost.is_empty() { cost } else { format!("{cost} of server CPU each") };
            self.line("connected", &format!("{connected}{}{cost}", rate("connects_per_s")));
            if totals.resumed > 0 {
                let full = count(real(totals.connected.saturating_sub(totals.resumed)));
                let text = format!("{}  the other {full} were full", count(real(totals.resumed)));
                self.line("handshakes resumed", &text);
            }
            self.none("pings answered", totals.pings, "");
            self.none("disconnects", totals.disconnects.values().sum(), &by(&totals.disconnects));
            self.none("failed connects", totals.failures.values().sum(), &by(&totals.failures));
            self.returns(run);
            return;
        }
        let deliveries = count(real(totals.deliveries));
        let rates = rate("deliveries_per_s") + &rate("echoes_per_s") + &rate("bytes_per_s");
        let label = if is_echo(run) { "echoes" } else { "deliveries" };
        self.line(label, &format!("{deliveries}{rates}"));
        self.none("lost", totals.lost, "");
        self.none("duplicated", totals.duplicated, "");
        let disordered = match totals.disordered_clients {
            0 => String::new(),
            clients => format!("  {} clients disagree on the order", count(real(clients))),
        };
        self.none("out of order", totals.out_of_order, &disordered);
        if totals.strays > 0 {
            self.none("strays", totals.strays, "  meant for others");
        }
        if let Some(channels) = &run.channels {
            let (least, most) = (real(channels.receipts_least), real(channels.receipts_most));
            let each = format!("{} to {} receipts each", count(least), count(most));
            self.line("channels", &format!("{}  {each}", count(real(channels.count))));
            self.none("channels with losses", channels.short, "");
        }
        self.none("disconnects", totals.disconnects.values().sum(), &by(&totals.disconnects));
        self.none("failed connects", totals.failures.values().sum(), &by(&totals.failures));
        if !totals.refused.is_empty() {
            self.none("refused by the server", totals.refused.values().sum(), &by(&totals.refused));
        }
        if totals.unsaid > 0 {
            self.none("not published", totals.unsaid, "  their publisher had no connection");
        }
        self.returns(run);
    }

    /// How clients came back.
    fn returns(&mut self, run: &Run) {
        let Some(returns) = &run.returns else { return };
        let recovery = returns.recovery_s.map_or(String::new(), |seconds| {
            format!("  somebody was away for {} at most", time(seconds * 1e9))
        });
        self.line("returned", &format!("{}{recovery}", count(real(returns.returned))));
        let tries = returns.failures.values().sum::<u64>();
        if tries > 0 {
            let text = format!("{}{}", count(real(tries)), by(&returns.failures));
            self.line("tries that failed", &text);
        }
        self.none("not back at the end", returns.away, "");
        if returns.recovered + returns.unrecovered > 0 {
            self.line("recovered", &count(real(returns.recovered)));
            self.none("not recovered", returns.unrecovered, "");
        }
        if run.totals.published > 0 {
            self.line("missed while away", &count(real(returns.missed)));
        }
    }

    fn costs(&mut self, run: &Run) {
        if let Some(server) = &run.server {
            self.line("server CPU", &server_cpu(run, server));
            self.line("server memory", &server_memory(server));
        }
        let generator = &run.generator;
        let agents = match generator.agents {
            0 | 1 => String::new(),
            agents => format!("{agents} agents  "),
        };
        let own = match generator.user_ns_per_receipt {
            0.0 => String::new(),
            own => format!(", {} of it outside of the kernel", time(own)),
        };
        self.line(
            "generator",
            &format!(
                "{agents}{}  busiest {} of a core  {} per receipt{own}",
                several(generator.threads.into(), "thread"),
                share(generator.cpu_share),
                time(generator.cpu_ns_per_receipt),
            ),
        );
        let (steal, load) = (share(run.host.steal), digits(run.host.load));
        let cores = several(run.host.cores.into(), "core");
        self.line("host", &format!("steal {steal}  load {load}  {cores}"));
        self.agents(run);
        let ratios: Vec<String> = RATIOS
            .iter()
            .filter_map(|(label, name)| {
                Some(format!("{label} {}", times(Figure::named(name)?.of(run)?)))
            })
            .collect();
        if !ratios.is_empty() {
            self.line("against the bare loop", &ratios.join("  "));
        }
    }

    /// How well the agents' clocks are known, and where they ran if that was elsewhere.
    fn agents(&mut self, run: &Run) {
        let worst = run.agents.iter().max_by_key(|agent| agent.clock_uncertainty_ns);
        if let Some(worst) = worst.filter(|agent| agent.clock_uncertainty_ns > 0) {
            let known = time(real(worst.clock_uncertainty_ns));
            self.line("clocks known to", &format!("{known}  ({})", plain(&worst.name)));
        }
        let mut named = BTreeSet::from([run.host.name.as_str()]);
        for host in run.agents.iter().map(|agent| &agent.host) {
            if named.insert(&host.name) {
                let (steal, load) = (share(host.steal), digits(host.load));
                let cores = several(host.cores.into(), "core");
                let name = plain(&host.name);
                self.line("another host", &format!("{name}  steal {steal}  load {load}  {cores}"));
            }
        }
    }

    fn faults(&mut self, run: &Run) {
        if run.faults.is_empty() {
            return;
        }
        self.heading("THIS RUN PROVES NOTHING", RED);
        for fault in &run.faults {
            let mark = self.paint("✗", RED);
            let _ =
                writeln!(self.out, "    {mark} {} → {}", plain(&fault.what), plain(&fault.remedy));
        }
    }
}

/// Returns the load in one line.
pub(crate) fn headline(run: &Run) -> String {
    let Load { clients, publishers, bytes: size, window, rate, seconds, warm_up_s, .. } = &run.load;
    let mut out = format!("{}  {}", plain(&run.command), several(*clients, "client"));
    if let Some(channels) = run.load.channels {
        let _ = write!(out, " in {}", several(channels, "channel"));
    }
    if run.load.direct {
        out.push_str("  each message to one of them");
    }
    if *publishers > 1 && !is_echo(run) {
        let _ = write!(out, "  {} publishers", count(real(*publishers)));
    }
    let mean = bytes(real(*size));
    let size =
        run.load.sizes.as_ref().map_or(mean.clone(), |mix| format!("{mean} ({})", plain(mix)));
    if let Some(rate) = rate {
        let _ = write!(out, "  {}/s × {size}", digits(*rate));
    } else if let Some(window) = window {
        let each = if is_echo(run) { " of each" } else { "" };
        let _ = write!(out, "  {} in flight{each} × {size}", count(real(*window)));
    }
    let (seconds, measured) = (digits(*seconds), run.totals.seconds);
    if run.was_cut_short() {
        let _ = write!(out, "  {} of {seconds} s", digits(measured));
    } else {
        let _ = write!(out, "  {seconds} s");
    }
    if *warm_up_s > 0.0 {
        let _ = write!(out, " (+{} s warm-up)", digits(*warm_up_s));
    }
    out
}

fn percentiles(latency: &Latency) -> String {
    [
        ("min", latency.min_ns),
        ("p50", latency.p50_ns),
        ("p90", latency.p90_ns),
        ("p99", latency.p99_ns),
        ("p99.9", latency.p999_ns),
        ("max", latency.max_ns),
    ]
    .map(|(name, ns)| format!("{name}={}", time(real(ns)).replace(' ', "")))
    .join(" ")
}

/// Returns the generator's own part of the latencies: those from the intended moment are longer by
/// it than those from the actual send.
fn own_part(run: &Run) -> Option<String> {
    let whole = run.latencies.get("delivery").or_else(|| run.latencies.get("echo"))?;
    let service = run.latencies.get("service").filter(|service| service.count > 0)?;
    let part = |of: fn(&Latency) -> u64| time(real(of(whole).saturating_sub(of(service))));
    let (p50, p99) = (part(|latency| latency.p50_ns), part(|latency| latency.p99_ns));
    Some(format!("{p50} of p50, {p99} of p99"))
}

fn server_cpu(run: &Run, server: &ServerCost) -> String {
    let mut out = format!("{} of a core", share(server.cpu_share));
    if run.totals.in_time() > 0 {
        let what = if is_echo(run) { "echo" } else { "delivery" };
        let _ = write!(out, "  {} per {what}", time(server.cpu_ns_per_delivery));
    }
    let (user, system) = (digits(server.user_s), digits(server.system_s));
    let _ = write!(out, "  {user} s user  {system} s system");
    out
}

fn server_memory(server: &ServerCost) -> String {
    let rss = format!("{} resident", bytes(real(server.rss_bytes)));
    match (server.private_bytes_per_client, &server.memory_untold) {
        (Some(client), _) => format!("{} per client  {rss}", bytes(client)),
        (None, Some(why)) => format!("{rss}  for each client it is not to be told: {}", plain(why)),
        (None, None) => rss,
    }
}

fn by(counts: &std::collections::BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(cause, number)| format!("{} {}", plain(cause), count(real(*number))))
        .collect();
    if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn all_of_it() {
        assert_eq!(write(&sample::run(), false), include_str!("golden/summary.txt"));
    }

    #[test]
    fn a_run_that_is_bare() {
        let mut run = sample::bare("", 250_000);
        run.command = "echo\x1b[2J".to_owned();
        run.load = Load { clients: 1, bytes: 32, window: Some(1), seconds: 10.0, ..run.load };
        run.load.rate = None;
        run.load.warm_up_s = 0.0;
        run.totals = crate::run::Totals::default();
        run.server = None;
        run.generator.user_ns_per_receipt = 0.0;
        run.latencies.retain(|name, _| name == "late");
        run.latencies.insert("echo".to_owned(), Latency::default());
        assert_eq!(write(&run, false), include_str!("golden/summary_bare.txt"));
    }

    #[test]
    fn colours_are_all_that_a_terminal_adds() {
        let coloured = write(&sample::run(), true);
        assert!(coloured.contains("\x1b[31m✗\x1b[0m lost==0"));
        assert!(coloured.contains("\x1b[32m✓\x1b[0m delivery.p99<20ms"));
        let counts: Vec<&str> = coloured
            .lines()
            .filter_map(|line| line.split_once("\x1b[0m: \x1b"))
            .map(|at| at.1)
            .collect();
        assert_eq!(counts[..4], ["[31m1\x1b[0m", "[32m0\x1b[0m", "[32m0\x1b[0m", "[31m1\x1b[0m"]);
        assert_eq!(
            counts[4..],
            [
                "[31m12\x1b[0m  (1006 10, none 2)",
                "[31m3\x1b[0m  (refused 3)",
                "[31m4\x1b[0m  (error 111: too many requests 4)",
                "[31m2\x1b[0m  their publisher had no connection",
                "[31m1\x1b[0m",
                "[31m3\x1b[0m",
            ]
        );
        let mut plain = coloured;
        for code in [BOLD, GREEN, RED, FAINT, "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(plain, write(&sample::run(), false));
    }
}
