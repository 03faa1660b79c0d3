//! A load: who says how much to how many, and what comes of it.

mod account;
mod aim;
mod board;
mod crew;
mod echo;
mod judge;
mod ledger;
mod limit;
mod message;
mod pace;
mod plan;
mod record;
mod quiet;
mod sampler;
mod stamp;
mod worker;

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) use aim::Aim;
pub(crate) use echo::Echo;
pub(crate) use limit::Limit;
pub(crate) use plan::Plan;
pub(crate) use quiet::{Idle, Storm};

use crate::run::Run;
use account::Fan;
use board::Board;
use crew::Times;
use echo::Echoes;
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

/// Runs a load, from the first connect to the last receipt.
pub(crate) fn run(plan: &Plan, stopped: &AtomicBool) -> Result<Run, Failed> {
    let jobs = plan.jobs().map_err(Failed::Unreachable)?;
    let times = Times { warm_up: plan.talk.warm_up, time: Some(plan.talk.time) };
    let gathered = match plan.hears {
        Hears::All => {
            let board = Board::new(jobs.len(), plan.publishers);
            crew::run(&plan.aim, &times, stopped, async |post| {
                let job = jobs[post.thread].clone();
                let fan = Fan::new(&job, &board);
                Worker::run(job, fan, post).await
            })
        }
        Hears::Own => crew::run(&plan.aim, &times, stopped, async |post| {
            let job = jobs[post.thread].clone();
            let echoes = Echoes::new(&job.publishers);
            Worker::run(job, echoes, post).await
        }),
    }?;
    if gathered.found.iter().all(|found| found.connected == 0) {
        let causes = gathered.found.iter().flat_map(|found| found.failures.keys());
        return Err(Failed::unreachable(causes));
    }
    Ok(judge::run_of(plan, gathered)?)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
