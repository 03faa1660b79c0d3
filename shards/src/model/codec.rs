//! Publications, positions and texts as bytes: for snapshots, and for what two processes tell each
//! other. Numbers are little-endian, texts and bytes stand behind their length as u32.

use std::sync::Arc;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;

use super::id::{ClientId, ShardId, Slot};
use super::message::{Details, Epoch, From, Payload, Position, Publication};
use super::snapshot::Damaged;

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const JSON: u8 = 2;
const HAS_CLIENT: u8 = 4;
const HAS_USER: u8 = 8;
const HAS_TAGS: u8 = 16;

pub(super) fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.epoch.0.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("messages and names are bounded");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn put_client(out: &mut Vec<u8>, client: ClientId) {
    out.extend_from_slice(&client.generation.to_le_bytes());
    out.extend_from_slice(&client.slot.0.to_le_bytes());
    out.extend_from_slice(&client.shard.0.to_le_bytes());
}

pub(super) fn put_publication(out: &mut Vec<u8>, publication: &Publication) {
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
        put_client(out, *client);
    }
    for text in [user, tags].into_iter().flatten() {
        put_bytes(out, text.as_bytes());
    }
    put_bytes(out, payload);
}

/// The unread rest of some bytes.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn fault(&self, why: &'static str) -> Damaged {
        Damaged { at: self.at, why }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(self.fault("it is cut off"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damaged> {
        let fault = self.fault("a text is not UTF-8");
        std::str::from_utf8(self.sized()?).map_err(|_| fault)
    }

    pub(super) fn position(&mut self) -> Result<Position, Damaged> {
        Ok(Position { epoch: Epoch(self.u32()?), offset: self.u64()? })
    }

    pub(super) fn publication(&mut self, channel: &Arc<str>) -> Result<Publication, Damaged> {
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

    pub(super) fn client(&mut self) -> Result<ClientId, Damaged> {
        let (generation, slot) = (self.u32()?, Slot(self.u32()?));
        let shard = ShardId(u16::from_le_bytes(self.array()?));
        Ok(ClientId { generation, slot, shard })
    }
}
