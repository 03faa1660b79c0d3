//! The plain dialect: a message is a publication.

pub(crate) mod read;
