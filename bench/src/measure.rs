//! One run of a load, from the first connect to its record: by this process, or by agents.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::agents;
use crate::load::{Aim, Echo, Failed, Idle, Plan, Storm, Task, talk};
use crate::run::Run;

/// A load that can be run again and again, against one server or another.
pub(crate) trait Measure: Clone {
    fn aim(&self) -> &Aim;
    fn aim_mut(&mut self) -> &mut Aim;

    /// What makes no sense together.
    fn check(&self) -> Result<(), String> {
        self.aim().check()
    }

    /// Runs it, from the first connect to the last receipt.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed>;
}

impl Measure for Plan {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    fn check(&self) -> Result<(), String> {
        // The plan's own.
        Self::check(self)
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let gathered = if self.aim.agents.count() > 0 {
            agents::lead(&self.aim, &self.times(), stopped, &Task::Talk(Box::new(self.clone())))?
        } else {
            talk::work(self, stopped, None)?
        };
        talk::record(self, gathered)
    }
}

impl Measure for Echo {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
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
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let gathered = if self.aim.agents.count() > 0 {
            agents::lead(&self.aim, &self.times(), stopped, &Task::Idle(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
        self.record(gathered)
    }
}

impl Measure for Storm {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        let gathered = if self.aim.agents.count() > 0 {
            agents::lead(&self.aim, &Self::TIMES, stopped, &Task::Connect(self.clone()))?
        } else {
            self.work(stopped, None)?
        };
        self.record(gathered)
    }
}
