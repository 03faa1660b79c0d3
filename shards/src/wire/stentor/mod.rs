//! `stentor.v1`: one JSON object a message, with requests, answers, offsets and presence.

mod presence;
pub(crate) mod read;
pub(crate) mod write;

use super::dialect::Facts;
use crate::close::CloseReason;

pub(crate) const FACTS: Facts = Facts {
    name: "stentor.v1",
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
    close: CloseReason::native,
    refusal: None,
    late_refusal: None,
};
