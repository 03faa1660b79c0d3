//! A load without a message: clients that only stay. What is known of silent clients, however many
//! times they came.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::absence::{self, Absences, Reconnect};
use super::aim::Aim;
use super::crew::{self, Gathered, Scene, Times};
use super::judge;
use super::post::Post;
use super::record::{Intervals, nanoseconds};
use super::{Failed, Measure, Task};
use crate::agents::{self, Outside};
use crate::host::now_ns;
use crate::live::Sums;
use crate::output::hist;
use crate::run::{Fault, Generator, Latency, Load, Run, ServerCost, Totals};
use crate::swarm::{Arrived, Request, Swarm};
use crate::units;

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(50);

/// Clients that say nothing.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// How long they stay.
    #[arg(
        short = 'd', long = "duration", value_name = "TIME", default_value = "30s",
        value_parser = units::time
    )]
    time: Duration,
    #[command(flatten)]
    reconnect: Reconnect,
}

/// What one thread saw of clients that say nothing.
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
    /// What the thread ran for while they came.
    pub(super) came_ns: u64,
    pub(super) intervals: Intervals,
}

impl Measure for Idle {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    /// Connects the clients and leaves them alone.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let gathered = if self.aim.agents.count() > 0 {
            agents::lead(&self.aim, &self.times(), stopped, &Task::Idle(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
        record("idle", &self.aim, gathered, 1)
    }
}

impl Idle {
    /// What is to be seen of it.
    pub(super) fn scene(&self) -> Scene {
        let (aim, hearers) = (&self.aim, 0);
        let (asked, threads) = (aim.clients, aim.threads_shown());
        Scene { command: "idle", unit: "", asked, hearers, threads }
    }

    /// This process's part of it.
    pub(crate) fn work(
        &self,
        stopped: &AtomicBool,
        outside: Option<&Outside>,
    ) -> Result<Gathered<Seen>, Failed> {
        let requests = requests(&self.aim)?;
        crew::run(&self.aim, &self.times(), &self.scene(), (stopped, outside), async |post| {
            stay(self, &requests[post.thread], post).await
        })
    }

    fn times(&self) -> Times {
        Times { warm_up: Duration::ZERO, time: Some(self.time) }
    }
}

pub(super) fn requests(aim: &Aim) -> Result<Vec<Request>, Failed> {
    let requests = aim
        .server()
        .and_then(|server| (0..aim.threads).map(|thread| aim.request(thread, server)).collect());
    requests.map_err(Failed::Unreachable)
}

/// The clients of a thread come, and stay until the end.
async fn stay(idle: &Idle, request: &Request, mut post: Post<'_>) -> io::Result<Seen> {
    let aim = &idle.aim;
    let mut seen = Seen::new()?;
    let mut swarm = Swarm::empty()?;
    let handshake = &mut seen.handshake;
    let arrived =
        swarm.arrive(request, aim.share(post.thread).1, aim.pace(post.thread), |time| {
            if let Some(time) = time {
                handshake.saturating_record(super::nanoseconds(time));
                post.arrived();
            }
            post.goes_on()
        })?;
    if let Some(backoff) = idle.reconnect.backoff() {
        swarm.come_back(request, backoff, aim.seed)?;
    }
    post.ready(arrived.open);
    seen.came(arrived)?;
    let moments = loop {
        if let Some(moments) = post.moments() {
            break moments;
        }
        swarm.rest(TURN).await?;
        swarm.take(|_, _| None)?;
    };
    seen.intervals.begin(moments.measure_ns);
    seen.intervals.begun();
    seen.rest(&mut swarm, &mut post, u64::MAX).await?;
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
        })
    }

    pub(super) fn came(&mut self, arrived: Arrived) -> io::Result<()> {
        self.open += arrived.open;
        self.resumed += arrived.resumed;
        judge::add(&mut self.failures, arrived.failures);
        judge::merge(&mut self.late, &arrived.late)
    }

    /// The clients answer pings, and no more, until a moment, or until all is over.
    pub(super) async fn rest(
        &mut self,
        swarm: &mut Swarm,
        post: &mut Post<'_>,
        until: u64,
    ) -> io::Result<()> {
        while let Some(left) = until.min(post.end_ns()).checked_sub(now_ns())
            && left > 0
        {
            swarm.rest(Duration::from_nanos(left).min(TURN)).await?;
            swarm.take(|_, _| None)?;
            // The end's own second has not begun.
            let now = now_ns().min(until.min(post.end_ns()).saturating_sub(1));
            self.intervals.tick(now);
            let (endings, away) = (&swarm.endings, swarm.away());
            post.show(now, &self.intervals, || Sums {
                endings: endings.clone(),
                away,
                ..Sums::default()
            });
        }
        self.pings += std::mem::take(&mut swarm.pings);
        judge::add(&mut self.endings, std::mem::take(&mut swarm.endings));
        Ok(())
    }
}

pub(super) fn record(
    command: &str,
    aim: &Aim,
    gathered: Gathered<Seen>,
    rounds: usize,
) -> Result<Run, Failed> {
    let Gathered { found, sampler, began_unix_ms, measured, joint } = gathered;
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
        judge::add(&mut totals.failures, seen.failures);
        judge::add(&mut totals.disconnects, seen.endings);
        judge::merge(&mut handshake, &seen.handshake)?;
        let seconds = seen.intervals.finish();
        spent.push(judge::Spent::over(&seconds));
        intervals.extend(seconds);
    }
    let asked = (aim.clients * rounds) as u64;
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
    let mut faults = Vec::from_iter(judge::gone(&sampler, returns.is_some()));
    if let Some((returns, _)) = &returns {
        faults.extend(judge::deserted(&totals, Some(returns)));
    }
    let (_, series) = judge::seconds_of(intervals, &sampler)?;
    let generator = judge::generator_of(aim, &spent, &totals);
    let mut latencies = BTreeMap::from([("handshake".to_owned(), Latency::of(&handshake))]);
    let returns = returns.map(|(returns, took)| {
        latencies.insert("return".to_owned(), Latency::of(&took));
        returns
    });
    Ok(Run {
        began_unix_ms,
        load: Load { clients: aim.clients as u64, seconds: totals.seconds, ..Load::default() },
        latencies,
        returns,
        server,
        generator: Generator { cpu_ns_per_receipt: 0.0, user_ns_per_receipt: 0.0, ..generator },
        series,
        agents: joint.map(|joint| joint.agents).unwrap_or_default(),
        faults: fault.into_iter().chain(faults).collect(),
        totals,
        ..judge::head_of(command, aim, &sampler)
    })
}
