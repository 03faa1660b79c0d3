//! Who is connected to a shard.

pub(crate) mod roster;
