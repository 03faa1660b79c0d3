//! Loads without a message: clients that come, and clients that only stay.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

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

/// Storms are over when they have blown.
const ALL_ROUNDS: Times = Times { warm_up: Duration::ZERO, time: None };

/// How often a thread without clients looks whether it may begin.
const MEETING: Duration = Duration::from_millis(1);

/// A connect storm, and the storms of all who come back.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
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

/// What one thread saw.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// From the first connect to the last answer, over all rounds.
    took: Duration,
    open: usize,
    resumed: usize,
    failures: BTreeMap<String, u64>,
    endings: BTreeMap<String, u64>,
    pings: u64,
    absences: Option<Absences>,
    #[serde(with = "hist::text")]
    handshake: Histogram<u64>,
    intervals: Intervals,
}

impl Storm {
    /// All clients come once, at once, and go.
    pub(crate) fn once(aim: Aim) -> Self {
        Self { aim: Aim { ramp: None, ..aim }, rounds: 1, hold: Duration::ZERO }
    }
}

impl Measure for Storm {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    /// Runs the storms.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let gathered = if self.aim.agents.count() > 0 {
            agents::lead(&self.aim, &ALL_ROUNDS, stopped, &Task::Connect(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
        let took = gathered.found.iter().map(|seen: &Seen| seen.took).max().unwrap_or_default();
        let gathered = Gathered { measured: took, ..gathered };
        let mut run = record("connect", &self.aim, gathered, self.rounds.max(1))?;
        for second in &mut run.series {
            second.connects = std::mem::take(&mut second.deliveries);
        }
        Ok(run)
    }
}

impl Storm {
    /// What is to be seen of it.
    pub(super) fn scene(&self) -> Scene {
        Scene {
            command: "connect",
            unit: "connects",
            asked: self.aim.clients.saturating_mul(self.rounds.max(1)),
            hearers: 0,
            threads: self.aim.threads_shown(),
        }
    }

    /// This process's part of it.
    pub(crate) fn work(
        &self,
        stopped: &AtomicBool,
        outside: Option<&Outside>,
    ) -> Result<Gathered<Seen>, Failed> {
        let (aim, rounds) = (&self.aim, self.rounds.max(1));
        let requests = requests(aim)?;
        crew::run(aim, &ALL_ROUNDS, &self.scene(), (stopped, outside), async |post| {
            storms(aim, &requests[post.thread], (rounds, self.hold), post).await
        })
    }
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

fn requests(aim: &Aim) -> Result<Vec<Request>, Failed> {
    let requests: Result<_, _> = (0..aim.threads).map(|thread| aim.request(thread)).collect();
    requests.map_err(Failed::Unreachable)
}

/// All clients of a thread come and stay, so many times.
async fn storms(
    aim: &Aim,
    request: &Request,
    (rounds, hold): (usize, Duration),
    mut post: Post<'_>,
) -> io::Result<Seen> {
    let mut seen = Seen::new()?;
    post.ready(0);
    let moments = loop {
        if let Some(moments) = post.moments() {
            break moments;
        }
        std::thread::park_timeout(MEETING);
    };
    while let Some(left) = moments.begin_ns.checked_sub(now_ns()) {
        std::thread::park_timeout(Duration::from_nanos(left));
    }
    seen.intervals.begin(moments.measure_ns);
    seen.intervals.begun();
    for round in 1..=rounds {
        if !post.goes_on() {
            break;
        }
        let began = Instant::now();
        let mut swarm = Swarm::empty()?;
        let Seen { handshake, intervals, .. } = &mut seen;
        let arrived = swarm.arrive(request, aim.share(post.thread).1, aim.pace(), |time| {
            let now = now_ns();
            intervals.tick(now);
            if let Some(time) = time {
                let took_ns = super::nanoseconds(time);
                handshake.saturating_record(took_ns);
                intervals.received(now, took_ns);
                post.arrived();
            }
            post.show(now, intervals, Sums::default);
            post.goes_on()
        })?;
        seen.took += began.elapsed();
        seen.came(arrived);
        let until = now_ns() + super::nanoseconds(hold);
        seen.rest(&mut swarm, &mut post, until).await?;
        drop(swarm);
        post.meet(round);
    }
    seen.intervals.end();
    Ok(seen)
}

/// The clients of a thread come, and stay until the end.
async fn stay(idle: &Idle, request: &Request, mut post: Post<'_>) -> io::Result<Seen> {
    let aim = &idle.aim;
    let mut seen = Seen::new()?;
    let mut swarm = Swarm::empty()?;
    let handshake = &mut seen.handshake;
    let arrived = swarm.arrive(request, aim.share(post.thread).1, aim.pace(), |time| {
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
    seen.came(arrived);
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
    fn new() -> io::Result<Self> {
        Ok(Self {
            took: Duration::ZERO,
            open: 0,
            resumed: 0,
            failures: BTreeMap::new(),
            endings: BTreeMap::new(),
            pings: 0,
            absences: None,
            handshake: nanoseconds()?,
            intervals: Intervals::new()?,
        })
    }

    fn came(&mut self, arrived: Arrived) {
        self.open += arrived.open;
        self.resumed += arrived.resumed;
        judge::add(&mut self.failures, arrived.failures);
    }

    /// The clients answer pings, and no more, until a moment, or until all is over.
    async fn rest(&mut self, swarm: &mut Swarm, post: &mut Post<'_>, until: u64) -> io::Result<()> {
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

fn record(
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
        handshake.add(&seen.handshake).map_err(io::Error::other)?;
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
