//! The protocol's numbers. Clients act on them by their range: from 4000 to 4099 they stay away,
//! from 4100 to 4199 they come back after a second, from 4200 to 4299 at once.

use crate::close::CloseReason;
use crate::wire::command::ErrorCode;
use crate::wire::refusal::{AppFault, Refusal};

/// An event of a client was not sent on. It never ends a connection: its clients would stay away.
pub(super) const EVENT_REFUSED: u16 = 4301;

/// Returns the close code and the text for the end of a client.
pub(super) fn close(reason: CloseReason) -> Option<(u16, &'static str)> {
    Some(match reason {
        CloseReason::Goodbye | CloseReason::Gone => return None,
        CloseReason::Drain => (4200, "the server goes away: connect again"),
        CloseReason::Protocol => (1002, "protocol error"),
        CloseReason::Utf8 => (1007, "invalid utf-8"),
        CloseReason::TooLarge => (1009, "message too large"),
        CloseReason::RateLimited => (4100, "too many messages"),
        CloseReason::TooManyErrors => (4009, "too many errors"),
        CloseReason::Slow | CloseReason::Stalled | CloseReason::ShardFull => (4100, "too slow"),
        CloseReason::Silent => (4201, "no answer to ping"),
        CloseReason::Overtaken => (4200, "messages may be lost: connect again"),
        CloseReason::Disconnected | CloseReason::Dismissed => (4009, "disconnected"),
        CloseReason::Replaced => (4009, "replaced"),
        CloseReason::Unauthorized
        | CloseReason::Denied
        | CloseReason::Expired
        | CloseReason::Revoked
        | CloseReason::Disorderly => (4009, "not authorized"),
        CloseReason::Stale => (4100, "the admission took too long"),
        CloseReason::AppGone => (4003, "the app is disabled"),
        CloseReason::Unavailable => (4100, "the engine is away"),
    })
}

/// Returns the close code and the text for a client that is not let in.
pub(super) fn refusal(refusal: &Refusal) -> (u16, &str) {
    match refusal {
        Refusal::App(fault) => (fault.code(), fault.text()),
        Refusal::Origin => (4009, "this origin is not allowed"),
        // Behind the drain another process may be here, or another server.
        Refusal::Draining => (4100, "draining"),
        Refusal::TooManyFromAddress => (4100, "too many clients from this address"),
        _ => (4100, "over capacity"),
    }
}

impl AppFault {
    fn code(self) -> u16 {
        match self {
            Self::Unknown => 4001,
            Self::Disabled => 4003,
            Self::Quota => 4004,
            Self::BadVersion => 4006,
            Self::Unsupported => 4007,
            Self::NoProtocol => 4008,
        }
    }
}

/// The type and the status of an error about a subscription.
pub(super) fn subscription(code: ErrorCode) -> (&'static str, u16) {
    match code {
        ErrorCode::Denied | ErrorCode::BadToken | ErrorCode::UnknownNamespace => ("AuthError", 401),
        ErrorCode::TooManyChannels | ErrorCode::NoRoom => ("LimitReached", 4004),
        ErrorCode::Rate | ErrorCode::TryAgain | ErrorCode::Unavailable => ("Unavailable", 503),
        _ => ("BadRequest", 400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that may come back are told a code with which they do.
    #[test]
    fn codes_lie_in_the_range_that_clients_act_on() {
        for reason in CloseReason::ALL {
            let Some((code, text)) = close(reason) else { continue };
            assert!(!text.is_empty() && text.len() <= 123 && code < 4300, "{reason:?}");
        }
        for (reason, range) in [
            (CloseReason::Drain, 4200..4300),
            (CloseReason::Silent, 4200..4300),
            (CloseReason::Slow, 4100..4200),
            (CloseReason::Unauthorized, 4000..4100),
            (CloseReason::AppGone, 4000..4100),
        ] {
            assert!(range.contains(&close(reason).unwrap().0), "{reason:?}");
        }
        for (why, range) in [
            (Refusal::Full, 4100..4200),
            (Refusal::Draining, 4100..4200),
            (Refusal::Origin, 4000..4100),
            (Refusal::App(AppFault::Unknown), 4001..4002),
        ] {
            assert!(range.contains(&refusal(&why).0), "{why:?}");
        }
    }
}
