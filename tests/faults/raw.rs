//! A client of bare bytes: what it reads, answers and leaves unread is the test's choice.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A pong without payload, masked with zeroes.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// How many clients share one source address, so that its ports suffice for other tests as well.
const CLIENTS_PER_SOURCE: usize = 2_000;

/// The request for a target.
pub(crate) fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

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
    let mut stream = connect(to, number).unwrap();
    let request =
        request(target).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: stentor.v1\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    read_switching(&mut stream);
    stream
}

/// Opens a client of `target`.
pub(crate) fn open(to: SocketAddr, target: &str, number: usize) -> TcpStream {
    let mut stream = connect(to, number).unwrap();
    stream.write_all(request(target).as_bytes()).unwrap();
    read_switching(&mut stream);
    stream
}

/// Reads the 101, and nothing behind it.
pub(crate) fn read_switching(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
}

/// A text of less than 64 KiB, masked with zeroes.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let head: &[u8] =
        if text.len() < 126 { &[0x80 | length[1]] } else { &[0xfe, length[0], length[1]] };
    [&[0x81], head, &[0; 4], text.as_bytes()].concat()
}

/// The next whole frame: its first byte and its payload. `None`: the connection has ended.
pub(crate) fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let length = match head[1] {
        126 => {
            let mut wide = [0; 2];
            stream.read_exact(&mut wide).ok()?;
            u64::from(u16::from_be_bytes(wide))
        }
        127 => {
            let mut wide = [0; 8];
            stream.read_exact(&mut wide).ok()?;
            u64::from_be_bytes(wide)
        }
        short => short.into(),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[0], payload))
}

/// Whether the server has not ended the connection; reads what is there.
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
