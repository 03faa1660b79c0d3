//! `history` and `history_remove`: what channels have kept, in Centrifugo's shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stentor_shards::{
    HistoryFault, HistoryPage, Kept, KeptBody, Numbering, Position, Reading, Since,
};

use super::answer::{Answer, Fault, read, written};
use crate::control::State;
use crate::control::ask::ask_one;

/// The most publications of one answer.
pub(super) const PUBLICATIONS_MAX: usize = 10_000;

/// The most bytes of payload in one answer of a shard; a larger one is put together from several.
const PAGE_BYTES: usize = 256 << 10;

/// The most bytes of payload in one answer.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    channel: String,
    limit: Option<i64>,
    since: Option<Heard>,
    reverse: Option<bool>,
}

/// A position in a channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Heard {
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(default)]
    pub(super) epoch: String,
}

/// The answer to a request for history.
#[derive(Serialize)]
struct Found {
    epoch: String,
    offset: u64,
    publications: Vec<Publication>,
}

/// A publication that is kept. Its data are as they were published, byte for byte.
#[derive(Serialize)]
struct Publication {
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Value>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Value>,
    time: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    channel: String,
}

/// The publications that a channel has kept. Without a limit only the newest position is told; a
/// negative one stands for all of them.
pub(super) async fn history(state: &State, params: &[u8]) -> Answer {
    let Asked { channel, limit, since, reverse } = read(params)?;
    let wanted = match limit.unwrap_or(0) {
        ..0 => PUBLICATIONS_MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX).min(PUBLICATIONS_MAX),
    };
    let (mut since, newest_first) = (since.map(position).transpose()?, reverse == Some(true));
    let mut publications = Vec::new();
    let mut bytes = 0;
    loop {
        let limit = wanted - publications.len();
        let reading = Reading { since, limit, newest_first, bytes: PAGE_BYTES };
        let page = page(state, &channel, &reading).await?;
        for kept in page.publications() {
            bytes += body_bytes(kept);
            since = Some(Since { epoch: Numbering::Is(page.newest.epoch), offset: kept.offset() });
            publications.push(publication(kept));
        }
        if !page.more || publications.len() >= wanted || bytes > ANSWER_BYTES_MAX {
            let Position { epoch, offset } = page.newest;
            let epoch = epoch.to_string();
            return Ok(written(&Found { epoch, offset, publications }));
        }
    }
}

async fn page(state: &State, channel: &str, reading: &Reading) -> Result<HistoryPage, Fault> {
    let found = ask_one(|| state.shards.history(channel, reading)).await;
    found.map_err(|why| Fault::about("channel", why))?.map_err(|fault| match fault {
        HistoryFault::Off => Fault::NotAvailable("the channel keeps no history".into()),
        HistoryFault::OtherEpoch => Fault::Unrecoverable,
    })
}

/// Reads a position. An empty epoch stands for any, as in Centrifugo.
fn position(heard: Heard) -> Result<Since, Fault> {
    let epoch = Numbering::read_or_any(&heard.epoch);
    if epoch == Numbering::Foreign {
        return Err(Fault::Unrecoverable);
    }
    Ok(Since { epoch, offset: heard.offset })
}

fn body_bytes(kept: Kept<'_>) -> usize {
    match kept.body() {
        KeptBody::Text(text) | KeptBody::Json(text) => text.len(),
        KeptBody::Binary(bytes) => bytes.len(),
    }
}

fn publication(kept: Kept<'_>) -> Publication {
    let (data, b64data) = match kept.body() {
        KeptBody::Text(text) => (written(&text), None),
        KeptBody::Json(json) => {
            let data = RawValue::from_string(json.to_owned());
            (data.unwrap_or_else(|_| written(&json)), None)
        }
        // Libraries insist on data.
        KeptBody::Binary(bytes) => (RawValue::NULL.to_owned(), Some(STANDARD.encode(bytes))),
    };
    let info = kept
        .from()
        .map(|(client, user)| json!({ "client": client, "user": user.unwrap_or_default() }));
    let tags = kept.tags().and_then(|tags| serde_json::from_str(tags).ok());
    Publication { data, b64data, info, offset: kept.offset(), tags, time: kept.time_ms() }
}

/// Forgets what a channel has kept. Its offsets go on.
pub(super) async fn history_remove(state: &State, params: &[u8]) -> Answer {
    let Removed { channel } = read(params)?;
    let removed = ask_one(|| state.shards.remove_history(&channel)).await;
    removed.map_err(|why| Fault::about("channel", why))?;
    Ok(written(&json!({})))
}
