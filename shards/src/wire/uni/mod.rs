//! Centrifugo's protocol for clients that only listen: one request says who a client is, and then
//! the client is told the pushes of the JSON protocol, without the words around them.
//!
//! Source: the unidirectional transports of Centrifugo 5 and 6 as their public clients use them.

pub(crate) mod read;
pub(crate) mod write;

use super::centrifugo::codes;
use super::dialect::Facts;

pub(crate) const FACTS: Facts = Facts {
    name: "centrifugo-uni",
    has_requests: true,
    joined: None,
    split: None,
    is_deaf: true,
    is_strict: true,
    counts_refusals: true,
    answers_first: true,
    leaves_at_will: false,
    chained: None,
    greets_with_all: true,
    leaves_at_gaps: true,
    tells_ahead: false,
    grace_s: codes::GRACE_S,
    close: codes::close,
    refusal: Some(codes::refusal),
    late_refusal: None,
};
