//! A load: who says how much to how many, and what comes of it in this process.
//!
//! `setup`, `plan`, `storm` and `idle` are what is asked for. `threads` runs the workers; `account`
//! and `ledger` keep account of what their clients receive, and `judge` makes one record of all
//! results.

mod failed;
mod outline;
mod sums;
pub(crate) mod sampler;
mod message;
mod spoken;
mod setup;
mod sizes;
mod audience;
pub(crate) mod stamp;
mod pace;
mod place;
mod ledger;
mod board;
mod worker_task;
mod absence;
mod plan;
pub(crate) mod presets;
mod settle;
mod account;
mod echo;
mod rooms;
mod direct;
mod worker_handle;
mod watch;
mod threads;
mod worker;
pub(crate) mod judge;
pub(crate) mod messages;
mod idle;
mod storm;
mod task;

pub(crate) use echo::Echo;
pub(crate) use failed::Failed;
pub(crate) use idle::Idle;
pub(crate) use judge::{LATE, SAMPLES_MIN, lateness};
pub(crate) use outline::{Control, Schedule};
pub(crate) use plan::Plan;
pub(crate) use sampler::Origin;
pub(crate) use setup::Setup;
pub(crate) use storm::Storm;
pub(crate) use task::AnyLoad;
pub(crate) use threads::{LoadResult, run as run_threads};
pub(crate) use worker_handle::WorkerHandle;
