//! Results that only all agents together can tell.

use hdrhistogram::Histogram;

use crate::run::Agent;

/// Results that only all agents together can tell.
pub(crate) struct AcrossAgents {
    /// Publish to the last receipt of all.
    pub(crate) last: Histogram<u64>,
    /// In the order of their findings, of which each has as many as it has threads.
    pub(crate) agents: Vec<Agent>,
}
