//! `history` and `history_remove`: what channels have kept, in Centrifugo's shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stentor_shards::{HistoryFault, HistoryPage, Kept, KeptBody, Position, Reading, Since};

use super::answer::{Answer, Fault, read};
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
struct Heard {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
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
            since = Some(Since { epoch: Some(page.newest.epoch), offset: kept.offset() });
            publications.push(publication(kept));
        }
        if !page.more || publications.len() >= wanted || bytes > ANSWER_BYTES_MAX {
            let Position { epoch, offset } = page.newest;
            return Ok(json!({
                "publications": publications, "epoch": epoch.to_string(), "offset": offset,
            }));
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
    let epoch = match heard.epoch.as_str() {
        "" => None,
        // An epoch of another server cannot be this one's.
        text => Some(text.parse().map_err(|()| Fault::Unrecoverable)?),
    };
    Ok(Since { epoch, offset: heard.offset })
}

fn body_bytes(kept: Kept<'_>) -> usize {
    match kept.body() {
        KeptBody::Text(text) | KeptBody::Json(text) => text.len(),
        KeptBody::Binary(bytes) => bytes.len(),
    }
}

fn publication(kept: Kept<'_>) -> Value {
    let mut entry = Map::new();
    entry.insert("offset".into(), kept.offset().into());
    match kept.body() {
        KeptBody::Text(text) => entry.insert("data".into(), text.into()),
        KeptBody::Json(json) => {
            let data = serde_json::from_str(json).unwrap_or_else(|_| Value::from(json));
            entry.insert("data".into(), data)
        }
        KeptBody::Binary(bytes) => {
            // Libraries insist on data.
            entry.insert("data".into(), Value::Null);
            entry.insert("b64data".into(), STANDARD.encode(bytes).into())
        }
    };
    if let Some((client, user)) = kept.from() {
        let info = json!({ "client": client, "user": user.unwrap_or_default() });
        entry.insert("info".into(), info);
    }
    if let Some(tags) = kept.tags().and_then(|tags| serde_json::from_str(tags).ok()) {
        entry.insert("tags".into(), tags);
    }
    entry.insert("time".into(), kept.time_ms().into());
    Value::Object(entry)
}

/// Forgets what a channel has kept. Its offsets go on.
pub(super) async fn history_remove(state: &State, params: &[u8]) -> Answer {
    let Removed { channel } = read(params)?;
    let removed = ask_one(|| state.shards.remove_history(&channel)).await;
    removed.map_err(|why| Fault::about("channel", why))?;
    Ok(json!({}))
}
