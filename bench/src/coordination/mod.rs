//! What a load and the agents that share it know of each other: flags, parts, moments and notes.
//!
//! Loads work with it whether there are agents or not; `agents` speaks for it over sockets.

mod flags;
mod part;
mod note;
mod outside;
mod joint;
mod faults;

pub(crate) use faults::faults;
pub(crate) use flags::{Agents, Party, TOKEN, without_token};
pub(crate) use joint::Joint;
pub(crate) use note::{Heard, Note};
pub(crate) use outside::{Outside, Told};
pub(crate) use part::Part;
