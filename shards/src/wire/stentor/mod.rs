//! `stentor.v1`: one JSON object a message.

pub(crate) mod read;
pub(crate) mod write;
