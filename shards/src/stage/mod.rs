//! The stages that a client meets and a message passes, one file each.
//!
//! A stage calls only stages below it in this list, never one above; `tests/it/layers.rs` holds the
//! calls against [the ranks there](self). Outcomes for a stage above are returned to the caller.

pub(crate) mod accept;
mod serve;
mod sweep;
mod unseal;
mod handshake;
mod session;
pub(crate) mod inflate;
pub(crate) mod ingest;
mod commands;
mod apps;
mod connect;
mod submit;
mod relay;
mod deliver;
mod heed;
mod enlist;
mod join;
mod report;
mod admit;
mod who;
mod permit;
mod renew;
mod introduce;
pub(crate) mod prove;
mod conclude;
mod emulate;
mod fanout;
pub(crate) mod drain;
pub(crate) mod recall;
mod resume;
mod encode;
pub(crate) mod batch;
mod lapse;
mod leave;
pub(crate) mod lost_apps;
mod unseat;
mod seats;
mod consult;
mod news;
mod tell;
mod flush;
mod seal;
