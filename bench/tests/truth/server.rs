//! Servers with known faults, and the tool run against them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const CLIENTS: usize = 10;

pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The rule by which a server treats the message of a number, given the frame of that message.
pub(crate) type Rule = Box<dyn FnMut(usize, Vec<u8>) -> Vec<Vec<u8>> + Send>;

/// A server for one run: every client is answered, then what the first one says goes to all.
pub(crate) fn serve(mut rule: Rule) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| answered(&listener)).collect();
        let mut number = 0;
        // The run's end is the end of its publisher.
        while let Some(payload) = read_frame(&mut clients[0]) {
            for frame in rule(number, unmasked(&payload)) {
                for client in &mut clients {
                    if client.write_all(&frame).is_err() {
                        return;
                    }
                }
            }
            number += 1;
        }
    });
    address
}

pub(crate) fn answered(listener: &TcpListener) -> TcpStream {
    welcome(listener).0
}

/// The next client, and the head of its request.
pub(crate) fn welcome(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(SWITCHING.as_bytes()).unwrap();
    (stream, String::from_utf8(head).unwrap())
}

/// The payload of the next masked frame, which is a short one.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!((head[0], head[1] & 0x80), (0x81, 0x80), "a masked text");
    let mut length = usize::from(head[1] & 0x7f);
    if length == 126 {
        let mut wide = [0; 2];
        stream.read_exact(&mut wide).ok()?;
        length = usize::from(u16::from_be_bytes(wide));
    }
    let mut rest = vec![0; 4 + length];
    stream.read_exact(&mut rest).ok()?;
    let (mask, payload) = rest.split_at(4);
    Some(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

pub(crate) fn unmasked(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[0x81, length], payload].concat()
}

/// A server that answers `most` clients and hangs up on all that come later.
pub(crate) fn answer(most: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let _answered: Vec<TcpStream> = (0..most).map(|_| answered(&listener)).collect();
        while let Ok((late, _)) = listener.accept() {
            drop(late);
        }
    });
    address
}

pub(crate) fn bench(address: SocketAddr, flags: &str) -> Output {
    run(address, "fanout", &format!("--size 64 --warmup 0 {flags}"))
}

pub(crate) fn bench_echo(address: SocketAddr, flags: &str) -> Output {
    run(address, "echo", &format!("--size 64 --warmup 0 {flags}"))
}

pub(crate) fn run(address: SocketAddr, command: &str, flags: &str) -> Output {
    self::command(address, command, flags).output().unwrap()
}

pub(crate) fn command(address: SocketAddr, name: &str, flags: &str) -> Command {
    command_of(address, name, CLIENTS, flags)
}

/// The same with so many clients.
pub(crate) fn command_of(address: SocketAddr, name: &str, clients: usize, flags: &str) -> Command {
    let url = format!("ws://{address}/ws");
    let clients = clients.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor-bench"));
    command
        .args([name, &url, "-c", &clients, "--quiet", "--json", "/dev/stderr"])
        .args(flags.split_whitespace());
    command
}

pub(crate) fn by_second(run: &Value, what: &str) -> u64 {
    let seconds = run["series"].as_array().unwrap();
    seconds.iter().map(|second| second[what].as_u64().unwrap()).sum()
}

pub(crate) fn found(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn ms(run: &Value, latency: &str, figure: &str) -> f64 {
    run["latencies"][latency][figure].as_f64().unwrap_or(f64::NAN) / 1e6
}

/// The rule for the message of a number, over all clients: how long it is held, and how often it
/// comes back. While the rule itself waits, everyone does.
pub(crate) type EchoRule = Box<dyn FnMut(usize) -> (Duration, usize) + Send>;

/// A server for one run: what a client says goes to itself, or to `everyone`.
pub(crate) fn echo(rule: EchoRule, everyone: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| answered(&listener)).collect();
        // One thread at a time has the rule; it takes it and puts it back.
        let (put, take) = crossbeam_channel::bounded(1);
        put.send((0, rule)).unwrap();
        for place in 0..CLIENTS {
            let mut own = clients[place].try_clone().unwrap();
            let hearers: Vec<TcpStream> = clients
                .iter()
                .enumerate()
                .filter(|(other, _)| everyone || *other == place)
                .map(|(_, client)| client.try_clone().unwrap())
                .collect();
            let (put, take) = (put.clone(), take.clone());
            thread::spawn(move || {
                while let Some(payload) = read_frame(&mut own) {
                    let (number, mut rule) = take.recv().unwrap();
                    let (held, times) = rule(number);
                    put.send((number + 1, rule)).unwrap();
                    let frame = unmasked(&payload).repeat(times);
                    let answer = move |mut hearers: Vec<TcpStream>| {
                        hold(held);
                        // A client that has gone hears nothing.
                        hearers.retain_mut(|hearer| hearer.write_all(&frame).is_ok());
                    };
                    let hearers = hearers.iter().map(|one| one.try_clone().unwrap()).collect();
                    // A message that is held holds up none that comes after it.
                    if held.is_zero() {
                        answer(hearers);
                    } else {
                        thread::spawn(move || answer(hearers));
                    }
                }
            });
        }
    });
    address
}

/// Waits, whatever wakes this thread.
pub(crate) fn hold(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
