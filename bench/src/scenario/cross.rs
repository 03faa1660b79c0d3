//! One message at a time between two shards of an otherwise idle server.

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::latency::{micros, microseconds};
use super::{PATIENCE, SETTLE, TURN, Target, rest};
use crate::frame;
use crate::swarm::{Request, Swarm};

/// How many clients are tried: one in 32,768 runs has all of them on one of two shards.
const TRIED: usize = 16;

/// The pause before each message: both shards sleep when it comes.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a message may take before it counts as lost.
const RECEIPT_TIME_MAX: Duration = Duration::from_secs(1);

/// What the scenario reads of the server's messages.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    /// Of a welcome: the client's id, which begins with its shard.
    client: Option<String>,
    /// Of a message: its number.
    body: Option<u64>,
}

/// From a publisher to its only subscriber, which is on another shard, or for the floor on the
/// `same` one.
pub(crate) fn cross(target: &Target, same: bool) -> io::Result<Value> {
    let headers = "Sec-WebSocket-Protocol: stentor.v1\r\n".to_owned();
    let request = Request { headers, ..Request::plain(target.server, &target.path) };
    let mut swarm = Swarm::connect(&request, TRIED)?;
    let shards = shards(&mut swarm)?;
    let publisher = 0;
    let subscriber = (1..TRIED).find(|client| (shards[*client] == shards[publisher]) == same);
    let Some(subscriber) = subscriber else {
        return Err(io::Error::other(format!("no two clients fit: their shards are {shards:?}")));
    };
    say(&mut swarm, subscriber, r#"{"type":"join","channel":"bench"}"#)?;
    rest(&mut swarm, SETTLE * 10)?;

    let mut receipts = microseconds()?;
    let (mut count, mut lost) = (0_u64, 0_u64);
    let until = Instant::now() + target.seconds;
    while Instant::now() < until {
        rest(&mut swarm, PAUSE)?;
        count += 1;
        let text = format!(r#"{{"type":"publish","channel":"bench","body":{count}}}"#);
        let began = Instant::now();
        say(&mut swarm, publisher, &text)?;
        let mut took = None;
        while took.is_none() && began.elapsed() < RECEIPT_TIME_MAX {
            swarm.receive(TURN, |_, payload| {
                let us = micros(began.elapsed());
                if read(payload).is_some_and(|said| said.body == Some(count)) {
                    took = Some(us);
                }
            })?;
        }
        match took {
            Some(us) => receipts.saturating_record(us),
            None => lost += 1,
        }
    }
    Ok(json!({
        "what": "publish to receipt", "shards": if same { 1 } else { 2 },
        "count": count, "lost": lost,
        "p50_us": receipts.value_at_quantile(0.5), "p99_us": receipts.value_at_quantile(0.99),
    }))
}

/// The shard of every client, from its welcome.
fn shards(swarm: &mut Swarm) -> io::Result<Vec<String>> {
    let mut shards = vec![None; TRIED];
    let deadline = Instant::now() + PATIENCE;
    while shards.iter().any(Option::is_none) && Instant::now() < deadline {
        swarm.receive(TURN, |client, payload| {
            let welcome = read(payload).filter(|said| said.kind == "welcome");
            let id = welcome.and_then(|said| said.client);
            shards[client] = id.and_then(|id| Some(id.split_once('-')?.0.to_owned()));
        })?;
    }
    let all: Option<Vec<String>> = shards.into_iter().collect();
    all.ok_or_else(|| io::Error::other("not every client was welcomed with an id"))
}

fn read(payload: &[u8]) -> Option<Said> {
    serde_json::from_slice(payload).ok()
}

fn say(swarm: &mut Swarm, client: usize, text: &str) -> io::Result<()> {
    let mut out = Vec::new();
    frame::put_masked(&mut out, frame::TEXT, text.as_bytes());
    swarm.send(client, &out)
}
