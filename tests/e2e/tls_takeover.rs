//! A take-over of a server that speaks TLS: its sockets pass on, its clients are drained.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use async_tungstenite::tungstenite::Message;

use crate::server::{Server, eventually};
use crate::tls_files::{Authority, ask, connect, open};

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn sockets_for_tls_pass_to_the_process_that_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let (to, config) = (free(), authority.client());
    let at = to.to_string();
    let flags = ["--take-over-settle", "0s", "--drain-spread", "1s", "--shards", "2"];
    let of_tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-listen", &at];
    let both = [&flags[..], &of_tls].concat();
    let mut older = Server::start(&both);
    let mut client = open(to, "/ws?channel=c", &config);
    let newer = Server::start_beside(&older, &both);
    assert_eq!((older.tls, newer.tls), (Some(to), Some(to)));
    // The client is told, as every other one.
    let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1001);
    while client.read().is_ok() {}
    assert_eq!(older.wait().code(), Some(3));
    for _ in 0..20 {
        assert!(ask(&mut connect(to, "localhost", &config), "/health").contains("200 OK"));
    }
    assert!(newer.total("tls_handshakes_total") >= 20);

    // A process without TLS serves nothing at that address, and least of all in the clear.
    let plain = Server::start_beside(&newer, &flags);
    eventually("nobody serves TLS", || std::net::TcpStream::connect(to).is_err());
    assert_eq!(plain.tls, None);
}

#[test]
fn nobody_serves_an_address_for_tls_beside_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = Authority::new().write(folder.path(), &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let of_tls = ["--tls-cert", &cert, "--tls-key", &key];
    let first = Server::start(&[&of_tls[..], &["--tls-listen", "127.0.0.1:0"]].concat());
    let at = first.tls.unwrap().to_string();
    let mut second = Command::new(env!("CARGO_BIN_EXE_stentor"));
    second.args(of_tls).args(["--tls-listen", &at, "--admin", "off"]);
    let out = second.args(["--listen", &free().to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {at}: address in use by process ")), "{said}");
    // Nor does one whose other clients come through a Unix socket.
    let socket = folder.path().join("socket");
    let mut third = Command::new(env!("CARGO_BIN_EXE_stentor"));
    third.args(of_tls).args(["--tls-listen", &at, "--admin", "off", "--listen"]);
    third.arg(format!("unix:{}", socket.display()));
    let out = third.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("address in use by process "), "{said}");
}

/// One port may be that of several addresses, of which one speaks TLS.
#[test]
fn a_former_address_for_tls_is_not_served_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let plain_at = free();
    let tls_at = SocketAddr::from(([127, 0, 0, 2], plain_at.port()));
    let flags = ["--take-over-settle", "0s", "--drain-spread", "0", "--shards", "2"];
    let at = tls_at.to_string();
    let of_tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-listen", &at];
    let both = [&flags[..], &of_tls].concat();
    let mut older = Server::start_on(plain_at, &both);
    assert_eq!((older.address, older.tls), (plain_at, Some(tls_at)));
    let newer = Server::start_beside(&older, &flags);
    assert_eq!(newer.tls, None);
    assert_eq!(older.wait().code(), Some(3));
    eventually("nobody serves it", || std::net::TcpStream::connect(tls_at).is_err());
    assert_eq!(crate::server::get(plain_at, "/health").0, 200);

    // The other way round: the newer process has an address for TLS that nobody had.
    let mut older = newer;
    let newest = Server::start_beside(&older, &both);
    assert_eq!(older.wait().code(), Some(3));
    assert_eq!(newest.tls, Some(tls_at));
    let config = authority.client();
    assert!(ask(&mut connect(tls_at, "localhost", &config), "/health").contains("200 OK"));
}

/// All addresses of a host have several forms, which are one address all the same.
#[test]
fn an_address_for_tls_in_another_form_passes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let port = free().port();
    let start = |beside: Option<&Server>, at: &str| {
        let at = format!("{at}:{port}");
        let flags = ["--take-over-settle", "0s", "--drain-spread", "0"];
        let of_tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-listen", &at];
        let both = [&flags[..], &of_tls].concat();
        beside.map_or_else(|| Server::start(&both), |beside| Server::start_beside(beside, &both))
    };
    let mut older = start(None, "0.0.0.0");
    let newer = start(Some(&older), "[::]");
    assert_eq!(older.wait().code(), Some(3));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let config = authority.client();
    for _ in 0..10 {
        assert!(ask(&mut connect(to, "localhost", &config), "/health").contains("200 OK"));
    }
    assert!(newer.total("tls_handshakes_total") >= 10);
}
