//! The one place that knows the runtime, and the one with `unsafe`: executor, timer, the wait in
//! the ring, and calls on the descriptors of live slots.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

/// The runtime's preemption timer is off. If it fires before the executor has begun its round, the
/// executor takes the round for an empty one and parks with tasks ready to run: the shard hangs
/// until something else wakes its ring. A thread that loses its core for the timer's length at that
/// moment is enough. Here nothing needs it: a shard is one task, which sleeps when it has no work.
const NEVER: Duration = Duration::from_hours(1);

/// Makes an executor for the calling thread, pinned to `core` if one is named.
///
/// # Errors
/// What kept the ring or the core from being had.
pub fn executor(name: &str, core: Option<usize>) -> Result<LocalExecutor, String> {
    // The runtime panics where io_uring is blocked; its message names neither cause nor cure.
    let made = std::panic::catch_unwind(|| {
        LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name(name)
            // No file is read by direct I/O here: the smallest buffer there is.
            .io_memory(0)
            .ring_depth(1024)
            .preempt_timer(NEVER)
            .make()
    });
    match made {
        Ok(Ok(executor)) => Ok(executor),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            Err("io_uring is not available to this process; `stentor doctor` says why".into())
        }
    }
}

/// A timer that is kept over several waits and dropped when it has fired.
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Timer>>>,
}

impl Alarm {
    pub(crate) fn unset() -> Self {
        Self { timer: None }
    }

    /// Sets the alarm unless it is set already.
    pub(crate) fn set(&mut self, after: Duration) {
        if self.timer.is_none() {
            self.timer = Some(Box::pin(Timer::new(after)));
        }
    }

    /// Whether the alarm has fired; it is unset then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if fired {
            self.timer = None;
        }
        fired
    }
}

/// Waits in the ring for a descriptor to have something to read.
///
/// The runtime polls sockets only, and only its own. Its stream asks the ring for readiness before
/// it reads, whatever the descriptor is; that one wait is all that is used of it.
#[derive(Debug, Default)]
pub struct RingPoll {
    waiting: Option<TcpStream>,
    over: bool,
}

impl RingPoll {
    /// Begins a wait for `fd`, always the same one, unless one is under way. `false`: descriptors
    /// are out.
    pub fn begin(&mut self, fd: &OwnedFd) -> bool {
        if self.waiting.is_some() && !self.over {
            return true;
        }
        // The last wait's descriptor goes first: its number is what the next one takes.
        self.waiting = None;
        self.over = false;
        let Ok(second) = rustix::io::fcntl_dupfd_cloexec(fd, 3) else { return false };
        // SAFETY: the descriptor is owned and passed on here; nothing else closes it.
        self.waiting = Some(unsafe { TcpStream::from_raw_fd(second.into_raw_fd()) });
        true
    }

    /// Whether the wait is over; if not, the task is woken when it is.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        // The stream asked for readiness when it was made. It reads only then, which is an error
        // for what is not a socket, and it has served.
        let stream = self.waiting.as_mut();
        self.over |= stream.is_none_or(|stream| Pin::new(stream).poll_read(cx, &mut []).is_ready());
        self.over
    }
}

/// Lends the descriptor of a live slot for one call.
fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: callers pass the descriptor of a slot in the roster. A slot leaves the roster before
    // its stream is dropped (`Roster::remove` hands the stream out with it), so the descriptor is
    // open for the length of the call.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Receives without waiting.
pub(crate) fn receive(fd: RawFd, into: &mut [u8]) -> Poll<io::Result<usize>> {
    match rustix::net::recv(borrow(fd), into, rustix::net::RecvFlags::DONTWAIT) {
        Ok((count, _)) => Poll::Ready(Ok(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

/// Sends without waiting. `WouldBlock` comes back as zero bytes.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    use rustix::net::SendFlags;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(borrow(fd), bytes, flags) {
        Ok(sent) => Ok(sent),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Sends several slices in one call without waiting. `WouldBlock` comes back as zero bytes.
pub(crate) fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags};
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::sendmsg(borrow(fd), slices, &mut SendAncillaryBuffer::default(), flags) {
        Ok(sent) => Ok(sent),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Ends both directions at once, so that the FIN does not wait for the ring.
pub(crate) fn shutdown(fd: RawFd) {
    let _ = rustix::net::shutdown(borrow(fd), rustix::net::Shutdown::Both);
}

/// Ends the sending direction only.
pub(crate) fn shutdown_write(fd: RawFd) {
    let _ = rustix::net::shutdown(borrow(fd), rustix::net::Shutdown::Write);
}
