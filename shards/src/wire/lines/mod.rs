//! A dialect for tests only: binary frames, each field behind its length. It proves that a dialect
//! is one folder, and the simulation runs its clients beside the others.
//!
//! A message of either side is a kind of one byte, the length of a name in two bytes, the name, and
//! a rest whose meaning depends on the kind.

pub(crate) mod read;
pub(crate) mod write;

use super::dialect::Facts;
use crate::close::CloseReason;

pub(crate) const FACTS: Facts = Facts {
    name: "lines",
    has_requests: true,
    joined: None,
    split: None,
    is_deaf: false,
    is_strict: false,
    counts_refusals: true,
    answers_first: false,
    leaves_at_will: false,
    chained: None,
    greets_with_all: false,
    leaves_at_gaps: false,
    tells_ahead: true,
    grace_s: 0,
    close,
    refusal: Some(|_| (4002, "refused")),
    late_refusal: None,
};

fn close(reason: CloseReason) -> Option<(u16, &'static str)> {
    match reason {
        CloseReason::Stale => Some((4000, "who are you")),
        CloseReason::Disorderly => Some((4001, "not now")),
        _ => reason.native(),
    }
}
