//! Several commands in one request: `batch`, and the older form in which all methods share one
//! address.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State as Has};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Answer, Fault, read, written};
use super::call;
use crate::control::State;

/// The most commands of one request.
pub(super) const COMMANDS_MAX: usize = 1000;

/// The most commands of a parallel batch that are under way at once.
const PARALLEL_MAX: usize = 64;

/// Centrifugo's numbers for methods in the older form.
const NUMBERED: [&str; 13] = [
    "publish",
    "broadcast",
    "unsubscribe",
    "disconnect",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "rpc",
    "subscribe",
    "refresh",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    commands: Vec<Command>,
    parallel: Option<bool>,
}

/// One command, `{"METHOD":{…}}`: all its entries, of which there should be one.
struct Command(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Command;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a command as an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Command(entries))
            }
        }
        from.deserialize_map(Entries)
    }
}

impl Command {
    /// One reply: the result under the method's name, or the error.
    async fn perform(self, state: &State) -> (Box<RawValue>, bool) {
        let answer = match <[_; 1]>::try_from(self.0) {
            Ok([(method, params)]) => {
                call(state, &method, params.get().as_bytes()).await.map(|result| (method, result))
            }
            Err(_) => Err(Fault::bad("a command has one method")),
        };
        match answer {
            Ok((method, result)) => (written(&BTreeMap::from([(method, result)])), false),
            Err(fault) => (refused(&fault), fault == Fault::Busy),
        }
    }
}

fn refused(fault: &Fault) -> Box<RawValue> {
    written(&json!({ "error": fault.body() }))
}

/// Performs commands in their order, or in any with `parallel`; the replies are in their order.
pub(super) async fn batch(state: &State, params: &[u8]) -> Answer {
    let Batch { commands, parallel } = read(params)?;
    if commands.len() > COMMANDS_MAX {
        return Err(Fault::bad(format!(
            "{} commands, {COMMANDS_MAX} are possible",
            commands.len()
        )));
    }
    let replies = match parallel {
        Some(true) => in_parallel(state, commands).await,
        _ => in_order(state, commands).await,
    };
    Ok(written(&BTreeMap::from([("replies", replies)])))
}

async fn in_order(state: &State, commands: Vec<Command>) -> Vec<Box<RawValue>> {
    let mut replies = Vec::with_capacity(commands.len());
    let mut busy = false;
    for command in commands {
        if busy {
            // Once is patience enough: each command's wait would add to the last one's.
            replies.push(refused(&Fault::Busy));
            continue;
        }
        let (reply, was_busy) = command.perform(state).await;
        busy = was_busy;
        replies.push(reply);
    }
    replies
}

async fn in_parallel(state: &State, commands: Vec<Command>) -> Vec<Box<RawValue>> {
    let mut replies = vec![RawValue::NULL.to_owned(); commands.len()];
    let room = Arc::new(Semaphore::new(PARALLEL_MAX));
    let mut tasks = JoinSet::new();
    for (place, command) in commands.into_iter().enumerate() {
        let (state, room) = (state.clone(), Arc::clone(&room));
        tasks.spawn(async move {
            let _place = room.acquire_owned().await;
            (place, command.perform(&state).await.0)
        });
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok((place, reply)) = done {
            replies[place] = reply;
        }
    }
    replies
}

/// A command of the older form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbered {
    id: Option<u32>,
    method: Name,
    params: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(usize),
    Text(String),
}

impl Name {
    fn method(&self) -> String {
        match self {
            Self::Text(name) => name.to_ascii_lowercase(),
            Self::Number(number) => {
                NUMBERED.get(*number).map_or_else(|| number.to_string(), |name| (*name).to_owned())
            }
        }
    }
}

/// `POST /api`: commands one behind the other, and as many lines of replies.
pub(in crate::control) async fn old_form(
    Has(state): Has<State>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return Fault::from(rejection).into_response(),
    };
    if query.is_some_and(|query| !query.is_empty()) {
        return Fault::bad("parameters stand in the body, not in the address").into_response();
    }
    match replies(&state, &body).await {
        Ok(lines) => ([(header::CONTENT_TYPE, "application/json")], lines).into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn replies(state: &State, body: &[u8]) -> Result<String, Fault> {
    let commands = serde_json::Deserializer::from_slice(body).into_iter::<Numbered>();
    let commands: Result<Vec<Numbered>, _> = commands.take(COMMANDS_MAX + 1).collect();
    let commands = commands.map_err(|why| Fault::malformed(why.to_string()))?;
    if commands.is_empty() || commands.len() > COMMANDS_MAX {
        return Err(Fault::malformed(format!("1 to {COMMANDS_MAX} commands are possible")));
    }
    let mut lines = Vec::with_capacity(commands.len());
    let mut busy = false;
    for Numbered { id, method, params } in commands {
        let params = params.as_ref().map_or("", |params| params.get());
        let answer = if busy {
            Err(Fault::Busy)
        } else {
            call(state, &method.method(), params.as_bytes()).await
        };
        busy |= matches!(answer, Err(Fault::Busy));
        let mut reply = match answer {
            Ok(result) => BTreeMap::from([("result", result)]),
            Err(fault) => BTreeMap::from([("error", written(&fault.body()))]),
        };
        if let Some(id) = id.filter(|id| *id > 0) {
            reply.insert("id", written(&id));
        }
        // A line end in what was published stands between two tokens, where a space is as good.
        lines.push(written(&reply).get().replace(['\n', '\r'], " "));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_objects_with_any_number_of_methods() {
        let read = |params: &str| read::<Batch>(params.as_bytes());
        let batch = read(r#"{"commands":[{"info":{}},{},{"a":1,"b":2}],"parallel":true}"#).unwrap();
        let counts: Vec<usize> = batch.commands.iter().map(|command| command.0.len()).collect();
        assert_eq!((counts, batch.parallel), (vec![1, 0, 2], Some(true)));
        for bad in [
            "{}",
            r#"{"commands":{}}"#,
            r#"{"commands":[1]}"#,
            r#"{"commands":[],"parallel":"yes"}"#,
            r#"{"commands":[],"atomic":true}"#,
        ] {
            assert!(matches!(read(bad), Err(Fault::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn methods_of_the_older_form_have_names_in_any_case_or_numbers() {
        for (text, method) in
            [("\"Publish\"", "publish"), ("0", "publish"), ("9", "info"), ("77", "77")]
        {
            let name: Name = serde_json::from_str(text).unwrap();
            assert_eq!(name.method(), method);
        }
    }
}
