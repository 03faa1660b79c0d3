//! Renew: a client goes on with a newer token, of its connection or for one of its channels.

use crate::model::id::{RequestId, Slot};
use crate::net::Net;
use crate::proof::TokenFault;
use crate::shard::Shard;
use crate::stage::prove::RefreshFault;
use crate::stage::submit::Flow;
use crate::wire::command::{ErrorCode, Mistake};
use crate::wire::event::Event;

/// The code and the text for a token that proves nothing.
pub(super) fn token_error(fault: TokenFault) -> (ErrorCode, &'static str) {
    match fault {
        TokenFault::Expired => (ErrorCode::ExpiredToken, "the token has expired"),
        TokenFault::Invalid => (ErrorCode::BadToken, "the token is not valid here"),
        TokenFault::Revoked => (ErrorCode::BadToken, "the token was revoked"),
        TokenFault::UnknownKey => (ErrorCode::TryAgain, "the key of this token is not known yet"),
    }
}

impl<N: Net> Shard<N> {
    /// Performs a `refresh`: of the connection's token, or of the one for a channel.
    pub(super) fn renew(
        &mut self,
        slot: Slot,
        channel: Option<&str>,
        token: &str,
        id: Option<RequestId>,
    ) -> Result<Flow, Mistake> {
        let refreshed = match channel {
            Some(channel) => self.refresh_seat(slot, channel, token),
            None => self.refresh(slot, token),
        };
        let (code, text) = match refreshed {
            Ok(left_s) => {
                self.clients.tell(slot, &Event::Refreshed { channel, left_s, id: id.as_ref() });
                return Ok(Flow::On);
            }
            Err(RefreshFault::NotAMember) => (ErrorCode::NotJoined, "not a member of this channel"),
            Err(RefreshFault::NoToken) => {
                (ErrorCode::BadToken, "a client that came without a token cannot refresh one")
            }
            Err(RefreshFault::TooOften) => (ErrorCode::Rate, "one refresh a second is enough"),
            Err(RefreshFault::OtherUser) => (ErrorCode::BadToken, "the token is of another user"),
            Err(RefreshFault::Token(fault)) => token_error(fault),
        };
        Err(Mistake::new(code, text, id))
    }
}
