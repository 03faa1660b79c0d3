//! The messages of two processes about the members of channels: joins and leaves, channels with
//! watchers and those in use, questions for members and their answers.
//!
//! ```text
//! member   = client, details u8, user?, info?, info for the channel?
//! question = kind u8, (count u64, bytes u64)?
//! here     = clients u64, uncounted u64, more u8, users, members, guests; lists behind a u32
//! ```

use std::sync::Arc;

use super::codec::{Reader, put_bytes, put_client};
use super::id::ShardId;
use super::presence::{Here, Member, Question};
use super::snapshot::Damaged;
use super::told::{Token, put_token, token};

const NEWS: u8 = 1;
const WATCH: u8 = 2;
const COUNT: u8 = 3;
const WHO: u8 = 4;
const HERE: u8 = 5;
const USE: u8 = 6;
const ONLINE: u8 = 7;

const HAS_USER: u8 = 1;
const HAS_INFO: u8 = 2;
const HAS_CHANNEL_INFO: u8 = 4;

const USERS: u8 = 0;
const MEMBERS: u8 = 1;
const NUMBERS: u8 = 2;
const DISTINCT_NUMBERS: u8 = 3;

/// The number of members of a channel in a process that does not count them.
pub(crate) const UNCOUNTED: u32 = u32::MAX;

/// One message about members.
#[derive(Debug, Clone)]
pub(crate) enum Roll {
    /// A client of the sender, or of a process behind it, joined a channel or left it.
    News {
        channel: Arc<str>,
        member: Member,
        joined: bool,
        /// The number of members on the sender's side after that, or [`UNCOUNTED`].
        members: u32,
    },
    /// The sender has watchers of a channel, or has them no longer.
    Watch { channel: Arc<str>, on: bool },
    /// A channel with watchers has so many members on the sender's side.
    Count { channel: Arc<str>, members: u32 },
    /// To the leader: a channel whose use is told to the application has subscribers on the
    /// sender's side, or has them no longer.
    Use { channel: Arc<str>, on: bool },
    /// To the follower: a user of an app has clients in the sender's process or beyond, or has them
    /// no longer.
    Online { user: Arc<str>, on: bool },
    /// The members of a channel are asked for.
    Who { token: Token, channel: Arc<str>, question: Question },
    /// The answer to that.
    Here { token: Token, here: Here },
}

/// The name or the home by which a message finds its shard.
pub(crate) enum Address<'a> {
    Channel(&'a Arc<str>),
    Home(ShardId),
}

impl Roll {
    /// Returns the address of the message in the process that receives it.
    pub(crate) fn address(&self) -> Address<'_> {
        match self {
            Self::News { channel, .. }
            | Self::Watch { channel, .. }
            | Self::Use { channel, .. }
            | Self::Online { user: channel, .. }
            | Self::Count { channel, .. }
            | Self::Who { channel, .. } => Address::Channel(channel),
            Self::Here { token, .. } => Address::Home(token.home),
        }
    }

    /// Appends the contents of a frame.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::News { channel, member, joined, members } => {
                out.extend([NEWS, u8::from(*joined)]);
                put_bytes(out, channel.as_bytes());
                out.extend(members.to_le_bytes());
                put_member(out, member);
            }
            Self::Watch { channel, on } => {
                out.extend([WATCH, u8::from(*on)]);
                put_bytes(out, channel.as_bytes());
            }
            Self::Use { channel, on } => {
                out.extend([USE, u8::from(*on)]);
                put_bytes(out, channel.as_bytes());
            }
            Self::Online { user, on } => {
                out.extend([ONLINE, u8::from(*on)]);
                put_bytes(out, user.as_bytes());
            }
            Self::Count { channel, members } => {
                out.push(COUNT);
                put_bytes(out, channel.as_bytes());
                out.extend(members.to_le_bytes());
            }
            Self::Who { token, channel, question } => {
                out.push(WHO);
                put_token(out, *token);
                put_bytes(out, channel.as_bytes());
                put_question(out, *question);
            }
            Self::Here { token, here } => {
                out.push(HERE);
                put_token(out, *token);
                put_here(out, here);
            }
        }
    }

    pub(super) fn read(frame: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [kind] = frame.array()?;
        Ok(match kind {
            NEWS => {
                let joined = flag(frame)?;
                let (channel, members) = (frame.text()?.into(), frame.u32()?);
                Self::News { channel, member: member(frame)?, joined, members }
            }
            WATCH => {
                let on = flag(frame)?;
                Self::Watch { channel: frame.text()?.into(), on }
            }
            USE => {
                let on = flag(frame)?;
                Self::Use { channel: frame.text()?.into(), on }
            }
            ONLINE => {
                let on = flag(frame)?;
                Self::Online { user: frame.text()?.into(), on }
            }
            COUNT => Self::Count { channel: frame.text()?.into(), members: frame.u32()? },
            WHO => {
                let (token, channel) = (token(frame)?, frame.text()?.into());
                Self::Who { token, channel, question: question(frame)? }
            }
            HERE => Self::Here { token: token(frame)?, here: here(frame)? },
            _ => return Err(frame.fault("no kind of message about members")),
        })
    }
}

fn flag(rest: &mut Reader<'_>) -> Result<bool, Damaged> {
    match rest.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(rest.fault("neither yes nor no")),
    }
}

/// Appends a member.
pub(super) fn put_member(out: &mut Vec<u8>, member: &Member) {
    put_client(out, member.client);
    let texts = [
        (&member.user, HAS_USER),
        (&member.info, HAS_INFO),
        (&member.channel_info, HAS_CHANNEL_INFO),
    ];
    let there = texts.iter().filter(|(text, _)| text.is_some());
    out.push(there.fold(0, |flags, (_, flag)| flags | flag));
    for text in texts.iter().filter_map(|(text, _)| text.as_ref()) {
        put_bytes(out, text.as_bytes());
    }
}

/// Reads a member.
pub(super) fn member(rest: &mut Reader<'_>) -> Result<Member, Damaged> {
    let client = rest.client()?;
    let [flags] = rest.array()?;
    if flags > HAS_USER | HAS_INFO | HAS_CHANNEL_INFO {
        return Err(rest.fault("no details of a member"));
    }
    let mut text = |flag: u8| {
        let there = flags & flag != 0;
        there.then(|| rest.text().map(Arc::from)).transpose()
    };
    let (user, info) = (text(HAS_USER)?, text(HAS_INFO)?);
    Ok(Member { client, user, info, channel_info: text(HAS_CHANNEL_INFO)? })
}

fn put_question(out: &mut Vec<u8>, question: Question) {
    match question {
        Question::Users => out.push(USERS),
        Question::Members { count, bytes } => {
            out.push(MEMBERS);
            out.extend((count as u64).to_le_bytes());
            out.extend((bytes as u64).to_le_bytes());
        }
        Question::Numbers { distinct } => {
            out.push(if distinct { DISTINCT_NUMBERS } else { NUMBERS });
        }
    }
}

fn question(rest: &mut Reader<'_>) -> Result<Question, Damaged> {
    Ok(match rest.array()? {
        [USERS] => Question::Users,
        [MEMBERS] => {
            let [count, bytes] = [rest.u64()?, rest.u64()?].map(usize::try_from);
            let fault = |_| rest.fault("a number is too large");
            Question::Members { count: count.map_err(fault)?, bytes: bytes.map_err(fault)? }
        }
        [NUMBERS] => Question::Numbers { distinct: false },
        [DISTINCT_NUMBERS] => Question::Numbers { distinct: true },
        _ => return Err(rest.fault("no kind of question")),
    })
}

fn put_here(out: &mut Vec<u8>, here: &Here) {
    out.extend(here.clients.to_le_bytes());
    out.extend(here.uncounted.to_le_bytes());
    out.push(u8::from(here.more));
    put_count(out, here.users.len());
    for user in &here.users {
        put_bytes(out, user.as_bytes());
    }
    for list in [&here.members, &here.guests] {
        put_count(out, list.len());
        for member in list {
            put_member(out, member);
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).expect("answers are bounded").to_le_bytes());
}

fn here(rest: &mut Reader<'_>) -> Result<Here, Damaged> {
    let (clients, uncounted, more) = (rest.u64()?, rest.u64()?, flag(rest)?);
    let users = list(rest, |rest| rest.text().map(Arc::from))?;
    let members = list(rest, member)?;
    Ok(Here { clients, users, uncounted, members, guests: list(rest, member)?, more })
}

fn list<T>(
    rest: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Damaged>,
) -> Result<Vec<T>, Damaged> {
    let count = rest.u32()?;
    // No room is made for a number that may be wrong.
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(read(rest)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ClientId, Slot};
    use crate::model::told::Told;

    fn all() -> Vec<Roll> {
        let client = ClientId { generation: 1 << 27, slot: Slot(7), shard: ShardId(3) };
        let text = |text: &str| Some(Arc::from(text));
        let unnamed = Member { client, user: None, info: None, channel_info: None };
        let named = Member { user: text("ann"), channel_info: text("{}"), ..unnamed.clone() };
        let whole = Member { info: text("[1]"), ..named.clone() };
        let news = |member, joined| Roll::News {
            channel: "room".into(),
            member,
            joined,
            members: UNCOUNTED,
        };
        let token = Token { home: ShardId(2), number: 9 };
        let who = |question| Roll::Who { token, channel: "room".into(), question };
        let here = Here {
            clients: 5,
            users: vec!["ann".into(), "bob".into()],
            uncounted: 2,
            members: vec![named.clone(), unnamed.clone()],
            guests: vec![whole.clone()],
            more: true,
        };
        vec![
            news(unnamed, true),
            news(named, false),
            news(whole, true),
            Roll::Watch { channel: "room".into(), on: true },
            Roll::Watch { channel: "room".into(), on: false },
            Roll::Use { channel: "room".into(), on: true },
            Roll::Online { user: "ann".into(), on: false },
            Roll::Count { channel: "room".into(), members: 8 },
            who(Question::Users),
            who(Question::Members { count: 3, bytes: usize::MAX }),
            who(Question::Numbers { distinct: false }),
            who(Question::Numbers { distinct: true }),
            Roll::Here { token, here },
            Roll::Here { token, here: Here::default() },
        ]
    }

    #[test]
    fn messages_about_members_read_back_and_every_cut_is_found() {
        for roll in all() {
            let mut bytes = Vec::new();
            roll.put(&mut bytes);
            let read = |bytes: &[u8]| Roll::read(&mut Reader { bytes, at: 0 });
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err(), "{length} bytes of {roll:?}");
            }
            let again = read(&bytes).unwrap();
            assert_eq!(format!("{again:?}"), format!("{roll:?}"));
            let mut frame = Vec::new();
            Told::Roll(roll).put(&mut frame);
            let (told, length) = Told::read(&frame).unwrap().unwrap();
            assert!(matches!(told, Told::Roll(_)) && length == frame.len());
        }
        for damaged in [&[9][..], &[2, 7], &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]] {
            assert!(Roll::read(&mut Reader { bytes: damaged, at: 0 }).is_err(), "{damaged:?}");
        }
    }
}
