//! The messages between two processes of which one numbers the publications of both: the
//! follower's publications on their way to the leader, and everything that the leader numbered on
//! its way back.
//!
//! ```text
//! frame       = length of the rest u32, kind u8, contents
//! publication = details u8, skip_history u8, version (number u64, epoch)?,
//!               excepted (run u64, client)?, publication (codec.rs)
//! ```

use std::sync::Arc;

use super::channel::NoChannel;
use super::codec::{Reader, put_bytes, put_client, put_position, put_publication};
use super::directory::{Claim, Verdict};
use super::facts::{claim, clients, put_claim, put_clients};
use super::id::{ClientId, ShardId};
use super::message::{Details, Epoch, Position, Publication, Version};
use super::roll::Roll;
use super::snapshot::Damaged;
use super::socket::SocketId;

/// The longest frame: a message with its details, and room to spare.
pub(crate) const FRAME_BYTES_MAX: usize = 256 << 20;

const PUBLISH: u8 = 1;
const NUMBERED: u8 = 2;
const GRANTED: u8 = 3;
const REPEATED: u8 = 4;
const REFUSED: u8 = 5;
const PING: u8 = 6;
const DIRECT: u8 = 7;
const REACHED: u8 = 8;
const REMOVED: u8 = 9;
const CLAIM: u8 = 10;
const CLAIMED: u8 = 11;
const RELEASE: u8 = 12;
const SETTLE: u8 = 13;
const REPLACE: u8 = 14;
const ROLL: u8 = 15;

const HAS_DETAILS: u8 = 1;
const HAS_VERSION: u8 = 2;
const HAS_EXCEPT: u8 = 4;

/// The mark of a client id of another row of take-overs: no client here has one like it.
const FOREIGN: u32 = 1 << 31;

/// A publication of a follower's home, on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) home: ShardId,
    pub(crate) number: u64,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// To the leader: number this.
    Publish { token: Token, publication: Arc<Publication> },
    /// To the follower: somebody else's publication was numbered.
    Numbered { epoch: Epoch, publication: Arc<Publication> },
    /// Its own was.
    Granted { token: Token, position: Position, time_ms: u64 },
    /// Its own was left out: the channel has had that version.
    Repeated { token: Token, position: Position },
    /// Its own was not numbered.
    Refused { token: Token, why: NoChannel },
    /// To either: send this to all clients of a user.
    Direct { token: Token, user: Arc<str>, publication: Arc<Publication> },
    /// It was sent to so many clients.
    Reached { token: Token, clients: u64 },
    /// To the follower: what a channel has kept is to be forgotten.
    Removed { channel: Arc<str> },
    /// To the leader: decide this claim of a client here.
    Claim { client: ClientId, claim: Claim },
    /// To the follower: it was decided.
    Claimed { client: ClientId, claim: Claim, verdict: Verdict },
    /// To the leader: a client has gone.
    Release { client: ClientId, claim: Claim },
    /// To the leader: a client that replaces others of its user is open, in that channel.
    Settle { client: ClientId, user: Arc<str>, channel: Option<Arc<str>> },
    /// To the follower: these clients are replaced. The home of that name sends them away.
    Replace { name: Arc<str>, clients: Vec<ClientId> },
    /// To either: about the members of channels.
    Roll(Roll),
    /// The other side lives.
    Ping,
    /// The link is over. This and the next are never sent to the other process.
    Over,
    /// The leader has numbered nothing, and never will.
    Back,
}

/// Marks the author of a publication as a client of a process that was before this one.
pub(crate) fn make_foreign(publication: &mut Publication) {
    if let Some(from) = &mut publication.from {
        from.client.generation |= FOREIGN;
    }
}

impl Told {
    /// Appends a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::Publish { token, publication } => {
                out.push(PUBLISH);
                put_token(out, *token);
                put_whole(out, publication);
            }
            Self::Numbered { epoch, publication } => {
                out.push(NUMBERED);
                out.extend_from_slice(&epoch.0.to_le_bytes());
                put_whole(out, publication);
            }
            Self::Granted { token, position, time_ms } => {
                out.push(GRANTED);
                put_token(out, *token);
                put_position(out, *position);
                out.extend_from_slice(&time_ms.to_le_bytes());
            }
            Self::Repeated { token, position } => {
                out.push(REPEATED);
                put_token(out, *token);
                put_position(out, *position);
            }
            Self::Refused { token, why } => {
                out.push(REFUSED);
                put_token(out, *token);
                out.push(*why as u8);
            }
            Self::Direct { token, user, publication } => {
                out.push(DIRECT);
                put_token(out, *token);
                put_bytes(out, user.as_bytes());
                put_whole(out, publication);
            }
            Self::Reached { token, clients } => {
                out.push(REACHED);
                put_token(out, *token);
                out.extend_from_slice(&clients.to_le_bytes());
            }
            Self::Removed { channel } => {
                out.push(REMOVED);
                put_bytes(out, channel.as_bytes());
            }
            Self::Claim { client, claim } => put_claimed(out, CLAIM, *client, claim),
            Self::Claimed { client, claim, verdict } => {
                put_claimed(out, CLAIMED, *client, claim);
                out.push(*verdict as u8);
            }
            Self::Release { client, claim } => put_claimed(out, RELEASE, *client, claim),
            Self::Settle { client, user, channel } => {
                out.push(SETTLE);
                put_client(out, *client);
                put_bytes(out, user.as_bytes());
                // No name of a channel is empty.
                put_bytes(out, channel.as_deref().unwrap_or_default().as_bytes());
            }
            Self::Replace { name, clients } => {
                out.push(REPLACE);
                put_bytes(out, name.as_bytes());
                put_clients(out, clients.iter().copied());
            }
            Self::Roll(roll) => {
                out.push(ROLL);
                roll.put(out);
            }
            Self::Ping => out.push(PING),
            Self::Over | Self::Back => {}
        }
        let length = u32::try_from(out.len() - start - 4).expect("a message is bounded");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads the first frame of some bytes, and the number of its bytes; `None`: it is not there as
    /// a whole yet.
    ///
    /// # Errors
    /// It is no frame.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Damaged> {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(Damaged { at: 0, why: "a frame is too long" });
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let mut frame = Reader { bytes: frame, at: 0 };
        let told = Self::read_contents(&mut frame)?;
        if !frame.is_at_end() {
            return Err(frame.fault("a frame is longer than its contents"));
        }
        Ok(Some((told, 4 + length)))
    }

    fn read_contents(frame: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [kind] = frame.array()?;
        Ok(match kind {
            PUBLISH => Self::Publish { token: token(frame)?, publication: whole(frame)? },
            NUMBERED => Self::Numbered { epoch: Epoch(frame.u32()?), publication: whole(frame)? },
            GRANTED => Self::Granted {
                token: token(frame)?,
                position: frame.position()?,
                time_ms: frame.u64()?,
            },
            REPEATED => Self::Repeated { token: token(frame)?, position: frame.position()? },
            REFUSED => {
                let token = token(frame)?;
                let why = match frame.array()? {
                    [0] => NoChannel::NoRoom,
                    [1] => NoChannel::UnknownNamespace,
                    [2] => NoChannel::Unavailable,
                    _ => return Err(frame.fault("no kind of refusal")),
                };
                Self::Refused { token, why }
            }
            DIRECT => Self::Direct {
                token: token(frame)?,
                user: frame.text()?.into(),
                publication: whole(frame)?,
            },
            REACHED => Self::Reached { token: token(frame)?, clients: frame.u64()? },
            REMOVED => Self::Removed { channel: frame.text()?.into() },
            CLAIM => Self::Claim { client: frame.client()?, claim: claim(frame)? },
            CLAIMED => {
                let (client, claim) = (frame.client()?, claim(frame)?);
                let [verdict] = frame.array()?;
                let verdict = Verdict::ALL.get(usize::from(verdict)).copied();
                let verdict = verdict.ok_or(frame.fault("no kind of verdict"))?;
                Self::Claimed { client, claim, verdict }
            }
            RELEASE => Self::Release { client: frame.client()?, claim: claim(frame)? },
            SETTLE => {
                let (client, user) = (frame.client()?, frame.text()?.into());
                let channel = Some(frame.text()?).filter(|name| !name.is_empty());
                Self::Settle { client, user, channel: channel.map(Arc::from) }
            }
            REPLACE => Self::Replace { name: frame.text()?.into(), clients: clients(frame)? },
            ROLL => Self::Roll(Roll::read(frame)?),
            PING => Self::Ping,
            _ => return Err(frame.fault("no kind of frame")),
        })
    }
}

fn put_claimed(out: &mut Vec<u8>, kind: u8, client: ClientId, claim: &Claim) {
    out.push(kind);
    put_client(out, client);
    put_claim(out, claim);
}

pub(super) fn put_token(out: &mut Vec<u8>, Token { home, number }: Token) {
    out.extend_from_slice(&home.0.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn token(frame: &mut Reader<'_>) -> Result<Token, Damaged> {
    Ok(Token { home: ShardId(u16::from_le_bytes(frame.array()?)), number: frame.u64()? })
}

/// Appends a publication with its channel and all of its details.
pub(super) fn put_whole(out: &mut Vec<u8>, publication: &Publication) {
    put_bytes(out, publication.channel.as_bytes());
    let (version, except) = (publication.version(), publication.except());
    let flag = |there: bool, flag: u8| if there { flag } else { 0 };
    out.push(
        flag(publication.details.is_some(), HAS_DETAILS)
            | flag(version.is_some(), HAS_VERSION)
            | flag(except.is_some(), HAS_EXCEPT),
    );
    out.push(u8::from(publication.skips_history()));
    if let Some(Version { number, epoch }) = version {
        out.extend_from_slice(&number.to_le_bytes());
        put_bytes(out, epoch.as_bytes());
    }
    if let Some(SocketId { run, client }) = except {
        out.extend_from_slice(&run.to_le_bytes());
        put_client(out, client);
    }
    put_publication(out, publication);
}

/// Reads a publication. No client here has the id of an author in another process.
pub(super) fn whole(frame: &mut Reader<'_>) -> Result<Arc<Publication>, Damaged> {
    let channel: Arc<str> = frame.text()?.into();
    let [flags, skips] = frame.array()?;
    let version = if flags & HAS_VERSION == 0 {
        None
    } else {
        Some(Version { number: frame.u64()?, epoch: frame.text()?.into() })
    };
    let except = if flags & HAS_EXCEPT == 0 {
        None
    } else {
        Some(SocketId { run: frame.u64()?, client: frame.client()? })
    };
    let mut publication = frame.publication(&channel)?;
    if flags & HAS_DETAILS != 0 {
        let tags = publication.tags().map(Arc::from);
        let details = Details { skip_history: skips != 0, tags, except, version };
        publication.details = Some(Arc::new(details));
    }
    Ok(Arc::new(publication))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::id::Slot;
    use crate::model::message::{From, Payload};

    fn publication() -> Arc<Publication> {
        let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
        let version = Some(Version { number: 7, epoch: "e".into() });
        let except = Some(SocketId { run: 1 << 60, client });
        let details = Details { skip_history: true, tags: Some("{}".into()), except, version };
        Arc::new(Publication {
            channel: "room".into(),
            offset: 9,
            time_ms: 8,
            ingress_ns: 0,
            from: Some(From { client, user: Some("ann".into()) }),
            details: Some(Arc::new(details)),
            payload: Payload::Text("é".into()),
        })
    }

    fn all() -> Vec<Told> {
        let token = Token { home: ShardId(3), number: u64::MAX };
        let position = Position { epoch: Epoch(5), offset: 6 };
        let publication = publication();
        let client = publication.from.as_ref().unwrap().client;
        vec![
            Told::Publish { token, publication: Arc::clone(&publication) },
            Told::Numbered { epoch: Epoch(5), publication: Arc::clone(&publication) },
            Told::Direct { token, user: "ann".into(), publication },
            Told::Reached { token, clients: 3 },
            Told::Granted { token, position, time_ms: 1 },
            Told::Repeated { token, position },
            Told::Refused { token, why: NoChannel::UnknownNamespace },
            Told::Refused { token, why: NoChannel::NoRoom },
            Told::Removed { channel: "room".into() },
            Told::Claim { client, claim: Claim::User("ann".into()) },
            Told::Claimed {
                client,
                claim: Claim::Address([127, 0, 0, 1].into()),
                verdict: Verdict::Refused,
            },
            Told::Release { client, claim: Claim::Address([7; 16].into()) },
            Told::Settle { client, user: "ann".into(), channel: Some("room".into()) },
            Told::Settle { client, user: "ann".into(), channel: None },
            Told::Replace { name: "room".into(), clients: vec![client; 2] },
            Told::Ping,
        ]
    }

    #[test]
    fn every_message_reads_back_from_any_number_of_bytes() {
        for told in all() {
            let mut bytes = Vec::new();
            told.put(&mut bytes);
            for length in 0..bytes.len() {
                assert!(Told::read(&bytes[..length]).unwrap().is_none(), "{told:?}");
            }
            bytes.push(0);
            let (read, length) = Told::read(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len() - 1);
            let mut again = Vec::new();
            read.put(&mut again);
            assert_eq!(again, bytes[..length], "{told:?}");
        }
    }

    #[test]
    fn details_cross_as_they_are() {
        let mut bytes = Vec::new();
        Told::Numbered { epoch: Epoch(1), publication: publication() }.put(&mut bytes);
        let Ok(Some((Told::Numbered { publication: read, .. }, _))) = Told::read(&bytes) else {
            panic!("another message")
        };
        assert_eq!((read.offset, read.time_ms, &*read.channel), (9, 8, "room"));
        assert_eq!(read.details, publication().details);
        let author = |one: &Publication| one.from.as_ref().unwrap().client;
        assert_eq!(author(&read), author(&publication()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Told::read(&bytes);
            let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
            framed.extend(&bytes);
            let _ = Told::read(&framed);
        }
    }
}
