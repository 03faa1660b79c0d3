//! Socket ids: the names of clients in Pusher's protocol, by which their backends sign.

use std::fmt;
use std::str::FromStr;

use super::id::{ClientId, ShardId, Slot};

/// The name of one client for as long as it is connected. A signature for it is good for no other
/// client, also not after a restart.
///
/// It is two numbers: one of the process, drawn at random when it starts, and one of the client.
/// A number made of the time would come again where a clock is set back, and with two servers that
/// start at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId {
    /// The number of the process.
    pub(crate) run: u64,
    pub(crate) client: ClientId,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientId { generation, slot, shard } = self.client;
        let number = u128::from(shard.0) << 64 | u128::from(slot.0) << 32 | u128::from(generation);
        write!(f, "{}.{number}", self.run)
    }
}

/// A text that is no socket id of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a socket id of this server: two numbers with a dot between them")]
pub struct NoSocketId;

impl FromStr for SocketId {
    type Err = NoSocketId;

    fn from_str(text: &str) -> Result<Self, NoSocketId> {
        let (run, number) = text.split_once('.').ok_or(NoSocketId)?;
        // `parse` would take a plus sign.
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(run) || !digits(number) {
            return Err(NoSocketId);
        }
        let run = run.parse().map_err(|_| NoSocketId)?;
        let number: u128 = number.parse().map_err(|_| NoSocketId)?;
        let part = |shift: u32| u32::try_from(number >> shift & u128::from(u32::MAX));
        let shard = u16::try_from(number >> 64).map_err(|_| NoSocketId)?;
        let (generation, slot) = (part(0).unwrap_or_default(), part(32).unwrap_or_default());
        Ok(Self { run, client: ClientId { generation, slot: Slot(slot), shard: ShardId(shard) } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Server libraries want two numbers, and an id leads back to its client.
        #[test]
        fn an_id_is_two_numbers_and_reads_back(
            run: u64, generation: u32, slot: u32, shard: u16,
        ) {
            let client = ClientId { generation, slot: Slot(slot), shard: ShardId(shard) };
            let id = SocketId { run, client };
            let text = id.to_string();
            let parts: Vec<&str> = text.split('.').collect();
            prop_assert_eq!(parts.len(), 2);
            prop_assert!(parts.iter().all(|part| part.parse::<u128>().is_ok()));
            prop_assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        let huge = u128::MAX.to_string();
        for wrong in ["", ".", "1", "1.", ".1", "+1.2", "1.-2", "1.2.3", "a.b", "1 .2", &huge] {
            assert_eq!(wrong.parse::<SocketId>(), Err(NoSocketId), "{wrong}");
        }
        assert_eq!(format!("1.{huge}").parse::<SocketId>(), Err(NoSocketId));
    }
}
