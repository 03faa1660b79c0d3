//! A service manager's part: sockets that it has opened, and what it is told. The sockets come as
//! standard input and output, which a shell moves to the numbers that the protocol has.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::server::{Server, eventually, get};
use crate::tls_files::{Authority, ask, connect};

/// The server behind a shell that runs `before` first.
fn behind(before: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{before} exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_stentor")]);
    command
}

fn socket() -> (OwnedFd, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

#[test]
fn sockets_of_the_manager_are_served_by_all_shards() {
    let ((public, address), (private, admin)) = (socket(), socket());
    let mut command = behind(
        "exec 3<&0 4<&1 </dev/null >/dev/null; \
         export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=stentor.socket:admin;",
    );
    command.args(["--shards", "2"]).stdin(public).stdout(private);
    let server = Server::start_as(command);
    assert_eq!((server.address, server.admin), (address, admin));
    let clients = server.on_all_shards(1, || Client::plain(address, "/ws"));
    assert_eq!(server.total("clients"), clients.len() as u64);
    assert_eq!(get(address, "/ready").0, 200);
}

/// A socket unit for all addresses listens on `[::]`, however the settings write them; a name
/// counts without any address there. With nothing but such a socket TLS is spoken there.
#[test]
fn a_socket_for_tls_is_never_served_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let of_tls = ["--tls-cert", &cert, "--tls-key", &key];
    let config = authority.client();
    for (names, has_plain, with_setting) in [
        ("stentor.socket:stentor.socket", true, true),
        ("stentor.socket:tls", true, false),
        ("tls", false, false),
    ] {
        let everywhere = TcpListener::bind("[::]:0").unwrap();
        let tls_at = everywhere.local_addr().unwrap();
        let (public, plain_at) = socket();
        let (count, first, second) = if has_plain {
            (2, public, OwnedFd::from(everywhere))
        } else {
            (1, OwnedFd::from(everywhere), public)
        };
        let mut command = behind(&format!(
            "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS={count} \
             LISTEN_FDNAMES={names};"
        ));
        command.args(["--shards", "2"]).args(of_tls).stdin(first).stdout(second);
        if with_setting {
            command.args(["--tls-listen", &format!("0.0.0.0:{}", tls_at.port())]);
        }
        let server = Server::start_as(command);
        for to in ["127.0.0.1", "::1"] {
            let to = std::net::SocketAddr::new(to.parse().unwrap(), tls_at.port());
            let answer = crate::client::raw(to, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(answer.contains("this port speaks TLS"), "{names}: {answer}");
            let health = ask(&mut connect(to, "localhost", &config), "/health");
            assert!(health.contains("200 OK"), "{names}: {health}");
        }
        assert_eq!(server.address, if has_plain { plain_at } else { tls_at }, "{names}");
        assert_eq!(server.tls, has_plain.then_some(tls_at), "{names}");
    }
}

#[test]
fn sockets_outlive_the_server_and_nobody_is_refused_meanwhile() {
    let (public, address) = socket();
    let start = || {
        let before =
            "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=public;";
        let mut command = behind(before);
        command.args(["--shards", "1", "--drain-spread", "0"]);
        command.stdin(public.try_clone().unwrap());
        Server::start_as(command)
    };
    let mut first = start();
    assert_eq!(get(address, "/ready").0, 200);
    let mut client = Client::plain(address, "/ws");
    first.signal("TERM");
    assert_eq!(client.close_code(), Some(1001));
    // It drains, and who comes from here on is the next one's.
    let waits = std::thread::spawn(move || get(address, "/ready").0);
    let second = start();
    assert_eq!(waits.join().unwrap(), 200);
    assert!(first.wait().success());
    drop(second);
}

#[test]
fn descriptors_that_are_no_listeners_are_refused() {
    let refused = |before: &str, stdin: Stdio| {
        let mut command = behind(before);
        let output = command.args(["--admin", "off"]).stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let one = "exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1;";
    assert!(refused(one, Stdio::null()).contains("descriptor 3: it is not a TCP socket"));
    let (listener, address) = socket();
    let connected = std::net::TcpStream::connect(address).unwrap();
    let said = refused(one, OwnedFd::from(connected).into());
    assert!(said.contains("descriptor 3: it does not listen"), "{said}");
    let said = refused("export LISTEN_PID=$$ LISTEN_FDS=4000000000;", Stdio::null());
    assert!(said.contains("LISTEN_FDS is \"4000000000\""), "{said}");
    let admin_only = "exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=admin;";
    assert!(refused(admin_only, listener.into()).contains("no socket is for clients"));
}

#[test]
fn descriptors_of_another_process_are_left_alone() {
    let (listener, address) = socket();
    let mut command = behind("exec 3<&0; export LISTEN_PID=1 LISTEN_FDS=1;");
    command.stdin(listener);
    let server = Server::start_as(command);
    assert_ne!(server.address, address);
}

/// A service manager's end of the notices.
struct Manager {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, seen: Vec::new() }
    }

    /// Takes what has come.
    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            let notice = String::from_utf8_lossy(&buffer[..count]).into_owned();
            self.seen.extend(notice.lines().map(ToOwned::to_owned));
        }
    }

    fn hears(&mut self, line: &str) {
        eventually(line, || {
            self.hear();
            self.seen.iter().any(|seen| seen.starts_with(line))
        });
    }

    fn signs_of_life(&mut self) -> usize {
        self.hear();
        self.seen.iter().filter(|line| *line == "WATCHDOG=1").count()
    }
}

#[test]
fn the_manager_is_told_of_ready_status_life_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let mut command = behind("export WATCHDOG_PID=$$;");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    command.args(["--shards", "2", "--drain-delay", "400ms", "--drain-spread", "100ms"]);
    let mut server = Server::start_as(command);
    manager.hears("READY=1");
    let _client = Client::plain(server.address, "/ws");
    manager.hears("STATUS=1 clients on 2 shards");
    let before = manager.signs_of_life();
    eventually("signs of life", || manager.signs_of_life() > before + 2);
    assert!(!manager.seen.iter().any(|line| line == "STOPPING=1"));
    server.signal("TERM");
    manager.hears("STOPPING=1");
    manager.hears("EXTEND_TIMEOUT_USEC=");
    manager.hears("STATUS=serving on before the drain");
    manager.hears("STATUS=draining");
    assert!(server.wait().success());
}

#[test]
fn the_manager_may_listen_at_an_abstract_name() {
    let name = format!("stentor-test-notify-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let mut manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut command = behind("export WATCHDOG_PID=1 WATCHDOG_USEC=1000;");
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _server = Server::start_as(command);
    manager.hears("READY=1");
    manager.hears("STATUS=0 clients on");
    assert_eq!(manager.signs_of_life(), 0, "the watchdog is another process's");
}
