//! The public port on a Unix socket: clients on every shard, the file's mode, and whose it is.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use crate::server::{Server, eventually, get};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("stentor-unix-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s.sock")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(listen: &str, flags: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(flags);
    Server::start_as_on(command, listen)
}

fn at(folder: &Folder) -> String {
    format!("unix:{}", folder.socket().display())
}

/// Asks for an upgrade, and returns the connection when it is answered with 101.
fn upgrade(mut stream: UnixStream, more: &str) -> UnixStream {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

fn peers(server: &Server) -> Vec<String> {
    let (_, body) = get(server.admin, "/api/connections");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let all = body["connections"].as_array().unwrap().iter();
    all.map(|one| one["peer"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn clients_of_every_shard_hear_each_other() {
    let folder = Folder::new("hear");
    let flags = ["--shards", "2", "--max-clients-per-ip", "1", "--path-prefix", "/chat"];
    let mut server = start(&at(&folder), &flags);
    let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, folder.names()), (0o660, vec!["s.sock".to_owned()]));

    let connect = || UnixStream::connect(folder.socket()).unwrap();
    let open = || -> Vec<UnixStream> {
        // All wait at once, so that no shard can be the first one every time.
        let waiting: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
        waiting.into_iter().map(|stream| upgrade(stream, "")).collect()
    };
    let mut clients: Vec<UnixStream> =
        server.on_all_shards(1, open).into_iter().flatten().collect();
    assert!(peers(&server).iter().all(|peer| peer == "unix"));
    clients[0].write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
    for client in &mut clients {
        let mut frame = [0; 4];
        client.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x02hi");
    }

    let mut visitor = connect();
    visitor.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    drop(clients);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn a_trusted_proxy_at_the_socket_is_believed() {
    let folder = Folder::new("trust");
    let flags = ["--shards", "1", "--trusted-proxies", "unix", "--unix-mode", "0600"];
    let server = start(&at(&folder), &flags);
    let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = UnixStream::connect(folder.socket()).unwrap();
    let _client = upgrade(stream, "X-Forwarded-For: 203.0.113.9\r\n");
    assert_eq!(peers(&server), ["203.0.113.9"]);
}

#[test]
fn a_name_without_a_file_serves_as_well() {
    let name = format!("stentor-e2e-{}", std::process::id());
    let server = start(&format!("unix:@{name}"), &["--shards", "1"]);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _client = upgrade(UnixStream::connect_addr(&address).unwrap(), "");
    eventually("it is listed", || peers(&server) == ["unix"]);
}

#[test]
fn a_live_socket_is_refused_and_a_stale_one_replaced() {
    let folder = Folder::new("stale");
    drop(UnixListener::bind(folder.socket()).unwrap());
    let server = start(&at(&folder), &["--shards", "1"]);
    let _client = upgrade(UnixStream::connect(folder.socket()).unwrap(), "");

    let second = |listen: &str| {
        let args = ["--listen", listen, "--admin", "off", "--shards", "1"];
        let output = Command::new(env!("CARGO_BIN_EXE_stentor")).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default().to_owned();
        (output.status.code(), last)
    };
    let (code, said) = second(&at(&folder));
    assert!(code == Some(1) && said.contains("address in use"), "{said}");
    assert_eq!(folder.names(), ["s.sock"]);
    let _client = upgrade(UnixStream::connect(folder.socket()).unwrap(), "");

    // Whoever serves there now keeps the file when an earlier process ends.
    fs::remove_file(folder.socket()).unwrap();
    let _other = UnixListener::bind(folder.socket()).unwrap();
    server.signal("INT");
    let mut server = server;
    server.wait();
    assert_eq!(folder.names(), ["s.sock"]);

    let file = folder.0.join("file");
    fs::write(&file, "kept").unwrap();
    let (code, said) = second(&format!("unix:{}", file.display()));
    assert!(code == Some(1) && said.contains("no socket is there"), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), "kept");
}
