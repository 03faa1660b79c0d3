//! Publications that come from the stream: live ones, and parts of channels that are fetched.

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use serde_json::json;

use super::engine::{Stream, chain, state};
use super::flow::{Fetched, Live, Wanted};
use super::names::{Names, key_of};

/// Everything that a fetch needs.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) client: Client,
    pub(crate) stream: Stream,
    pub(crate) names: Names,
    /// The most publications of one channel that the stream has.
    pub(crate) per_channel: usize,
}

/// Reads a number in a header.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

/// Reads a live publication, and the name of the stream that it comes from.
pub(crate) fn read_live(message: &Message) -> Option<(&str, Live)> {
    let headers = message.headers.as_ref()?;
    let stream = headers.get("Nats-Stream")?.as_str();
    let sequence = number(headers, "Nats-Sequence").filter(|sequence| *sequence > 0)?;
    let previous = number(headers, "Nats-Last-Sequence")?;
    Some((stream, Live { sequence, previous, body: message.payload.clone() }))
}

/// Has the engine forget what it has kept of a channel up to a publication. Nobody waits for that.
///
/// # Errors
/// The connection has ended.
pub(crate) async fn purge(source: &Source, channel: &str, up_to: u64) -> Result<(), String> {
    let subject = format!("$JS.API.STREAM.PURGE.{}", source.stream.name);
    let filter = source.names.stored(&key_of(channel));
    let body = json!({ "filter": filter, "seq": up_to + 1 }).to_string();
    let asked = source.client.publish(subject, body.into()).await;
    asked.map_err(|error| chain(&error))
}

impl Source {
    /// Fetches what is wanted.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, String> {
        let is_comparison = wanted.from.is_some() && !wanted.keeps;
        let is_whole = !is_comparison && wanted.from.is_none_or(|from| from == 0);
        let seen = if is_whole { state(&self.client, &self.stream).await?.last_seq } else { 0 };
        let subject = self.names.stored(&wanted.key);
        if !wanted.keeps {
            let newest = self.newest(&subject).await?;
            return Ok(Fetched { kept: Vec::new(), newest, floor: newest, seen });
        }
        let mut kept: Vec<(u64, Bytes)> = Vec::new();
        let mut from = wanted.from.unwrap_or(0).max(1);
        while let Some((sequence, body)) = self.next(&subject, from).await? {
            kept.push((sequence, body));
            from = sequence + 1;
        }
        let newest = kept.last().map_or(0, |(sequence, _)| *sequence);
        let floor = if is_whole && kept.len() < self.per_channel {
            state(&self.client, &self.stream).await?.first_seq.saturating_sub(1)
        } else {
            kept.first().map_or(0, |(sequence, _)| sequence - 1)
        };
        Ok(Fetched { kept, newest, floor, seen })
    }

    /// Returns the offset of the newest publication of a channel; zero for none.
    async fn newest(&self, subject: &str) -> Result<u64, String> {
        let asked = format!("$JS.API.DIRECT.GET.{}.{subject}", self.stream.name);
        Ok(self.ask(asked, Bytes::new()).await?.map_or(0, |(sequence, _)| sequence))
    }

    /// Returns the first publication of a channel from an offset on.
    async fn next(&self, subject: &str, from: u64) -> Result<Option<(u64, Bytes)>, String> {
        let asked = format!("$JS.API.DIRECT.GET.{}", self.stream.name);
        let body = json!({ "seq": from, "next_by_subj": subject }).to_string();
        self.ask(asked, body.into()).await
    }

    async fn ask(&self, subject: String, body: Bytes) -> Result<Option<(u64, Bytes)>, String> {
        let answer = self.client.request(subject, body).await;
        let Message { status, headers, payload, description, .. } =
            answer.map_err(|error| format!("engine: {}", chain(&error)))?;
        match status.map(|status| status.as_u16()) {
            None | Some(200) => {}
            Some(404) => return Ok(None),
            Some(code) => {
                return Err(format!("engine: {code} {}", description.unwrap_or_default()));
            }
        }
        let sequence = headers.as_ref().and_then(|headers| number(headers, "Nats-Sequence"));
        sequence
            .map(|sequence| Some((sequence, payload)))
            .ok_or_else(|| "engine: a publication without its sequence".to_owned())
    }
}
