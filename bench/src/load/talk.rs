//! A load of messages: the threads that publish and listen, and the record of what they found.

use std::sync::atomic::AtomicBool;

use super::account::Fan;
use super::board::Board;
use super::crew::{self, Gathered};
use super::direct::Direct;
use super::echo::Echoes;
use super::failed::Failed;
use super::job::Found;
use super::judge;
use super::plan::{Hears, Plan};
use super::rooms::Rooms;
use super::worker::Worker;
use crate::coordination::Outside;
use crate::run::Run;

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
        Hears::Channel => {
            let channels = plan.aim.channels.unwrap_or(1);
            crew::run(&plan.aim, &times, &scene, both, async |post| {
                let job = jobs[post.thread].clone();
                let rooms = Rooms::new(&job, channels);
                Worker::run(job, rooms, post).await
            })
        }
        Hears::One => {
            let (board, clients) = (Board::new(1, plan.publishers, None), plan.aim.clients);
            crew::run(&plan.aim, &times, &scene, both, async |post| {
                let job = jobs[post.thread].clone();
                let direct = Direct::new(&job, clients, &board, jobs.len() == 1);
                Worker::run(job, direct, post).await
            })
        }
        Hears::Own => crew::run(&plan.aim, &times, &scene, both, async |post| {
            let job = jobs[post.thread].clone();
            let echoes = Echoes::new(&job.publishers);
            Worker::run(job, echoes, post).await
        }),
    }
}

/// Makes one record of what the threads found.
pub(crate) fn record(plan: &Plan, gathered: Gathered<Found>) -> Result<Run, Failed> {
    if gathered.found.iter().all(|found| found.connected == 0) {
        let causes = gathered.found.iter().flat_map(|found| found.failures.keys());
        return Err(Failed::unreachable(causes));
    }
    Ok(judge::run_of(plan, gathered)?)
}
