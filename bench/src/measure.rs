//! One run of a load, from the first connect to its record: by this process, or by agents.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::de::DeserializeOwned;

use crate::agents;
use crate::load::{
    AnyLoad, Echo, Failed, Idle, LoadResult, Plan, Schedule, Setup, Storm, messages,
};
use crate::run::Run;

/// A load that can be run again and again, against one server or another.
pub(crate) trait Measure: Clone {
    fn setup(&self) -> &Setup;
    fn setup_mut(&mut self) -> &mut Setup;

    /// Returns an error for flags that contradict each other.
    fn check(&self) -> Result<(), String> {
        self.setup().check()
    }

    /// Runs it, from the first connect to the last receipt.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed>;
}

/// Runs a load on its agents, or here where it has none.
fn gather<T: DeserializeOwned + Send>(
    (setup, schedule): (&Setup, &Schedule),
    stopped: &AtomicBool,
    of_agents: impl FnOnce() -> AnyLoad,
    here: impl FnOnce() -> Result<LoadResult<T>, Failed>,
) -> Result<LoadResult<T>, Failed> {
    if setup.agents.count() > 0 {
        agents::lead(setup, schedule, stopped, &of_agents())
    } else {
        here()
    }
}

impl Measure for Plan {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    fn check(&self) -> Result<(), String> {
        // The plan's own.
        Self::check(self)
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let of_agents = || AnyLoad::Traffic(Box::new(self.clone()));
        let here = || messages::work(self, stopped, None);
        let gathered = gather((&self.setup, &self.schedule()), stopped, of_agents, here)?;
        messages::record(self, gathered)
    }
}

impl Measure for Echo {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    fn check(&self) -> Result<(), String> {
        let plan = self.plan();
        plan.settled().and_then(|plan| plan.check())
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        self.plan().run(stopped)
    }
}

impl Measure for Idle {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let of_agents = || AnyLoad::Idle(self.clone());
        let here = || self.work(stopped, None);
        let gathered = gather((&self.setup, &self.schedule()), stopped, of_agents, here)?;
        self.record(gathered)
    }
}

impl Measure for Storm {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let of_agents = || AnyLoad::Connect(self.clone());
        let here = || self.work(stopped, None);
        let gathered = gather((&self.setup, &Self::SCHEDULE), stopped, of_agents, here)?;
        self.record(gathered)
    }
}
