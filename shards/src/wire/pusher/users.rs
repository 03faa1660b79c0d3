//! The users that clients sign in as, with the statements of their backend about them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::presence::read_id;
use crate::wire::json::is_too_deep;

/// The statement of an app's backend about a user.
#[derive(Deserialize)]
struct UserData<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    watchlist: Vec<&'a RawValue>,
}

/// Reads the `user_data` of a client that signs in: the name of its user, and those of the users
/// whose comings and goings it wants to be told.
pub(crate) fn read(user_data: &str) -> Option<(String, Vec<String>)> {
    if is_too_deep(user_data) {
        return None;
    }
    let UserData { id, watchlist } = serde_json::from_str(user_data).ok()?;
    let watched: Option<Vec<String>> = watchlist.into_iter().map(read_id).collect();
    Some((read_id(id)?, watched?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_may_watch_others() {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (data, expected) in [
            (r#"{"id":"u"}"#, Some(("u".to_owned(), texts(&[])))),
            (r#"{"id":7,"x":1,"watchlist":["a",2]}"#, Some(("7".to_owned(), texts(&["a", "2"])))),
            (r#"{"id":"","watchlist":[]}"#, None),
            (r#"{"id":"u","watchlist":[{}]}"#, None),
            (r#"{"id":"u","watchlist":"a"}"#, None),
            ("{}", None),
            ("7", None),
        ] {
            assert_eq!(read(data), expected, "{data}");
        }
    }
}
