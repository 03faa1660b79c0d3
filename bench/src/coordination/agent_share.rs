//! Which part of a load is a process's own.

use serde::{Deserialize, Serialize};

/// An agent's part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentShare {
    /// From 0.
    pub(crate) agent: usize,
    pub(crate) agents: usize,
    /// How many threads of agents before it run on its host: they have the first of the cores.
    pub(crate) cores_taken: usize,
    /// The mark of this run's stamps; none: this process's own choice.
    pub(crate) run: Option<u16>,
    /// The time that the agent adds to its clock.
    pub(crate) offset_ns: i64,
}

impl Default for AgentShare {
    /// The whole.
    fn default() -> Self {
        Self { agent: 0, agents: 1, cores_taken: 0, run: None, offset_ns: 0 }
    }
}
