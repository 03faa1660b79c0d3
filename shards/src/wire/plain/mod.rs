//! The plain dialect: a message is a publication, and a publication is a message.

pub(crate) mod read;
pub(crate) mod write;

use super::dialect::Facts;
use crate::close::CloseReason;

pub(crate) const FACTS: Facts = Facts {
    name: "plain",
    has_requests: false,
    joined: Some(write::joined),
    split: None,
    is_deaf: false,
    is_strict: false,
    counts_refusals: true,
    answers_first: false,
    leaves_at_will: false,
    chained: None,
    greets_with_all: false,
    leaves_at_gaps: false,
    tells_ahead: false,
    grace_s: 0,
    close: CloseReason::native,
    refusal: None,
    late_refusal: None,
};
