//! The members of presence channels: each user once, with what its backend has signed about it.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::model::presence::Member;
use crate::wire::json::is_too_deep;
use crate::wire::name::is_app_user;

/// The statement of an app's backend about a member.
#[derive(Deserialize)]
struct ChannelData<'a> {
    #[serde(borrow)]
    user_id: &'a RawValue,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

/// Reads the `channel_data` of a subscription: the user, whose name is a text or a number, and the
/// JSON about it, if there is some.
pub(crate) fn read(channel_data: &str) -> Option<(String, Option<&str>)> {
    if is_too_deep(channel_data) {
        return None;
    }
    let ChannelData { user_id, user_info } = serde_json::from_str(channel_data).ok()?;
    let info = user_info.map(RawValue::get).filter(|info| *info != "null");
    Some((read_id(user_id)?, info))
}

/// Reads the name of a user, which is a text or a number.
pub(super) fn read_id(id: &RawValue) -> Option<String> {
    let text = id.get();
    let name = match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok()?,
        b'-' | b'0'..=b'9' => text.to_owned(),
        _ => return None,
    };
    is_app_user(&name).then_some(name)
}

/// The data of the answer to a subscription.
pub(super) fn roster(members: &[Member]) -> String {
    let mut seen = HashSet::new();
    let each = members.iter().filter_map(|member| Some((member.user()?, member.info_here())));
    let users: Vec<(&str, Option<&str>)> = each.filter(|(user, _)| seen.insert(*user)).collect();
    let ids: Vec<&str> = users.iter().map(|(user, _)| *user).collect();
    let mut out = format!("{{\"presence\":{{\"ids\":{},\"hash\":{{", json!(ids));
    for (nth, (user, info)) in users.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{}:{}", json!(user), info.unwrap_or("null"));
    }
    let _ = write!(out, "}},\"count\":{}}}}}", users.len());
    out
}

/// The data of the message about a user who has come.
pub(super) fn added(user: &str, info: Option<&str>) -> String {
    let user = json!(user);
    match info {
        Some(info) => format!("{{\"user_id\":{user},\"user_info\":{info}}}"),
        None => format!("{{\"user_id\":{user}}}"),
    }
}

/// The data of the message about a user who has left.
pub(super) fn removed(user: &str) -> String {
    json!({ "user_id": user }).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::model::id::{ClientId, ShardId, Slot};

    fn member(user: &str, info: Option<&str>) -> Member {
        let client = ClientId { generation: 0, slot: Slot(0), shard: ShardId(0) };
        let (user, channel_info) = (Some(Arc::from(user)), info.map(Arc::from));
        Member { client, user, info: None, channel_info }
    }

    #[test]
    fn the_name_of_a_user_is_a_text_or_a_number() {
        let cases = [
            (r#"{"user_id":"u","user_info":{"a":1}}"#, Some(("u", Some(r#"{"a":1}"#)))),
            (r#"{"user_id":10}"#, Some(("10", None))),
            (r#"{"user_id":-1.5,"user_info":null,"x":0}"#, Some(("-1.5", None))),
            (r#"{"user_id":"é\"","user_info":"x"}"#, Some(("é\"", Some("\"x\"")))),
            (r#"{"user_id":""}"#, None),
            (r#"{"user_id":null}"#, None),
            (r#"{"user_id":true}"#, None),
            (r#"{"user_id":"a\nb"}"#, None),
            ("{\"user_id\":\"a\u{202e}b\"}", None),
            (r#"{"user_info":{}}"#, None),
            ("[]", None),
            ("", None),
        ];
        for (data, expected) in cases {
            let read = read(data);
            assert_eq!(read.as_ref().map(|(user, info)| (&**user, *info)), expected, "{data}");
        }
    }

    #[test]
    fn a_roster_names_each_user_once() {
        let members = [member("b\"", Some("{\"n\": 1}")), member("a", None), member("a", None)];
        let data: Value = serde_json::from_str(&roster(&members)).unwrap();
        let expected = json!({"presence": {
            "ids": ["b\"", "a"], "hash": {"b\"": {"n": 1}, "a": null}, "count": 2,
        }});
        assert_eq!(data, expected);
        let empty: Value = serde_json::from_str(&roster(&[])).unwrap();
        assert_eq!(empty, json!({"presence": {"ids": [], "hash": {}, "count": 0}}));
    }

    #[test]
    fn comings_and_goings_name_the_user() {
        assert_eq!(added("7", Some("{}")), r#"{"user_id":"7","user_info":{}}"#);
        assert_eq!(added("7\"", None), r#"{"user_id":"7\""}"#);
        assert_eq!(removed("7"), r#"{"user_id":"7"}"#);
    }
}
