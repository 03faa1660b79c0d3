//! The ends of clients: one variant, one counter and, in the native dialects, one close code. The
//! table in PROTOCOL.md is this one.

/// The end of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// It said goodbye.
    Goodbye,
    /// It went without a word.
    Gone,
    /// The server goes away on purpose.
    Drain,
    /// It broke RFC 6455.
    Protocol,
    /// It sent invalid UTF-8 as text.
    Utf8,
    /// It sent more than it may.
    RateLimited,
    /// It was wrong too often.
    TooManyErrors,
    /// It sent a message that is too large.
    TooLarge,
    /// Its outbox was full.
    Slow,
    /// Its outbox did not move in time.
    Stalled,
    /// All outboxes of the shard were too full, and its own was the slowest.
    ShardFull,
    /// It did not answer a ping.
    Silent,
    /// It has lost publications, or the history that it was being told lost the rest of them, and
    /// its dialect cannot say so.
    Overtaken,
    /// Its user connected again.
    Replaced,
    /// The server's API asked for it.
    Disconnected,
    /// It published where rules do not let it, in a dialect that has no errors.
    Denied,
    /// The time of its token is over.
    Expired,
    /// Its token was revoked.
    Revoked,
    /// It did not say in time who it is, in a dialect that has a command for it.
    Stale,
    /// It said who it is too late, or twice.
    Disorderly,
    /// The application's backend sends it away, with a code and a text of its own.
    Dismissed,
    /// A signature with which it signs in is none of its app.
    Unauthorized,
    /// Its app is disabled, or there no longer.
    AppGone,
    /// It published while the engine was away, in a dialect that has no errors.
    Unavailable,
}

impl CloseReason {
    pub(crate) const ALL: [Self; 24] = [
        Self::Goodbye,
        Self::Gone,
        Self::Drain,
        Self::Protocol,
        Self::Utf8,
        Self::RateLimited,
        Self::TooManyErrors,
        Self::TooLarge,
        Self::Slow,
        Self::Stalled,
        Self::ShardFull,
        Self::Silent,
        Self::Overtaken,
        Self::Replaced,
        Self::Disconnected,
        Self::Denied,
        Self::Expired,
        Self::Revoked,
        Self::Stale,
        Self::Disorderly,
        Self::Dismissed,
        Self::Unauthorized,
        Self::AppGone,
        Self::Unavailable,
    ];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Close code, reason for the client, and name of the counter. No code: the client is not told.
    fn row(self) -> (Option<u16>, &'static str, &'static str) {
        match self {
            Self::Goodbye => (None, "", "goodbye"),
            Self::Gone => (None, "", "gone"),
            Self::Drain => (Some(1001), "draining", "drain"),
            Self::Protocol => (Some(1002), "protocol error", "protocol"),
            Self::Utf8 => (Some(1007), "invalid utf-8", "utf8"),
            Self::RateLimited => (Some(1008), "too many messages", "rate"),
            Self::TooManyErrors => (Some(1008), "too many errors", "errors"),
            Self::TooLarge => (Some(1009), "message too large", "too_large"),
            Self::Slow => (Some(3008), "too slow", "slow"),
            Self::Stalled => (Some(3008), "too slow", "stalled"),
            Self::ShardFull => (Some(3008), "too slow", "shard_full"),
            Self::Silent => (Some(3012), "no answer to ping", "silent"),
            Self::Overtaken => (Some(3010), "history overtaken", "overtaken"),
            Self::Replaced => (Some(3500), "replaced", "replaced"),
            Self::Disconnected => (Some(3501), "disconnected", "disconnected"),
            Self::Denied => (Some(3507), "permission denied", "denied"),
            Self::Expired => (Some(3005), "expired", "expired"),
            Self::Revoked => (Some(3502), "revoked", "revoked"),
            // The native dialects have no command that says it.
            Self::Stale => (None, "", "stale"),
            Self::Disorderly => (None, "", "disorderly"),
            // A code and a text of the backend stand in their place.
            Self::Dismissed => (Some(3503), "force disconnect", "dismissed"),
            // Only Pusher's protocol has apps, and numbers for these.
            Self::Unauthorized => (None, "", "unauthorized"),
            Self::AppGone => (None, "", "app_gone"),
            Self::Unavailable => (Some(1013), "engine away", "unavailable"),
        }
    }

    /// The close code and the reason text of the native dialects.
    pub(crate) fn native(self) -> Option<(u16, &'static str)> {
        let (code, text, _) = self.row();
        code.map(|code| (code, text))
    }

    pub(crate) fn label(self) -> &'static str {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_page_lists_every_code_with_its_reason() {
        let page = include_str!("../PROTOCOL.md");
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            if let Some((code, text)) = reason.native() {
                let row = page.lines().find(|line| line.starts_with(&format!("| {code} |")));
                assert!(row.is_some_and(|row| row.contains(text)), "{reason:?}");
            }
        }
    }
}
