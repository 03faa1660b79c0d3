//! Centrifugo's client protocol in JSON: commands with numbers, replies and pushes, several of them
//! in one message where the client likes. PROTOCOL.md has the table of what it means here.
//!
//! Source: the protocol of Centrifugo 5 and 6 as its public clients speak it.

pub(crate) mod codes;
pub(crate) mod read;
pub(super) mod subs;
pub(crate) mod write;

use super::dialect::Facts;

pub(crate) const FACTS: Facts = Facts {
    name: "centrifugo",
    has_requests: true,
    joined: None,
    split: Some(read::split),
    is_deaf: false,
    is_strict: true,
    counts_refusals: true,
    answers_first: true,
    leaves_at_will: true,
    chained: Some(write::chained),
    greets_with_all: true,
    leaves_at_gaps: true,
    tells_ahead: false,
    grace_s: codes::GRACE_S,
    close: codes::close,
    refusal: Some(codes::refusal),
    late_refusal: None,
};
