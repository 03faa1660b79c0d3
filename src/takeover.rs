//! A new process takes the place of the one that serves the same address, and nobody who connects
//! meanwhile is refused or reset.
//!
//! The listening sockets themselves pass from one to the other, through a Unix socket that only the
//! same user is heard at. A listener that is closed resets whoever waits at it, and whoever is in
//! the middle of TCP's handshake; one that somebody still holds does neither, whatever the kernel's
//! settings are. The older process goes on as before until the newer one says that it serves.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, UCred, recvmsg, sendmsg, sockopt,
};

/// The most sockets that pass on: a listener for each shard, and the admin address's.
const SOCKETS_MAX: usize = 65;

/// How long the older process may take to answer, and the newer one to begin to serve.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// How often a newer process asks where the older one is just being replaced by a third.
const ASKS_MAX: usize = 20;
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What the newer process says when it serves, and the older one when its place is free.
const SERVING: u8 = b'S';
const FREE: u8 = b'F';

/// What passes from one process to the other.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// What the shards listen on.
    pub(crate) listeners: Vec<OwnedFd>,
    /// What the admin address is served on.
    pub(crate) admin: Option<OwnedFd>,
}

/// The process that serves the address now.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: UnixStream,
    pid: i32,
}

impl Predecessor {
    /// Finds the process of this user that serves `address`, and takes its sockets.
    pub(crate) fn find(address: SocketAddr) -> Option<(Self, Sockets)> {
        for _ in 0..ASKS_MAX {
            // Nobody there, which is the usual start.
            let stream = UnixStream::connect_addr(&meeting_place(address)?).ok()?;
            match Self::ask(stream) {
                Ok(found) => return Some(found),
                Err(error) if is_gone(&error) => thread::park_timeout(ASK_AGAIN),
                Err(error) => {
                    tracing::warn!(%error, "another process serves the address and does not yield");
                    return None;
                }
            }
        }
        None
    }

    fn ask(stream: UnixStream) -> io::Result<(Self, Sockets)> {
        let pid = check_peer(&stream)?.pid.as_raw_nonzero().get();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let sockets = receive(&stream)?;
        Ok((Self { stream, pid }, sockets))
    }

    /// Tells it to go, now that its clients can come here; it goes in its own time.
    pub(crate) fn relieve(mut self) {
        let mut answer = [0];
        let told = self.stream.write_all(&[SERVING]);
        match told.and_then(|()| self.stream.read_exact(&mut answer)) {
            Ok(()) => tracing::info!(pid = self.pid, "took over from another process"),
            Err(error) => tracing::warn!(pid = self.pid, %error, "the other process is gone"),
        }
    }
}

/// Waits, on a thread of its own, for a process that takes over; `yield_place` then lets this one
/// go.
///
/// # Errors
/// The place where processes meet is taken.
pub(crate) fn offer(
    address: SocketAddr,
    sockets: Sockets,
    yield_place: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let Some(place) = meeting_place(address) else { return Ok(()) };
    let door = UnixListener::bind_addr(&place)?;
    thread::Builder::new().name("takeover".into()).spawn(move || {
        let (mut stream, pid) = wait(&door, &sockets);
        // The name must be free before the newer process is told so.
        drop(door);
        tracing::info!(pid, "another process has taken over: draining");
        yield_place();
        let _ = stream.write_all(&[FREE]);
    })?;
    Ok(())
}

/// Lends the sockets to whoever asks until one of them serves.
fn wait(door: &UnixListener, sockets: &Sockets) -> (UnixStream, i32) {
    loop {
        let served = door.accept().and_then(|(stream, _)| serve(stream, sockets));
        match served {
            Ok(found) => return found,
            Err(error) => {
                tracing::warn!(%error, "a process asked for the listeners and did not take over");
                thread::park_timeout(ASK_AGAIN);
            }
        }
    }
}

fn serve(mut stream: UnixStream, sockets: &Sockets) -> io::Result<(UnixStream, i32)> {
    let pid = check_peer(&stream)?.pid.as_raw_nonzero().get();
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    send(&stream, sockets)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok((stream, pid))
}

/// Where processes that serve `address` meet: a name in the network namespace, as the port is one.
/// A port that is still to be chosen is nobody's yet.
fn meeting_place(address: SocketAddr) -> Option<UnixAddress> {
    if address.port() == 0 {
        return None;
    }
    UnixAddress::from_abstract_name(format!("stentor/{address}")).ok()
}

/// Anybody on the host may know the name: only the same user is trusted.
fn check_peer(stream: &UnixStream) -> io::Result<UCred> {
    let peer = sockopt::socket_peercred(stream)?;
    if peer.uid == rustix::process::geteuid() {
        Ok(peer)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"))
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn send(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    let all: Vec<BorrowedFd<'_>> =
        sockets.listeners.iter().chain(&sockets.admin).map(AsFd::as_fd).collect();
    let count = [u8::try_from(sockets.listeners.len()).unwrap_or(u8::MAX)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&all)) {
        return Err(io::Error::other("there are too many listeners"));
    }
    sendmsg(stream, &[IoSlice::new(&count)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Sockets> {
    let mut count = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut count)];
    let got = recvmsg(stream, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    let count = usize::from(count[0]);
    if got.bytes == 0 || listeners.len() < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let admin = listeners.split_off(count).pop();
    Ok(Sockets { listeners, admin })
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
        send(&ours, &sent).unwrap();
        let got = receive(&theirs).unwrap();
        assert_eq!(got.listeners.len(), 64);
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
    fn a_process_that_dies_on_the_way_changes_nothing() {
        let address = "127.0.0.9:1".parse().unwrap();
        let (went, gone) = std::sync::mpsc::channel();
        offer(address, sockets(1), move || went.send(()).unwrap()).unwrap();
        let (dies, lent) = Predecessor::find(address).unwrap();
        assert_eq!(lent.listeners.len(), 1);
        drop(dies);
        let (takes, lent) = Predecessor::find(address).unwrap();
        assert_eq!(lent.listeners.len(), 1);
        assert!(gone.try_recv().is_err(), "nobody has taken over yet");
        takes.relieve();
        gone.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(Predecessor::find(address).is_none(), "its place is free");
    }
}
