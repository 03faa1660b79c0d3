//! From what the threads found to one record, and whether it proves anything.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use hdrhistogram::Histogram;

use super::absence;
use super::ledger::disordered;
use super::plan::{Hears, Plan};
use super::rooms;
use super::sampler::Sampler;
use super::setup::Setup;
use super::sums::{add, merge};
use super::threads::LoadResult;
use super::worker_task::{Found, Mode, Room};
use crate::coordination;
use crate::dialect::Dialect;
use crate::histogram::nanoseconds;
use crate::host;
use crate::output::hist::encode;
use crate::run::{
    Fault, Generator, Latency, Load, Returns, Run, SCHEMA_VERSION, Second, ServerCost, Totals,
};
use crate::seconds::Interval;

/// Fewer receipts than this say nothing about a p99.
pub(crate) const SAMPLES_MIN: u64 = 1_000;

/// A generator thread that runs for more than this share of its core may have been the bottleneck.
const BUSY: f64 = 0.95;

/// How the fault of a generator that was late begins.
pub(crate) const LATE: &str = "the generator was late";

/// How far Little's law may be off.
const LITTLE: f64 = 0.10;

/// Merges what the threads found.
pub(super) fn run_of(plan: &Plan, gathered: LoadResult<Found>) -> io::Result<Run> {
    let LoadResult { found, sampler, began_unix_ms, measured, across_agents } = gathered;
    let connected = found.iter().map(|found| found.connected as u64).sum::<u64>();
    let (command, main, hearers) = match plan.hears {
        Hears::All => ("fanout", "delivery", connected),
        Hears::Channel => {
            ("fanout", "delivery", connected / plan.setup.channels.map_or(1, |count| count as u64))
        }
        Hears::One => ("fanout", "delivery", 1),
        Hears::Own => ("echo", "echo", 1),
    };
    let rooms: Vec<Room> = found.iter().flat_map(|found| found.rooms.iter().copied()).collect();
    let missed = found.iter().map(|found| found.tally.missed).sum();
    let mut totals =
        Totals { seconds: measured.as_secs_f64(), connected, ..totals_of(&found, hearers, missed) };
    let absences = found.iter().filter_map(|found| found.absences.as_ref());
    let returns = absence::merged(absences, missed)?;
    let (mut service, mut last) = (nanoseconds()?, nanoseconds()?);
    let (mut late, mut handshake) = (nanoseconds()?, nanoseconds()?);
    let mut intervals = Vec::new();
    let cpu: Vec<Spent> = found.iter().map(|found| Spent::over(&found.intervals)).collect();
    let late_p99_ns = late_p99_of(&found, plan.setup.threads)?;
    for found in found {
        add(&mut totals.disconnects, found.endings);
        add(&mut totals.failures, found.failures);
        add(&mut totals.refused, found.refused);
        merge(&mut service, &found.service)?;
        merge(&mut last, &found.last)?;
        merge(&mut late, &found.late)?;
        merge(&mut handshake, &found.handshake)?;
        intervals.extend(found.intervals);
    }
    if let Some(across_agents) = &across_agents {
        merge(&mut last, &across_agents.last)?;
    }
    let (heard, series) = seconds_of(intervals, &sampler)?;
    let mut named = vec![(main, &heard), ("last", &last), ("handshake", &handshake)];
    if plan.traffic.rate.is_some() {
        // In a closed loop a message leaves when it is meant to, by what that means there.
        named.extend([("service", &service), ("late", &late)]);
    }
    if let Some((_, took)) = &returns {
        named.push(("return", took));
    }
    named.retain(|(_, histogram)| !histogram.is_empty());
    let latencies =
        named.into_iter().map(|(name, found)| (name.to_owned(), Latency::of(found))).collect();
    let mut run = Run {
        began_unix_ms,
        load: load_of(plan),
        latencies,
        server: server_of(&sampler, &totals),
        generator: generator_of(&plan.setup, &cpu, &totals),
        series,
        totals,
        channels: rooms::channels(&rooms, hearers),
        returns: returns.map(|(returns, _)| returns),
        agents: across_agents.map(|across_agents| across_agents.agents).unwrap_or_default(),
        ..head_of(command, &plan.setup, &sampler)
    };
    if plan.setup.spoken.dialect == Dialect::Plain {
        run.target.dialect = plan.traffic.message.dialect().unwrap_or(run.target.dialect);
    }
    let p99_ns = heard.value_at_quantile(0.99);
    run.faults = faults_of(plan, &run, (late_p99_ns, p99_ns));
    run.faults.extend(gone(&sampler, run.returns.is_some()));
    // A client that hears only itself compares moments of one clock.
    let across = (plan.hears == Hears::All).then_some(p99_ns);
    run.faults.extend(coordination::faults(&run.agents, across));
    Ok(run)
}

/// Returns the counts of all threads together. `hearers` wait for each message, and clients that
/// were away missed `missed` receipts.
fn totals_of(found: &[Found], hearers: u64, missed: u64) -> Totals {
    let tallies = || found.iter().map(|found| &found.tally);
    let orders: Vec<_> = found.iter().flat_map(|found| found.orders.iter().copied()).collect();
    let sum = |of: fn(&Found) -> u64| found.iter().map(of).sum::<u64>();
    let (published, receipts) = (sum(|found| found.published), sum(|found| found.receipts));
    Totals {
        published,
        deliveries: receipts,
        deliveries_in_time: Some(sum(|found| found.receipts_in_time)),
        lost: (published * hearers).saturating_sub(receipts + missed),
        duplicated: tallies().map(|tally| tally.duplicated).sum(),
        out_of_order: tallies().map(|tally| tally.out_of_order).sum(),
        strays: tallies().map(|tally| tally.strays).sum(),
        disordered_clients: disordered(&orders) + sum(|found| found.disordered),
        bytes_in: sum(|found| found.bytes_in),
        unsaid: sum(|found| found.unsaid),
        ..Totals::default()
    }
}

/// How late the latest process was: among many that are in time it would not be seen.
fn late_p99_of(found: &[Found], threads: usize) -> io::Result<u64> {
    let mut latest = 0;
    for process in found.chunks(threads) {
        let mut late = nanoseconds()?;
        process.iter().try_for_each(|found| merge(&mut late, &found.late))?;
        latest = latest.max(late.value_at_quantile(0.99));
    }
    Ok(latest)
}

/// Returns the part that every record has, whatever was measured.
pub(super) fn head_of(command: &str, setup: &Setup, sampler: &Sampler) -> Run {
    Run {
        schema_version: SCHEMA_VERSION,
        command: command.to_owned(),
        command_line: coordination::without_token(std::env::args()),
        label: setup.label.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: setup.seed,
        host: host::facts(sampler.load, sampler.steal_share),
        target: setup.target(),
        ..Run::default()
    }
}

/// One second of all threads.
struct Together {
    published: u64,
    received: u64,
    /// The running time of the busiest thread.
    busiest_ns: u64,
    latency: Histogram<u64>,
}

impl Together {
    fn new() -> io::Result<Self> {
        Ok(Self { published: 0, received: 0, busiest_ns: 0, latency: nanoseconds()? })
    }
}

/// The seconds of all threads together, and all of them in one.
pub(crate) fn seconds_of(
    intervals: Vec<Interval>,
    sampler: &Sampler,
) -> io::Result<(Histogram<u64>, Vec<Second>)> {
    let mut whole = nanoseconds()?;
    let mut seconds: BTreeMap<u64, Together> = BTreeMap::new();
    for interval in intervals {
        let entry = match seconds.entry(interval.second) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Together::new()?),
        };
        entry.published += interval.published;
        entry.received += interval.received;
        entry.busiest_ns = entry.busiest_ns.max(interval.cpu_ns);
        for value in interval.latency.iter_recorded() {
            let (at, count) = (value.value_iterated_to(), value.count_at_value().into());
            entry.latency.saturating_record_n(at, count);
            whole.saturating_record_n(at, count);
        }
    }
    let mut series = Vec::with_capacity(seconds.len());
    for (second, together) in seconds {
        let place = usize::try_from(second).unwrap_or(usize::MAX);
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let (at_s, busiest_s) = (second as f64, together.busiest_ns as f64 / 1e9);
        series.push(Second {
            at_s,
            published: together.published,
            deliveries: together.received,
            connects: 0,
            server_cpu_share: sampler.seconds.get(place).copied().flatten(),
            generator_cpu_share: busiest_s,
            histogram: encode(&together.latency),
        });
    }
    Ok((whole, series))
}

fn load_of(plan: &Plan) -> Load {
    let (window, rate) = match plan.traffic.mode() {
        Mode::Closed { window } => (Some(u64::from(window)), None),
        Mode::Open { rate } => (None, Some(rate)),
    };
    Load {
        clients: plan.setup.clients as u64,
        publishers: plan.publishers as u64,
        bytes: plan.traffic.sizes.mean(),
        sizes: plan.traffic.sizes.mix(),
        channels: plan.setup.channels.map(|channels| channels as u64),
        direct: plan.hears == Hears::One,
        window,
        rate,
        seconds: plan.traffic.time.as_secs_f64(),
        warm_up_s: plan.traffic.warm_up.as_secs_f64(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn server_of(sampler: &Sampler, totals: &Totals) -> Option<ServerCost> {
    let pid = sampler.pid()?;
    let memory = sampler.memory.unwrap_or_default();
    let ns = sampler.server_ns().unwrap_or(0) as f64;
    let each = sampler.bytes_per_client(totals.connected.max(1));
    Some(ServerCost {
        pid,
        user_s: sampler.user_s,
        system_s: sampler.system_s,
        cpu_share: sampler.server_share().unwrap_or(0.0),
        busiest_thread_share: sampler.server_busiest_share().unwrap_or(0.0),
        cpu_ns_per_delivery: ns / totals.in_time().max(1) as f64,
        rss_bytes: memory.rss,
        pss_bytes: memory.pss,
        private_bytes: memory.private,
        private_bytes_per_client: each.ok(),
        memory_untold: each.err().map(str::to_owned),
    })
}

/// That the server's process ended, where that was not to be expected: what it used is not known.
pub(super) fn gone(sampler: &Sampler, returning: bool) -> Option<Fault> {
    (sampler.gone && !returning).then(|| Fault {
        what: "the server's process ended".to_owned(),
        remedy: "see what it said; --reconnect measures how clients come back".to_owned(),
    })
}

/// The running time of one thread of the generator in the measured time, in all and outside of the
/// kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    cpu_ns: u64,
    user_ns: u64,
}

impl Spent {
    pub(super) fn over(seconds: &[Interval]) -> Self {
        Self {
            cpu_ns: seconds.iter().map(|second| second.cpu_ns).sum(),
            user_ns: seconds.iter().map(|second| second.user_ns).sum(),
        }
    }
}

/// Returns the running times of the generator's threads in the measured time.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn generator_of(setup: &Setup, threads: &[Spent], totals: &Totals) -> Generator {
    let busiest = threads.iter().map(|spent| spent.cpu_ns).max().unwrap_or(0);
    let receipts = totals.in_time().max(1) as f64;
    let agents = setup.agents.count().max(1);
    Generator {
        threads: u32::try_from(setup.threads * agents).unwrap_or(u32::MAX),
        agents: u32::try_from(agents).unwrap_or(u32::MAX),
        cpu_share: share(busiest, totals.seconds),
        cpu_ns_per_receipt: threads.iter().map(|spent| spent.cpu_ns).sum::<u64>() as f64 / receipts,
        user_ns_per_receipt: threads.iter().map(|spent| spent.user_ns).sum::<u64>() as f64
            / receipts,
    }
}

/// A share of one core; of no time, none.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn share(cpu_ns: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { cpu_ns as f64 / 1e9 / seconds } else { 0.0 }
}

/// Why the run proves nothing, if it does not.
fn faults_of(plan: &Plan, run: &Run, (late, p99): (u64, u64)) -> Vec<Fault> {
    let mut faults = Vec::from_iter(deserted(&run.totals, run.returns.as_ref()));
    let mut fault = |what: String, remedy: &str| {
        faults.push(Fault { what, remedy: remedy.to_owned() });
    };
    let missing = run.load.clients.saturating_sub(run.totals.connected);
    if missing > 0 {
        let cause = run.totals.failures.keys().next().map_or("no cause", String::as_str);
        fault(
            format!("{missing} of {} clients could not connect: {cause}", run.load.clients),
            "raise the limit that it names, or ask for fewer clients",
        );
    }
    if run.totals.deliveries < SAMPLES_MIN {
        fault(
            format!("{} receipts are too few", run.totals.deliveries),
            "run longer, with more clients or a higher rate",
        );
    }
    let server_share = run.server.as_ref().map(|server| server.cpu_share);
    faults.extend(limiting(run.generator.cpu_share, server_share));
    match plan.traffic.mode() {
        Mode::Open { .. } => faults.extend(self::late(late, p99)),
        Mode::Closed { window } => {
            if let Some(off) = little_off(run, window).filter(|off| off.abs() > LITTLE) {
                let remedy = if run.agents.is_empty() {
                    "something else was measured than what was asked for: run longer"
                } else {
                    "what the agents have heard takes its time to the publisher: more in flight"
                };
                let what = format!("Little's law is off by {:.0} %", off * 100.0);
                faults.push(Fault { what, remedy: remedy.to_owned() });
            }
        }
    }
    faults
}

/// That a thread of the generator may have been the limit, by their shares of a core.
pub(super) fn limiting(generator: f64, server: Option<f64>) -> Option<Fault> {
    (generator > BUSY && server.is_none_or(|share| share < BUSY)).then(|| Fault {
        what: format!(
            "a generator thread ran for {:.0} % of the time: it may be the limit",
            generator * 100.0
        ),
        remedy: "give it more threads and cores, or a lower rate".to_owned(),
    })
}

/// That the generator did late what was due, by the p99 of that and of what it measured.
#[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
pub(super) fn late(late_ns: u64, p99_ns: u64) -> Option<Fault> {
    later_than(late_ns, p99_ns).map(|late_ns| Fault {
        what: format!("{LATE}: p99 {:.1} ms", late_ns as f64 / 1e6),
        remedy: "give it a core of its own and more threads, or a lower rate".to_owned(),
    })
}

/// That no client was there at the end.
pub(super) fn deserted(totals: &Totals, returns: Option<&Returns>) -> Option<Fault> {
    let disconnects = || totals.disconnects.values().sum::<u64>();
    let gone = returns.map_or_else(disconnects, |returns| returns.away);
    let how = totals.disconnects.keys().next().map_or("", String::as_str);
    (totals.connected > 0 && gone >= totals.connected).then(|| Fault {
        what: format!("all clients were gone before the end: {how}"),
        remedy: "look at what the server, or the path to it, has against them".to_owned(),
    })
}

/// The p99 by which the generator was late, in nanoseconds, if it was: as late as a tenth of what
/// is measured, it is part of the figure.
pub(crate) fn lateness(run: &Run) -> Option<u64> {
    let p99 = |name: &str| run.latencies.get(name).map(|latency| latency.p99_ns);
    later_than(p99("late")?, p99("delivery").unwrap_or(0))
}

fn later_than(late_ns: u64, p99_ns: u64) -> Option<u64> {
    (late_ns > 1_000_000.max(p99_ns / 10)).then_some(late_ns)
}

/// How far messages under way, rate and time are from fitting each other, as a share.
#[expect(clippy::cast_precision_loss, reason = "a check to some percent")]
fn little_off(run: &Run, window: u32) -> Option<f64> {
    let last = run.latencies.get("last").or_else(|| run.latencies.get("echo"))?;
    let asked = f64::from(window) * run.load.publishers as f64;
    let seen = last.count as f64 / run.totals.seconds * last.mean_ns / 1e9;
    (last.count >= 100).then(|| seen / asked - 1.0)
}
