//! The histories of the older process on their way to the newer one, over the connection on which
//! the listening sockets passed.
//!
//! ```text
//! request = 'H', the first epoch of the newer process, in 8 digits
//! answer = part* end
//! part   = kind u8 ('C' channels, 'R' revocations, 'W' facts, 'K' idempotency keys as JSON),
//!          length u32, bytes
//! end    = 'E', number of channels u32, number of revocations u32, 1 u8, number of the process u8
//!        | 'X', length u32, the reason for which there is no more
//! ```
//! Before the first part the older process stops to number publications: the newer one numbers
//! them for both from then on (`link.rs`), and the same epochs go on in it. Right before it does,
//! it says so: until then the older process can go on as if nothing had been.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use stentor_shards::snapshot::{self, Saved};
use stentor_shards::{Epoch, Following, Handle, Position};

use super::input::{
    CHANNELS, END, FACTS, KEYS, NO_MORE, REASON_BYTES_MAX, REVOCATIONS, TIMEOUT, Unread,
};
use super::link::Linked;
use super::meet::ANSWER_TIMEOUT;
use super::pass::HISTORIES;
use crate::control::Once;
use crate::control::ask::{ask, ask_one};
use crate::control::peers::Peers;

/// The form of what is sent. A process that expects another form is sent nothing.
pub(super) const FORM: u32 = 5;

/// The length of an epoch as it is written.
const EPOCH_DIGITS: usize = 8;

/// The histories of this process, for a newer one, and all that goes with them.
#[derive(Debug)]
pub(crate) struct Histories {
    pub(crate) handle: Handle,
    pub(crate) once: Once<Position>,
    pub(crate) peers: Peers,
}

/// Returns the histories of all shards in parts, as they are at that moment.
pub(crate) fn saved(
    handle: &Handle,
    all: bool,
) -> io::Result<impl Iterator<Item = io::Result<Saved>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut next = (0, Some(0));
    Ok(std::iter::from_fn(move || {
        loop {
            match next {
                (shard, _) if shard == handle.shard_count() => return None,
                (shard, None) => next = (shard + 1, Some(0)),
                (shard, Some(place)) => {
                    let saved = runtime.block_on(ask_one(|| handle.save(shard, place, all)));
                    next.1 = saved.as_ref().ok().and_then(|saved| saved.next);
                    let busy = || io::Error::other(format!("shard {shard} does not answer"));
                    return Some(saved.map_err(|_| busy()));
                }
            }
        }
    }))
}

impl Histories {
    /// Stops to number publications, and sends all histories. Returns the link over which they are
    /// numbered from then on; `None`: a part could not be had, and the newer process is told so.
    pub(super) fn send(&self, stream: &mut UnixStream) -> io::Result<Option<Linked>> {
        let epoch = read_epoch(stream)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // First: what the API is asked for from here on reaches the newer process by this.
        let control = self.peers.join(true);
        let mut following = self.handle.follow(epoch);
        let sent = self.send_parts(stream, &mut following);
        if !matches!(sent, Ok(Ok(()))) {
            // Nobody begins with a part of them.
            following.link.give_back();
            if let Err(why) = sent? {
                let why = why.as_bytes();
                send_part(stream, NO_MORE, &why[..why.len().min(REASON_BYTES_MAX)])?;
            }
            return Ok(None);
        }
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Some(Linked { link: following.link, control }))
    }

    /// The inner error is why there is no more to send.
    fn send_parts(
        &self,
        stream: &mut UnixStream,
        following: &mut Following,
    ) -> io::Result<Result<(), String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        if runtime.block_on(ask(|| following.tell())).is_err() {
            return Ok(Err("a shard does not answer".into()));
        }
        let (mut channels, mut revocations) = (0_u32, 0_u32);
        for part in saved(&self.handle, true)? {
            let Saved { bytes, records, .. } = match part {
                Ok(part) => part,
                Err(why) => return Ok(Err(why.to_string())),
            };
            channels += records;
            send_part(stream, CHANNELS, &bytes)?;
        }
        let mut behind = None;
        loop {
            let page = runtime.block_on(ask_one(|| self.handle.revocations(behind.clone())));
            let Ok(page) = page else { return Ok(Err("a shard does not answer".into())) };
            let Some(last) = page.last() else { break };
            revocations += u32::try_from(page.len()).unwrap_or(u32::MAX);
            behind = Some(last.clone());
            send_part(stream, REVOCATIONS, &snapshot::put_revocations(&page))?;
        }
        let Ok(facts) = runtime.block_on(ask(|| self.handle.facts())) else {
            return Ok(Err("a shard does not answer".into()));
        };
        for facts in facts {
            send_part(stream, FACTS, &facts)?;
        }
        let mut from = 0;
        while let Some((keys, next)) = self.once.page(from) {
            from = next;
            send_part(stream, KEYS, &serde_json::to_vec(&keys)?)?;
        }
        let mut end = vec![END];
        end.extend(channels.to_le_bytes());
        end.extend(revocations.to_le_bytes());
        end.extend([1, self.handle.process().number()]);
        stream.write_all(&end)?;
        Ok(Ok(()))
    }
}

fn read_epoch(stream: &mut UnixStream) -> io::Result<Epoch> {
    let mut digits = [0; EPOCH_DIGITS];
    stream.read_exact(&mut digits)?;
    let epoch = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    epoch.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks for the histories of the older process.
pub(super) fn request(stream: &mut UnixStream, epoch: Epoch) -> Result<(), Unread> {
    let mut request = vec![HISTORIES];
    request.extend(epoch.to_string().bytes());
    Ok(stream.write_all(&request)?)
}

fn send_part(stream: &mut UnixStream, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::other("a part is too long");
    let length = u32::try_from(bytes.len()).map_err(too_long)?;
    let mut head = vec![kind];
    head.extend(length.to_le_bytes());
    stream.write_all(&head)?;
    stream.write_all(bytes)
}
