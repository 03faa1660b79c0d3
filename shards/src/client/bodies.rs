//! The bodies of requests that are incomplete: a shard keeps few at a time.

use std::rc::Rc;

use crate::wire::stream::StreamRequest;

/// The most requests whose bodies are incomplete. Each may take 64 KiB; nearly all come in one
/// piece with their heads, and need no permit.
const BODIES_MAX: usize = 256;

/// A request of which the body is not complete.
pub(crate) struct Posted {
    pub(crate) request: StreamRequest,
    /// The right to keep a part of a body.
    pub(crate) permit: Option<Permit>,
}

/// The permits that are out.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Rc<()>);

/// The right to keep a part of a body. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _counted: Rc<()>,
}

impl Bodies {
    /// Returns a permit, unless too many are out.
    pub(crate) fn permit(&self) -> Option<Permit> {
        let out = Rc::strong_count(&self.0) - 1;
        (out < BODIES_MAX).then(|| Permit { _counted: Rc::clone(&self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_that_ends_makes_room_for_another() {
        let bodies = Bodies::default();
        let mut out: Vec<Permit> = (0..BODIES_MAX).filter_map(|_| bodies.permit()).collect();
        assert_eq!(out.len(), BODIES_MAX);
        assert!(bodies.permit().is_none());
        out.pop();
        assert!(bodies.permit().is_some());
    }
}
