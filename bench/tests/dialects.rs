//! Servers with a protocol of their own within the frames, driven by flags alone. This one is like
//! NATS: binary, a greeting to wait for, lengths in front of messages, pings that are data; and it
//! cuts what it sends into frames as it likes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const CLIENTS: usize = 10;

const MESSAGES: usize = 300;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const FLAGS: [&str; 14] = [
    "--binary",
    "-H",
    "X-User: user $N",
    "--hello",
    "CONNECT {}\r\n",
    "--hello",
    "SUB of.$N\r\nPING\r\n",
    "--ready",
    "PONG\r\n",
    "--answer",
    "*PING\r\n*=PONG\r\n",
    "--message",
    "PUB by.$N $LEN\r\n$MSG\r\n",
    "--quiet",
];

/// The messages that the server was sent, and their senders.
struct Told {
    numbers: Vec<usize>,
    publications: usize,
    pongs: usize,
}

/// Serves one run, and says what it was told.
fn serve() -> (SocketAddr, mpsc::Receiver<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut clients: Vec<(usize, TcpStream)> =
            (0..CLIENTS).map(|_| answered(&listener)).collect();
        for (number, client) in &mut clients {
            assert_eq!(read_frame(client).unwrap(), b"CONNECT {}\r\n");
            assert_eq!(
                read_frame(client).unwrap(),
                format!("SUB of.{number}\r\nPING\r\n").as_bytes()
            );
        }
        // Nobody may speak before all have heard this.
        thread::park_timeout(Duration::from_millis(200));
        for (_, client) in &mut clients {
            client.set_nonblocking(true).unwrap();
            assert!(client.read(&mut [0]).is_err(), "nobody is ready");
            client.set_nonblocking(false).unwrap();
            client.write_all(&frame(0x82, b"PONG\r\n")).unwrap();
        }
        let numbers = clients.iter().map(|(number, _)| *number).collect();
        let (publications, pongs) = fan_out(&mut clients);
        let _ = tell.send(Told { numbers, publications, pongs });
    });
    (address, told)
}

/// Passes on what the publisher says until it goes; asks all for a pong now and then.
fn fan_out(clients: &mut [(usize, TcpStream)]) -> (usize, usize) {
    let publisher = clients.iter().position(|(number, _)| *number == 0).unwrap();
    let (mut publications, mut pongs) = (0, 0);
    while let Some(said) = read_frame(&mut clients[publisher].1) {
        if said == b"PONG\r\n" {
            pongs += 1;
            continue;
        }
        let text = String::from_utf8(said).unwrap();
        let (head, message) = text.split_once("\r\n").unwrap();
        let message = message.strip_suffix("\r\n").unwrap();
        assert_eq!(head, format!("PUB by.0 {}", message.len()));
        let block = format!("MSG of 1 {}\r\n{message}\r\n", message.len()).into_bytes();
        let sent = match publications % 4 {
            // The ping stands in the middle.
            0 => frame(0x82, &[b"PING\r\n", &block[..]].concat()),
            // One message of two frames, cut within its stamp.
            1 => [frame(0x02, &block[..30]), frame(0x80, &block[30..])].concat(),
            // One after the other, cut there too.
            2 => [frame(0x82, &block[..20]), frame(0x82, &block[20..])].concat(),
            _ => frame(0x82, &block),
        };
        publications += 1;
        if clients.iter_mut().any(|(_, client)| client.write_all(&sent).is_err()) {
            break;
        }
    }
    (publications, pongs)
}

/// A client with its 101, and the number that it gave in its path and its header.
fn answered(listener: &TcpListener) -> (usize, TcpStream) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let number: usize =
        head.strip_prefix("GET /of/").unwrap().split('?').next().unwrap().parse().unwrap();
    assert!(head.starts_with(&format!("GET /of/{number}?user={number} ")), "{head}");
    assert!(head.contains(&format!("\r\nX-User: user {number}\r\n")), "{head}");
    stream.write_all(&[SWITCHING.as_bytes(), &frame(0x82, b"INFO {} \r\n")].concat()).unwrap();
    (number, stream)
}

/// The payload of the next frame, which is masked, binary and short.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).ok()?;
    assert_eq!((head[0], head[1] & 0x80), (0x82, 0x80), "masked and binary");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    assert!(payload.len() < 126);
    stream.read_exact(&mut payload).ok()?;
    let mask = head[2..].iter().cycle();
    Some(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect())
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, length], payload].concat()
}

#[test]
fn a_protocol_within_the_frames_is_driven_by_flags() {
    let (address, told) = serve();
    let output = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["fanout", &format!("ws://{address}/of/$N?user=$N"), "-c", "10", "--threads", "2"])
        .args(FLAGS)
        .args(["--size", "64", "-r", "300/s", "--warmup", "0", "-d", "1s"])
        .args(["--json", "/dev/stderr"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let run: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let totals = &run["totals"];
    // A busy machine may keep the tool from saying all.
    let published = usize::try_from(totals["published"].as_u64().unwrap()).unwrap();
    assert!((MESSAGES / 2..=MESSAGES).contains(&published), "{totals}");
    assert_eq!(totals["deliveries"], published * CLIENTS, "{totals}");
    assert_eq!(totals["lost"], 0);
    assert_eq!(run["target"]["dialect"], r"PUB by.$N $LEN\r\n$MSG\r\n");
    let told = told.recv_timeout(Duration::from_secs(10)).unwrap();
    let mut numbers = told.numbers;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..CLIENTS).collect::<Vec<_>>());
    assert_eq!(told.publications, published);
    // One in four asked for a pong, the first one first.
    assert_eq!(told.pongs, published.div_ceil(4));
}

/// A server that closes before it was ready has not let its clients in.
#[test]
fn clients_that_are_not_let_in_do_not_count_as_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..CLIENTS {
            let (_, mut client) = answered(&listener);
            // Whatever it has said before it goes is no matter.
            let _ = client.write_all(&frame(0x82, b"-ERR 'no'\r\n"));
            while read_frame(&mut client).is_some_and(|said| !said.starts_with(b"SUB")) {}
        }
    });
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["connect", &format!("ws://{address}/of/$N?user=$N"), "-c", "10"])
        .args(&FLAGS[..11])
        .args(["--quiet", "--hold", "0", "--rounds", "1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("closed before it was ready"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(8), "an end is seen when it comes");
    let usage = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["idle", "ws://127.0.0.1:1", "--answer", "PING"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&usage.stderr);
    assert_eq!(usage.status.code(), Some(2), "{text}");
    assert!(text.contains("WHAT=REPLY"), "{text}");
}
