//! The frames of the link between two processes: messages of the shards, and words of the control
//! planes. Each begins with its length and its kind.

use std::io;

use serde_json::{from_slice, to_writer};
use stentor_shards::Message;

use crate::control::word::Word;

/// The kind of a frame whose contents are a word of the control plane, as JSON. Like every frame it
/// begins with the length of what follows.
const WORD: u8 = 128;

/// The longest word.
const WORD_BYTES_MAX: usize = 256 << 20;

/// Appends a word. Returns `false` for one that is too long.
pub(super) fn put_word(bytes: &mut Vec<u8>, word: &Word) -> bool {
    let start = bytes.len();
    bytes.extend([0, 0, 0, 0, WORD]);
    let written = to_writer(&mut *bytes, word);
    let length = bytes.len() - start - 4;
    bytes[start..start + 4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
    written.is_ok() && length <= WORD_BYTES_MAX
}

/// A frame of the other process.
pub(super) enum Heard {
    Message(Message),
    Word(Word),
}

/// Reads the first frame of some bytes, and the number of its bytes; `None`: it is not there as a
/// whole yet.
pub(super) fn first(bytes: &[u8]) -> io::Result<Option<(Heard, usize)>> {
    let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let Some((head, rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    let [a, b, c, d, kind] = *head;
    if kind != WORD {
        let message = Message::read(bytes).map_err(|fault| damaged(fault.to_string()))?;
        return Ok(message.map(|(message, length)| (Heard::Message(message), length)));
    }
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length == 0 || length > WORD_BYTES_MAX {
        return Err(damaged("a word is too long".into()));
    }
    let Some(contents) = rest.get(..length - 1) else { return Ok(None) };
    let word = from_slice(contents).map_err(|fault| damaged(fault.to_string()))?;
    Ok(Some((Heard::Word(word), 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_messages_share_a_stream_in_any_pieces() {
        let mut bytes = Vec::new();
        let params = serde_json::value::RawValue::from_string(r#"{"user": "a"}"#.into()).unwrap();
        let call = Word::Call { number: 7, method: "revoke".into(), params };
        assert!(put_word(&mut bytes, &call));
        let word = bytes.len();
        Message::put_ping(&mut bytes);
        for length in 0..word {
            assert!(first(&bytes[..length]).unwrap().is_none(), "{length}");
        }
        let (heard, length) = first(&bytes).unwrap().unwrap();
        let Heard::Word(Word::Call { number: 7, method, params }) = heard else { panic!("other") };
        assert_eq!((&*method, params.get(), length), ("revoke", r#"{"user": "a"}"#, word));
        let (heard, length) = first(&bytes[word..]).unwrap().unwrap();
        assert!(matches!(heard, Heard::Message(_)));
        assert_eq!(word + length, bytes.len());
        for damaged in [&[1, 0, 0, 0, WORD][..], &[0, 0, 0, 0, WORD], &[255, 255, 255, 255, WORD]] {
            assert!(first(damaged).is_err(), "{damaged:?}");
        }
    }
}
