//! A load of messages: the threads that publish and listen, and the record of what they found.

use std::sync::atomic::AtomicBool;

use super::account::Fan;
use super::board::Board;
use super::direct::Direct;
use super::echo::Echoes;
use super::failed::Failed;
use super::judge;
use super::outline::Control;
use super::plan::{Hears, Plan};
use super::rooms::Rooms;
use super::threads::{self, LoadResult};
use super::worker::Worker;
use super::worker_task::Found;
use crate::coordination::CoordinatorLink;
use crate::run::Run;

/// This process's part of a load.
pub(crate) fn work(
    plan: &Plan,
    stopped: &AtomicBool,
    coordinator: Option<&CoordinatorLink>,
) -> Result<LoadResult<Found>, Failed> {
    let tasks = plan.tasks().map_err(Failed::Unreachable)?;
    let (schedule, outline) = (&plan.schedule(), &plan.outline());
    let control = Control { schedule, outline, stopped, coordinator };
    match plan.hears {
        Hears::All => {
            let board = Board::new(tasks.len(), plan.publishers, coordinator);
            threads::run(&plan.setup, &control, async |handle| {
                let task = tasks[handle.thread].clone();
                let fan = Fan::new(&task, &board);
                Worker::run(task, fan, handle).await
            })
        }
        Hears::Channel => {
            let channels = plan.setup.channels.unwrap_or(1);
            threads::run(&plan.setup, &control, async |handle| {
                let task = tasks[handle.thread].clone();
                let rooms = Rooms::new(&task, channels);
                Worker::run(task, rooms, handle).await
            })
        }
        Hears::One => {
            let (board, clients) = (Board::new(1, plan.publishers, None), plan.setup.clients);
            threads::run(&plan.setup, &control, async |handle| {
                let task = tasks[handle.thread].clone();
                let direct = Direct::new(&task, clients, &board, tasks.len() == 1);
                Worker::run(task, direct, handle).await
            })
        }
        Hears::Own => threads::run(&plan.setup, &control, async |handle| {
            let task = tasks[handle.thread].clone();
            let echoes = Echoes::new(&task.publishers);
            Worker::run(task, echoes, handle).await
        }),
    }
}

/// Makes one record of what the threads found.
pub(crate) fn record(plan: &Plan, gathered: LoadResult<Found>) -> Result<Run, Failed> {
    if gathered.found.iter().all(|found| found.connected == 0) {
        let causes = gathered.found.iter().flat_map(|found| found.failures.keys());
        return Err(Failed::unreachable(causes));
    }
    Ok(judge::run_of(plan, gathered)?)
}
