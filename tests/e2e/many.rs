//! Ten thousand clients on two shards all get one message, and all go.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::server::{Server, eventually};

const CLIENTS: usize = 10_000;

#[test]
fn many_clients_all_hear_one_message() {
    // This process holds the clients' ends.
    let descriptors = stentor_shards::descriptors::raise_limit().unwrap();
    assert!(descriptors > CLIENTS as u64 + 100, "{descriptors} descriptors");
    let server = Server::start(&["--shards", "2"]);
    let mut clients: Vec<TcpStream> = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let mut stream = connect(server.address, number);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        clients.push(stream);
    }
    for stream in &mut clients {
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
    }
    assert_eq!(server.total("clients"), CLIENTS as u64);
    clients[0].write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
    for stream in &mut clients {
        let mut frame = [0; 4];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [0x81, 2, b'h', b'i']);
    }
    drop(clients);
    eventually("all have gone", || server.total("clients") == 0);
    assert_eq!(server.by_reason("disconnects", "gone"), CLIENTS as u64);
}

/// From several source addresses, so that one address's ports suffice for other tests as well.
fn connect(to: SocketAddr, number: usize) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number / 2_000).unwrap());
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}
