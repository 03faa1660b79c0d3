//! Messages that all clients of one thread, or of one process, have heard.

use serde::{Deserialize, Serialize};

/// A message that all listeners of one worker have received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) number: u32,
    /// From its intended moment to its last receipt; none outside of the measured time.
    pub(crate) took_ns: Option<u64>,
}

/// One process has heard a message with all its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, Option<u64>)", into = "(u32, u32, Option<u64>)")]
pub(crate) struct Note {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
    /// From the intended moment to its last receipt there; none outside of the measured time.
    pub(crate) took_ns: Option<u64>,
}

impl From<(u32, u32, Option<u64>)> for Note {
    fn from((publisher, number, took_ns): (u32, u32, Option<u64>)) -> Self {
        Self { publisher, number, took_ns }
    }
}

impl From<Note> for (u32, u32, Option<u64>) {
    fn from(note: Note) -> Self {
        (note.publisher, note.number, note.took_ns)
    }
}
