//! A client of bare bytes: what it reads, answers and leaves unread is the test's choice.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

pub(crate) use crate::bytes::{PATIENCE, answer, head, json_head, next_frame, text};

/// A pong without payload, masked with zeroes.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// How many clients share one source address, so that its ports suffice for other tests as well.
const CLIENTS_PER_SOURCE: usize = 2_000;

/// Connects client `number`, and waits for nothing but that.
pub(crate) fn connect(to: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = 2 + u8::try_from(number / CLIENTS_PER_SOURCE % 250).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 2, source), 0)).into())?;
    // No port waits for stragglers afterwards.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Opens a client of `target` that speaks JSON; its welcome is the next frame.
pub(crate) fn open_json(to: SocketAddr, target: &str, number: usize) -> TcpStream {
    upgraded(to, &json_head(target), number)
}

/// Opens a client of `target`.
pub(crate) fn open(to: SocketAddr, target: &str, number: usize) -> TcpStream {
    upgraded(to, &head(target, ""), number)
}

fn upgraded(to: SocketAddr, head: &str, number: usize) -> TcpStream {
    let mut stream = connect(to, number).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    read_switching(&mut stream);
    stream
}

/// Reads the 101, and nothing behind it.
pub(crate) fn read_switching(stream: &mut TcpStream) {
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
}

/// Reads the bytes that are there. Returns `true` if the server has not ended the connection.
pub(crate) fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let open = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    open
}

/// A small receive buffer, so that a reader that stops is felt soon.
pub(crate) fn shrink(stream: &TcpStream) {
    SockRef::from(stream).set_recv_buffer_size(64 << 10).unwrap();
}
