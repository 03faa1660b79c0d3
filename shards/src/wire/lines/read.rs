//! Reads the requests of the test dialect: connect, publish, join and leave.

use async_tungstenite::tungstenite::Utf8Bytes;

use crate::model::message::Payload;
use crate::wire::command::{Command, Connect, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;

/// Reads one message of a client.
pub(crate) fn read(said: &mut Said, _: Reading) -> Result<Command<'_>, Mistake> {
    let malformed = || Mistake::new(ErrorCode::Malformed, "not a line", None);
    let Said::Binary(bytes) = said else { return Err(malformed()) };
    let [kind, high, low, ..] = **bytes else { return Err(malformed()) };
    let end = 3 + usize::from(u16::from_be_bytes([high, low]));
    let name = bytes.get(3..end).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or_else(malformed)?;
    match kind {
        b'p' => {
            let body = Utf8Bytes::try_from(bytes.slice(end..)).map_err(|_| malformed())?;
            let channel = (!name.is_empty()).then(|| name.into());
            Ok(Command::Publish { channel, payload: Payload::Text(body), id: None })
        }
        b'c' => {
            let user = std::str::from_utf8(&bytes[end..]).map_err(|_| malformed())?;
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned().into());
            let channels = some(name).map(|name| (name, None)).into_iter().collect();
            let user = some(user);
            Ok(Command::Connect(Connect { user, channels, ..Connect::default() }))
        }
        b'j' => Ok(Command::Join {
            channel: name.into(),
            presence: false,
            patches: false,
            since: None,
            must_recover: false,
            token: None,
            data: None,
            id: None,
        }),
        b'l' => Ok(Command::Leave { channel: name.into(), id: None }),
        _ => Err(Mistake::new(ErrorCode::UnknownType, "kind is none of c, p, j, l", None)),
    }
}

/// A request as a client writes it.
#[cfg(any(test, fuzzing))]
pub(crate) fn request(kind: u8, name: &str, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(name.len()).expect("names of tests are short");
    [&[kind], &len.to_be_bytes()[..], name.as_bytes(), rest].concat()
}
