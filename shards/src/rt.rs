//! The one place that knows the runtime, and the one with `unsafe`: executor, timer, the wait in
//! the ring, a trial of the ring, and calls on the descriptors of live slots.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::io::Errno;
use rustix::io_uring as uring;

use crate::config::Ring;

/// The time for which a shard naps on its sockets before it parks in the ring.
pub const NAP: Duration = Duration::from_millis(10);

/// The runtime's preemption timer is off. If it fires before the executor has begun its round, the
/// executor takes the round for an empty one and parks with tasks ready to run: the shard hangs
/// until something else wakes its ring. A thread that loses its core for the timer's length at that
/// moment is enough. Here nothing needs it: a shard is one task, which sleeps when it has no work.
const NEVER: Duration = Duration::from_hours(1);

/// Entries of each of an executor's three rings. A shard has one poll and one timer in them at
/// most, and their memory is locked: it counts against the user's limit.
const RING_ENTRIES: usize = 128;

/// Bytes that one executor locks: 16 KiB for each of its three rings, and its smallest buffer, 64
/// KiB, registered with each. A little more, as the kernel takes its time to give them back.
pub const RING_BYTES: u64 = 256 << 10;

/// The runtime makes no executor in a process whose limit of locked memory is smaller.
pub const MEMLOCK_MIN: u64 = 512 << 10;

/// The last operation of the ring that the runtime asks for: `IORING_OP_RECV`. Linux 5.6 has it and
/// all before it.
const LAST_OPERATION: usize = 27;

thread_local! {
    /// `true` while this thread makes an executor.
    static MAKING: Cell<bool> = const { Cell::new(false) };
}

/// Why no ring can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRing {
    /// The kernel, or a filter in front of it, refused a call.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    Refused {
        /// The call's name.
        call: &'static str,
        /// The kernel's error number.
        errno: i32,
    },
    /// The kernel's rings lack an operation that the runtime needs.
    #[error("this kernel's io_uring lacks operations: 5.8 or later is needed")]
    TooOld,
    /// The memory cannot be locked: this user's processes have locked too much, all together.
    #[error("io_uring may not lock enough memory")]
    Memory,
}

impl NoRing {
    /// The error of `call`.
    fn of(call: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            Errno::NOMEM => Self::Memory,
            other => Self::Refused { call, errno: other.raw_os_error() },
        }
    }
}

/// Tries out a small ring: each of its three calls once, its operations, and whether `bytes` more
/// can be locked. All of it is given back at once, but for two pages that the kernel frees a little
/// later.
///
/// # Errors
/// The first attempt that failed.
pub fn try_ring(bytes: u64) -> Result<(), NoRing> {
    let mut params = uring::io_uring_params::default();
    // SAFETY: no flag is set, so no field of the parameters names a descriptor.
    let ring =
        unsafe { uring::io_uring_setup(1, &mut params) }.map_err(NoRing::of("io_uring_setup"))?;
    let flags = uring::IoringEnterFlags::empty();
    // SAFETY: the ring is empty, so nothing is submitted and no memory is touched.
    unsafe { uring::io_uring_enter(&ring, 0, 0, flags) }.map_err(NoRing::of("io_uring_enter"))?;
    has_operations(&ring)?;
    lock_for_a_moment(&ring, bytes)
}

/// Asks for the operations as the kernel lists them: a head of 16 bytes, then eight bytes each, of
/// which the third and fourth are flags.
fn has_operations(ring: &OwnedFd) -> Result<(), NoRing> {
    let (mut list, op) = ([0_u64; 258], uring::IoringRegisterOp::RegisterProbe);
    // SAFETY: the list has the head and the 256 operations that the last argument allows.
    let asked = unsafe { uring::io_uring_register(ring, op, list.as_mut_ptr().cast(), 256) };
    match asked {
        Err(Errno::INVAL) => return Err(NoRing::TooOld),
        asked => asked.map_err(NoRing::of("io_uring_register"))?,
    };
    let supported = |entry: &u64| entry.to_ne_bytes()[2] & 1 != 0;
    let all = list[2..].iter().take(LAST_OPERATION + 1).all(supported);
    if all { Ok(()) } else { Err(NoRing::TooOld) }
}

/// Locks `bytes` as buffers of the ring. A buffer may be registered many times and counts each
/// time, so a small one tries out any number of bytes.
fn lock_for_a_moment(ring: &OwnedFd, bytes: u64) -> Result<(), NoRing> {
    let mut buffer = vec![1_u8; 64 << 10];
    let times = bytes.div_ceil(buffer.len() as u64).min(1024);
    if times == 0 {
        return Ok(());
    }
    let slices: Vec<uring::iovec> = (0..times)
        .map(|_| uring::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let count = u32::try_from(slices.len()).unwrap_or(u32::MAX);
    let op = uring::IoringRegisterOp::RegisterBuffers;
    // SAFETY: the slices and the buffer that they name live until it is unregistered below.
    unsafe { uring::io_uring_register(ring, op, slices.as_ptr().cast(), count) }
        .map_err(NoRing::of("io_uring_register"))?;
    let op = uring::IoringRegisterOp::UnregisterBuffers;
    // SAFETY: it takes no argument.
    let _ = unsafe { uring::io_uring_register(ring, op, std::ptr::null(), 0) };
    Ok(())
}

/// Makes an executor for the calling thread, pinned to `core` if one is named.
///
/// # Errors
/// The ring or the core cannot be had; the text says why.
pub fn executor(name: &str, core: Option<usize>) -> Result<LocalExecutor, String> {
    // Without a ring the runtime panics: the first time with a guess at the reason, then always.
    try_ring(0).map_err(|why| why.to_string())?;
    MAKING.set(true);
    let made = std::panic::catch_unwind(|| {
        LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name(name)
            // No file is read by direct I/O here: the smallest buffer there is.
            .io_memory(0)
            .ring_depth(RING_ENTRIES)
            .preempt_timer(NEVER)
            .make()
    });
    MAKING.set(false);
    match made {
        Ok(Ok(executor)) => Ok(executor),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            Err("io_uring was there a moment ago; `stentor doctor` says what it lacks".into())
        }
    }
}

/// Hides panics in the making of an executor from the current panic hook: they are returned as
/// failures to start.
pub fn hide_failed_starts() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !MAKING.get() {
            usual(panic);
        }
    }));
}

/// The executor of a shard's loop on its thread.
pub(crate) enum Runner {
    /// The runtime's executor.
    Ring(LocalExecutor),
    /// Nothing: the loop sleeps in epoll and waits for nothing else.
    Epoll,
}

impl Runner {
    /// Prepares the calling thread, pinned to `core`.
    ///
    /// # Errors
    /// The core cannot be had, or the ring where it is required; the text says why.
    pub(crate) fn new(name: &str, core: usize, ring: Ring) -> Result<Self, String> {
        if ring != Ring::Off {
            match executor(name, Some(core)) {
                Ok(executor) => return Ok(Self::Ring(executor)),
                Err(cause) if ring == Ring::Required => return Err(cause),
                Err(cause) => tracing::warn!(name, cause, "this shard sleeps in epoll"),
            }
        }
        let mut cores = rustix::thread::CpuSet::new();
        if core < rustix::thread::CpuSet::MAX_CPU {
            cores.set(core);
        }
        rustix::thread::sched_setaffinity(None, &cores)
            .map_err(|error| format!("core {core}: {error}"))?;
        Ok(Self::Epoll)
    }

    /// Runs the shard's task to its end.
    pub(crate) fn run<T>(&self, task: impl Future<Output = T>) -> T {
        match self {
            Self::Ring(executor) => executor.run(task),
            Self::Epoll => futures_lite::future::block_on(task),
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

    /// Returns `true` if the alarm has fired; it is unset then.
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
    /// Begins a wait for `fd`, always the same one, unless one is under way. Returns `false` if no
    /// descriptor is left.
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

    /// Returns `true` if the wait is over; if not, the task is woken when it is.
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
        Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

/// Sends without waiting. Returns zero for `WouldBlock`.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    use rustix::net::SendFlags;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(borrow(fd), bytes, flags) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Sends several slices in one call without waiting. Returns zero for `WouldBlock`.
pub(crate) fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags};
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::sendmsg(borrow(fd), slices, &mut SendAncillaryBuffer::default(), flags) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_panics_in_the_making_of_an_executor_are_kept_from_the_hook() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        std::panic::set_hook(Box::new(|_| {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }));
        hide_failed_starts();
        let panics = |making| {
            MAKING.set(making);
            let before = SEEN.load(Ordering::Relaxed);
            assert!(std::panic::catch_unwind(|| panic!("as the runtime does")).is_err());
            MAKING.set(false);
            SEEN.load(Ordering::Relaxed) - before
        };
        let seen = [panics(true), panics(false)];
        let _ = std::panic::take_hook();
        assert_eq!(seen, [0, 1]);
    }

    /// An epoll runner needs no ring and no executor, and keeps its thread on the core.
    #[test]
    fn a_runner_without_a_ring_runs_a_task_on_its_core() {
        let core = rustix::thread::sched_getcpu();
        let runner = Runner::new("test", core, Ring::Off).unwrap();
        assert!(matches!(runner, Runner::Epoll));
        assert_eq!(runner.run(async { 7 }), 7);
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        assert!(allowed.count() == 1 && allowed.is_set(core));
        assert!(Runner::new("test", 5000, Ring::Off).is_err());
    }
}
