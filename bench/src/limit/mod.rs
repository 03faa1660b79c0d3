//! The raw limit of this host: a load against the bare loop instead of a server.

mod bare;
mod table;

pub(crate) use bare::Limit;
pub(crate) use table::{Limits, table};
