//! The greatest load that holds: steps up, then halves, each load warmed up and repeated.
//!
//! `flags` is what was asked for. `sequence` says which load is next, `walk` runs it, `verdict` says
//! what came of it, and `moved` what it ran into.

mod sequence;
mod verdict;
mod moved;
mod flags;
mod walk;
mod run;

pub(crate) use flags::Search;
