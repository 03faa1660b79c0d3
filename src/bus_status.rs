//! The state of the bus, which its thread writes and the control plane reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The state of the bus. Relaxed throughout: each is a fact by itself, and orders nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: AtomicBool,
    is_away: AtomicBool,
    counts: [AtomicU64; FIGURES.len()],
}

/// A figure of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Connected,
    Window,
    Channels,
    Sent,
    Accepted,
    Refused,
    Received,
    Gaps,
    Losses,
    Fetches,
    Reconnects,
    Resent,
    Foreign,
}

/// All figures: name, meaning, and `true` for a counter.
pub(crate) const FIGURES: [(Figure, &str, &str, bool); 13] = [
    (Figure::Connected, "connected", "1 while this node reaches the engine", false),
    (Figure::Window, "window", "Publications of this node without a place in the order", false),
    (Figure::Channels, "channels", "Channels that this node hears from the engine", false),
    (Figure::Sent, "sent", "Publications sent to the engine", true),
    (Figure::Accepted, "accepted", "Publications of this node that the engine has stored", true),
    (Figure::Refused, "refused", "Publications of this node that found no engine", true),
    (Figure::Received, "received", "Publications received from the engine", true),
    (Figure::Gaps, "gaps", "Gaps in what the engine sent that were found", true),
    (Figure::Losses, "losses", "Gaps that could not be filled, of which clients were told", true),
    (Figure::Fetches, "fetches", "Channels fetched from the engine, in whole or in part", true),
    (Figure::Reconnects, "reconnects", "Connections to the engine that ended", true),
    (Figure::Resent, "resent", "Publications sent once more after a connection ended", true),
    (Figure::Foreign, "foreign", "Messages of the engine that make no sense", true),
];

impl Status {
    /// Returns `true` if there is an engine.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if publishers are told that the engine is away.
    pub(crate) fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Relaxed)
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.0.is_away.store(is_away, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, figure: Figure, count: u64) {
        self.0.counts[figure as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, figure: Figure, value: u64) {
        self.0.counts[figure as usize].store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, figure: Figure) -> u64 {
        self.0.counts[figure as usize].load(Ordering::Relaxed)
    }
}
