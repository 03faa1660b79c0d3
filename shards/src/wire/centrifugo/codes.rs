//! The protocol's numbers: errors of replies, and close codes. Codes from 3500 to 3999 end a client
//! for good; with those from 3000 to 3499 it comes back.

use crate::close::CloseReason;
use crate::model::verdict::{Dismissal, Rejection};
use crate::rules::Denied;
use crate::wire::command::ErrorCode;
use crate::wire::refusal::Refusal;

/// The seconds behind the end of a token in which its clients bring a newer one: they begin to ask
/// for it when it ends.
pub(in crate::wire) const GRACE_S: u32 = 25;

/// Returns the number and the text of an error, and whether the same request may succeed later.
pub(in crate::wire) fn error(code: ErrorCode) -> (u32, &'static str, bool) {
    match code {
        ErrorCode::UnknownNamespace => (102, "unknown channel", false),
        ErrorCode::Denied | ErrorCode::NotJoined | ErrorCode::BadToken => {
            (103, "permission denied", false)
        }
        ErrorCode::UnknownType => (104, "method not found", false),
        ErrorCode::TooManyChannels | ErrorCode::NoRoom => (106, "limit exceeded", false),
        ErrorCode::Malformed
        | ErrorCode::MissingField
        | ErrorCode::BadName
        | ErrorCode::BadId
        | ErrorCode::Binary
        | ErrorCode::UnknownUser
        | ErrorCode::TooLarge => (107, "bad request", false),
        ErrorCode::NotAvailable | ErrorCode::NoHistory => (108, "not available", false),
        ErrorCode::ExpiredToken => (109, "token expired", false),
        ErrorCode::Rate => (111, "too many requests", true),
        ErrorCode::WrongEpoch => (112, "unrecoverable position", false),
        // A client that subscribes again at once takes the answer for that of its newest request.
        ErrorCode::TakenBack | ErrorCode::TryAgain | ErrorCode::Unavailable => {
            (100, "internal server error", true)
        }
    }
}

/// Returns the close code and the text for the end of a client.
pub(in crate::wire) fn close(reason: CloseReason) -> Option<(u16, &'static str)> {
    Some(match reason {
        CloseReason::Goodbye | CloseReason::Gone => return None,
        CloseReason::Drain => (3001, "shutdown"),
        CloseReason::Protocol => (1002, "protocol error"),
        CloseReason::Utf8 => (1007, "invalid utf-8"),
        CloseReason::TooLarge => (1009, "message too large"),
        CloseReason::RateLimited => (3013, "too many requests"),
        CloseReason::TooManyErrors => (3509, "too many errors"),
        CloseReason::Slow | CloseReason::Stalled | CloseReason::ShardFull => (3008, "slow"),
        CloseReason::Silent => (3012, "no pong"),
        CloseReason::Overtaken => (3010, "insufficient state"),
        CloseReason::Replaced => (3504, "connection limit"),
        CloseReason::Disconnected | CloseReason::Revoked | CloseReason::Dismissed => {
            (3503, "force disconnect")
        }
        CloseReason::Denied | CloseReason::Unauthorized | CloseReason::AppGone => {
            (3507, "permission denied")
        }
        CloseReason::Expired => (3005, "connection expired"),
        CloseReason::Stale => (3502, "stale"),
        CloseReason::Disorderly => (3501, "bad request"),
        CloseReason::Unavailable => (3004, "internal server error"),
    })
}

/// Returns the close code and the text for a client whose `connect` does not let it in.
pub(in crate::wire) fn refusal(refusal: &Refusal) -> (u16, &str) {
    match refusal {
        Refusal::Dismissed(Dismissal { code, reason }) => (*code, reason),
        Refusal::Rejected(Rejection { is_passing: true, .. })
        | Refusal::Full
        | Refusal::ChannelRoom
        | Refusal::TokenKey => (3004, "internal server error"),
        Refusal::Rejected(_)
        | Refusal::UserRequired(_)
        | Refusal::Origin
        | Refusal::Denied { .. } => (3507, "permission denied"),
        Refusal::Token(_) => (3500, "invalid token"),
        Refusal::UserTaken | Refusal::TooManyFromAddress => (3504, "connection limit"),
        Refusal::TooManyChannels => (3505, "channel limit"),
        Refusal::Draining => (3001, "shutdown"),
        _ => (3501, "bad request"),
    }
}

/// Returns the error of the reply to a `connect` that does not let its client in: only where the
/// client can do something about it, or the application's backend has chosen it, before its close
/// frame says the same.
pub(in crate::wire) fn refusal_error(refusal: &Refusal) -> Option<(u32, &str, bool)> {
    match refusal {
        Refusal::Token(text) if text.contains("expired") => Some((109, "token expired", false)),
        Refusal::Denied { why: Denied::UnknownNamespace, .. } => {
            Some((102, "unknown channel", false))
        }
        Refusal::Denied { .. } => Some((103, "permission denied", false)),
        Refusal::Rejected(Rejection { code, text, is_passing }) => Some((*code, text, *is_passing)),
        _ => None,
    }
}
