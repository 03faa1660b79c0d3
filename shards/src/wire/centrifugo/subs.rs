//! Reads the channels that a client names in its `connect`: those of which the server had made it a
//! member before it lost its connection, or of which it would be one without asking again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::past::{Numbering, Since};

/// The knowledge that a client has of a channel to which it comes back.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::wire) struct SubRequest<'a> {
    recover: bool,
    offset: u64,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
}

/// All of them, by the name of the channel.
pub(in crate::wire) type Subs<'a> = BTreeMap<Cow<'a, str>, Option<SubRequest<'a>>>;

/// Returns the channels, each with the last publication that the client has heard, if it wants
/// those behind it.
pub(in crate::wire) fn named(subs: Option<Subs<'_>>) -> Vec<(Cow<'_, str>, Option<Since>)> {
    let subs = subs.unwrap_or_default().into_iter();
    let position = |sub: &SubRequest<'_>| since((sub.recover, &sub.epoch, sub.offset));
    subs.map(|(channel, sub)| (channel, sub.as_ref().and_then(position))).collect()
}

/// Returns the last publication that a client has heard, if it wants those behind it.
pub(in crate::wire) fn since((recover, epoch, offset): (bool, &str, u64)) -> Option<Since> {
    recover.then(|| Since { epoch: Numbering::read_or_any(epoch), offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Epoch;

    fn read(json: &str) -> Option<Vec<(String, Option<Since>)>> {
        let subs = serde_json::from_str(json).ok()?;
        Some(named(subs).into_iter().map(|(name, since)| (name.into_owned(), since)).collect())
    }

    #[test]
    fn positions_are_read_where_the_client_wants_to_recover() {
        let since = |epoch, offset| Some(Since { epoch, offset });
        let json = r##"{"b":{"recover":true,"epoch":"0000abcd","offset":7},"#u":{"offset":7},
            "a":{"recover":true,"epoch":"xyz"},"c":null,"d\"":{"recover":true,"more":[]}}"##;
        let expected = [
            ("#u", None),
            ("a", since(Numbering::Foreign, 0)),
            ("b", since(Numbering::Is(Epoch(0xabcd)), 7)),
            ("c", None),
            ("d\"", since(Numbering::Any, 0)),
        ];
        let expected = expected.map(|(name, since)| (name.to_owned(), since));
        assert_eq!(read(json), Some(expected.to_vec()));
        assert_eq!(read("null"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for json in [
            "[]",
            r#"{"a":7}"#,
            r#"{"a":{"recover":true,"offset":18446744073709551616}}"#,
            r#"{"a":{"offset":-1}}"#,
            r#"{"a":{"offset":1.5}}"#,
            r#"{"a":{"recover":"yes"}}"#,
            r#"{"a":{"epoch":7}}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
