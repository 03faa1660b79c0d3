//! A load of any kind: what agents are told to do.

use serde::{Deserialize, Serialize};

use super::idle::Idle;
use super::outline::Outline;
use super::plan::{Hears, Plan};
use super::setup::Setup;
use super::storm::Storm;

/// A load of any kind, as agents are told it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnyLoad {
    Traffic(Box<Plan>),
    Connect(Storm),
    Idle(Idle),
}

impl AnyLoad {
    pub(crate) fn setup_mut(&mut self) -> &mut Setup {
        match self {
            Self::Traffic(plan) => &mut plan.setup,
            Self::Connect(storm) => &mut storm.setup,
            Self::Idle(idle) => &mut idle.setup,
        }
    }

    /// Returns the outline for the view.
    pub(crate) fn outline(&self) -> Outline {
        match self {
            Self::Traffic(plan) => plan.outline(),
            Self::Connect(storm) => storm.outline(),
            Self::Idle(idle) => idle.outline(),
        }
    }

    /// Publishers whose messages go to the clients of all agents.
    pub(crate) fn publishers(&self) -> usize {
        match self {
            Self::Traffic(plan) if plan.hears == Hears::All => plan.publishers,
            _ => 0,
        }
    }

    /// Returns the mark that tells the run's messages from those of others.
    pub(crate) fn run_mark(&self) -> u16 {
        if let Self::Traffic(plan) = self { plan.run_mark() } else { 0 }
    }
}
