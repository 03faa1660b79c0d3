//! Centrifugo's client protocol in Protobuf: the commands, replies and pushes of its JSON form as
//! binary messages, each behind its length.
//!
//! Source: the numbers of fields as the public clients of Centrifugo 5 and 6 write them.

pub(crate) mod read;
pub(crate) mod write;
mod messages;

use super::centrifugo::codes;
use super::dialect::Facts;

pub(crate) const FACTS: Facts = Facts {
    name: "centrifugo-protobuf",
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
