//! A shard's sockets as the runtime serves them, and the loop that runs its turns.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::accept;
use crate::clock::Now;
use crate::handle::Report;
use crate::net::Net;
use crate::rt::{self, Stream};
use crate::shard::Shard;

/// The runtime's sockets.
pub(crate) struct Ring;

impl Net for Ring {
    type Stream = Stream;

    fn fd(stream: &Stream) -> RawFd {
        stream.fd()
    }

    fn peer(stream: &Stream) -> Option<SocketAddr> {
        stream.peer()
    }

    fn read(stream: &mut Stream, waker: &Waker, into: &mut [u8]) -> Poll<io::Result<usize>> {
        stream.read(waker, into)
    }

    fn read_now(fd: RawFd, into: &mut [u8]) -> usize {
        rt::receive(fd, into)
    }

    fn write(stream: &mut Stream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        stream.write(waker, bytes)
    }

    fn hand_over(stream: Stream) -> io::Result<std::net::TcpStream> {
        let socket = std::net::TcpStream::from(stream.duplicate()?);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        rt::send(fd, bytes)
    }

    fn send_vectored(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        rt::send_vectored(fd, slices)
    }

    fn shutdown(fd: RawFd) {
        rt::shutdown(fd);
    }

    fn shutdown_write(fd: RawFd) {
        rt::shutdown_write(fd);
    }

    fn waker(slot: u32) -> Waker {
        rt::slot_waker(slot)
    }

    fn mark_ready(slot: u32) {
        rt::mark_ready(slot);
    }

    fn take_ready(into: &mut Vec<u32>) {
        rt::take_ready(into);
    }

    fn has_ready() -> bool {
        rt::has_ready()
    }

    async fn breathe() {
        rt::look_if_due().await;
    }
}

/// Runs a shard on this thread's executor until it is drained.
pub(crate) async fn run(mut shard: Shard<Ring>, listener: OwnedFd) -> Report {
    let pause = shard.config.accept_pause;
    let listener = rt::Listener::adopt(listener);
    rt::spawn(accept::accept(listener, Rc::clone(&shard.fresh), pause));
    let mut alarm = rt::Alarm::unset();
    loop {
        shard.turn(Now::read()).await;
        if shard.is_drained() {
            break;
        }
        if shard.has_work() {
            rt::look_at_ring().await;
        } else {
            sleep(&shard, &mut alarm).await;
        }
    }
    shard.fresh.stop();
    shard.report()
}

/// Sleeps until a socket is ready, another shard rings, or time is up.
async fn sleep(shard: &Shard<Ring>, alarm: &mut rt::Alarm) {
    if let Some(nap) = shard.nap() {
        alarm.set(nap);
    }
    let mut slept = false;
    std::future::poll_fn(|cx| {
        if slept && shard.has_work() || alarm.poll(cx) {
            return Poll::Ready(());
        }
        rt::register_shard(cx.waker());
        // In this order: what comes between the registration and the last look rings.
        if shard.has_work() || !shard.port.park(cx.waker()) {
            return Poll::Ready(());
        }
        slept = true;
        Poll::Pending
    })
    .await;
    shard.port.unpark();
}
