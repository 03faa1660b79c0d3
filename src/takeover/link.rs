//! The link between the older process, while it drains, and the newer one, which numbers the
//! publications of both: bytes from one to the other, until one of them goes.
//!
//! Neither waits for the other for ever: a process that takes or says nothing for some seconds is
//! given up. The older one numbers its publications by itself then.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde_json::{from_slice, to_writer};
use stentor_shards::{Incoming, Link, Message, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::meet::Peer;
use crate::control::peers::{Ear, PeerEnd, Word};

/// A process that has nothing to say says so after this time.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// The other process must take something, and say something, in this time.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// The longest wait for a shard that takes no message.
const ROOM_TIMEOUT: Duration = Duration::from_secs(4);
const ROOM_AGAIN: Duration = Duration::from_millis(1);

/// About so many bytes leave in one call.
const WRITE_BYTES: usize = 64 << 10;

/// The kind of a frame whose contents are a word of the control plane, as JSON. Like every frame it
/// begins with the length of what follows.
const WORD: u8 = 128;

/// The longest word.
const WORD_BYTES_MAX: usize = 256 << 20;

/// The ends of both planes at a link.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) link: Link,
    pub(super) control: PeerEnd,
}

/// Carries the messages of the newer process, on a thread of its own.
pub(super) fn start(stream: UnixStream, linked: Linked, who: Peer) {
    let carried = thread::Builder::new().name("link".into()).spawn(move || {
        let ended = carry(stream, linked);
        tracing::info!(pid = who.pid, %ended, "no link to the older process any more");
    });
    if let Err(error) = carried {
        tracing::warn!(%error, "no link to the older process: it goes on by itself");
    }
}

/// Carries messages until the link ends. Returns the reason.
pub(super) fn carry(stream: UnixStream, linked: Linked) -> io::Error {
    let Linked { link: Link { outgoing, incoming }, mut control } = linked;
    let ear = control.ear.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = |runtime: tokio::runtime::Runtime| {
        runtime.block_on(async {
            stream.set_nonblocking(true)?;
            let (reader, writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
            // Either end ends both.
            tokio::select! {
                ended = read(reader, &incoming, &ear) => ended,
                ended = write(writer, outgoing, &mut control) => ended,
            }
        })
    };
    let ended = runtime.and_then(run);
    // The shards go on alone before the control plane does.
    drop(incoming);
    drop(control);
    match ended {
        // As when the other process has drained.
        Ok(()) => io::Error::new(io::ErrorKind::UnexpectedEof, "one side has closed it"),
        Err(error) => error,
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut outgoing: Outgoing,
    control: &mut PeerEnd,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let ready = async {
            tokio::select! {
                more = outgoing.take(&mut bytes, WRITE_BYTES) => more,
                word = control.words.recv() => match word {
                    Some(word) => put_word(&mut bytes, &word),
                    None => false,
                },
            }
        };
        match timeout(PING_PERIOD, ready).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(_) => Message::put_ping(&mut bytes),
        }
        timeout(SILENCE_MAX, to.write_all(&bytes)).await??;
    }
}

/// Appends a word. Returns `false` for one that is too long.
fn put_word(bytes: &mut Vec<u8>, word: &Word) -> bool {
    let start = bytes.len();
    bytes.extend([0, 0, 0, 0, WORD]);
    let written = to_writer(&mut *bytes, word);
    let length = bytes.len() - start - 4;
    bytes[start..start + 4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
    written.is_ok() && length <= WORD_BYTES_MAX
}

/// A frame of the other process.
enum Heard {
    Message(Message),
    Word(Word),
}

/// Reads the first frame of some bytes, and the number of its bytes; `None`: it is not there as a
/// whole yet.
fn first(bytes: &[u8]) -> io::Result<Option<(Heard, usize)>> {
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

async fn read(mut from: OwnedReadHalf, incoming: &Incoming, ear: &Ear) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let mut at = 0;
        while let Some((heard, length)) = first(&bytes[at..])? {
            at += length;
            match heard {
                Heard::Message(message) => {
                    timeout(ROOM_TIMEOUT, hand_on(message, incoming)).await?;
                }
                Heard::Word(word) => timeout(ROOM_TIMEOUT, ear.hear(word)).await?,
            }
        }
        bytes.drain(..at);
        if timeout(SILENCE_MAX, from.read_buf(&mut bytes)).await?? == 0 {
            return Ok(());
        }
    }
}

async fn hand_on(message: Message, incoming: &Incoming) {
    let mut message = message;
    while let Err(back) = incoming.hand_on(message) {
        message = back;
        sleep(ROOM_AGAIN).await;
    }
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
