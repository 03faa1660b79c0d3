//! The methods about the time of clients and their tokens: `disconnect`, `refresh` and `revoke`.

use serde::Deserialize;
use serde_json::json;
use stentor_shards::{ClientId, Revocation, Target, unix_ms};

use super::State;
use super::answer::{Answer, Fault, read, written};
use crate::control::ask::{ask, ask_one};

/// The most bytes of a name or id in a revocation. Each is remembered.
const NAME_BYTES_MAX: usize = 1024;

/// The most clients that a disconnect may spare.
const WHITELIST_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Farewell {
    user: Option<String>,
    client: Option<String>,
    token: Option<String>,
    session: Option<String>,
    whitelist: Option<Vec<String>>,
    disconnect: Option<Goodbye>,
}

/// The close code and reason that a disconnect may wish for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Goodbye {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    user: Option<String>,
    client: Option<String>,
    token: Option<String>,
    session: Option<String>,
    expired: Option<bool>,
    expire_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    user: Option<String>,
    token: Option<String>,
    issued_before: Option<u64>,
}

/// An empty name is none: libraries send one beside the other.
fn given(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty())
}

/// The clients that one of three names selects.
fn target(
    user: Option<String>,
    client: Option<String>,
    token: Option<String>,
) -> Result<Target, Fault> {
    match (given(user), given(client), given(token)) {
        (Some(user), None, None) => Ok(Target::User(user)),
        (None, Some(client), None) => Ok(Target::Client(client)),
        (None, None, Some(token)) => Ok(Target::Token(token)),
        (None, None, None) => Err(Fault::bad("user, client or token is needed")),
        _ => Err(Fault::bad(
            "user, client and token exclude each other: to close one client, leave out user",
        )),
    }
}

/// The clients that a disconnect closes, and those of the user that stay.
fn farewell(asked: Farewell) -> Result<(Target, Vec<ClientId>), Fault> {
    if given(asked.session).is_some() {
        return Err(Fault::bad("session is not supported"));
    }
    let but = asked.whitelist.unwrap_or_default();
    if but.len() > WHITELIST_MAX {
        return Err(Fault::bad(format!("whitelist names more than {WHITELIST_MAX} clients")));
    }
    let but: Result<Vec<ClientId>, ()> = but.iter().map(|client| client.parse()).collect();
    let but = but.map_err(|()| Fault::bad("whitelist has a name that is no client's"))?;
    if asked.disconnect.is_some_and(|bye| bye.code != 0 || !bye.reason.is_empty()) {
        return Err(Fault::bad("disconnect is not supported: the close code is always 3501"));
    }
    let target = target(asked.user, asked.client, asked.token)?;
    if !but.is_empty() && !matches!(target, Target::User(_)) {
        return Err(Fault::bad("whitelist goes with user"));
    }
    Ok((target, but))
}

/// The parameter that a target stands in.
fn parameter(target: &Target) -> &'static str {
    match target {
        Target::User(_) => "user",
        Target::Client(_) => "client",
        Target::Token(_) => "token",
    }
}

pub(super) async fn disconnect(state: &State, params: &[u8]) -> Answer {
    let (target, but) = farewell(read(params)?)?;
    let clients = match target {
        Target::Token(_) => {
            ask(|| state.shards.disconnect(&target, &but)).await.map(|counts| counts.iter().sum())
        }
        _ => ask_one(|| state.shards.disconnect(&target, &but)).await,
    };
    let clients: u64 = clients.map_err(|why| Fault::about(parameter(&target), why))?;
    Ok(written(&json!({ "clients": clients })))
}

pub(super) async fn refresh(state: &State, params: &[u8]) -> Answer {
    let asked: Refresh = read(params)?;
    if given(asked.session).is_some() {
        return Err(Fault::bad("session is not supported"));
    }
    let target = target(asked.user, asked.client, asked.token)?;
    let end = asked.expire_at.filter(|at| *at > 0);
    let counts = if asked.expired == Some(true) {
        ask(|| state.shards.expire(&target)).await
    } else {
        ask(|| state.shards.set_end(&target, end)).await
    };
    let counts = counts.map_err(|why| Fault::about(parameter(&target), why))?;
    Ok(written(&json!({ "clients": counts.iter().sum::<u64>() })))
}

fn revocation(asked: Revoke, now_s: u64) -> Result<Revocation, Fault> {
    let too_long = |name: &str| name.len() > NAME_BYTES_MAX;
    match (given(asked.user), given(asked.token)) {
        (Some(user), _) if too_long(&user) => Err(Fault::bad("user is longer than 1024 bytes")),
        (_, Some(id)) if too_long(&id) => Err(Fault::bad("token is longer than 1024 bytes")),
        (Some(user), None) => {
            let before_s = asked.issued_before.unwrap_or(now_s);
            Ok(Revocation::User { user: user.into(), before_s })
        }
        (None, Some(_)) if asked.issued_before.is_some() => {
            Err(Fault::bad("issued_before goes with user: a token is revoked whole"))
        }
        (None, Some(id)) => Ok(Revocation::Token { id: id.into(), at_s: now_s }),
        (None, None) => Err(Fault::bad("user or token is needed")),
        (Some(_), Some(_)) => Err(Fault::bad("user and token exclude each other")),
    }
}

pub(super) async fn revoke(state: &State, params: &[u8]) -> Answer {
    let revocation = revocation(read(params)?, unix_ms() / 1000)?;
    let counts = ask(|| state.shards.revoke(&revocation)).await?;
    Ok(written(&json!({ "clients": counts.iter().sum::<u64>() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_means_one_user_one_client_or_one_token() {
        let read_target = |params: &str| read(params.as_bytes()).and_then(farewell);
        for params in [
            r#"{"user":"bob"}"#,
            r#"{"user":"bob","client":"","session":"","whitelist":[]}"#,
            r#"{"user":"bob","client":null,"disconnect":{"code":0,"reason":""}}"#,
        ] {
            let found = read_target(params);
            let is_bob = matches!(&found, Ok((Target::User(user), _)) if user == "bob");
            assert!(is_bob, "{found:?}");
        }
        let (_, but) = read_target(r#"{"user":"bob","whitelist":["1-2-3"]}"#).unwrap();
        assert_eq!(but.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1-2-3"]);
        let found = read_target(r#"{"user":"","client":"1-2"}"#);
        assert!(matches!(&found, Ok((Target::Client(client), _)) if client == "1-2"), "{found:?}");
        let found = read_target(r#"{"token":"t-1"}"#);
        assert!(matches!(&found, Ok((Target::Token(id), _)) if id == "t-1"), "{found:?}");
        for params in [
            "{}",
            r#"{"user":"bob","client":"1-2"}"#,
            r#"{"user":"bob","token":"t-1"}"#,
            r#"{"user":"bob","session":"s"}"#,
            r#"{"user":"bob","whitelist":["x"]}"#,
            r#"{"client":"1-2-3","whitelist":["1-2-3"]}"#,
            r#"{"user":"bob","disconnect":{"code":4000}}"#,
            r#"{"user":"bob","disconnect":{"code":0,"reason":"x"}}"#,
            r#"{"user":7}"#,
            r#"{"user":"bob","reconnect":true}"#,
        ] {
            assert!(matches!(read_target(params), Err(Fault::Bad(_))), "{params}");
        }
    }

    #[test]
    fn a_revocation_is_about_a_user_or_a_token() {
        let asked = |params: &str| read(params.as_bytes()).and_then(|asked| revocation(asked, 100));
        let user = |before_s| Ok(Revocation::User { user: "ana".into(), before_s });
        assert_eq!(asked(r#"{"user":"ana"}"#), user(100));
        assert_eq!(asked(r#"{"user":"ana","issued_before":7}"#), user(7));
        let token = Revocation::Token { id: "t".into(), at_s: 100 };
        assert_eq!(asked(r#"{"token":"t","user":""}"#), Ok(token));
        let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(1025));
        for params in [
            "{}",
            r#"{"user":"ana","token":"t"}"#,
            r#"{"token":"t","issued_before":7}"#,
            r#"{"user":"ana","issued_before":-1}"#,
            &long,
        ] {
            assert!(matches!(asked(params), Err(Fault::Bad(_))), "{params:.40}");
        }
    }
}
