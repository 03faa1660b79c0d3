//! The link between the older process, while it drains, and the newer one, which numbers the
//! publications of both: bytes from one to the other, until one of them goes.
//!
//! Neither waits for the other for ever: a process that takes or says nothing for some seconds is
//! given up. The older one numbers its publications by itself then.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use stentor_shards::{Incoming, Link, Message, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::frames::{Heard, first, put_word};
use super::meet::Peer;
use crate::control::peers::{Ear, PeerEnd};

/// A process that has nothing to say says so after this time.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// The other process must take something, and say something, in this time.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// The longest wait for a shard that takes no message.
const ROOM_TIMEOUT: Duration = Duration::from_secs(4);
const ROOM_AGAIN: Duration = Duration::from_millis(1);

/// About so many bytes leave in one call.
const WRITE_BYTES: usize = 64 << 10;

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
