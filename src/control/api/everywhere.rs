//! Calls that concern the clients of all processes in a take-over: each process performs them for
//! its own clients, and the answers are put together. Calls that concern a channel's order are
//! performed by the process that numbers it.

use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::answer::{Answer, written};
use super::presence::MEMBERS_MAX;
use super::{call_here, presence};
use crate::control::State;
use crate::control::word::Fault;

/// The method by which one process asks another for the names of users, to count them once.
pub(super) const USERS: &str = "presence_users";

/// Where a call is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In the process that is asked.
    Here,
    /// In every process.
    All,
    /// In the process that numbers for all.
    Leader,
}

/// Returns where a call is performed; in a cluster no node decides for others.
fn reach_of(method: &str, is_cluster: bool) -> Reach {
    match method {
        "direct" | "history_remove" if is_cluster => Reach::All,
        "subscribe" | "unsubscribe" | "disconnect" | "refresh" | "revoke" | "presence"
        | "presence_stats" | USERS | "channels" | "info" => Reach::All,
        "history_remove" => Reach::Leader,
        _ => Reach::Here,
    }
}

/// Performs a call, which another process may have asked for.
pub(super) async fn call(state: &State, method: &str, params: &[u8], from: Option<u64>) -> Answer {
    let (peers, is_cluster) = (&state.settings.peers, state.settings.bus.is_on());
    // A node that asks has asked all others as well.
    if is_cluster && from.is_some() {
        return call_here(state, method, params).await;
    }
    match reach_of(method, is_cluster) {
        Reach::Here => call_here(state, method, params).await,
        Reach::Leader => {
            if let Some(asked) = peers.ask_leader(method, params).await
                && let Some(answer) = asked.answer().await
            {
                return answer;
            }
            call_here(state, method, params).await
        }
        Reach::All => {
            let calm = peers.calm().await;
            // Users of several clients are counted by their names.
            let told = if method == "presence_stats" { USERS } else { method };
            let asked = peers.ask_others((told, params), from).await;
            if asked.is_empty() {
                return call_here(state, method, params).await;
            }
            let mut answer = call_here(state, told, params).await;
            drop(calm);
            let mut is_partial = false;
            for other in asked {
                match other.answer().await {
                    None | Some(Err(Fault::Busy)) if is_cluster => is_partial = true,
                    None => {}
                    Some(other) => answer = both(told, answer, other),
                }
            }
            if is_partial {
                answer = answer.map(partial);
            }
            if told == method { answer } else { presence::counted(answer) }
        }
    }
}

/// Marks an answer in which a node's part is missing.
fn partial(answer: Box<RawValue>) -> Box<RawValue> {
    match serde_json::from_str::<Value>(answer.get()) {
        Ok(mut value) => {
            value["partial"] = true.into();
            written(&value)
        }
        Err(_) => answer,
    }
}

/// The answers of two processes as one.
fn both(method: &str, here: Answer, there: Answer) -> Answer {
    let members = |answer: &Answer| {
        let value = answer.as_ref().ok().map(|answer| serde_json::from_str(answer.get()));
        value.and_then(Result::ok).unwrap_or(Value::Null)
    };
    let (mut one, other) = (members(&here), members(&there));
    let moved = |value: &Value| value["clients"].as_u64().unwrap_or(0);
    match (here, there) {
        // As where some of a user's clients in one process can have a channel.
        (Ok(answer), Err(_)) if method == "subscribe" && moved(&one) > 0 => return Ok(answer),
        (Err(_), Ok(answer)) if method == "subscribe" && moved(&other) > 0 => return Ok(answer),
        // A user that one node does not know may be at another one.
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) if method == "direct" => return Ok(answer),
        (Err(fault), _) | (_, Err(fault)) => return Err(fault),
        (Ok(answer), Ok(_)) if method == "history_remove" => return Ok(answer),
        (Ok(_), Ok(_)) => {}
    }
    if other["truncated"] == true {
        one["truncated"] = true.into();
    }
    match method {
        "info" => extend(&mut one["nodes"], &other["nodes"]),
        "channels" => add_channels(&mut one, &other),
        "presence" => add_members(&mut one, &other),
        USERS => {
            extend(&mut one["users"], &other["users"]);
            add(&mut one, &other, &["num_clients", "uncounted"]);
        }
        _ => add(&mut one, &other, &["clients"]),
    }
    Ok(written(&one))
}

fn add(one: &mut Value, other: &Value, names: &[&str]) {
    for name in names {
        let sum = one[name].as_u64().unwrap_or(0) + other[name].as_u64().unwrap_or(0);
        one[name] = sum.into();
    }
}

fn extend(one: &mut Value, other: &Value) {
    if let (Value::Array(all), Value::Array(more)) = (one, other) {
        all.extend(more.iter().cloned());
    }
}

fn add_channels(one: &mut Value, other: &Value) {
    let Value::Object(more) = &other["channels"] else { return };
    for (name, info) in more {
        let known = &mut one["channels"][name];
        if known.is_null() {
            *known = json!({ "num_clients": 0 });
        }
        add(known, info, &["num_clients"]);
    }
}

/// The members of both: clients of two processes have other ids.
fn add_members(one: &mut Value, other: &Value) {
    let (Value::Object(all), Value::Object(more)) = (&mut one["presence"], &other["presence"])
    else {
        return;
    };
    for (client, member) in more {
        all.entry(client.clone()).or_insert_with(|| member.clone());
    }
    if all.len() > MEMBERS_MAX {
        let rest: Map<String, Value> = std::mem::take(all).into_iter().take(MEMBERS_MAX).collect();
        *all = rest;
        one["truncated"] = true.into();
    }
}

/// The number of users behind a list of some and the number of the others.
pub(super) fn count_users(users: &Value, uncounted: u64) -> u64 {
    let names: HashSet<&str> =
        users.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.len() as u64 + uncounted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::answer::Fault;

    fn answers(method: &str, one: &Value, other: &Value) -> Value {
        let answer = both(method, Ok(written(one)), Ok(written(other))).unwrap();
        serde_json::from_str(answer.get()).unwrap()
    }

    #[test]
    fn two_answers_are_put_together() {
        let clients = |count| json!({ "clients": count });
        assert_eq!(answers("disconnect", &clients(2), &clients(3)), clients(5));
        let (one, other) = (json!({ "nodes": [1] }), json!({ "nodes": [2] }));
        assert_eq!(answers("info", &one, &other), json!({ "nodes": [1, 2] }));
        let one = json!({ "channels": { "a": { "num_clients": 1 } } });
        let other = json!({
            "channels": { "a": { "num_clients": 2 }, "b": { "num_clients": 3 } },
            "truncated": true,
        });
        let sum = json!({
            "channels": { "a": { "num_clients": 3 }, "b": { "num_clients": 3 } },
            "truncated": true,
        });
        assert_eq!(answers("channels", &one, &other), sum);
        let member = |client: &str| json!({ "presence": { client: { "client": client } } });
        let members = answers("presence", &member("0-1-1"), &member("0-1-2"));
        assert_eq!(members["presence"].as_object().unwrap().len(), 2);
        let one = json!({ "num_clients": 3, "users": ["ana", "bob"], "uncounted": 1 });
        let other = json!({ "num_clients": 1, "users": ["ana"], "uncounted": 0 });
        let sum = answers("presence_users", &one, &other);
        assert_eq!((&sum["num_clients"], &sum["uncounted"]), (&json!(4), &json!(1)));
        assert_eq!(count_users(&sum["users"], 1), 3);
    }

    #[test]
    fn a_fault_of_one_process_is_the_answer_unless_clients_have_moved() {
        let some = || Ok(written(&json!({ "clients": 1 })));
        let nobody = || Ok(written(&json!({ "clients": 0 })));
        let busy = || Err(Fault::Busy);
        assert_eq!(both("revoke", some(), busy()).unwrap_err(), Fault::Busy);
        assert_eq!(both("revoke", busy(), some()).unwrap_err(), Fault::Busy);
        assert!(both("subscribe", some(), busy()).is_ok());
        assert!(both("subscribe", busy(), some()).is_ok());
        assert!(both("subscribe", nobody(), busy()).is_err());
    }

    #[test]
    fn calls_about_clients_reach_all_and_those_about_an_order_its_leader() {
        for method in super::super::METHODS {
            let here = ["publish", "broadcast", "direct", "history", "reload", "batch"];
            assert_eq!(reach_of(method, false) == Reach::Here, here.contains(&method), "{method}");
        }
        assert_eq!(reach_of("history_remove", false), Reach::Leader);
        assert_eq!(reach_of("history_remove", true), Reach::All, "no node leads");
        assert_eq!(reach_of("direct", true), Reach::All);
    }
}
