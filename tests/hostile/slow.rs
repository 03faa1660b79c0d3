//! Clients that read or write too slowly, or not at all, or are not there any more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::raw::{close_code, connect, frame, head, header, status_on, text, upgraded};
use crate::server::{Server, eventually};
use crate::siege::Siege;

const ATTACKERS: usize = 100;

/// The bound of an outbox in these tests.
const OUTBOX_BYTES: u64 = 256 << 10;

/// Small buffers in the kernel, so that a slow reader is noticed soon; the rest are limits.
const FLAGS: [&str; 6] = [
    "--send-buffer-bytes=16KiB",
    "--outbox-bytes=256KiB",
    "--write-timeout=1s",
    "--ping-interval=1s",
    "--pong-timeout=1s",
    "--handshake-timeout=1s",
];

/// A plain client whose kernel takes as little as it can.
fn narrow(to: SocketAddr, target: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head(target, "").as_bytes()).unwrap();
    assert_eq!(status_on(&mut stream), 101);
    stream
}

/// Says so much to a channel that no reader may be slow.
fn speak(server: &Server, channel: &str, messages: usize) {
    let mut talker = upgraded(server.address, &format!("/ws?channel={channel}&echo=false"));
    let message = frame(0x81, &[b'x'; 8_000]);
    for _ in 0..messages {
        talker.write_all(&message).unwrap();
    }
}

fn slow_ones(server: &Server) -> u64 {
    server.by_reason("disconnects", "slow") + server.by_reason("disconnects", "stalled")
}

#[test]
fn readers_that_stop_are_closed() {
    let siege = Siege::begin(&FLAGS);
    siege.withstand("readers that stop", ATTACKERS as u64 * OUTBOX_BYTES, |server| {
        let mut stopped: Vec<TcpStream> =
            (0..ATTACKERS).map(|_| narrow(server.address, "/ws?channel=slow")).collect();
        speak(server, "slow", 100);
        eventually("all are closed", || slow_ones(server) == ATTACKERS as u64);
        // A client that begins to read again in time learns why.
        assert_eq!(close_code(&mut stopped[0]), Some(3008));
    });
    siege.withstand("readers of a byte a second", ATTACKERS as u64 * OUTBOX_BYTES, |server| {
        let mut slow: Vec<TcpStream> =
            (0..ATTACKERS).map(|_| narrow(server.address, "/ws?channel=slow")).collect();
        // Too little to fill an outbox: it only does not move.
        speak(server, "slow", 20);
        for _ in 0..3 {
            for stream in &mut slow {
                let _ = stream.read(&mut [0]);
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
        eventually("all are closed", || slow_ones(server) == 2 * ATTACKERS as u64);
    });
}

/// A frame that waits must not keep the memory of all that was written beside it.
#[test]
fn small_frames_that_wait_keep_only_themselves() {
    let siege = Siege::begin(&["--send-buffer-bytes", "16KiB", "--slow-clients", "drop"]);
    siege.withstand("small frames beside large ones", 40 * (64 << 10), |server| {
        let mut stopped: Vec<TcpStream> = (0..40)
            .map(|number| narrow(server.address, &format!("/ws?channel=slow{number}")))
            .collect();
        for stream in &mut stopped {
            // Fills its own socket, so that what it says next waits.
            stream.write_all(&frame(0x81, &vec![b'x'; 40_000])).unwrap();
        }
        eventually("all are blocked", || server.total("blocked_clients") == 40);
        let mut large = upgraded(server.address, "/ws?channel=large");
        let message = frame(0x82, &vec![b'x'; 60_000]);
        for _ in 0..300 {
            let waiting = server.total("outbox_bytes");
            for stream in &mut stopped {
                stream.write_all(&text("small")).unwrap();
            }
            // Each in a turn of its own, before the large one's.
            eventually("all wait", || server.total("outbox_bytes") >= waiting + 40 * 40);
            large.write_all(&message).unwrap();
            crate::raw::next_frame(&mut large).unwrap();
        }
    });
}

#[test]
fn writers_of_a_byte_a_second_cost_no_more_than_their_bytes() {
    let siege = Siege::begin(&FLAGS);
    siege.withstand("writers of a byte a second", 2 * 200 * (8 << 10), |server| {
        let open = |number| upgraded(server.address, &format!("/ws?channel=slow{number}"));
        let begun = header(0x81, 60_000);
        let mut slow: Vec<TcpStream> = (0..400).map(open).collect();
        // Half of them have said how much is to come; the others take their time with that too.
        let (payloads, headers) = slow.split_at_mut(200);
        for stream in &mut *payloads {
            stream.write_all(&begun).unwrap();
        }
        for byte in begun.iter().take(3) {
            for stream in &mut *payloads {
                stream.write_all(b"x").unwrap();
            }
            for stream in &mut *headers {
                stream.write_all(&[*byte]).unwrap();
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
        assert_eq!(server.by_reason("disconnects", "silent"), 0, "who writes is not silent");
    });
}

/// From now on nothing that comes from the server is seen by this end: it acknowledges nothing, as
/// if its host had lost its power.
fn vanish(stream: &TcpStream) {
    let nothing = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(stream).attach_filter(&[nothing]).unwrap();
}

#[test]
fn clients_that_are_not_there_any_more_are_noticed() {
    let siege = Siege::begin(&FLAGS);
    siege.withstand("half-open connections", 200 * (8 << 10), |server| {
        let gone: Vec<TcpStream> = (0..200)
            .map(|number| upgraded(server.address, &format!("/ws?channel=gone{number}")))
            .collect();
        gone.iter().for_each(vanish);
        let began = Instant::now();
        eventually("all are given up", || server.by_reason("disconnects", "silent") == 200);
        // Ping, pong and close time-out, and a look at each client in time.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        eventually("none is left", || server.total("clients") == crate::crowd::CLIENTS as u64);
    });
    let before = siege.server.by_reason("disconnects", "silent") + slow_ones(&siege.server);
    let bound = ATTACKERS as u64 * OUTBOX_BYTES;
    siege.withstand("half-open connections that are spoken to", bound, |server| {
        let gone: Vec<TcpStream> =
            (0..ATTACKERS).map(|_| upgraded(server.address, "/ws?channel=gone")).collect();
        gone.iter().for_each(vanish);
        speak(server, "gone", 100);
        eventually("all are given up", || {
            let now = server.by_reason("disconnects", "silent") + slow_ones(server);
            now == before + ATTACKERS as u64
        });
    });
    siege.withstand("half-open handshakes", 200 * (8 << 10), |server| {
        let half: Vec<TcpStream> = (0..200).map(|_| connect(server.address)).collect();
        for mut stream in &half {
            stream.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
        }
        half.iter().for_each(vanish);
        eventually("all are refused", || server.by_reason("refusals", "slow") == 200);
        eventually("none is left", || server.total("handshakes") == 0);
    });
}
