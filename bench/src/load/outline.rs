//! How long a load works, and what is to be seen of it.

use std::time::Duration;

/// How long a load works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before measuring.
    pub(crate) warm_up: Duration,
    /// While measuring; `None`: until all threads are through.
    pub(crate) time: Option<Duration>,
}

/// What is to be seen of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// The subcommand.
    pub(crate) command: &'static str,
    /// What it counts: deliveries, echoes, connects; or nothing.
    pub(crate) unit: &'static str,
    /// Connects that are asked for, over all rounds.
    pub(crate) asked: usize,
    /// Who hears each message; 0: nothing is said.
    pub(crate) hearers: usize,
    /// Threads that are shown, of all processes.
    pub(crate) threads: usize,
}
