//! Pusher's protocol, versions 5 to 7: one JSON object a message, channels whose names say what
//! kind each is, and signatures of an app's backend. PROTOCOL.md says how it is spoken here.
//!
//! A channel `c` of an app is the channel `NAMESPACE:c` of the server. No namespace has a colon in
//! its name, so an app's own name of a channel is what stands behind the first one.

pub(crate) mod codes;
pub(crate) mod names;
pub(crate) mod presence;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod sign;
pub(crate) mod users;
pub(crate) mod write;

use super::dialect::Facts;

/// The seconds of silence after which a client asks for a sign of life.
pub(crate) const ACTIVITY_TIMEOUT_S: u32 = 120;

pub(crate) const FACTS: Facts = Facts {
    name: "pusher",
    has_requests: true,
    joined: None,
    split: None,
    is_deaf: false,
    is_strict: false,
    counts_refusals: false,
    answers_first: true,
    leaves_at_will: true,
    chained: None,
    greets_with_all: false,
    leaves_at_gaps: false,
    tells_ahead: false,
    grace_s: 0,
    close: codes::close,
    refusal: None,
    late_refusal: Some(codes::refusal),
};
