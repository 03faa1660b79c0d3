//! Clients and visitors within TLS: everything that is there in the clear, and what is refused.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use crate::client::{Client, raw};
use crate::server::{Server, eventually};
use crate::tls_files::{Authority, ask, connect, open, serial, try_ask};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A server with TLS beside its address, for `localhost`.
fn server(authority: &Authority, folder: &Path, flags: &[&str]) -> Server {
    let [cert, key] = authority.write(folder, &["localhost"], 7);
    let (cert, key) = (text(&cert), text(&key));
    let own = ["--tls-cert", &cert, "--tls-key", &key, "--tls-listen", "127.0.0.1:0"];
    Server::start(&[&own[..], flags].concat())
}

#[test]
fn visitors_and_clients_come_through_the_same_port() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &[]);
    let (to, config) = (server.tls.unwrap(), authority.client());
    let health = ask(&mut connect(to, "localhost", &config), "/health");
    assert!(health.ends_with("{\"status\":\"ok\"}\n"), "{health}");
    let page = ask(&mut connect(to, "localhost", &config), "/");
    assert!(page.contains("</html>"), "the whole page");
    let script = ask(&mut connect(to, "localhost", &config), "/stentor.js");
    let plain =
        raw(server.address, b"GET /stentor.js HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.len();
    assert_eq!(body(&script), body(&plain));

    let mut sealed = open(to, "/ws?channel=c", &config);
    let mut plain = Client::plain(server.address, "/ws?channel=c");
    for length in [1, 125, 126, 16_000, 17_000, 60_000] {
        let long = "x".repeat(length);
        sealed.send(Message::text(long.as_str())).unwrap();
        assert_eq!(plain.next_text(), long);
        assert_eq!(sealed.read().unwrap(), Message::text(long));
    }
    plain.send("from the clear");
    assert_eq!(sealed.read().unwrap(), Message::text("from the clear"));
    assert_eq!(server.total("tls_connections"), 1);
    assert!(server.total("tls_handshakes_total") >= 4);
    sealed.close(None).unwrap();
    while sealed.read().is_ok() {}
    eventually("the client is gone", || server.total("tls_connections") == 0);
}

#[test]
fn every_client_of_a_crowd_opens_every_message() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &["--shards", "2"]);
    let (to, config) = (server.tls.unwrap(), authority.client());
    let mut crowd: Vec<_> = (0..40).map(|_| open(to, "/ws?channel=c", &config)).collect();
    let mut speaker = Client::plain(server.address, "/ws?channel=c");
    eventually("all are in", || server.total("clients") == 41);
    let said: Vec<_> = (0..50).map(|n| format!("{n}-{}", "y".repeat(n * 40))).collect();
    for words in &said {
        speaker.send(words);
    }
    for client in &mut crowd {
        for words in &said {
            assert_eq!(client.read().unwrap(), Message::text(words.as_str()));
        }
    }
}

#[test]
fn a_client_that_reads_late_opens_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let flags = ["--outbox-bytes", "64MiB", "--send-buffer-bytes", "16KiB"];
    let server = server(&authority, folder.path(), &flags);
    let (to, config) = (server.tls.unwrap(), authority.client());
    let mut late = open(to, "/ws?channel=c", &config);
    let mut speaker = Client::plain(server.address, "/ws?channel=c");
    let said: Vec<_> = (0..400).map(|n| format!("{n}-{}", "z".repeat(20_000))).collect();
    for words in &said {
        speaker.send(words);
        assert_eq!(speaker.next_text(), *words);
    }
    assert!(server.total("outbox_bytes") > 1 << 20, "it waits for the client");
    for words in &said {
        assert_eq!(late.read().unwrap(), Message::text(words.as_str()));
    }
    eventually("nothing waits", || server.total("outbox_bytes") == 0);
}

#[test]
fn what_is_not_sealed_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &[]);
    let answer = raw(server.tls.unwrap(), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("this port speaks TLS: use https:// or wss://"), "{answer}");
    // Anything else is answered in the language of the port: an alert.
    let answer = raw(server.tls.unwrap(), &[0x80, 0x2e, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(answer.as_bytes().first().is_none_or(|kind| *kind == 21), "{answer:?}");
    assert_eq!(server.total("tls_faults_total"), 2);
}

/// The hello of a client that speaks at most the version `minor` of TLS 1, and has everything else
/// that is wanted: a cipher of today, and extensions that name groups and signatures.
fn hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session, ECDHE-ECDSA-AES128-GCM-SHA256, and no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let points = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&groups[..], &points, &signatures].concat();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    record
}

#[test]
fn versions_before_1_2_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &[]);
    let to = server.tls.unwrap();
    for minor in [0, 1, 2, 3] {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&hello(minor)).unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        if minor == 3 {
            // The same hello is taken in TLS 1.2: it is the version that the others lack.
            assert_eq!((answer[0], answer[5]), (22, 2), "the server's hello: {answer:?}");
        } else {
            assert_eq!(answer[..2], [21, 3], "an alert: {answer:?}");
            assert_eq!(answer[5..], [2, 70], "the version is not spoken: {answer:?}");
        }
    }
    for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let config = authority.client_of(&[version]);
        let mut stream = connect(to, "localhost", &config);
        let health = ask(&mut stream, "/health");
        assert!(health.contains("200 OK"), "{health}");
        assert_eq!(format!("{:?}", stream.conn.protocol_version().unwrap()), name);
    }
}

#[test]
fn only_http_1_1_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &[]);
    let offering = |protocols: &[&str]| {
        let mut config = ClientConfig::clone(&authority.client());
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        connect(server.tls.unwrap(), "localhost", &Arc::new(config))
    };
    let mut browser = offering(&["h2", "http/1.1"]);
    assert!(ask(&mut browser, "/health").contains("200 OK"));
    assert_eq!(browser.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut other = offering(&["h2"]);
    let refused = other.conn.complete_io(&mut other.sock).unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

/// The keys of tickets are those of all shards.
#[test]
fn sessions_are_resumed_on_any_shard() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &["--shards", "2"]);
    for version in [&TLS12, &TLS13] {
        let config = authority.client_of(&[version]);
        let kinds: Vec<_> = (0..12)
            .map(|_| {
                let mut stream = connect(server.tls.unwrap(), "localhost", &config);
                assert!(ask(&mut stream, "/health").contains("200 OK"));
                stream.conn.handshake_kind().unwrap()
            })
            .collect();
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
    }
    assert_eq!(server.total("tls_resumptions_total"), 22);
    let shards = server.by_shard("tls_handshakes_total");
    assert!(shards.iter().filter(|count| **count > 0).count() > 1, "{shards:?}");
}

#[test]
fn keys_may_change_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = server(&authority, folder.path(), &[]);
    let mut client = open(server.tls.unwrap(), "/ws?channel=c", &authority.client());
    for round in 0..50 {
        client.get_mut().conn.refresh_traffic_keys().unwrap();
        let words = format!("round {round}");
        client.send(Message::text(words.as_str())).unwrap();
        assert_eq!(client.read().unwrap(), Message::text(words));
    }
}

#[test]
fn a_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert_a, key_a] = authority.write(folder.path(), &["localhost", "a.test"], 1);
    let [cert_b, key_b] = authority.write(folder.path(), &["*.b.test"], 2);
    let certs = format!("{},{}", text(&cert_a), text(&cert_b));
    let keys = format!("{},{}", text(&key_a), text(&key_b));
    // Without an address of its own TLS is spoken at the usual one.
    let server = Server::start(&["--tls-cert", &certs, "--tls-key", &keys]);
    assert_eq!(server.tls, None);
    let config = authority.client();
    for (name, number) in [("a.test", 1), ("x.b.test", 2), ("localhost", 1)] {
        assert_eq!(serial(&mut connect(server.address, name, &config)), number, "{name}");
    }
    let mut unknown = connect(server.address, "c.test", &config);
    let error = unknown.conn.complete_io(&mut unknown.sock).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "the first one is not good for it: {error}");
}

#[test]
fn the_programs_own_clients_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let dir = text(folder.path());
    let stentor = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(args);
        command
    };
    let made = stentor(&["dev-cert", "--dir", &dir]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let again = stentor(&["dev-cert", "--dir", &dir]).output().unwrap();
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && why.contains("--force replaces it"), "{why}");
    let file = |name: &str| format!("{dir}/{name}");
    let [ca, cert, key] = ["dev-ca.pem", "dev-cert.pem", "dev-key.pem"].map(file);
    let server = Server::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("wss://localhost:{}/ws", server.address.port());
    let listener = stentor(&["sub", "news", "--url", &url, "--ca", &ca, "--count", "2"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it listens", || server.total("clients") == 1);
    let long = "w".repeat(50_000);
    for (words, trust) in [("hello", &["--insecure"][..]), (&long, &["--ca", &ca])] {
        let said = stentor(&[&["pub", "news", words, "--url", &url], trust].concat()).output();
        let said = said.unwrap();
        assert!(said.status.success(), "{said:?}");
    }
    let heard = listener.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&heard.stdout), format!("hello\n{long}\n"));
    let untrusted = stentor(&["pub", "news", "x", "--url", &url]).output().unwrap();
    let why = String::from_utf8_lossy(&untrusted.stderr).into_owned();
    assert!(!untrusted.status.success() && why.contains("--insecure"), "{why}");
    assert_eq!(why.lines().count(), 1, "{why}");
}

#[test]
fn the_admin_address_speaks_tls_with_those_whom_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7).map(|file| text(&file));
    let ca = text(&of_clients.write_own(folder.path()));
    let flags = ["--admin-tls-cert", &cert, "--admin-tls-key", &key, "--admin-tls-ca", &ca];
    let server = Server::start(&flags);
    let with = |signed: Option<&Authority>| {
        let config = signed.map_or_else(
            || authority.client(),
            |signed| authority.client_with(signed.sign(&["operator"], 3, 2100)),
        );
        let mut stream = connect(server.admin, "localhost", &config);
        try_ask(&mut stream, "/health")
    };
    assert!(with(Some(&of_clients)).unwrap().contains("200 OK"));
    assert!(with(None).is_err(), "a client without a certificate");
    assert!(with(Some(&authority)).is_err(), "a certificate of another authority");
    let answer = raw(server.admin, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("use https://"), "{answer}");
    let mut log = Vec::new();
    eventually("each of the three is told of", || {
        log.extend(server.log());
        log.iter().filter(|line| line.contains("no handshake at the admin address")).count() == 3
    });
    // Clients of the public address are asked for nothing.
    let health =
        raw(server.address, b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(health.contains("200 OK"), "{health}");
}

/// A proxy in front says for whom it speaks before the client's own TLS.
#[test]
fn a_proxy_may_introduce_its_client_in_front_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1"];
    let server = server(&authority, folder.path(), &flags);
    let (to, config) = (server.tls.unwrap(), authority.client());
    let mut stream = connect(to, "localhost", &config);
    // In two pieces, of which the second has the beginning of TLS in it.
    stream.sock.write_all(b"PROXY TCP4 192.0.2.7 ").unwrap();
    std::thread::park_timeout(Duration::from_millis(50));
    let mut hello = b"192.0.2.1 5 6\r\n".to_vec();
    stream.conn.write_tls(&mut hello).unwrap();
    stream.sock.write_all(&hello).unwrap();
    let head = "GET /ws?channel=c HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let (_, list) = crate::server::get(server.admin, "/api/connections");
    assert!(list.contains("192.0.2.7"), "{list}");
    let mut without = connect(to, "localhost", &config);
    assert!(without.conn.complete_io(&mut without.sock).is_err());
}

/// Tickets of the public address, which anybody gets, are worth nothing at the admin address.
#[test]
fn a_ticket_of_the_public_address_lets_nobody_in_at_the_admin_address() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7).map(|file| text(&file));
    let ca = text(&of_clients.write_own(folder.path()));
    let both = ["--admin-tls-cert", &cert, "--admin-tls-key", &key];
    for with_ca in [true, false] {
        let ca = ["--admin-tls-ca", &ca];
        let server = server(
            &authority,
            folder.path(),
            &[&both[..], if with_ca { &ca } else { &[] }].concat(),
        );
        for version in [&TLS12, &TLS13] {
            let config = authority.client_of(&[version]);
            let public = || connect(server.tls.unwrap(), "localhost", &config);
            assert!(ask(&mut public(), "/health").contains("200 OK"));
            let mut again = public();
            assert!(ask(&mut again, "/health").contains("200 OK"));
            assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));
            let mut admin = connect(server.admin, "localhost", &config);
            let answer = try_ask(&mut admin, "/metrics");
            assert_eq!(answer.is_err(), with_ca, "{answer:?}");
            assert_ne!(admin.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
}
