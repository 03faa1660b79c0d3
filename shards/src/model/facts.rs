//! The facts that homes and owners know beside histories, as bytes: the clients of users and
//! addresses, the newest versions of channels, their users, the channels with watchers and those in
//! use. They pass to the process that takes over.
//!
//! ```text
//! fact     = kind u8, contents
//! user     = name, clients
//! address  = 4 or 16 bytes, clients
//! version  = name of the channel, number u64, epoch
//! present  = name of the channel, clients u32, member (roll.rs)
//! watched  = name of the channel
//! used     = name of the channel
//! clients  = number u32, (generation u32, slot u32, shard u16)*
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use super::codec::{Reader, put_bytes, put_client};
use super::directory::Claim;
use super::id::ClientId;
use super::message::Version;
use super::presence::Member;
use super::roll::{member, put_member};
use super::snapshot::Damaged;

const USER: u8 = 0;
const ADDRESS_V4: u8 = 1;
const ADDRESS_V6: u8 = 2;
const VERSION: u8 = 3;
const PRESENT: u8 = 4;
const WATCHED: u8 = 5;
const USED: u8 = 6;

/// One thing that a home or owner knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// The clients that have been granted a claim, the oldest first.
    Granted { claim: Claim, clients: Vec<ClientId> },
    /// The newest version that a publication of a channel has told.
    Version { channel: Arc<str>, version: Version },
    /// A user of so many clients in a channel; without any it may return.
    Present { channel: Arc<str>, clients: u32, member: Member },
    /// A channel has watchers.
    Watched { channel: Arc<str> },
    /// A channel whose use is told to the application has subscribers.
    Used { channel: Arc<str> },
}

/// One thing that a home or owner of an earlier process knew.
#[derive(Debug, Clone)]
pub struct Fact(pub(crate) Known);

/// Appends a claim without its clients.
pub(super) fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    match claim {
        Claim::User(user) => {
            out.push(USER);
            put_bytes(out, user.as_bytes());
        }
        Claim::Address(IpAddr::V4(address)) => {
            out.push(ADDRESS_V4);
            out.extend(address.octets());
        }
        Claim::Address(IpAddr::V6(address)) => {
            out.push(ADDRESS_V6);
            out.extend(address.octets());
        }
    }
}

/// Reads a claim of some kind.
pub(super) fn claim(rest: &mut Reader<'_>) -> Result<Claim, Damaged> {
    let [kind] = rest.array()?;
    claim_of(kind, rest)?.ok_or(rest.fault("no kind of claim"))
}

fn claim_of(kind: u8, rest: &mut Reader<'_>) -> Result<Option<Claim>, Damaged> {
    Ok(Some(match kind {
        USER => Claim::User(rest.text()?.into()),
        ADDRESS_V4 => Claim::Address(IpAddr::from(rest.array::<4>()?)),
        ADDRESS_V6 => Claim::Address(IpAddr::from(rest.array::<16>()?)),
        _ => return Ok(None),
    }))
}

/// Appends the clients that have been granted a claim.
pub(crate) fn put_granted(
    out: &mut Vec<u8>,
    claim: &Claim,
    clients: impl ExactSizeIterator<Item = ClientId>,
) {
    put_claim(out, claim);
    put_clients(out, clients);
}

pub(super) fn put_clients(out: &mut Vec<u8>, clients: impl ExactSizeIterator<Item = ClientId>) {
    let count = u32::try_from(clients.len()).expect("descriptors end before 32 bits do");
    out.extend(count.to_le_bytes());
    clients.for_each(|client| put_client(out, client));
}

pub(super) fn clients(rest: &mut Reader<'_>) -> Result<Vec<ClientId>, Damaged> {
    let count = rest.u32()?;
    // No room is made for a number that may be wrong.
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(rest.client()?);
    }
    Ok(clients)
}

/// Appends the newest version of a channel.
pub(crate) fn put_version(out: &mut Vec<u8>, channel: &str, version: &Version) {
    out.push(VERSION);
    put_bytes(out, channel.as_bytes());
    out.extend(version.number.to_le_bytes());
    put_bytes(out, version.epoch.as_bytes());
}

/// Appends a user of a channel.
pub(crate) fn put_present(out: &mut Vec<u8>, channel: &str, clients: u32, member: &Member) {
    out.push(PRESENT);
    put_bytes(out, channel.as_bytes());
    out.extend(clients.to_le_bytes());
    put_member(out, member);
}

/// Appends a channel with watchers.
pub(crate) fn put_watched(out: &mut Vec<u8>, channel: &str) {
    out.push(WATCHED);
    put_bytes(out, channel.as_bytes());
}

/// Appends a channel in use.
pub(crate) fn put_used(out: &mut Vec<u8>, channel: &str) {
    out.push(USED);
    put_bytes(out, channel.as_bytes());
}

/// Reads facts.
///
/// # Errors
/// They are not whole, or of another form.
pub fn read_facts(bytes: &[u8]) -> Result<Vec<Fact>, Damaged> {
    let mut rest = Reader { bytes, at: 0 };
    let mut facts = Vec::new();
    while !rest.is_at_end() {
        let [kind] = rest.array()?;
        facts.push(Fact(match kind {
            VERSION => {
                let channel = rest.text()?.into();
                let version = Version { number: rest.u64()?, epoch: rest.text()?.into() };
                Known::Version { channel, version }
            }
            PRESENT => {
                let (channel, clients) = (rest.text()?.into(), rest.u32()?);
                Known::Present { channel, clients, member: member(&mut rest)? }
            }
            WATCHED => Known::Watched { channel: rest.text()?.into() },
            USED => Known::Used { channel: rest.text()?.into() },
            _ => {
                let fault = rest.fault("no kind of fact");
                let claim = claim_of(kind, &mut rest)?.ok_or(fault)?;
                Known::Granted { claim, clients: clients(&mut rest)? }
            }
        }));
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::id::{ShardId, Slot};

    #[test]
    fn facts_read_back_and_every_cut_is_found() {
        let client =
            |slot| ClientId { generation: 9 << 27 | 3, slot: Slot(slot), shard: ShardId(1) };
        let granted =
            |claim, count| Known::Granted { claim, clients: (0..count).map(client).collect() };
        let all = [
            granted(Claim::User("ana".into()), 2),
            granted(Claim::Address([127, 0, 0, 1].into()), 1),
            granted(Claim::Address([7; 16].into()), 0),
            Known::Version {
                channel: "room".into(),
                version: Version { number: u64::MAX, epoch: "e".into() },
            },
            Known::Present {
                channel: "room".into(),
                clients: 2,
                member: Member {
                    client: client(4),
                    user: Some("ana".into()),
                    info: None,
                    channel_info: None,
                },
            },
            Known::Watched { channel: "room".into() },
            Known::Used { channel: "room".into() },
        ];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for known in &all {
            match known {
                Known::Granted { claim, clients } => {
                    put_granted(&mut bytes, claim, clients.iter().copied());
                }
                Known::Version { channel, version } => put_version(&mut bytes, channel, version),
                Known::Present { channel, clients, member } => {
                    put_present(&mut bytes, channel, *clients, member);
                }
                Known::Watched { channel } => put_watched(&mut bytes, channel),
                Known::Used { channel } => put_used(&mut bytes, channel),
            }
            ends.push(bytes.len());
        }
        let read: Vec<Known> = read_facts(&bytes).unwrap().into_iter().map(|fact| fact.0).collect();
        assert_eq!(read, all);
        for length in 0..bytes.len() {
            assert_eq!(read_facts(&bytes[..length]).is_ok(), ends.contains(&length), "{length}");
        }
        assert!(read_facts(&[9; 40]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_facts(&bytes);
        }
    }
}
