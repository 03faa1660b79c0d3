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

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;

use super::id::{ClientId, ShardId, Slot};
use super::message::{Details, Epoch, From, Payload, Position, Publication};

/// The first bytes of a file.
pub const MAGIC: &[u8; 8] = b"STENTOR1";

/// The most numberings before the present one in which positions are still understood.
pub(crate) const ANCESTORS_MAX: usize = 8;

/// The longest record.
const RECORD_BYTES_MAX: usize = 1 << 30;

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const JSON: u8 = 2;
const HAS_CLIENT: u8 = 4;
const HAS_USER: u8 = 8;
const HAS_TAGS: u8 = 16;

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
        let len = rest.u32()? as usize;
        let check = rest.u32()?;
        if len == 0 {
            let whole = usize::try_from(check) == Ok(channels.len()) && rest.is_at_end();
            return if whole { Ok(channels) } else { Err(Damaged { at, why: "the end is wrong" }) };
        }
        if len > RECORD_BYTES_MAX {
            return Err(Damaged { at, why: "a record is too long" });
        }
        let payload = rest.take(len)?;
        if crc32fast::hash(payload) != check {
            return Err(Damaged { at, why: "the checksum is wrong" });
        }
        let mut payload = Reader { bytes: payload, at: 0 };
        let channel = payload.channel();
        channels.push(channel.map_err(|fault| Damaged { at: at + 8 + fault.at, ..fault })?);
    }
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

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.epoch.0.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("messages and names are bounded");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_publication(out: &mut Vec<u8>, publication: &Publication) {
    let (kind, payload) = match &publication.payload {
        Payload::Text(text) => (TEXT, text.as_bytes()),
        Payload::Binary(bytes) => (BINARY, &bytes[..]),
        Payload::Json(json) => (JSON, json.as_bytes()),
    };
    let from = publication.from.as_ref();
    let user = from.and_then(|from| from.user.as_deref());
    let tags = publication.tags();
    let flag = |there: bool, flag: u8| if there { flag } else { 0 };
    let flags = flag(from.is_some(), HAS_CLIENT)
        | flag(user.is_some(), HAS_USER)
        | flag(tags.is_some(), HAS_TAGS);
    out.push(kind | flags);
    out.extend_from_slice(&publication.offset.to_le_bytes());
    out.extend_from_slice(&publication.time_ms.to_le_bytes());
    if let Some(From { client, .. }) = from {
        out.extend_from_slice(&client.generation.to_le_bytes());
        out.extend_from_slice(&client.slot.0.to_le_bytes());
        out.extend_from_slice(&client.shard.0.to_le_bytes());
    }
    for text in [user, tags].into_iter().flatten() {
        put_bytes(out, text.as_bytes());
    }
    put_bytes(out, payload);
}

/// The unread rest of some bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn fault(&self, why: &'static str) -> Damaged {
        Damaged { at: self.at, why }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(self.fault("it is cut off"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn sized(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let fault = self.fault("a text is not UTF-8");
        std::str::from_utf8(self.sized()?).map_err(|_| fault)
    }

    fn position(&mut self) -> Result<Position, Damaged> {
        Ok(Position { epoch: Epoch(self.u32()?), offset: self.u64()? })
    }

    fn channel(&mut self) -> Result<ChannelPast, Damaged> {
        let name: Arc<str> = self.text()?.into();
        let (newest, floor) = (self.position()?, self.u64()?);
        let [count] = self.array()?;
        if usize::from(count) > ANCESTORS_MAX {
            return Err(self.fault("too many numberings"));
        }
        let ancestors = (0..count).map(|_| self.position()).collect::<Result<_, _>>()?;
        let mut publications = Vec::new();
        let mut before = floor;
        while !self.is_at_end() {
            let publication = self.publication(&name)?;
            if publication.offset <= before || publication.offset > newest.offset {
                return Err(self.fault("offsets are not in their order"));
            }
            before = publication.offset;
            publications.push(Arc::new(publication));
        }
        Ok(ChannelPast { name, newest, floor, ancestors, publications })
    }

    fn publication(&mut self, channel: &Arc<str>) -> Result<Publication, Damaged> {
        let [flags] = self.array()?;
        let (offset, time_ms) = (self.u64()?, self.u64()?);
        let has = |flag: u8| flags & flag != 0;
        let client = has(HAS_CLIENT).then(|| self.client()).transpose()?;
        let user = has(HAS_USER).then(|| self.text().map(Arc::from)).transpose()?;
        let tags = has(HAS_TAGS).then(|| self.text().map(Arc::from)).transpose()?;
        let payload = match flags & 3 {
            TEXT => Payload::Text(Utf8Bytes::from(self.text()?)),
            BINARY => Payload::Binary(Bytes::copy_from_slice(self.sized()?)),
            JSON => Payload::Json(Utf8Bytes::from(self.text()?)),
            _ => return Err(self.fault("no kind of body")),
        };
        Ok(Publication {
            channel: Arc::clone(channel),
            offset,
            time_ms,
            ingress_ns: 0,
            from: client.map(|client| From { client, user }),
            details: tags.map(|tags| Arc::new(Details { tags: Some(tags), ..Details::default() })),
            payload,
        })
    }

    fn client(&mut self) -> Result<ClientId, Damaged> {
        let (generation, slot) = (self.u32()?, Slot(self.u32()?));
        let shard = ShardId(u16::from_le_bytes(self.array()?));
        Ok(ClientId { generation, slot, shard })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let mut file = MAGIC.to_vec();
            file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            file.extend(crc32fast::hash(&bytes).to_le_bytes());
            file.extend(&bytes);
            put_end(&mut file, 1);
            let _ = read(&file);
        }
    }
}
