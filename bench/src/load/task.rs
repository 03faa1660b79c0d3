//! A load of any kind: what agents are told to do.

use serde::{Deserialize, Serialize};

use super::aim::Aim;
use super::outline::Scene;
use super::plan::{Hears, Plan};
use super::quiet::Idle;
use super::storm::Storm;

/// A load of any kind, as agents are told it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    Talk(Box<Plan>),
    Connect(Storm),
    Idle(Idle),
}

impl Task {
    pub(crate) fn aim_mut(&mut self) -> &mut Aim {
        match self {
            Self::Talk(plan) => &mut plan.aim,
            Self::Connect(storm) => &mut storm.aim,
            Self::Idle(idle) => &mut idle.aim,
        }
    }

    /// What is to be seen of it.
    pub(crate) fn scene(&self) -> Scene {
        match self {
            Self::Talk(plan) => plan.scene(),
            Self::Connect(storm) => storm.scene(),
            Self::Idle(idle) => idle.scene(),
        }
    }

    /// Publishers whose messages go to the clients of all agents.
    pub(crate) fn publishers(&self) -> usize {
        match self {
            Self::Talk(plan) if plan.hears == Hears::All => plan.publishers,
            _ => 0,
        }
    }

    /// What tells the run's messages from those of others.
    pub(crate) fn run_mark(&self) -> u16 {
        if let Self::Talk(plan) = self { plan.run_mark() } else { 0 }
    }
}
