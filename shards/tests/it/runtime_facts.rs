//! Facts of the runtime that the shards stand on. If one fails after an update, the stage that it
//! names must change.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

fn executor() -> LocalExecutor {
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(0);
    builder.preempt_timer(Duration::from_hours(1)).make().unwrap()
}

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn pair() -> (glommio::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let socket = socket2_of(server);
    (socket, client)
}

fn socket2_of(stream: TcpStream) -> glommio::net::TcpStream {
    use std::os::fd::{FromRawFd, IntoRawFd};
    // SAFETY: the descriptor is owned and passed on.
    unsafe { glommio::net::TcpStream::from_raw_fd(stream.into_raw_fd()) }
}

async fn look() {
    glommio::timer::Timer::new(Duration::from_nanos(200)).await;
}

/// `rt`: a waker that is not the task's own is called when its socket is ready, so one task serves
/// many.
#[test]
fn a_foreign_waker_is_called_for_its_socket() {
    executor().run(async {
        let (mut server, mut client) = pair();
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counter));
        let mut buffer = [0; 16];
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut server).poll_read(&mut cx, &mut buffer).is_pending());
        client.write_all(b"x").unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while counter.0.load(Ordering::Relaxed) == 0 && Instant::now() < until {
            look().await;
        }
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        let read = Pin::new(&mut server).poll_read(&mut cx, &mut buffer);
        assert!(matches!(read, Poll::Ready(Ok(1))));
    });
}

/// `session`: after a short read nothing is lost and the next read waits without a call of its own.
#[test]
fn bytes_that_come_after_a_short_read_are_there_for_the_next() {
    executor().run(async {
        let (mut server, mut client) = pair();
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counter));
        let mut cx = Context::from_waker(&waker);
        let mut seen = Vec::new();
        let mut buffer = [0; 64];
        for round in 0..100_u8 {
            client.write_all(&[round]).unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            while seen.len() <= usize::from(round) && Instant::now() < until {
                match Pin::new(&mut server).poll_read(&mut cx, &mut buffer) {
                    Poll::Ready(count) => seen.extend_from_slice(&buffer[..count.unwrap()]),
                    Poll::Pending => look().await,
                }
            }
        }
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    });
}

/// `flush`: a full socket wakes its writer when the other side reads.
#[test]
fn a_blocked_writer_is_woken_by_room() {
    executor().run(async {
        let (mut server, mut client) = pair();
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counter));
        let mut cx = Context::from_waker(&waker);
        let block = [0; 16 << 10];
        while Pin::new(&mut server).poll_write(&mut cx, &block).is_ready() {}
        look().await;
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        let mut sink = vec![0; 8 << 20];
        let until = Instant::now() + Duration::from_secs(10);
        client.set_nonblocking(true).unwrap();
        while counter.0.load(Ordering::Relaxed) == 0 && Instant::now() < until {
            let _ = client.read(&mut sink);
            look().await;
        }
        assert!(counter.0.load(Ordering::Relaxed) > 0);
    });
}

/// `rt`: a sleep that is over at once still lets the reactor serve sockets and other tasks.
#[test]
fn a_short_sleep_lets_others_run() {
    executor().run(async {
        let counter = Arc::new(AtomicUsize::new(0));
        let other = Arc::clone(&counter);
        glommio::spawn_local(async move {
            for _ in 0..10 {
                look().await;
                other.fetch_add(1, Ordering::Relaxed);
            }
        })
        .detach();
        let until = Instant::now() + Duration::from_secs(10);
        while counter.load(Ordering::Relaxed) < 10 && Instant::now() < until {
            look().await;
        }
        assert_eq!(counter.load(Ordering::Relaxed), 10);
    });
}
