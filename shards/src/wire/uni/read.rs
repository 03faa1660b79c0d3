//! Reads the one request of a client that only listens.

use std::borrow::Cow;

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::Deserialize;

use crate::model::id::RequestId;
use crate::wire::centrifugo::subs::{Subs, named};
use crate::wire::command::{Command, Connect, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;

/// The number under which the request is answered; the client does not see it.
const NUMBER: &str = "1";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request<'a> {
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    /// Channels that the client wants to listen to, and what it knows of each.
    #[serde(borrow)]
    subs: Option<Subs<'a>>,
}

/// Reads a message.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    match said {
        Said::Text(text) => connect(text),
        Said::Binary(_) => Err(Mistake::new(ErrorCode::Binary, "this protocol speaks text", None)),
    }
}

fn connect(text: &Utf8Bytes) -> Result<Command<'_>, Mistake> {
    let malformed = || Mistake::new(ErrorCode::Malformed, "not a request in JSON", None);
    let trimmed = text.as_str().trim_ascii();
    // A list would be read as the fields in their order.
    if trimmed.starts_with('[') {
        return Err(malformed());
    }
    // `null` is a request without wishes.
    let request = serde_json::from_str::<Option<Request<'_>>>(trimmed).map_err(|_| malformed())?;
    let Request { token, subs } = request.unwrap_or_default();
    let token = token.filter(|token| !token.is_empty());
    let channels = named(subs);
    let id = Some(RequestId(NUMBER.into()));
    Ok(Command::Connect(Connect { token, channels, id, ..Connect::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Option<String>, Vec<String>), ErrorCode> {
        let reading = Reading { text_ping: false, trim_text: false };
        match read(&mut Said::Text(text.into()), reading) {
            Ok(Command::Connect(Connect { token, channels, .. })) => Ok((
                token.map(Cow::into_owned),
                channels.into_iter().map(|(name, _)| name.into_owned()).collect(),
            )),
            Ok(other) => panic!("{other:?}"),
            Err(mistake) => Err(mistake.code),
        }
    }

    #[test]
    fn a_request_names_a_token_and_channels() {
        let named = r#"{"token":"t","subs":{"b":{},"a":{"recover":true}},"name":"x","data":{}}"#;
        let both = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(read_text(named), Ok((Some("t".into()), both)));
        for without in ["{}", "null", r#"{"token":"","subs":null}"#] {
            assert_eq!(read_text(without), Ok((None, Vec::new())), "{without}");
        }
        for none in ["", "x", "[]", r#"{"subs":[]}"#, r#"{"token":1}"#] {
            assert_eq!(read_text(none), Err(ErrorCode::Malformed), "{none}");
        }
    }
}
