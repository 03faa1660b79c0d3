//! The stages that a client meets and a message passes, one file each, in flow order.

pub(crate) mod accept;
pub(crate) mod handshake;
pub(crate) mod session;
mod machine;
mod commands;
mod seats;
pub(crate) mod fanout;
mod flush;
mod sweep;
mod leave;
pub(crate) mod drain;
mod report;
