//! The part of a client that the fan-out and the sweep look at.

use std::os::fd::RawFd;

use super::state::State;
use crate::model::shape::Shape;

/// The part of a client that the fan-out and the sweep look at: one array, three slots to a cache
/// line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hot {
    pub(crate) fd: RawFd,
    pub(crate) generation: u32,
    pub(crate) heard_ms: u32,
    pub(crate) pinged_ms: u32,
    pub(crate) state: State,
    /// The form in which this client gets publications.
    pub(crate) shape: Shape,
    pub(super) pings: Pings,
}

/// The pings of one client: whether it was silent since the last one, and how many it has not
/// answered in its dialect's own words. A client that leaves more than can be counted is not
/// counted any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pings(u8);

/// The bit that says that nothing was heard since the last ping.
const SILENT: u8 = 1 << 7;

const _: () = assert!(size_of::<Hot>() <= 20, "the fan-out reads one per delivery");

impl Hot {
    /// A ping is out, which the client is to answer.
    pub(crate) fn ping(&mut self) {
        debug_assert!(self.state.is_open(), "only who may answer is pinged");
        self.pings.0 = SILENT | (self.pings.0 & !SILENT).saturating_add(1).min(!SILENT);
    }

    /// Something was heard.
    pub(crate) fn hear(&mut self) {
        self.pings.0 &= !SILENT;
    }

    /// Returns `true` if a ping is out and nothing was heard since.
    pub(crate) fn is_pinged(&self) -> bool {
        self.pings.0 & SILENT != 0
    }

    /// The client answers a ping in its dialect's own words. Returns `false` if every ping that it
    /// was sent is answered already.
    pub(crate) fn pong(&mut self) -> bool {
        let unanswered = self.pings.0 & !SILENT;
        if (1..!SILENT).contains(&unanswered) {
            self.pings.0 -= 1;
        }
        unanswered > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_answer_as_often_as_it_was_pinged() {
        let mut state = State::ACCEPTED;
        state.wait();
        state.open(true);
        let shape = Shape::default();
        let (heard_ms, pinged_ms) = (0, 0);
        let pings = Pings::default();
        let mut hot = Hot { fd: -1, generation: 1, heard_ms, pinged_ms, state, shape, pings };
        assert!(!hot.is_pinged() && !hot.pong());
        hot.ping();
        hot.ping();
        assert!(hot.is_pinged());
        hot.hear();
        assert!(!hot.is_pinged() && hot.pong() && hot.pong() && !hot.pong());
        for _ in 0..1000 {
            hot.ping();
        }
        assert!((0..1000).all(|_| hot.pong()), "more than can be counted are not counted");
    }
}
