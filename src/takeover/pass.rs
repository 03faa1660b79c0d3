//! The messages between two processes at a take-over, with the listening sockets among them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most sockets that a process is given: two listeners for each shard, one of them for TLS, and
/// the admin address's.
pub(crate) const SOCKETS_MAX: usize = 129;

/// The length of an answer: kind, number of listeners, a time and a fingerprint.
const ANSWER_BYTES: usize = 14;

const ASK: u8 = b'A';
/// The same by a process that can read the older one's histories, if their form is this one.
const ASK_ALL: u8 = b'B';
const YIELDS: u8 = b'Y';
/// The same by a process that sends its histories when it is asked for them.
const YIELDS_ALL: u8 = b'Z';
const REFUSES: u8 = b'N';
/// The newer process is about to begin, and reads the histories.
pub(super) const HISTORIES: u8 = b'H';
/// The newer process has read them, and begins to number publications.
pub(super) const BEGINS: u8 = b'G';
/// The newer process serves, and the older one's place is free.
pub(super) const SERVING: u8 = b'S';
pub(super) const FREE: u8 = b'F';

/// The sockets that pass from one process to the other.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// The listeners of the shards.
    pub(crate) listeners: Vec<OwnedFd>,
    /// The listener of the admin address.
    pub(crate) admin: Option<OwnedFd>,
}

/// The older process's answer.
#[derive(Debug)]
pub(super) enum Answer {
    Yields {
        sockets: Sockets,
        /// The fingerprint of the process that yields.
        from: u64,
        /// For how long the newer process should not yield to that one's like.
        settle: Duration,
        /// It sends its histories when it is asked for them.
        has_histories: bool,
    },
    /// It has just taken over itself, and yields after this time.
    Refuses(Duration),
}

/// A newer process's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// The program that asks, with its settings.
    pub(super) fingerprint: u64,
    /// The form of histories that it reads; `None`: it reads none.
    pub(super) form: Option<u32>,
}

/// Asks for the sockets.
pub(super) fn ask(stream: &mut UnixStream, request: Request) -> io::Result<Answer> {
    let Request { fingerprint, form } = request;
    let mut question = vec![if form.is_some() { ASK_ALL } else { ASK }];
    question.extend(fingerprint.to_le_bytes());
    question.extend(form.iter().flat_map(|form| form.to_le_bytes()));
    stream.write_all(&question)?;
    receive(stream)
}

/// Reads the request of a newer process.
pub(super) fn hear(stream: &mut UnixStream) -> io::Result<Request> {
    let mut question = [0; 9];
    stream.read_exact(&mut question)?;
    let [kind, fingerprint @ ..] = question;
    let fingerprint = u64::from_le_bytes(fingerprint);
    let form = match kind {
        ASK => None,
        ASK_ALL => {
            let mut form = [0; 4];
            stream.read_exact(&mut form)?;
            Some(u32::from_le_bytes(form))
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Request { fingerprint, form })
}

/// Reads the one byte that the other side says next.
pub(super) fn next(stream: &mut UnixStream) -> io::Result<u8> {
    let mut said = [0];
    stream.read_exact(&mut said)?;
    Ok(said[0])
}

/// Reads the one byte that the other side is to say next.
pub(super) fn expect(stream: &mut UnixStream, wanted: u8) -> io::Result<()> {
    if next(stream)? == wanted { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn answer(kind: u8, listeners: usize, time: Duration, fingerprint: u64) -> [u8; ANSWER_BYTES] {
    let mut bytes = [0; ANSWER_BYTES];
    bytes[0] = kind;
    bytes[1] = u8::try_from(listeners).unwrap_or(u8::MAX);
    let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    bytes[2..6].copy_from_slice(&ms.to_le_bytes());
    bytes[6..].copy_from_slice(&fingerprint.to_le_bytes());
    bytes
}

pub(super) fn refuse(stream: &mut UnixStream, left: Duration) -> io::Result<()> {
    stream.write_all(&answer(REFUSES, 0, left, 0))
}

pub(super) fn send(
    stream: &UnixStream,
    sockets: &Sockets,
    (from, has_histories): (u64, bool),
    settle: Duration,
) -> io::Result<()> {
    let all: Vec<BorrowedFd<'_>> =
        sockets.listeners.iter().chain(&sockets.admin).map(AsFd::as_fd).collect();
    let kind = if has_histories { YIELDS_ALL } else { YIELDS };
    let bytes = answer(kind, sockets.listeners.len(), settle, from);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&all)) {
        return Err(io::Error::other("there are too many listeners"));
    }
    retry_on_intr(|| {
        sendmsg(stream, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Answer> {
    let mut bytes = [0; ANSWER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    // The end of a ring that was only tried interrupts a wait once.
    let got = retry_on_intr(|| recvmsg(stream, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    let mut listeners: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [kind, count, a, b, c, d, fingerprint @ ..] = bytes;
    let time = Duration::from_millis(u32::from_le_bytes([a, b, c, d]).into());
    let count = usize::from(count);
    match kind {
        REFUSES if got.bytes == ANSWER_BYTES => Ok(Answer::Refuses(time)),
        YIELDS | YIELDS_ALL if got.bytes == ANSWER_BYTES && listeners.len() >= count => {
            let admin = listeners.split_off(count).pop();
            let sockets = Sockets { listeners, admin };
            Ok(Answer::Yields {
                sockets,
                from: u64::from_le_bytes(fingerprint),
                settle: time,
                has_histories: kind == YIELDS_ALL,
            })
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn sockets(count: usize) -> Sockets {
        let bind = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        Sockets { listeners: (0..count).map(|_| bind()).collect(), admin: Some(bind()) }
    }

    #[test]
    fn sockets_pass_on_in_their_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sent = sockets(64);
        send(&ours, &sent, (7, true), Duration::from_secs(5)).unwrap();
        let answer = receive(&theirs).unwrap();
        let Answer::Yields { sockets: got, from: 7, settle, has_histories: true } = answer else {
            panic!("another answer")
        };
        assert_eq!((got.listeners.len(), settle), (64, Duration::from_secs(5)));
        let address =
            |socket: &OwnedFd| TcpListener::from(socket.try_clone().unwrap()).local_addr();
        for (sent, got) in sent.listeners.iter().zip(&got.listeners) {
            assert_eq!(address(sent).unwrap(), address(got).unwrap());
        }
        assert_eq!(
            address(sent.admin.as_ref().unwrap()).unwrap(),
            address(got.admin.as_ref().unwrap()).unwrap()
        );
    }

    #[test]
    fn refusals_and_ends_are_told_apart_from_nonsense() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        refuse(&mut ours, Duration::from_millis(1500)).unwrap();
        let request = Request { fingerprint: 9, form: Some(7) };
        let answer = ask(&mut theirs, request).unwrap();
        assert!(matches!(answer, Answer::Refuses(left) if left == Duration::from_millis(1500)));
        assert_eq!(hear(&mut ours).unwrap(), request);
        theirs.write_all(b"A12345678").unwrap();
        assert_eq!(hear(&mut ours).unwrap().form, None, "an earlier version asks");
        ours.write_all(b"HTTP/1.1 400").unwrap();
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(ours);
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
