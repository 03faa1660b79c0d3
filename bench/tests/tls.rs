//! Loads within TLS, with the real binary: the counts, and the message where TLS cannot be had.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

const CLIENTS: usize = 10;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server's settings, and the file in which its certificate vouches for itself; it goes with
/// this.
struct Identity {
    config: Arc<ServerConfig>,
    file: PathBuf,
}

impl Identity {
    fn new(test: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let name = format!("stentor-bench-{test}-{}.pem", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, pem).unwrap();
        Self { config: Arc::new(config), file }
    }

    fn ca(&self) -> String {
        format!("--ca {}", self.file.display())
    }

    /// A server whose clients all come, then `serve` has them.
    fn serve(&self, serve: impl FnOnce(Vec<Stream>) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::clone(&self.config);
        thread::spawn(move || {
            // All at once: the tool opens them so.
            let open: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (config, (tcp, _)) = (Arc::clone(&config), listener.accept().unwrap());
                    thread::spawn(move || answered(config, tcp))
                })
                .collect();
            let open: Option<Vec<Stream>> =
                open.into_iter().map(|client| client.join().unwrap()).collect();
            if let Some(clients) = open {
                serve(clients);
            }
        });
        address
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // A file that is not there is what is wanted.
        let _ = fs::remove_file(&self.file);
    }
}

/// One client's connection once it has its 101, unless it does not trust this server.
fn answered(config: Arc<ServerConfig>, tcp: TcpStream) -> Option<Stream> {
    tcp.set_nodelay(true).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    stream.write_all(SWITCHING.as_bytes()).unwrap();
    Some(stream)
}

/// The payload of the next masked frame, of whatever length.
fn read_frame(stream: &mut Stream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!((head[0], head[1] & 0x80), (0x81, 0x80), "a masked text");
    let wide = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut number = [0; 8];
    stream.read_exact(&mut number[8 - wide..]).ok()?;
    let length = if wide == 0 { u64::from(head[1] & 0x7f) } else { u64::from_be_bytes(number) };
    let mut rest = vec![0; 4 + usize::try_from(length).unwrap()];
    stream.read_exact(&mut rest).ok()?;
    let (mask, payload) = rest.split_at(4);
    Some(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        short @ 0..126 => frame.push(u8::try_from(short).unwrap()),
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    [&frame, payload].concat()
}

/// Sends messages of the first client to all of them.
fn fan_out(mut clients: Vec<Stream>, messages: usize) -> Vec<Stream> {
    for _ in 0..messages {
        let Some(payload) = read_frame(&mut clients[0]) else { break };
        let frame = framed(&payload);
        if clients.iter_mut().any(|client| client.write_all(&frame).is_err()) {
            break;
        }
    }
    clients
}

fn bench(scheme: &str, address: SocketAddr, command: &str, flags: &str) -> Output {
    let (url, clients) = (format!("{scheme}://{address}/ws"), CLIENTS.to_string());
    Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args([command, &url, "-c", &clients, "--quiet", "--json", "/dev/stderr"])
        .args(flags.split_whitespace())
        .output()
        .unwrap()
}

fn found(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The one line that is said where there is no run.
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
    text
}

/// Short ones, and some that fill several records and reads.
#[test]
fn messages_within_tls_are_counted() {
    let identity = Identity::new("counted");
    for (size, rate) in [(64, 300), (200_000, 30)] {
        let address = identity.serve(|clients| drop(fan_out(clients, usize::MAX)));
        let load = format!("--size {size} -r {rate}/s --warmup 0 -d 1s");
        let run = found(&bench("wss", address, "fanout", &format!("{load} {}", identity.ca())));
        assert_eq!(run["target"]["transport"], "tls");
        let totals = &run["totals"];
        // A busy machine may keep the tool from saying all.
        let published = totals["published"].as_u64().unwrap();
        assert!((rate / 2..=rate).contains(&published), "{totals}");
        assert_eq!(totals["deliveries"], published * CLIENTS as u64, "{totals}");
        assert_eq!(totals["lost"], 0);
        assert_eq!(run["latencies"]["handshake"]["count"], CLIENTS);
    }
}

#[test]
fn a_certificate_is_trusted_only_if_somebody_vouches_for_it() {
    let identity = Identity::new("trusted");
    let stay = |clients: Vec<Stream>| drop(fan_out(clients, usize::MAX));
    let told = complaint(&bench("wss", identity.serve(stay), "idle", "-d 100ms"), 3);
    assert!(told.starts_with("stentor-bench: wss://127.0.0.1:"), "{told}");
    assert!(told.contains("the server's certificate is not trusted"), "{told}");

    let other = Identity::new("other");
    let told = complaint(
        &bench("wss", identity.serve(stay), "idle", &format!("-d 100ms {}", other.ca())),
        3,
    );
    assert!(told.contains("not trusted") && told.contains("--insecure"), "{told}");

    for flags in [identity.ca(), "--insecure".to_owned()] {
        let run = bench("wss", identity.serve(stay), "idle", &format!("-d 100ms {flags}"));
        assert_eq!(found(&run)["totals"]["connected"], CLIENTS);
        assert_eq!(run.status.code(), Some(0));
    }
    let asked = "-d 100ms --insecure --transport tls";
    let run = found(&bench("ws", identity.serve(stay), "idle", asked));
    assert_eq!(
        (&run["target"]["transport"], &run["totals"]["connected"]),
        (&"tls".into(), &10.into())
    );
}

/// Clients that come back shake hands in full unless they are told to resume.
#[test]
fn sessions_are_resumed_only_where_that_is_asked() {
    let identity = Identity::new("resumed");
    for (flags, resumed) in [("", 0), ("--tls-resume", CLIENTS)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::clone(&identity.config);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    answered(config, client).map(|mut open| read_frame(&mut open))
                });
            }
        });
        let load = format!("--insecure --rounds 2 --hold 100ms --threads 2 {flags}");
        let run = found(&bench("wss", address, "connect", &load));
        let totals = &run["totals"];
        assert_eq!((&totals["connected"], &totals["resumed"]), (&20.into(), &resumed.into()));
        assert_eq!(run["latencies"]["handshake"]["count"], 2 * CLIENTS);
    }
}

/// A server that ends with a close frame, with TLS's own goodbye, or with neither.
#[test]
fn the_end_of_a_server_is_reported() {
    let identity = Identity::new("ends");
    for (ending, close, goodbye) in
        [("1001", true, true), ("1001", true, false), ("none", false, true)].into_iter().chain([(
            "no close_notify",
            false,
            false,
        )])
    {
        let address = identity.serve(move |clients| {
            for mut client in fan_out(clients, 20) {
                if close {
                    client.write_all(&[0x88, 2, 0x03, 0xe9]).unwrap();
                }
                if goodbye {
                    client.conn.send_close_notify();
                    client.flush().unwrap();
                }
                client.sock.shutdown(std::net::Shutdown::Write).unwrap();
            }
        });
        let load = format!("--size 64 -r 100/s --warmup 0 -d 1s {}", identity.ca());
        let run = found(&bench("wss", address, "fanout", &load));
        let expected: Value = [(ending.to_owned(), Value::from(CLIENTS))].into_iter().collect();
        assert_eq!(run["totals"]["disconnects"], expected, "{ending} {goodbye}");
        assert_eq!(run["totals"]["deliveries"], 20 * CLIENTS);
    }
}

#[test]
fn a_server_without_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            // A client that has gone by then has heard enough.
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = client.read(&mut [0; 1000]);
        }
    });
    let told = complaint(&bench("wss", plain, "idle", "-d 100ms --insecure"), 3);
    assert!(told.contains("does not speak TLS"), "{told}");
    for (scheme, flags, word) in [
        ("ws", "--insecure", "wss://"),
        ("ws", "--tls-resume", "wss://"),
        ("wss", "--transport tcp", "not as tcp"),
        ("wss", "--ca /nowhere.pem", "/nowhere.pem: No such file"),
        ("wss", "--ca /dev/null", "no certificate"),
    ] {
        let told = complaint(&bench(scheme, plain, "idle", flags), 2);
        assert!(told.contains(word), "{flags}: {told}");
    }
}
