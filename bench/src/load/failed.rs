//! Why there is no run.

use std::io;

/// Why there is no run.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server cannot be reached.
    Unreachable(String),
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failed {
    /// No client came: the first cause of all that there were.
    pub(super) fn unreachable<'a>(mut causes: impl Iterator<Item = &'a String>) -> Self {
        let cause = causes.next().map_or_else(|| "no client connected".to_owned(), Clone::clone);
        Self::Unreachable(cause)
    }
}
