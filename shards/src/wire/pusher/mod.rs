//! Pusher's protocol.

#[cfg_attr(not(test), expect(dead_code, reason = "the dialect calls them"))]
pub(crate) mod sign;
