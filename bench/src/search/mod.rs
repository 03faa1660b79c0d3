//! The greatest load that holds: steps up, then halves, each load warmed up and repeated.
//!
//! `flags` has the search as asked for, `sequence` the order of loads. `walk` runs each of them,
//! `verdict` decides on it, and `moved` names the limit that it met.

mod sequence;
mod verdict;
mod moved;
mod flags;
mod walk;
mod run;

pub(crate) use flags::Search;
