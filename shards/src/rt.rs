//! The one place that knows the runtime: executor, listener, stream, timer and the list of ready
//! clients.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use crate::clock::Now;

/// The runtime's preemption timer is off. If it fires before the executor has begun its round, the
/// executor takes the round for an empty one and parks with tasks ready to run: the shard hangs
/// until something else wakes its ring. A thread that loses its core for the timer's length at that
/// moment is enough. Here nothing needs it: long work looks at the ring itself.
const NEVER: Duration = Duration::from_hours(1);

/// How long work may go on before sockets are looked at, in nanoseconds.
const LOOK_AFTER_NS: u64 = 1_000_000;

/// Makes the executor of one shard, pinned to `core`. Call it on the thread that will run it.
pub(crate) fn executor(shard: usize, core: usize) -> Result<LocalExecutor, String> {
    // The runtime panics where io_uring is blocked; its message names neither cause nor cure.
    let made = std::panic::catch_unwind(|| {
        LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("shard-{shard}"))
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

/// Runs `task` beside the shard's loop until it ends by itself; it is never cancelled.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits without holding the shard.
pub(crate) async fn sleep(time: Duration) {
    Timer::new(time).await;
}

/// Lets the reactor look at its ring, now: by a sleep so short that it is over when the executor
/// comes to it. The runtime's own yields are of no use without its preemption timer.
pub(crate) async fn look_at_ring() {
    Timer::new(Duration::from_nanos(200)).await;
}

/// Lets the reactor look at its ring if it has not for a while; called between the pieces of long
/// work.
pub(crate) async fn look_if_due() {
    let now = Now::read().ns;
    if now.saturating_sub(LOOKED.get()) >= LOOK_AFTER_NS {
        look_at_ring().await;
        LOOKED.set(Now::read().ns);
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

thread_local! {
    /// When long work last let the reactor look.
    static LOOKED: Cell<u64> = const { Cell::new(0) };
    static READY: Ready = const { Ready::new() };
}

/// The slots whose sockets became ready since the last turn, and the shard's own waker.
struct Ready {
    slots: RefCell<Vec<u32>>,
    shard: Cell<Option<Waker>>,
}

impl Ready {
    const fn new() -> Self {
        Self { slots: RefCell::new(Vec::new()), shard: Cell::new(None) }
    }
}

/// Puts its slot on the ready list of the thread: one task serves all clients of a shard, and no
/// task is woken per client.
struct SlotWaker {
    slot: u32,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        mark_ready(self.slot);
    }
}

/// The waker of one slot. It may be kept for the next client of the slot: a late wake costs one
/// look and no more.
pub(crate) fn slot_waker(slot: u32) -> Waker {
    Waker::from(Arc::new(SlotWaker { slot }))
}

/// Puts `slot` on the ready list of this thread, for the next turn.
pub(crate) fn mark_ready(slot: u32) {
    READY.with(|ready| {
        ready.slots.borrow_mut().push(slot);
        wake_shard_of(ready);
    });
}

/// Wakes the shard of this thread from a task beside its loop.
pub(crate) fn wake_shard() {
    READY.with(wake_shard_of);
}

fn wake_shard_of(ready: &Ready) {
    if let Some(waker) = ready.shard.take() {
        waker.wake();
    }
}

/// Moves the ready slots into `into`, which must be empty; its room is used for the next ones.
pub(crate) fn take_ready(into: &mut Vec<u32>) {
    READY.with(|ready| std::mem::swap(into, &mut ready.slots.borrow_mut()));
}

/// Whether any slot is ready.
pub(crate) fn has_ready() -> bool {
    READY.with(|ready| !ready.slots.borrow().is_empty())
}

/// Registers the shard's loop to be woken by the next ready slot.
pub(crate) fn register_shard(waker: &Waker) {
    READY.with(|ready| ready.shard.set(Some(waker.clone())));
}

/// A shard's listening socket.
pub(crate) struct Listener {
    inner: TcpListener,
}

impl Listener {
    /// Gives a bound, listening socket to the runtime of this thread.
    pub(crate) fn adopt(socket: OwnedFd) -> Self {
        // SAFETY: the descriptor is owned and passed on here; nothing else closes it.
        let inner = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Self { inner }
    }

    /// Waits for the next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self.inner.accept().await {
            Ok(inner) => Ok(Stream { inner }),
            Err(glommio::GlommioError::IoError(error)) => Err(error),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

/// A client's socket.
pub(crate) struct Stream {
    inner: TcpStream,
}

impl Stream {
    pub(crate) fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Reads what is there, or has `waker` called when something is.
    pub(crate) fn read(&mut self, waker: &Waker, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(&mut Context::from_waker(waker), buffer)
    }

    /// Sends what the socket takes, or has `waker` called when it takes more.
    pub(crate) fn write(&mut self, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(&mut Context::from_waker(waker), bytes)
    }

    /// A second descriptor of the same connection, which outlives this one.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(borrow(self.fd()), 3)?)
    }

    /// The other end's address.
    pub(crate) fn peer(&self) -> Option<std::net::SocketAddr> {
        self.inner.peer_addr().ok()
    }
}

/// Lends the descriptor of a live slot for one call.
fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: callers pass the descriptor of a slot in the roster. A slot leaves the roster before
    // its stream is dropped (`Roster::remove` hands the stream out with it), so the descriptor is
    // open for the length of the call.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Receives without waiting. Errors and the end of the stream come back as zero bytes too: the next
/// read meets them.
pub(crate) fn receive(fd: RawFd, into: &mut [u8]) -> usize {
    let received = rustix::net::recv(borrow(fd), into, rustix::net::RecvFlags::DONTWAIT);
    received.map_or(0, |(count, _)| count)
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
