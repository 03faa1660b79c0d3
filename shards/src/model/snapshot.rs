//! Snapshots: the histories of channels as bytes, for a file that outlives the process.
//!
//! ```text
//! file    = "STENTOR1" record* end
//! record  = length u32, CRC-32 of the payload u32, payload
//! payload = name, epoch u32, newest u64, floor u64,
//!           number of ancestors u8, ancestor (epoch u32, offset u64)*, publication*
//! end     = 0 u32, number of records u32
//! ```
//! Numbers are little-endian, texts and bytes stand behind their length as u32.

use std::sync::Arc;

use super::codec::{Reader, put_bytes, put_position, put_publication};
use super::facts::Fact;
use super::id::ProcessId;
use super::message::{Position, Publication};
use super::revoked::Revocation;

/// The first bytes of a file.
pub const MAGIC: &[u8; 8] = b"STENTOR1";

/// The most numberings before the present one in which positions are still understood.
pub(crate) const ANCESTORS_MAX: usize = 8;

/// The longest record.
const RECORD_BYTES_MAX: usize = 1 << 30;

const USER: u8 = 0;
const TOKEN: u8 = 1;

/// All that a process goes on with from an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Its channels.
    pub channels: Vec<ChannelPast>,
    /// The revocations in force.
    pub revocations: Vec<Revocation>,
    /// The clients of users and addresses, and the newest versions of channels.
    pub facts: Vec<Fact>,
    /// This process in the row of take-overs.
    pub process: ProcessId,
    /// The number of earlier processes whose past could not be had.
    pub lost: u64,
    /// The earlier process numbers nothing any more: it sends its publications here.
    pub leads: bool,
    /// The seed of this process's numberings; `None` for any.
    pub seed: Option<u64>,
}

/// The past of one channel.
#[derive(Debug, Clone)]
pub struct ChannelPast {
    pub(crate) name: Arc<str>,
    pub(crate) newest: Position,
    /// Everything that was to be kept above this offset is here.
    pub(crate) floor: u64,
    /// Earlier numberings, each with the last offset that belongs to it.
    pub(crate) ancestors: Vec<Position>,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// The earlier process may have numbered more than this.
    pub(crate) is_open: bool,
}

impl ChannelPast {
    /// Notes that the earlier process may have numbered more: none of its positions is one to go on
    /// from.
    #[must_use]
    pub fn open(self) -> Self {
        Self { is_open: true, ..self }
    }
}

/// A part of a shard's histories as bytes.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// Their number.
    pub records: u32,
    /// The place to go on from; `None`: these were the last.
    pub next: Option<usize>,
}

/// A snapshot that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {at}: {why}")]
pub struct Damaged {
    /// Where.
    pub at: usize,
    /// The fault there.
    pub why: &'static str,
}

/// Appends the end of a file with so many records.
pub fn put_end(out: &mut Vec<u8>, records: u32) {
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&records.to_le_bytes());
}

/// Reads a whole file.
///
/// # Errors
/// It is not whole, or not a file of this form.
pub fn read(file: &[u8]) -> Result<Vec<ChannelPast>, Damaged> {
    let mut rest = Reader { bytes: file, at: 0 };
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(Damaged { at: 0, why: "not a history of this version" });
    }
    let mut channels = Vec::new();
    loop {
        let at = rest.at;
        let Some(channel) = record(&mut rest)? else {
            let count = rest.u32()?;
            let whole = usize::try_from(count) == Ok(channels.len()) && rest.is_at_end();
            return if whole { Ok(channels) } else { Err(Damaged { at, why: "the end is wrong" }) };
        };
        channels.push(channel);
    }
}

/// Reads whole records, as they are in [`Saved`].
///
/// # Errors
/// They are not whole, or no records.
pub fn read_part(part: &[u8]) -> Result<Vec<ChannelPast>, Damaged> {
    let mut rest = Reader { bytes: part, at: 0 };
    let mut channels = Vec::new();
    while !rest.is_at_end() {
        let fault = rest.fault("a record is empty");
        channels.push(record(&mut rest)?.ok_or(fault)?);
    }
    Ok(channels)
}

/// Reads one record; `None` for one of no length, of which only the length is read.
fn record(rest: &mut Reader<'_>) -> Result<Option<ChannelPast>, Damaged> {
    let at = rest.at;
    let len = rest.u32()? as usize;
    if len == 0 {
        return Ok(None);
    }
    let check = rest.u32()?;
    if len > RECORD_BYTES_MAX {
        return Err(Damaged { at, why: "a record is too long" });
    }
    let payload = rest.take(len)?;
    if crc32fast::hash(payload) != check {
        return Err(Damaged { at, why: "the checksum is wrong" });
    }
    let mut payload = Reader { bytes: payload, at: 0 };
    let read = channel(&mut payload);
    read.map(Some).map_err(|fault| Damaged { at: at + 8 + fault.at, ..fault })
}

/// Returns revocations as bytes.
pub fn put_revocations(revocations: &[Revocation]) -> Vec<u8> {
    let mut out = Vec::new();
    for revocation in revocations {
        let (kind, moment, name) = match revocation {
            Revocation::User { user, before_s } => (USER, before_s, user),
            Revocation::Token { id, at_s } => (TOKEN, at_s, id),
        };
        out.push(kind);
        out.extend_from_slice(&moment.to_le_bytes());
        put_bytes(&mut out, name.as_bytes());
    }
    out
}

/// Reads the bytes of [`put_revocations`].
///
/// # Errors
/// They are not whole, or of another form.
pub fn read_revocations(bytes: &[u8]) -> Result<Vec<Revocation>, Damaged> {
    let mut rest = Reader { bytes, at: 0 };
    let mut revocations = Vec::new();
    while !rest.is_at_end() {
        let ([kind], moment) = (rest.array()?, rest.u64()?);
        let name: Arc<str> = rest.text()?.into();
        revocations.push(match kind {
            USER => Revocation::User { user: name, before_s: moment },
            TOKEN => Revocation::Token { id: name, at_s: moment },
            _ => return Err(rest.fault("no kind of revocation")),
        });
    }
    Ok(revocations)
}

/// Appends the record of one channel.
pub(crate) fn put(
    out: &mut Vec<u8>,
    (name, newest, floor): (&str, Position, u64),
    ancestors: &[Position],
    publications: impl Iterator<Item = Arc<Publication>>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    put_bytes(out, name.as_bytes());
    put_position(out, newest);
    out.extend_from_slice(&floor.to_le_bytes());
    let ancestors = &ancestors[ancestors.len().saturating_sub(ANCESTORS_MAX)..];
    out.push(u8::try_from(ancestors.len()).expect("at most eight"));
    for ancestor in ancestors {
        put_position(out, *ancestor);
    }
    for publication in publications {
        put_publication(out, &publication);
    }
    let len = u32::try_from(out.len() - start - 8).expect("a history is bounded");
    let check = crc32fast::hash(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&check.to_le_bytes());
}

fn channel(rest: &mut Reader<'_>) -> Result<ChannelPast, Damaged> {
    let name: Arc<str> = rest.text()?.into();
    let (newest, floor) = (rest.position()?, rest.u64()?);
    let [count] = rest.array()?;
    if usize::from(count) > ANCESTORS_MAX {
        return Err(rest.fault("too many numberings"));
    }
    let ancestors = (0..count).map(|_| rest.position()).collect::<Result<_, _>>()?;
    let mut publications = Vec::new();
    let mut before = floor;
    while !rest.is_at_end() {
        let publication = rest.publication(&name)?;
        if publication.offset <= before || publication.offset > newest.offset {
            return Err(rest.fault("offsets are not in their order"));
        }
        before = publication.offset;
        publications.push(Arc::new(publication));
    }
    Ok(ChannelPast { name, newest, floor, ancestors, publications, is_open: false })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::id::{ClientId, ShardId, Slot};
    use crate::model::message::{Details, Epoch, From, Payload};
    use crate::model::rooms::Rooms;
    use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

    fn file() -> Vec<u8> {
        let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
        let from = |user: Option<&str>| Some(From { client, user: user.map(Arc::from) });
        let tags = Details { tags: Some("{\"a\":\"b\"}".into()), ..Details::default() };
        let publication = |offset, from, details, payload| {
            let channel = "room".into();
            let (time_ms, ingress_ns) = (7, 0);
            Arc::new(Publication { channel, offset, time_ms, ingress_ns, from, details, payload })
        };
        let publications = [
            publication(5, None, Some(Arc::new(tags)), Payload::Json("1".into())),
            publication(6, from(None), None, Payload::Text("é".into())),
            publication(9, from(Some("ann")), None, Payload::Binary(Bytes::from_static(&[0, 255]))),
        ];
        let mut file = MAGIC.to_vec();
        let newest = Position { epoch: Epoch(8), offset: 10 };
        let ancestors: Vec<Position> =
            (0..12).map(|epoch| Position { epoch: Epoch(epoch), offset: 1 }).collect();
        put(&mut file, ("room", newest, 4), &ancestors, publications.into_iter());
        put(&mut file, ("empty", newest, 10), &[], std::iter::empty());
        put_end(&mut file, 2);
        file
    }

    #[test]
    fn a_history_from_before_the_boot_of_the_host_lives_no_longer_than_another() {
        let history = HistoryRules { size: 9, ttl: Duration::from_secs(10), bytes: 1 << 20 };
        let rules = ChannelRules { history, ..ChannelRules::open("") };
        let rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
        let restored = |unix_ms| {
            let mut rooms = Rooms::new(100, Epoch(1), Arc::clone(&rules), 1 << 20);
            let past = read(&file()).unwrap();
            rooms.restore(past, (ShardId(0), true), (1_000, unix_ms));
            rooms.check_histories();
            rooms
        };
        let kept = |rooms: &Rooms| rooms.kept_now().publications;
        assert_eq!(kept(&restored(10_008)), 0, "their time was over");
        let mut rooms = restored(5_007);
        rooms.sweep_histories(6_000);
        assert_eq!(kept(&rooms), 3);
        rooms.sweep_histories(6_001);
        assert_eq!(kept(&rooms), 0);
    }

    #[test]
    fn a_snapshot_reads_back() {
        let channels = read(&file()).unwrap();
        let [room, empty] = &channels[..] else { panic!("{channels:?}") };
        assert_eq!((&*room.name, room.newest.offset, room.floor), ("room", 10, 4));
        assert_eq!(room.ancestors.len(), ANCESTORS_MAX);
        assert_eq!(room.ancestors.last().map(|one| one.epoch), Some(Epoch(11)));
        let offsets: Vec<u64> = room.publications.iter().map(|one| one.offset).collect();
        assert_eq!(offsets, [5, 6, 9]);
        assert_eq!(room.publications[0].tags(), Some("{\"a\":\"b\"}"));
        assert!(matches!(&room.publications[1].payload, Payload::Text(text) if *text == "é"));
        let from = room.publications[2].from.as_ref().unwrap();
        assert_eq!(
            (from.client.to_string().as_str(), from.user.as_deref()),
            ("1-2-3", Some("ann"))
        );
        assert!(
            matches!(&room.publications[2].payload, Payload::Binary(bytes) if **bytes == [0, 255])
        );
        assert!(empty.publications.is_empty());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_found() {
        let file = file();
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "{len}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "{at}");
        }
    }

    #[test]
    fn a_part_is_records_without_beginning_and_end() {
        let file = file();
        let part = &file[MAGIC.len()..file.len() - 8];
        let names: Vec<_> = read_part(part).unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["room".into(), "empty".into()] as [Arc<str>; 2]);
        assert!(read_part(&part[..part.len() - 1]).is_err());
        assert!(read_part(&file[MAGIC.len()..]).is_err(), "an end is no record");
    }

    #[test]
    fn revocations_read_back() {
        let all = [
            Revocation::User { user: "ana".into(), before_s: 7 },
            Revocation::Token { id: "t1".into(), at_s: u64::MAX },
        ];
        let bytes = put_revocations(&all);
        assert_eq!(read_revocations(&bytes).unwrap(), all);
        for len in 1..bytes.len() {
            assert!(len == 16 || read_revocations(&bytes[..len]).is_err(), "{len}");
        }
        assert!(read_revocations(&[9; 40]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read_part(&bytes);
            let _ = read_revocations(&bytes);
            let mut file = MAGIC.to_vec();
            file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            file.extend(crc32fast::hash(&bytes).to_le_bytes());
            file.extend(&bytes);
            put_end(&mut file, 1);
            let _ = read(&file);
        }
    }
}
