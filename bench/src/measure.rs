//! One run of a load, from the first connect to its record: by this process, or by agents.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::agents;
use crate::load::{AnyLoad, Echo, Failed, Idle, Plan, Setup, Storm, messages};
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
        let gathered = if self.setup.agents.count() > 0 {
            agents::lead(
                &self.setup,
                &self.schedule(),
                stopped,
                &AnyLoad::Traffic(Box::new(self.clone())),
            )?
        } else {
            messages::work(self, stopped, None)?
        };
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
        let gathered = if self.setup.agents.count() > 0 {
            agents::lead(&self.setup, &self.schedule(), stopped, &AnyLoad::Idle(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
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
        let gathered = if self.setup.agents.count() > 0 {
            agents::lead(&self.setup, &Self::SCHEDULE, stopped, &AnyLoad::Connect(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
        self.record(gathered)
    }
}
