//! A search from its first load to its answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::flags::Search;
use super::walk::Walk;
use crate::load::Failed;
use crate::run::Run;

impl Search {
    /// Searches, and gives a run of the answer in which all that was tried is written down; none if
    /// it was interrupted before the first load was decided. An error is one of that load.
    pub(crate) fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Option<Run>, Failed> {
        let sequence = self.sequence().map_err(Failed::Unreachable)?;
        Walk::new(self, sequence).run(stopped)
    }
}
