//! The members of an app's channels and its users: `channels/NAME/users`, `connections`, and
//! `users/ID/terminate_connections`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stentor_shards::{APP_USER_BYTES, App, is_app_user};

use super::events::check_channel;
use super::{Answer, Fault, PRESENCE, done};
use crate::control::State;
use crate::control::api::{self, mark_truncated};

/// Returns the number of a channel's clients, in all processes of a take-over.
pub(super) async fn clients_of(state: &State, app: &App, channel: &str) -> Result<u64, Fault> {
    let about = json!({ "channel": app.channel(channel) }).to_string();
    let answer = api::call(state, "presence_stats", about.as_bytes()).await?;
    let found: Value = serde_json::from_str(answer.get()).unwrap_or_default();
    Ok(found["num_clients"].as_u64().unwrap_or_default())
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
    let about = json!({ "channel": app.channel(channel) }).to_string();
    let answer = api::call(state, "presence", about.as_bytes()).await?;
    let found: Value = serde_json::from_str(answer.get()).unwrap_or_default();
    let members = found["presence"].as_object().into_iter().flatten();
    let users: BTreeSet<String> = members.filter_map(|(_, member)| user_of(member)).collect();
    let users: Vec<Value> = users.into_iter().map(|user| json!({ "id": user })).collect();
    let mut told = json!({ "users": users });
    mark_truncated(&mut told, found["truncated"] == true);
    Ok(told)
}

/// `GET /apps/ID/connections`
pub(super) fn connections(app: &App) -> Value {
    json!({ "connections": app.tally.figures().clients })
}

/// `POST /apps/ID/users/USER/terminate_connections`
pub(super) async fn terminate(state: &State, app: &App, user: &str) -> Answer {
    if !is_app_user(user) {
        let why =
            format!("the id of a user has 1 to {APP_USER_BYTES} bytes, and no control characters");
        return Err(Fault::bad(why));
    }
    let about = json!({ "user": app.user(user) }).to_string();
    api::call(state, "disconnect", about.as_bytes()).await?;
    Ok(done())
}
