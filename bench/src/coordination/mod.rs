//! The state that a load and its agents share: flags, shares, moments and notes.
//!
//! Loads work with it whether there are agents or not; `agents` speaks for it over sockets.

mod flags;
mod agent_share;
mod note;
mod link;
mod across_agents;
mod faults;

pub(crate) use across_agents::AcrossAgents;
pub(crate) use agent_share::AgentShare;
pub(crate) use faults::faults;
pub(crate) use flags::{Agents, Party, TOKEN, without_token};
pub(crate) use link::{CoordinatorLink, LinkQueues};
pub(crate) use note::{Heard, Note};
