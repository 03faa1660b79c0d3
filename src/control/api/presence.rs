//! `presence` and `presence_stats`: who is in a channel, in Centrifugo's shapes.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stentor_shards::{Answers, Here, Member, NoChannel, Untaken};

use super::answer::{Answer, Fault, read, written};
use super::{everywhere, mark_truncated};
use crate::control::State;
use crate::control::ask::ask;

/// The most members of one answer, and the most bytes of their names and infos.
pub(super) const MEMBERS_MAX: usize = 10_000;
const BYTES_MAX: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    channel: String,
}

/// The members of a channel by the ids of their clients.
pub(super) async fn presence(state: &State, params: &[u8]) -> Answer {
    let Asked { channel } = read(params)?;
    let parts = parts(|| state.shards.presence(&channel, (MEMBERS_MAX, BYTES_MAX))).await?;
    let here = Here::sum(parts, MEMBERS_MAX, BYTES_MAX);
    let members = here.members.iter().map(|member| (member.client(), entry(member)));
    let mut answer = json!({ "presence": members.collect::<Map<_, _>>() });
    mark_truncated(&mut answer, here.more);
    Ok(written(&answer))
}

/// The numbers of clients and users in a channel.
pub(super) async fn presence_stats(state: &State, params: &[u8]) -> Answer {
    let Asked { channel } = read(params)?;
    let parts = parts(|| state.shards.presence_stats(&channel)).await?;
    let here = Here::sum(parts, 0, 0);
    let mut answer = json!({ "num_clients": here.clients, "num_users": here.count_users() });
    mark_truncated(&mut answer, here.more);
    Ok(written(&answer))
}

/// The names of users in a channel as far as they are known, for another process to count.
pub(super) async fn presence_users(state: &State, params: &[u8]) -> Answer {
    let Asked { channel } = read(params)?;
    let parts = parts(|| state.shards.presence_stats(&channel)).await?;
    let here = Here::sum(parts, 0, 0);
    let users: Vec<&str> = here.users().collect();
    let mut answer = json!({
        "num_clients": here.clients, "users": users, "uncounted": here.uncounted(),
    });
    mark_truncated(&mut answer, here.more);
    Ok(written(&answer))
}

/// The numbers of clients and users behind such names.
pub(super) fn counted(answer: Answer) -> Answer {
    let found: Value = serde_json::from_str(answer?.get()).unwrap_or_default();
    let uncounted = found["uncounted"].as_u64().unwrap_or(0);
    let users = everywhere::count_users(&found["users"], uncounted);
    let mut answer = json!({ "num_clients": found["num_clients"], "num_users": users });
    mark_truncated(&mut answer, found["truncated"] == true);
    Ok(written(&answer))
}

async fn parts(
    order: impl FnMut() -> Result<Answers<Result<Here, NoChannel>>, Untaken>,
) -> Result<Vec<Here>, Fault> {
    let parts = ask(order).await.map_err(|why| Fault::about("channel", why))?;
    let parts: Result<Vec<Here>, NoChannel> = parts.into_iter().collect();
    parts.map_err(|why| Fault::about("channel", why.into()))
}

fn entry(member: &Member) -> Value {
    let user = member.user().unwrap_or_default();
    let mut entry = json!({ "client": member.client(), "user": user });
    let infos = [("conn_info", member.info()), ("chan_info", member.channel_info())];
    for (name, info) in infos {
        if let Some(info) = info.and_then(|info| serde_json::from_str::<Value>(info).ok()) {
            entry[name] = info;
        }
    }
    entry
}
