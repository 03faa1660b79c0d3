//! A client's TLS against a server's, in memory: through every split of what either says.

use std::io::{Read, Write};

use base64::Engine as _;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use super::*;
use crate::tls::Flags;

const NAME: &str = "bench.test";

/// The server's settings, and its certificate as PEM, which vouches for itself.
fn server(versions: &[&'static SupportedProtocolVersion]) -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let text = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    (Arc::new(config), pem)
}

fn insecure() -> Flags {
    Flags { insecure: true, ..Flags::default() }
}

/// Both ends of one connection, and what each has heard.
struct Pair {
    client: Tls,
    server: ServerConnection,
    /// Sealed bytes on their way to the server.
    out: Vec<u8>,
    plain: Vec<u8>,
    heard: Vec<u8>,
}

impl Pair {
    fn new(flags: &Flags, server: &Arc<ServerConfig>) -> Self {
        let secure = flags.secure(NAME, 1).unwrap();
        Self::of(secure.config(0), server)
    }

    fn of(config: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Self {
        let name = ServerName::try_from(NAME).unwrap();
        Self {
            client: Tls::new(config, &name).unwrap(),
            server: ServerConnection::new(Arc::clone(server)).unwrap(),
            out: Vec::new(),
            plain: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Bytes that the server has to send.
    fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut sent).unwrap();
        }
        sent
    }

    /// Gives the server what the client has sent.
    fn deliver(&mut self) -> Result<(), rustls::Error> {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            self.server.process_new_packets()?;
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = self.server.reader().read(&mut some) {
                self.heard.extend(&some[..count]);
            }
        }
        Ok(())
    }

    /// Gives the client `bytes`, in pieces of `piece`.
    fn take(&mut self, bytes: &[u8], piece: usize) -> io::Result<()> {
        for some in bytes.to_vec().chunks_mut(piece) {
            self.client.take(some, &mut self.plain, &mut self.out)?;
        }
        Ok(())
    }

    fn shake_hands(&mut self, piece: usize) -> io::Result<()> {
        self.client.take(&mut [], &mut self.plain, &mut self.out)?;
        while !self.out.is_empty() || self.server.wants_write() {
            self.deliver().map_err(io::Error::other)?;
            let sent = self.sent();
            self.take(&sent, piece)?;
        }
        Ok(())
    }
}

fn said(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn records_are_read_through_every_split() {
    for version in [&version::TLS13, &version::TLS12] {
        let (config, _) = server(&[version]);
        for piece in [1, 2, 3, 7, 100, 4096, 1 << 20] {
            let mut pair = Pair::new(&insecure(), &config);
            pair.shake_hands(piece).unwrap();
            assert!(pair.client.is_through(), "in pieces of {piece}");
            assert_eq!(pair.server.server_name(), Some(NAME));
            assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut sent = Vec::new();
            // Small records, several of which come in one read, and one that fills four.
            for bytes in [1, 100, 60_000] {
                pair.server.writer().write_all(&said(bytes)).unwrap();
                sent.extend(pair.sent());
            }
            pair.take(&sent, piece).unwrap();
            assert!(pair.plain == [said(1), said(100), said(60_000)].concat(), "{piece}");
            assert_eq!(pair.client.part.capacity(), 0, "nothing is kept behind whole records");
            assert!(!pair.client.said_goodbye());
        }
    }
}

#[test]
fn what_is_sealed_arrives() {
    for version in [&version::TLS13, &version::TLS12] {
        let (config, _) = server(&[version]);
        let mut pair = Pair::new(&insecure(), &config);
        pair.shake_hands(1000).unwrap();
        for bytes in [0, 1, 100, RECORD_BYTES, RECORD_BYTES + 1, 1 << 20] {
            pair.client.seal(&said(bytes), &mut pair.out).unwrap();
            pair.deliver().unwrap();
            assert!(std::mem::take(&mut pair.heard) == said(bytes), "{bytes}");
        }
    }
}

/// It goes on where a record has come in part, and with new keys where the server asks for them.
#[test]
fn both_talk_at_once() {
    let (config, _) = server(&[&version::TLS13]);
    let mut pair = Pair::new(&insecure(), &config);
    pair.shake_hands(1000).unwrap();
    pair.server.writer().write_all(&said(1000)).unwrap();
    let sent = pair.sent();
    pair.take(&sent[..500], 500).unwrap();
    pair.client.seal(b"meanwhile", &mut pair.out).unwrap();
    pair.deliver().unwrap();
    pair.take(&sent[500..], 500).unwrap();
    assert_eq!((pair.heard.as_slice(), pair.plain == said(1000)), (&b"meanwhile"[..], true));

    pair.server.refresh_traffic_keys().unwrap();
    pair.server.writer().write_all(b" and on").unwrap();
    let sent = pair.sent();
    pair.take(&sent, 10).unwrap();
    pair.client.seal(b" too", &mut pair.out).unwrap();
    pair.deliver().unwrap();
    assert!(pair.heard == b"meanwhile too" && pair.plain.ends_with(b" and on"));
}

/// Even where a message of the handshake comes in several records, as the tickets do here.
#[test]
fn it_may_talk_at_any_moment_once_it_is_through() {
    let (config, _) = server(&[&version::TLS13]);
    let mut small = ServerConfig::clone(&config);
    small.max_fragment_size = Some(64);
    let small = Arc::new(small);
    for piece in [1, 5, 64, 90, 1000] {
        let mut pair = Pair::new(&insecure(), &small);
        pair.client.take(&mut [], &mut pair.plain, &mut pair.out).unwrap();
        let mut said = 0;
        while !pair.out.is_empty() || pair.server.wants_write() {
            pair.deliver().unwrap();
            for some in pair.sent().chunks(piece) {
                pair.take(some, piece).unwrap();
                // Its own part of the handshake is behind it, and what else comes is told to it.
                if pair.client.is_through() {
                    pair.client.seal(b"!", &mut pair.out).unwrap();
                    said += 1;
                }
            }
        }
        assert_eq!(pair.heard, vec![b'!'; said], "in pieces of {piece}");
        assert!(said > 1 && pair.client.part.is_empty());
    }
}

#[test]
fn a_goodbye_is_told_from_a_cut() {
    let (config, _) = server(&[&version::TLS13]);
    let mut pair = Pair::new(&insecure(), &config);
    pair.shake_hands(1000).unwrap();
    assert!(!pair.client.said_goodbye());
    pair.server.writer().write_all(b"last words").unwrap();
    pair.server.send_close_notify();
    let sent = pair.sent();
    pair.take(&sent, 7).unwrap();
    assert!(pair.client.said_goodbye());
    assert_eq!(pair.plain, b"last words");
    pair.take(b"noise behind it", 4).unwrap();
    assert_eq!(pair.client.part.capacity(), 0);
}

#[test]
fn nonsense_ends_it_with_a_word() {
    let (config, _) = server(&[&version::TLS13]);
    let mut pair = Pair::new(&insecure(), &config);
    pair.shake_hands(1000).unwrap();
    pair.server.writer().write_all(b"good").unwrap();
    let mut sent = pair.sent();
    pair.server.writer().write_all(b"spoilt").unwrap();
    let mut spoilt = pair.sent();
    *spoilt.last_mut().unwrap() ^= 1;
    sent.extend(spoilt);
    assert!(pair.take(&sent, 1000).is_err());
    assert_eq!(pair.plain, b"good", "what came before it counts");
    assert!(pair.deliver().is_err(), "the server is told of it");
    pair.take(&sent, 1000).unwrap();
    pair.client.seal(b"more", &mut pair.out).unwrap();
    assert_eq!((pair.plain.len(), pair.out.len()), (4, 0), "it is not asked any more");

    let mut http = Pair::new(&insecure(), &config);
    http.client.take(&mut [], &mut http.plain, &mut http.out).unwrap();
    let error = http.take(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1000).unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[test]
fn only_who_is_trusted_is_let_in() {
    let (config, pem) = server(&[&version::TLS13]);
    let (other, _) = server(&[&version::TLS13]);
    let file = std::env::temp_dir().join(format!("stentor-bench-{}.pem", std::process::id()));
    std::fs::write(&file, pem).unwrap();
    let flags = Flags { ca: Some(file.clone()), ..Flags::default() };
    Pair::new(&flags, &config).shake_hands(1000).unwrap();
    let mut stranger = Pair::new(&flags, &other);
    let error = stranger.shake_hands(1000).unwrap_err().to_string();
    assert!(error.contains("not trusted") && error.contains("--insecure"), "{error}");
    assert!(stranger.deliver().is_err(), "the server is told of it");
    std::fs::write(&file, "nothing").unwrap();
    assert!(flags.secure(NAME, 1).unwrap_err().contains("no certificate"));
    std::fs::remove_file(&file).unwrap();
    assert!(flags.secure(NAME, 1).unwrap_err().contains("No such file"));
}

#[test]
fn only_who_asks_for_it_resumes_and_only_its_own_session() {
    for version in [&version::TLS13, &version::TLS12] {
        let (config, _) = server(&[version]);
        let resume = Flags { tls_resume: true, ..insecure() };
        for (flags, resumed) in [(insecure(), false), (resume, true)] {
            let secure = flags.secure(NAME, 2).unwrap();
            let kinds = [0, 1, 0, 1].map(|client| {
                let mut pair = Pair::of(secure.config(client), &config);
                pair.shake_hands(1000).unwrap();
                pair.client.is_resumed()
            });
            assert_eq!(kinds, [false, false, resumed, resumed], "{version:?}");
        }
    }
}
