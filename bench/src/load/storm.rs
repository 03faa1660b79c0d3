//! A load without a message: clients that come, and come again.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::failed::Failed;
use super::idle::{self, Seen};
use super::judge;
use super::outline::{Control, Outline, Schedule};
use super::setup::Setup;
use super::sums::merge;
use super::threads::{self, LoadResult};
use super::worker_handle::WorkerHandle;
use crate::coordination::CoordinatorLink;
use crate::histogram::{nanoseconds, ns_of};
use crate::host::{now_ns, thread_cpu_ns};
use crate::live::Sums;
use crate::run::{Latency, Run};
use crate::swarm::{Request, Swarm};
use crate::units;

/// How often a thread without clients looks whether it may begin.
const MEETING: Duration = Duration::from_millis(1);

/// A storm that was over sooner says nothing of what the generator could.
const TELLING: Duration = Duration::from_millis(100);

/// A connect storm, and the storms of all who come back.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// How often all clients come: after the first time they are killed and return.
    #[arg(long, value_name = "N", default_value = "2", value_parser = units::count)]
    rounds: usize,
    /// How long they stay each time.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time)]
    hold: Duration,
}

impl Storm {
    /// Storms are over when they have blown.
    pub(crate) const SCHEDULE: Schedule = Schedule { warm_up: Duration::ZERO, time: None };

    /// All clients come once, at once, and go.
    pub(crate) fn once(setup: Setup) -> Self {
        Self { setup: Setup { ramp: None, ..setup }, rounds: 1, hold: Duration::ZERO }
    }
}

impl Storm {
    /// Makes one record of what the threads saw.
    pub(crate) fn record(&self, gathered: LoadResult<Seen>) -> Result<Run, Failed> {
        let took = gathered.found.iter().map(|seen: &Seen| seen.took).max().unwrap_or_default();
        let busiest_ns = gathered.found.iter().map(|seen| seen.came_ns).max().unwrap_or(0);
        let mut late = nanoseconds()?;
        for seen in &gathered.found {
            merge(&mut late, &seen.late)?;
        }
        let gathered = LoadResult { measured: took, ..gathered };
        let mut run = idle::record("connect", &self.setup, gathered, self.rounds.max(1))?;
        // Of the time in which clients came, as all other figures: not of that in which they stay.
        run.generator.cpu_share = judge::share(busiest_ns, run.totals.seconds);
        if took >= TELLING {
            run.faults.extend(judge::limiting(run.generator.cpu_share, None));
        }
        if !late.is_empty() {
            let (late, handshake) = (Latency::of(&late), &run.latencies["handshake"]);
            run.faults.extend(judge::late(late.p99_ns, handshake.p99_ns));
            run.latencies.insert("late".to_owned(), late);
        }
        for second in &mut run.series {
            second.connects = std::mem::take(&mut second.deliveries);
        }
        Ok(run)
    }

    /// Returns the outline for the view.
    pub(super) fn outline(&self) -> Outline {
        Outline {
            command: "connect",
            unit: "connects",
            asked: self.setup.clients.saturating_mul(self.rounds.max(1)),
            hearers: 0,
            threads: self.setup.threads_shown(),
        }
    }

    /// This process's part of it.
    pub(crate) fn work(
        &self,
        stopped: &AtomicBool,
        coordinator: Option<&CoordinatorLink>,
    ) -> Result<LoadResult<Seen>, Failed> {
        let (schedule, outline) = (&Self::SCHEDULE, &self.outline());
        let control = Control { schedule, outline, stopped, coordinator };
        let requests = idle::requests(&self.setup)?;
        threads::run(&self.setup, &control, async |handle| {
            storms(self, &requests[handle.thread], handle).await
        })
    }
}

/// All clients of a thread come and stay, so many times.
async fn storms(
    storm: &Storm,
    request: &Request,
    mut handle: WorkerHandle<'_>,
) -> io::Result<Seen> {
    let (setup, rounds) = (&storm.setup, storm.rounds.max(1));
    let mut seen = Seen::new()?;
    handle.ready(0);
    let moments = loop {
        if let Some(moments) = handle.moments() {
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
        if !handle.goes_on() {
            break;
        }
        let (began, spent_ns) = (Instant::now(), thread_cpu_ns());
        let mut swarm = Swarm::empty()?;
        let Seen { handshake, intervals, .. } = &mut seen;
        let arrived = swarm.arrive(
            request,
            setup.clients_of(handle.thread).len(),
            setup.pace(handle.thread),
            |time| {
                let now = now_ns();
                intervals.tick(now);
                if let Some(time) = time {
                    let took_ns = ns_of(time);
                    handshake.saturating_record(took_ns);
                    intervals.received(now, took_ns);
                    handle.arrived();
                }
                handle.show(now, intervals, Sums::default);
                handle.goes_on()
            },
        )?;
        seen.took += began.elapsed();
        seen.came_ns += thread_cpu_ns().saturating_sub(spent_ns);
        seen.came(arrived)?;
        let until = now_ns() + ns_of(storm.hold);
        seen.rest(&mut swarm, &mut handle, until).await?;
        if round == rounds {
            seen.sockets = swarm.into_sockets();
        } else {
            drop(swarm);
        }
        handle.meet(round);
    }
    seen.intervals.end();
    Ok(seen)
}
