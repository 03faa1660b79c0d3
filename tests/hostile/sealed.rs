//! Attacks on the port for TLS: handshakes that are half done, too many or malformed, and records
//! that are cut, damaged or too long.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use rustls::{ClientConfig, ClientConnection};

use crate::raw::connect;
use crate::server::Server;
use crate::siege::Siege;
use crate::tls_files::{Authority, open};

/// How many attackers hold a connection at once.
const ATTACKERS: usize = 400;

fn siege(authority: &Authority, folder: &Path, flags: &[&str]) -> Siege {
    let [cert, key] = authority.write(folder, &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let own = ["--tls-cert", &cert, "--tls-key", &key, "--tls-listen", "127.0.0.1:0"];
    Siege::begin(&[&own[..], flags].concat())
}

/// The first bytes of a client.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = "localhost".to_owned().try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// Reads until the server ends the connection. Returns `false` if it does not in time.
fn is_ended(stream: &mut TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn handshakes_that_are_half_done_end_in_time() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let siege = siege(&authority, folder.path(), &["--handshake-timeout", "1s"]);
    let hello = hello(&authority.client());
    let memory = (ATTACKERS * (16 << 10)) as u64;
    for (name, len) in [("silent", 0), ("a part of the hello", 90), ("the hello", hello.len())] {
        siege.withstand(name, memory, |server| {
            let began = Instant::now();
            let to = server.tls.unwrap();
            let mut half: Vec<TcpStream> = (0..ATTACKERS).map(|_| connect(to)).collect();
            for stream in &mut half {
                stream.write_all(&hello[..len]).unwrap();
            }
            assert!(half.iter_mut().all(is_ended), "{name}");
            assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        });
    }
}

#[test]
fn floods_of_handshakes_stall_nobody() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let siege = siege(&authority, folder.path(), &[]);
    let hello = hello(&authority.client());
    // Each of them costs the server a key exchange and a signature, and the attacker nothing.
    siege.withstand("hellos", 16 << 20, |server| {
        for _ in 0..3 {
            let to = server.tls.unwrap();
            let mut all: Vec<TcpStream> = (0..ATTACKERS).map(|_| connect(to)).collect();
            for stream in &mut all {
                stream.write_all(&hello).unwrap();
            }
            for stream in &mut all {
                let mut first = [0; 5];
                stream.read_exact(&mut first).unwrap();
                assert_eq!(first[0], 22, "each is answered");
            }
        }
    });
}

#[test]
fn broken_records_end_their_connection_alone() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let siege = siege(&authority, folder.path(), &[]);
    let hello = hello(&authority.client());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = hello.clone();
        change(&mut bytes);
        bytes
    };
    let mut cases = vec![
        ("a record of the largest length", [&[22, 3, 1, 0xff, 0xff][..], &[0; 40_000]].concat()),
        (
            "an endless message",
            [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 40_000]].concat(),
        ),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("data before the handshake", [&[23, 3, 3, 0x01, 0][..], &[9; 256]].concat()),
        ("empty records", [22, 3, 1, 0, 0].repeat(2_000)),
        ("changes of ciphers", [20, 3, 3, 0, 1, 1].repeat(2_000)),
        ("the older TLS", vec![0x80, 0x2e, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("zeros", vec![0; 4_000]),
        ("a hello twice", [hello.clone(), hello.clone()].concat()),
    ];
    for place in (5..hello.len()).step_by(9) {
        cases.push(("a damaged hello", with(&|bytes| bytes[place] ^= 0x55)));
    }
    siege.withstand("broken beginnings", 16 << 20, |server| {
        for (name, bytes) in &cases {
            let mut stream = connect(server.tls.unwrap());
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            assert!(is_ended(&mut stream), "{name}");
        }
    });
    siege.withstand("cut hellos", 16 << 20, |server| {
        for len in 0..hello.len() {
            let mut stream = connect(server.tls.unwrap());
            stream.write_all(&hello[..len]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(is_ended(&mut stream), "cut behind {len}");
        }
    });
}

/// A client that is in sends nonsense between its records.
#[test]
fn damage_behind_the_handshake_ends_the_client() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let siege = siege(&authority, folder.path(), &[]);
    let config = authority.client();
    let damages: [&[u8]; 4] = [
        &[
            23, 3, 3, 0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
            21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
        ],
        &[23, 3, 3, 0xff, 0xff],
        &[22, 3, 3, 0, 4, 0, 0, 0, 0],
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    siege.withstand("damaged records", 16 << 20, |server: &Server| {
        for _ in 0..20 {
            for damage in damages {
                let mut client = open(server.tls.unwrap(), "/ws?channel=c", &config);
                client.send(Message::text("before")).unwrap();
                assert_eq!(client.read().unwrap(), Message::text("before"));
                client.get_mut().sock.write_all(damage).unwrap();
                assert!(client.read().is_err());
            }
        }
    });
}

/// A frame in a record, cut at every byte: the connection ends there, and what was said before
/// counts.
#[test]
fn records_cut_at_every_byte_end_their_connection_alone() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let siege = siege(&authority, folder.path(), &["--text-ping=false"]);
    let config = authority.client();
    siege.withstand("cut records", 16 << 20, |server: &Server| {
        let to = server.tls.unwrap();
        let mut listener = open(to, "/ws?channel=cut", &config);
        let mut len = 0;
        loop {
            let mut client = open(to, "/ws?channel=cut", &config);
            client.send(Message::text(format!("before {len}"))).unwrap();
            assert_eq!(listener.read().unwrap(), Message::text(format!("before {len}")));
            let stream = client.get_mut();
            // A short text, masked with zeros.
            stream.conn.writer().write_all(b"\x81\x83\0\0\0\0cut").unwrap();
            let mut record = Vec::new();
            stream.conn.write_tls(&mut record).unwrap();
            if len == record.len() {
                break;
            }
            stream.sock.write_all(&record[..len]).unwrap();
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(is_ended(&mut stream.sock), "cut behind {len}");
            len += 1;
        }
    });
}
