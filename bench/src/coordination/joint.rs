//! What several processes know only together.

use hdrhistogram::Histogram;

use crate::run::Agent;

/// What several processes know only together.
pub(crate) struct Joint {
    /// Publish to the last receipt of all.
    pub(crate) last: Histogram<u64>,
    /// In the order of their findings, of which each has as many as it has threads.
    pub(crate) agents: Vec<Agent>,
}
