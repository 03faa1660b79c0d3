//! Several generator processes, of one host or more, that drive one load together.
//!
//! The coordinator drives no clients: it greets the agents, gives each its part, tells all when to
//! begin, puts their notes together, and merges what they found.

mod clock;
mod note_collector;
mod link;
mod wire;
mod enrol;
mod lead;
mod session;
mod serve;

pub(crate) use lead::lead;
pub(crate) use serve::Args;
