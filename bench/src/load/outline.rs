//! How long a load works, what is to be seen of it, and who may end it.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::coordination::CoordinatorLink;

/// How long a load works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Before measuring.
    pub(crate) warm_up: Duration,
    /// While measuring; `None`: until all threads are through.
    pub(crate) time: Option<Duration>,
}

/// The facts about a load that the view shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    /// The subcommand.
    pub(crate) command: &'static str,
    /// The counted unit: deliveries, echoes, connects; or nothing.
    pub(crate) unit: &'static str,
    /// Connects that are asked for, over all rounds.
    pub(crate) asked: usize,
    /// Clients that receive each message; 0: nothing is published.
    pub(crate) hearers: usize,
    /// Threads that are shown, of all processes.
    pub(crate) threads: usize,
}

/// The schedule of a load's workers, and those that may end it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) outline: &'a Outline,
    /// Set when someone interrupts the run.
    pub(crate) stopped: &'a AtomicBool,
    /// The coordinator, where this process is an agent.
    pub(crate) coordinator: Option<&'a CoordinatorLink>,
}
