//! Where processes of one address meet: Unix sockets with names in the network namespace, as ports
//! are, at which only the same user is trusted.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::input::is_timeout;

/// The longest time that the other process may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that another process may take to start before this one gives up.
pub(super) const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The number of tries of a name that is taken and does not answer: its owner has only just taken
/// it, or has just gone.
const UNANSWERED_MAX: u32 = 100;
const UNANSWERED_WAIT: Duration = Duration::from_millis(10);

/// Where the process that serves `address` is asked for it.
pub(super) fn place(address: SocketAddr) -> String {
    format!("stentor/2/{address}")
}

/// A process on the other side of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) is_trusted: bool,
    /// `None` in another namespace of processes, where it has no number here.
    pub(super) pid: Option<i32>,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("a process of another PID namespace"),
        }
    }
}

/// Returns the process and the user of the peer. The user alone decides about trust.
pub(super) fn peer(stream: &UnixStream) -> io::Result<Peer> {
    // Through tokio: rustix takes the process number 0 of other namespaces for an error.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let twin = stream.try_clone()?;
    twin.set_nonblocking(true)?;
    let credentials = tokio::net::UnixStream::from_std(twin).and_then(|twin| twin.peer_cred());
    // The mode belongs to both.
    stream.set_nonblocking(false)?;
    let credentials = credentials?;
    let is_trusted = credentials.uid() == rustix::process::geteuid().as_raw();
    Ok(Peer { is_trusted, pid: credentials.pid().filter(|pid| *pid > 0) })
}

/// Connects to a name; `None` where nobody is there. A process that takes nobody in is waited for
/// as long as for an answer.
pub(super) fn knock(name: &str) -> io::Result<Option<UnixStream>> {
    let to = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    // It holds for the connect as well.
    set_socket_timeout(&socket, Timeout::Send, Some(ANSWER_TIMEOUT))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    // The end of a ring that was only tried interrupts a wait once.
    match retry_on_intr(|| connect(&socket, &to)) {
        Ok(()) => Ok(Some(UnixStream::from(socket))),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes a name.
pub(super) fn open(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&UnixAddress::from_abstract_name(name)?)
}

/// The right to start on a port. Two processes that start at the same moment would each find the
/// port free; and both could have it, as they are one user's.
#[derive(Debug)]
pub(crate) struct Turn {
    #[allow(dead_code, reason = "it is held, and its end is what others see")]
    name: Option<UnixListener>,
}

impl Turn {
    /// Waits for its turn.
    ///
    /// # Errors
    /// Another process has been starting for longer than a start may take.
    pub(super) fn wait(port: u16) -> io::Result<Self> {
        let name = format!("stentor/2/start/{port}");
        let until = Instant::now() + START_TIMEOUT;
        let mut unanswered = 0;
        loop {
            match open(&name) {
                Ok(name) => return Ok(Self { name: Some(name) }),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            let knocked = match knock(&name) {
                // The queue is full, as no process of ours lets it be: every user can take a name.
                Err(error) if is_timeout(&error) => return Ok(Self { name: None }),
                knocked => knocked?,
            };
            let Some(stream) = knocked else {
                unanswered += 1;
                if unanswered == UNANSWERED_MAX {
                    // The name is kept by a socket that nobody of ours would keep like this.
                    return Ok(Self { name: None });
                }
                thread::park_timeout(UNANSWERED_WAIT);
                continue;
            };
            let peer = peer(&stream)?;
            if !peer.is_trusted {
                // The kernel keeps other users from the port by itself.
                return Ok(Self { name: None });
            }
            if left.is_zero() || !ends_within(&stream, left)? {
                let seconds = START_TIMEOUT.as_secs();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{peer} has been starting on this port for {seconds}s"),
                ));
            }
        }
    }
}

/// Waits until the other side ends the connection, which it never takes.
fn ends_within(stream: &UnixStream, left: Duration) -> io::Result<bool> {
    stream.set_read_timeout(Some(left))?;
    match io::Read::read(&mut &*stream, &mut [0]) {
        Err(error) if is_timeout(&error) => Ok(false),
        // Also where it was interrupted: the caller looks again.
        _ => Ok(true),
    }
}

/// Takes a name, and fills its queue.
#[cfg(test)]
pub(super) fn full_queue(name: &str) -> Vec<std::os::fd::OwnedFd> {
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let socket = || {
        let flags = SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    };
    let door = socket();
    rustix::net::bind(&door, &address).unwrap();
    rustix::net::listen(&door, 0).unwrap();
    let mut all = vec![door];
    loop {
        let caller = socket();
        match connect(&caller, &address) {
            Ok(()) => all.push(caller),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                return all;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_an_owner_is_nobody() {
        assert!(knock("stentor/2/test/nobody").unwrap().is_none());
        let door = open("stentor/2/test/somebody").unwrap();
        let stream = knock("stentor/2/test/somebody").unwrap().unwrap();
        let peer = peer(&stream).unwrap();
        assert!(peer.is_trusted);
        assert_eq!(peer.pid, Some(i32::try_from(std::process::id()).unwrap()));
        drop(door);
        assert!(knock("stentor/2/test/somebody").unwrap().is_none());
    }

    #[test]
    fn a_name_that_is_kept_by_something_else_keeps_nobody_from_starting() {
        let name = "stentor/2/start/2";
        let other = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        rustix::net::bind(&other, &address).unwrap();
        assert!(knock(name).unwrap().is_none());
        assert!(Turn::wait(2).unwrap().name.is_none());
        drop(other);
        assert!(Turn::wait(2).unwrap().name.is_some());
    }

    #[test]
    fn the_second_to_start_waits_for_the_first() {
        let first = Turn::wait(1).unwrap();
        let second = thread::spawn(|| Turn::wait(1).map(|_| Instant::now()));
        thread::park_timeout(Duration::from_millis(100));
        assert!(!second.is_finished());
        let freed = Instant::now();
        drop(first);
        assert!(second.join().unwrap().unwrap() >= freed);
    }

    #[test]
    fn a_full_queue_keeps_nobody_from_starting() {
        let _full = full_queue("stentor/2/start/3");
        assert!(Turn::wait(3).unwrap().name.is_none());
    }
}
