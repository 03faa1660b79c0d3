//! A load: who says how much to how many, and what comes of it.

mod absence;
mod account;
mod aim;
mod board;
mod crew;
mod echo;
mod job;
mod judge;
mod ledger;
mod limit;
pub(crate) mod limits;
mod message;
mod pace;
mod place;
mod plan;
mod post;
pub(crate) mod presets;
mod record;
mod quiet;
mod sampler;
pub(crate) mod stamp;
mod storm;
mod watch;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use absence::{Absences, Backoff};
pub(crate) use aim::Aim;
pub(crate) use board::Heard;
pub(crate) use crew::{Gathered, Times, run as gather};
pub(crate) use echo::Echo;
pub(crate) use judge::{LATE, SAMPLES_MIN, lateness};
pub(crate) use limit::Limit;
pub(crate) use limits::Limits;
pub(crate) use plan::Plan;
pub(crate) use post::Post;
pub(crate) use quiet::Idle;
pub(crate) use record::Interval;
pub(crate) use record::nanoseconds as histogram;
pub(crate) use storm::Storm;

use crate::agents::{self, Outside};
use crate::run::Run;
use account::Fan;
use board::Board;
use crew::Scene;
use echo::Echoes;
use job::Found;
use plan::Hears;
use worker::Worker;

/// Why there is no run.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server cannot be reached.
    Unreachable(String),
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failed {
    /// No client came: the first cause of all that there were.
    fn unreachable<'a>(mut causes: impl Iterator<Item = &'a String>) -> Self {
        let cause = causes.next().map_or_else(|| "no client connected".to_owned(), Clone::clone);
        Self::Unreachable(cause)
    }
}

/// A load that can be run again and again, against one server or another.
pub(crate) trait Measure: Clone {
    fn aim(&self) -> &Aim;
    fn aim_mut(&mut self) -> &mut Aim;

    /// What makes no sense together.
    fn check(&self) -> Result<(), String> {
        self.aim().check()
    }

    /// Runs it, from the first connect to the last receipt.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed>;
}

/// A load of any kind, as agents are told it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    Talk(Plan),
    Connect(Storm),
    Idle(Idle),
}

impl Task {
    pub(crate) fn aim_mut(&mut self) -> &mut Aim {
        match self {
            Self::Talk(plan) => &mut plan.aim,
            Self::Connect(storm) => &mut storm.aim,
            Self::Idle(idle) => &mut idle.aim,
        }
    }

    /// What is to be seen of it.
    pub(crate) fn scene(&self) -> Scene {
        match self {
            Self::Talk(plan) => plan.scene(),
            Self::Connect(storm) => storm.scene(),
            Self::Idle(idle) => idle.scene(),
        }
    }

    /// Publishers whose messages go to the clients of all agents.
    pub(crate) fn publishers(&self) -> usize {
        match self {
            Self::Talk(plan) if plan.hears == Hears::All => plan.publishers,
            _ => 0,
        }
    }

    /// What tells the run's messages from those of others.
    pub(crate) fn run_mark(&self) -> u16 {
        if let Self::Talk(plan) = self { plan.run_mark() } else { 0 }
    }
}

impl Measure for Plan {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    fn check(&self) -> Result<(), String> {
        // The plan's own.
        Self::check(self)
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        run(self, stopped)
    }
}

fn run(plan: &Plan, stopped: &AtomicBool) -> Result<Run, Failed> {
    let gathered = if plan.aim.agents.count() > 0 {
        agents::lead(&plan.aim, &plan.times(), stopped, &Task::Talk(plan.clone()))?
    } else {
        work(plan, stopped, None)?
    };
    if gathered.found.iter().all(|found| found.connected == 0) {
        let causes = gathered.found.iter().flat_map(|found| found.failures.keys());
        return Err(Failed::unreachable(causes));
    }
    Ok(judge::run_of(plan, gathered)?)
}

/// This process's part of a load.
pub(crate) fn work(
    plan: &Plan,
    stopped: &AtomicBool,
    outside: Option<&Outside>,
) -> Result<Gathered<Found>, Failed> {
    let jobs = plan.jobs().map_err(Failed::Unreachable)?;
    let (times, scene, both) = (plan.times(), plan.scene(), (stopped, outside));
    match plan.hears {
        Hears::All => {
            let board = Board::new(jobs.len(), plan.publishers, outside);
            crew::run(&plan.aim, &times, &scene, both, async |post| {
                let job = jobs[post.thread].clone();
                let fan = Fan::new(&job, &board);
                Worker::run(job, fan, post).await
            })
        }
        Hears::Own => crew::run(&plan.aim, &times, &scene, both, async |post| {
            let job = jobs[post.thread].clone();
            let echoes = Echoes::new(&job.publishers);
            Worker::run(job, echoes, post).await
        }),
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
