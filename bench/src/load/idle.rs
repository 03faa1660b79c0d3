//! A load without a message: clients that only stay. What is known of silent clients, however many
//! times they came.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::absence::{self, Reconnect};
use super::failed::Failed;
use super::judge;
use super::outline::{Control, Outline, Schedule};
use super::setup::Setup;
use super::sums::{add, merge};
use super::threads::{self, LoadResult};
use super::worker_handle::WorkerHandle;
use crate::coordination::CoordinatorLink;
use crate::histogram::{nanoseconds, ns_of};
use crate::host::now_ns;
use crate::live::Sums;
use crate::output::hist;
use crate::run::{Fault, Generator, Latency, Load, Run, ServerCost, Totals};
use crate::seconds::Intervals;
use crate::swarm::{Absences, Arrived, Request, Swarm};
use crate::units;

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(50);

/// Clients that say nothing.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// How long they stay.
    #[arg(
        short = 'd', long = "duration", value_name = "TIME", default_value = "30s",
        value_parser = units::time
    )]
    time: Duration,
    /// How long they stay before measuring: what a server does when clients have just come is over.
    #[arg(long = "warmup", value_name = "TIME", default_value = "0s", value_parser = units::time)]
    warm_up: Duration,
    #[command(flatten)]
    reconnect: Reconnect,
}

/// The result of one worker whose clients say nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// From the first connect to the last answer, over all rounds of a storm.
    pub(super) took: Duration,
    open: usize,
    resumed: usize,
    failures: BTreeMap<String, u64>,
    endings: BTreeMap<String, u64>,
    pings: u64,
    absences: Option<Absences>,
    #[serde(with = "hist::text")]
    pub(super) handshake: Histogram<u64>,
    /// How late the generator began what was due.
    #[serde(with = "hist::text")]
    pub(super) late: Histogram<u64>,
    /// CPU time of the thread while its clients connected.
    pub(super) came_ns: u64,
    pub(super) intervals: Intervals,
    /// Connections that stay open until the last look at the server: what it costs to close them
    /// is no part of what it costs to accept them.
    #[serde(skip)]
    pub(super) sockets: Vec<OwnedFd>,
}

impl Idle {
    /// Returns the outline for the view.
    pub(super) fn outline(&self) -> Outline {
        let (setup, hearers) = (&self.setup, 0);
        let (asked, threads) = (setup.clients, setup.threads_shown());
        Outline { command: "idle", unit: "", asked, hearers, threads }
    }

    /// Makes one record of what the threads saw.
    pub(crate) fn record(&self, gathered: LoadResult<Seen>) -> Result<Run, Failed> {
        record("idle", &self.setup, gathered, 1)
    }

    /// Connects the clients and leaves them alone: this process's part of it.
    pub(crate) fn work(
        &self,
        stopped: &AtomicBool,
        coordinator: Option<&CoordinatorLink>,
    ) -> Result<LoadResult<Seen>, Failed> {
        let requests = requests(&self.setup)?;
        let comes_back = self.reconnect.backoff().is_some();
        let requests: Vec<Request> =
            requests.into_iter().map(|request| request.recovering_if(comes_back)).collect();
        let (schedule, outline) = (&self.schedule(), &self.outline());
        let control = Control { schedule, outline, stopped, coordinator };
        threads::run(&self.setup, &control, async |handle| {
            stay(self, &requests[handle.thread], handle).await
        })
    }

    pub(crate) fn schedule(&self) -> Schedule {
        Schedule { warm_up: self.warm_up, time: Some(self.time) }
    }
}

pub(super) fn requests(setup: &Setup) -> Result<Vec<Request>, Failed> {
    let requests = setup.server().and_then(|server| {
        (0..setup.threads).map(|thread| setup.request(thread, server)).collect()
    });
    requests.map_err(Failed::Unreachable)
}

/// The clients of a thread come, and stay until the end.
async fn stay(idle: &Idle, request: &Request, mut handle: WorkerHandle<'_>) -> io::Result<Seen> {
    let setup = &idle.setup;
    let mut seen = Seen::new()?;
    let mut swarm = Swarm::empty()?;
    let handshake = &mut seen.handshake;
    let arrived = swarm.arrive(
        request,
        setup.clients_of(handle.thread).len(),
        setup.pace(handle.thread),
        |time| {
            if let Some(time) = time {
                handshake.saturating_record(ns_of(time));
                handle.arrived();
            }
            handle.goes_on()
        },
    )?;
    if let Some(backoff) = idle.reconnect.backoff() {
        swarm.come_back(vec![request.clone()], backoff, setup.seed)?;
    }
    handle.ready(arrived.open);
    seen.came(arrived)?;
    let moments = loop {
        if let Some(moments) = handle.moments() {
            break moments;
        }
        swarm.rest(TURN).await?;
        swarm.take(|_, _| ())?;
    };
    while let Some(left) = moments.measure_ns.checked_sub(now_ns())
        && left > 0
        && handle.goes_on()
    {
        swarm.rest(Duration::from_nanos(left).min(TURN)).await?;
        swarm.take(|_, _| ())?;
    }
    // Those before belong to the warm-up.
    swarm.pings = 0;
    seen.intervals.begin(moments.measure_ns);
    seen.intervals.begun();
    seen.rest(&mut swarm, &mut handle, u64::MAX).await?;
    seen.absences = swarm.absences();
    seen.intervals.end();
    Ok(seen)
}

impl Seen {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            took: Duration::ZERO,
            open: 0,
            resumed: 0,
            failures: BTreeMap::new(),
            endings: BTreeMap::new(),
            pings: 0,
            absences: None,
            handshake: nanoseconds()?,
            late: nanoseconds()?,
            came_ns: 0,
            intervals: Intervals::new()?,
            sockets: Vec::new(),
        })
    }

    pub(super) fn came(&mut self, arrived: Arrived) -> io::Result<()> {
        self.open += arrived.open;
        self.resumed += arrived.resumed;
        add(&mut self.failures, arrived.failures);
        merge(&mut self.late, &arrived.late)
    }

    /// The clients answer pings, and no more, until a moment, or until all is over.
    pub(super) async fn rest(
        &mut self,
        swarm: &mut Swarm,
        handle: &mut WorkerHandle<'_>,
        until: u64,
    ) -> io::Result<()> {
        while let Some(left) = until.min(handle.end_ns()).checked_sub(now_ns())
            && left > 0
        {
            swarm.rest(Duration::from_nanos(left).min(TURN)).await?;
            swarm.take(|_, _| ())?;
            // The end's own second has not begun.
            let now = now_ns().min(until.min(handle.end_ns()).saturating_sub(1));
            self.intervals.tick(now);
            let (endings, away) = (&swarm.endings, swarm.away());
            handle.show(now, &self.intervals, || Sums {
                endings: endings.clone(),
                away,
                ..Sums::default()
            });
        }
        self.pings += std::mem::take(&mut swarm.pings);
        add(&mut self.endings, std::mem::take(&mut swarm.endings));
        Ok(())
    }
}

pub(super) fn record(
    command: &str,
    setup: &Setup,
    gathered: LoadResult<Seen>,
    rounds: usize,
) -> Result<Run, Failed> {
    let LoadResult { found, sampler, began_unix_ms, measured, across_agents } = gathered;
    if found.iter().all(|seen| seen.open == 0) {
        return Err(Failed::unreachable(found.iter().flat_map(|seen| seen.failures.keys())));
    }
    let mut totals = Totals { seconds: measured.as_secs_f64(), ..Totals::default() };
    let mut handshake = nanoseconds()?;
    let (mut spent, mut intervals) = (Vec::new(), Vec::new());
    let returns = absence::merged(found.iter().filter_map(|seen| seen.absences.as_ref()), 0)?;
    for seen in found {
        totals.connected += seen.open as u64;
        totals.resumed += seen.resumed as u64;
        totals.pings += seen.pings;
        add(&mut totals.failures, seen.failures);
        add(&mut totals.disconnects, seen.endings);
        merge(&mut handshake, &seen.handshake)?;
        let seconds = seen.intervals.finish();
        spent.push(judge::Spent::over(&seconds));
        intervals.extend(seconds);
    }
    let asked = (setup.clients * rounds) as u64;
    let missing = asked.saturating_sub(totals.connected);
    let cause = totals.failures.keys().next().map_or("interrupted", String::as_str);
    let fault = (missing > 0).then(|| Fault {
        what: format!("{missing} of {asked} connects failed: {cause}"),
        remedy: "raise the limit that it names, or ask for fewer clients".to_owned(),
    });
    let server = judge::server_of(&sampler, &totals).map(|server| ServerCost {
        cpu_share: judge::share(sampler.server_ns().unwrap_or(0), totals.seconds),
        cpu_ns_per_delivery: 0.0,
        ..server
    });
    let server = server.map(|server| match command {
        // They come after the look at its memory, and go again.
        "connect" => ServerCost {
            private_bytes_per_client: None,
            memory_untold: Some("clients of a storm do not stay: idle measures it".to_owned()),
            ..server
        },
        _ => server,
    });
    let mut faults = Vec::from_iter(judge::gone(&sampler, returns.is_some()));
    if let Some((returns, _)) = &returns {
        faults.extend(judge::deserted(&totals, Some(returns)));
    }
    let (_, series) = judge::seconds_of(intervals, &sampler)?;
    let generator = judge::generator_of(setup, &spent, &totals);
    let mut latencies = BTreeMap::from([("handshake".to_owned(), Latency::of(&handshake))]);
    let returns = returns.map(|(returns, took)| {
        latencies.insert("return".to_owned(), Latency::of(&took));
        returns
    });
    Ok(Run {
        began_unix_ms,
        load: Load { clients: setup.clients as u64, seconds: totals.seconds, ..Load::default() },
        latencies,
        returns,
        server,
        generator: Generator { cpu_ns_per_receipt: 0.0, user_ns_per_receipt: 0.0, ..generator },
        series,
        agents: across_agents.map(|across_agents| across_agents.agents).unwrap_or_default(),
        faults: fault.into_iter().chain(faults).collect(),
        totals,
        ..judge::head_of(command, setup, &sampler)
    })
}
