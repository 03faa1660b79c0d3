//! A load: who says how much to how many, and what comes of it in this process.
//!
//! `aim`, `plan`, `storm` and `quiet` are what is asked for; `crew` runs the threads, `worker` is one
//! of them, `account` and `ledger` keep account of what its clients hear, and `judge` makes one
//! record of it all.

mod failed;
mod outline;
mod sums;
pub(crate) mod sampler;
mod aim;
mod message;
mod sizes;
mod audience;
pub(crate) mod stamp;
mod pace;
mod place;
mod ledger;
mod board;
mod job;
mod absence;
mod plan;
pub(crate) mod presets;
mod settle;
mod account;
mod echo;
mod rooms;
mod direct;
mod post;
mod watch;
mod crew;
mod worker;
pub(crate) mod judge;
pub(crate) mod talk;
mod quiet;
mod storm;
mod task;

pub(crate) use aim::Aim;
pub(crate) use crew::{Gathered, run as gather};
pub(crate) use echo::Echo;
pub(crate) use failed::Failed;
pub(crate) use judge::{LATE, SAMPLES_MIN, lateness};
pub(crate) use outline::Times;
pub(crate) use plan::Plan;
pub(crate) use post::Post;
pub(crate) use quiet::Idle;
pub(crate) use sampler::Origin;
pub(crate) use storm::Storm;
pub(crate) use task::Task;
