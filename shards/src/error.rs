//! Errors: reasons why a run cannot start or go on, and why an order to it was not taken.

use std::io;
use std::net::SocketAddr;

/// The run cannot start or go on. Reaches `main`, is printed once and ends the process.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cores, or more than the mesh can address.
    #[error("{asked} shards asked for, 1 to {max} are possible")]
    Shards {
        /// The number of shards asked for.
        asked: usize,
        /// The most the mesh addresses.
        max: usize,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's error.
        source: io::Error,
    },
    /// A shard's executor cannot be made; the text names the knob.
    #[error("shard {shard} cannot start: {cause}")]
    Executor {
        /// Which shard.
        shard: usize,
        /// Why, with the line that cures it where one is known.
        cause: String,
    },
    /// A shard's thread panicked: the process must end with code 70.
    #[error("shard {shard} panicked: {cause}")]
    Panicked {
        /// Which shard.
        shard: usize,
        /// The panic's message.
        cause: String,
    },
}

/// An order through [`Handle`](crate::Handle) that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// The lane is full: try again a little later.
    #[error("the lane is full")]
    Busy,
    /// The channel's or user's name is not valid.
    #[error("the name is not valid")]
    BadName,
    /// The body is larger than a message may be.
    #[error("the body is too large")]
    TooLarge,
}
