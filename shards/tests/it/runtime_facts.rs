//! Facts of the runtime and of the kernel that the shards stand on. If one fails after an update,
//! the file that it names must change.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::AsyncRead;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

fn executor() -> LocalExecutor {
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(0);
    builder.preempt_timer(Duration::from_hours(1)).make().unwrap()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (server, client)
}

/// A set with `watched` in it.
fn set_of(watched: impl std::os::fd::AsFd, flags: epoll::EventFlags) -> OwnedFd {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = flags | epoll::EventFlags::ET;
    epoll::add(&set, watched, epoll::EventData::new_u64(7), flags).unwrap();
    set
}

/// What the set has to tell within `patience`.
fn look(set: &OwnedFd, patience: Duration) -> Vec<epoll::EventFlags> {
    let mut events = Vec::with_capacity(8);
    let patience = Timespec::try_from(patience).unwrap();
    epoll::wait(set, rustix::buffer::spare_capacity(&mut events), Some(&patience)).unwrap();
    events.iter().map(|event| event.flags).collect()
}

const LONG: Duration = Duration::from_secs(10);

/// The runtime's stream around a descriptor that is not a socket.
fn wait_on(set: &OwnedFd) -> glommio::net::TcpStream {
    let second = rustix::io::fcntl_dupfd_cloexec(set, 3).unwrap();
    // SAFETY: the descriptor is owned and passed on.
    unsafe { glommio::net::TcpStream::from_raw_fd(second.into_raw_fd()) }
}

/// Polls once; a timer beside it ends a wait that is in vain.
async fn ready_within(stream: &mut glommio::net::TcpStream, patience: Duration) -> bool {
    let mut timer = Box::pin(glommio::timer::Timer::new(patience));
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if Pin::new(&mut *stream).poll_read(cx, &mut []).is_ready() {
            return Poll::Ready(true);
        }
        if timer.as_mut().poll(cx).is_ready() { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

/// `rt`: a stream around a set of watched sockets waits in the ring until one of them is ready, and
/// one that is made while the set is ready is ready at once.
#[test]
fn the_ring_watches_a_set_of_sockets() {
    executor().run(async {
        let (mut server, mut client) = pair();
        let set = set_of(&server, epoll::EventFlags::IN);
        for _ in 0..3 {
            let mut stream = wait_on(&set);
            assert!(!ready_within(&mut stream, Duration::from_millis(20)).await);
            client.write_all(b"x").unwrap();
            assert!(ready_within(&mut stream, LONG).await);
            let mut late = wait_on(&set);
            assert!(ready_within(&mut late, LONG).await, "nobody has looked at the set yet");
            assert_eq!(look(&set, Duration::ZERO).len(), 1);
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
        }
    });
}

/// `sleep`: a wait in the ring that is given up leaves no descriptor behind.
#[test]
fn waits_leave_no_descriptor_behind() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    executor().run(async {
        let (server, _client) = pair();
        let set = set_of(&server, epoll::EventFlags::IN);
        let before = open();
        for _ in 0..200 {
            let mut stream = wait_on(&set);
            assert!(!ready_within(&mut stream, Duration::from_micros(100)).await);
        }
        let until = Instant::now() + LONG;
        // Other tests of this process open and close theirs meanwhile.
        while open() > before + 50 && Instant::now() < until {
            glommio::timer::Timer::new(Duration::from_millis(1)).await;
        }
        assert!(open() <= before + 50, "{} descriptors, {before} before", open());
    });
}

/// `session`: what comes after a short read rings anew, and an end that comes with the last bytes
/// is told with them, once.
#[test]
fn a_short_read_may_stop_unless_the_end_was_told() {
    let (mut server, mut client) = pair();
    let set = set_of(&server, epoll::EventFlags::IN | epoll::EventFlags::RDHUP);
    let mut buffer = [0; 64];
    for _ in 0..100 {
        client.write_all(b"abc").unwrap();
        assert_eq!(look(&set, LONG).len(), 1);
        assert_eq!(server.read(&mut buffer).unwrap(), 3);
    }
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let until = Instant::now() + LONG;
    let mut told = epoll::EventFlags::empty();
    while !told.contains(epoll::EventFlags::RDHUP) && Instant::now() < until {
        told |= look(&set, LONG).into_iter().fold(told, |all, flags| all | flags);
    }
    assert!(told.contains(epoll::EventFlags::IN | epoll::EventFlags::RDHUP));
    assert_eq!(server.read(&mut buffer).unwrap(), 4);
    assert!(look(&set, Duration::from_millis(20)).is_empty(), "the end rings only once");
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
}

/// `flush`: a full socket that is watched for room rings when the other side reads.
#[test]
fn a_full_socket_rings_when_it_takes_more() {
    let (mut server, mut client) = pair();
    let set = set_of(&server, epoll::EventFlags::IN);
    let block = [0; 16 << 10];
    while server.write(&block).is_ok() {}
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::modify(&set, &server, epoll::EventData::new_u64(7), flags).unwrap();
    assert!(look(&set, Duration::from_millis(20)).is_empty());
    client.set_nonblocking(true).unwrap();
    let mut sink = vec![0; 8 << 20];
    let until = Instant::now() + LONG;
    let mut rang = false;
    while !rang && Instant::now() < until {
        let _ = client.read(&mut sink);
        rang = !look(&set, Duration::from_millis(1)).is_empty();
    }
    assert!(rang);
}

/// `watch`: the bell's event is never read, and every ring is told all the same.
#[test]
fn every_ring_of_an_unread_event_is_told() {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let set = set_of(&event, epoll::EventFlags::IN);
    for _ in 0..100 {
        rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(look(&set, LONG).len(), 1);
        assert!(look(&set, Duration::ZERO).is_empty());
    }
}
