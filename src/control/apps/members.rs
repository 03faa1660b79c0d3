//! The members of an app's channels and its users: `channels/NAME/users`, `connections`, and
//! `users/ID/terminate_connections`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stentor_shards::App;

use super::channels::PRESENCE;
use super::events::check_channel;
use super::{Answer, Fault, done};
use crate::control::State;
use crate::control::api::{self, mark_truncated};

/// The most bytes of the name of a user.
const USER_BYTES_MAX: usize = 256;

/// The members of one channel, in all processes of a take-over.
pub(super) struct Members {
    clients: u64,
    users: BTreeSet<String>,
    /// There are more than the shards have told.
    is_truncated: bool,
}

impl Members {
    /// Asks for the members of a channel. Only presence channels know users.
    pub(super) async fn of(state: &State, app: &App, channel: &str) -> Result<Self, Fault> {
        let about = json!({ "channel": app.channel(channel) }).to_string();
        let knows_users = channel.starts_with(PRESENCE);
        let method = if knows_users { "presence" } else { "presence_stats" };
        let answer = api::call(state, method, about.as_bytes()).await?;
        let found: Value = serde_json::from_str(answer.get()).unwrap_or_default();
        if !knows_users {
            let clients = found["num_clients"].as_u64().unwrap_or_default();
            return Ok(Self { clients, users: BTreeSet::new(), is_truncated: false });
        }
        let is_truncated = found["truncated"] == true;
        let members = found["presence"].as_object();
        let clients = members.map_or(0, |members| members.len() as u64);
        let users = members.into_iter().flatten().filter_map(|(_, member)| user_of(member));
        Ok(Self { clients, users: users.collect(), is_truncated })
    }

    /// Returns the number of clients.
    pub(super) fn clients(&self) -> u64 {
        self.clients
    }

    /// Returns `true` if there are more members than are counted.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns the number of users, each of them counted once.
    pub(super) fn users(&self) -> u64 {
        self.users.len() as u64
    }
}

/// The user of a member, whom the signed data of its subscription names.
fn user_of(member: &Value) -> Option<String> {
    member["user"].as_str().filter(|user| !user.is_empty()).map(str::to_owned)
}

/// `GET /apps/ID/channels/NAME/users`
pub(super) async fn users(state: &State, app: &App, channel: &str) -> Answer {
    check_channel(app, channel)?;
    if !channel.starts_with(PRESENCE) {
        return Err(Fault::bad("users are known of presence channels alone"));
    }
    let members = Members::of(state, app, channel).await?;
    let users: Vec<Value> = members.users.iter().map(|user| json!({ "id": user })).collect();
    let mut told = json!({ "users": users });
    mark_truncated(&mut told, members.is_truncated);
    Ok(told)
}

/// `GET /apps/ID/connections`
pub(super) fn connections(app: &App) -> Value {
    json!({ "connections": app.tally.figures().clients })
}

/// `POST /apps/ID/users/USER/terminate_connections`
pub(super) async fn terminate(state: &State, app: &App, user: &str) -> Answer {
    if user.is_empty() || user.len() > USER_BYTES_MAX {
        return Err(Fault::bad(format!("the id of a user has 1 to {USER_BYTES_MAX} bytes")));
    }
    let about = json!({ "user": app.user(user) }).to_string();
    api::call(state, "disconnect", about.as_bytes()).await?;
    Ok(done())
}
