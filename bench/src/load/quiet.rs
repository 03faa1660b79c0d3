//! Loads without a message: clients that come, and clients that only stay.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Failed;
use super::aim::Aim;
use super::judge;
use super::record::nanoseconds;
use super::sampler::Sampler;
use crate::host;
use crate::run::{Fault, Generator, Latency, Load, Run, ServerCost, Totals};
use crate::swarm::{Request, Swarm};
use crate::units;

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(50);

/// A connect storm, and the storms of all who come back.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// How often all clients come: after the first time they are killed and return.
    #[arg(long, value_name = "N", default_value = "2", value_parser = units::count)]
    rounds: usize,
    /// How long they stay each time.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time)]
    hold: Duration,
}

/// Clients that say nothing.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// How long they stay.
    #[arg(
        short = 'd', long = "duration", value_name = "TIME", default_value = "30s",
        value_parser = units::time
    )]
    time: Duration,
}

/// What one thread saw.
struct Seen {
    /// From the first connect to the last answer, over all rounds.
    took: Duration,
    open: usize,
    resumed: usize,
    failures: BTreeMap<String, u64>,
    endings: BTreeMap<String, u64>,
    handshake: Histogram<u64>,
    pings: u64,
    cpu_ns: u64,
}

impl Storm {
    /// Runs the storms.
    pub(crate) fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let rounds = self.rounds.max(1);
        let mut sampler = Sampler::new(self.aim.server_pid)?;
        sampler.sample(true, false)?;
        let seen = on_threads(&self.aim, stopped, rounds, self.hold, || Ok(()))?;
        sampler.sample(false, true)?;
        sampler.finish()?;
        let took = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
        Ok(record("connect", &self.aim, seen, &sampler, took, rounds)?)
    }
}

impl Idle {
    /// Connects the clients and leaves them alone.
    pub(crate) fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let mut sampler = Sampler::new(self.aim.server_pid)?;
        let seen = on_threads(&self.aim, stopped, 1, self.time, || {
            sampler.connected()?;
            sampler.sample(true, false)
        })?;
        sampler.sample(false, true)?;
        sampler.finish()?;
        Ok(record("idle", &self.aim, seen, &sampler, self.time, 1)?)
    }
}

/// Has every thread's share of clients come and stay, so many times; `all_here` is called when all
/// have come for the first time.
fn on_threads(
    aim: &Aim,
    stopped: &Arc<AtomicBool>,
    rounds: usize,
    hold: Duration,
    all_here: impl FnOnce() -> io::Result<()>,
) -> Result<Vec<Seen>, Failed> {
    let requests =
        (0..aim.threads).map(|thread| aim.request(thread)).collect::<Result<Vec<_>, _>>();
    let requests = requests.map_err(Failed::Unreachable)?;
    // The main thread is one more, once.
    let here = Barrier::new(aim.threads + 1);
    let start = Barrier::new(aim.threads);
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(thread, request)| {
                let (here, start) = (&here, &start);
                scope.spawn(move || {
                    let mut first = Some(here);
                    let seen =
                        visit(aim, thread, request, stopped, rounds, hold, (start, &mut first));
                    // Whoever failed before all were there keeps nobody waiting.
                    if let Some(here) = first {
                        here.wait();
                    }
                    seen
                })
            })
            .collect();
        here.wait();
        let sampled = all_here();
        let seen: io::Result<Vec<Seen>> = threads
            .into_iter()
            .map(|thread| {
                thread.join().map_err(|_| io::Error::other("a generator thread panicked"))?
            })
            .collect();
        sampled.and(seen)
    })?;
    if seen.iter().all(|seen| seen.open == 0) {
        let cause = seen.iter().flat_map(|seen| seen.failures.keys()).next();
        let cause = cause.map_or_else(|| "no client connected".to_owned(), Clone::clone);
        return Err(Failed::Unreachable(cause));
    }
    Ok(seen)
}

#[expect(clippy::too_many_arguments, reason = "one thread's whole errand")]
fn visit(
    aim: &Aim,
    thread: usize,
    request: &Request,
    stopped: &AtomicBool,
    rounds: usize,
    hold: Duration,
    (start, first): (&Barrier, &mut Option<&Barrier>),
) -> io::Result<Seen> {
    let mut seen = Seen {
        took: Duration::ZERO,
        open: 0,
        resumed: 0,
        failures: BTreeMap::new(),
        endings: BTreeMap::new(),
        handshake: nanoseconds()?,
        pings: 0,
        cpu_ns: 0,
    };
    // A thread that fails still meets the others at every round.
    let mut failed = None;
    for _ in 0..rounds {
        start.wait();
        if failed.is_some() || stopped.load(Ordering::Relaxed) {
            continue;
        }
        let storm = storm(aim, thread, request, stopped, hold, (&mut seen, &mut *first));
        failed = host::on_core(thread, aim.core(thread), storm).flatten().err();
    }
    failed.map_or(Ok(seen), Err)
}

#[expect(clippy::too_many_arguments, reason = "one thread's whole errand")]
async fn storm(
    aim: &Aim,
    thread: usize,
    request: &Request,
    stopped: &AtomicBool,
    hold: Duration,
    (seen, first): (&mut Seen, &mut Option<&Barrier>),
) -> io::Result<()> {
    let began = Instant::now();
    let cpu_began = host::thread_cpu_ns();
    let mut swarm = Swarm::empty()?;
    let handshake = &mut seen.handshake;
    let arrived = swarm.arrive(request, aim.share(thread).1, aim.pace(), |time| {
        handshake.saturating_record(super::nanoseconds(time));
    })?;
    seen.took += began.elapsed();
    seen.open += arrived.open;
    seen.resumed += arrived.resumed;
    judge::add(&mut seen.failures, arrived.failures);
    if let Some(here) = first.take() {
        here.wait();
    }
    let until = Instant::now() + hold;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !stopped.load(Ordering::Relaxed)
    {
        swarm.rest(left.min(TURN)).await?;
        swarm.take(|_, _| None)?;
    }
    seen.pings += swarm.pings;
    seen.cpu_ns += host::thread_cpu_ns() - cpu_began;
    judge::add(&mut seen.endings, std::mem::take(&mut swarm.endings));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
#[expect(clippy::too_many_arguments, reason = "what the threads, the host and the user said")]
fn record(
    command: &str,
    aim: &Aim,
    seen: Vec<Seen>,
    sampler: &Sampler,
    took: Duration,
    rounds: usize,
) -> io::Result<Run> {
    let mut totals = Totals { seconds: took.as_secs_f64(), ..Totals::default() };
    let mut handshake = nanoseconds()?;
    let busiest = seen.iter().map(|seen| seen.cpu_ns).max().unwrap_or(0);
    for seen in seen {
        totals.connected += seen.open as u64;
        totals.resumed += seen.resumed as u64;
        totals.pings += seen.pings;
        judge::add(&mut totals.failures, seen.failures);
        judge::add(&mut totals.disconnects, seen.endings);
        handshake.add(&seen.handshake).map_err(io::Error::other)?;
    }
    let asked = (aim.clients * rounds) as u64;
    let missing = asked.saturating_sub(totals.connected);
    let cause = totals.failures.keys().next().map_or("interrupted", String::as_str);
    let fault = (missing > 0).then(|| Fault {
        what: format!("{missing} of {asked} connects failed: {cause}"),
        remedy: "raise the limit that it names, or ask for fewer clients".to_owned(),
    });
    let server = judge::server_of(sampler, &totals).map(|server| ServerCost {
        cpu_share: sampler.server_ns().unwrap_or(0) as f64 / 1e9 / totals.seconds,
        cpu_ns_per_delivery: 0.0,
        ..server
    });
    Ok(Run {
        began_unix_ms: super::unix_ms()
            .saturating_sub(u64::try_from(took.as_millis()).unwrap_or(0)),
        load: Load { clients: aim.clients as u64, seconds: totals.seconds, ..Load::default() },
        latencies: BTreeMap::from([("handshake".to_owned(), Latency::of(&handshake))]),
        server,
        generator: Generator {
            threads: u32::try_from(aim.threads).unwrap_or(u32::MAX),
            agents: 1,
            cpu_share: busiest as f64 / 1e9 / totals.seconds,
            cpu_ns_per_receipt: 0.0,
        },
        faults: fault.into_iter().collect(),
        totals,
        ..judge::head_of(command, aim, sampler)
    })
}
