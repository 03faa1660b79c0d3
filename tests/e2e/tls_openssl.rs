//! OpenSSL's own client against a server with TLS: versions and ciphers, changes of keys,
//! renegotiation, and answers of OCSP.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use crate::server::{Server, eventually};
use crate::tls_files::Authority;

/// Everything that is accepted, as OpenSSL names it: in TLS 1.3, in 1.2 with a key of ECDSA, and in
/// 1.2 with one of RSA.
const OF_TLS13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const OF_ECDSA: [&str; 3] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
];
const OF_RSA: [&str; 3] =
    ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"];
const GROUPS: [&str; 3] = ["P-256", "P-384", "X25519"];

/// Ciphers of all times that this OpenSSL knows, and no level at which it leaves any out.
const ALL: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/// The request of a client.
const REQUEST: &[u8] = b"GET /ws?channel=c HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A frame that says `words`, under a mask of zeros.
fn frame(words: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(words.len()).unwrap(), 0, 0, 0, 0], words.as_bytes()].concat()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs a command of OpenSSL to its end. Returns what it says.
fn openssl(args: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    let done = command.args(args).stdin(Stdio::null()).output().expect("openssl is installed");
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The same for a connection with some flags.
fn connect(to: SocketAddr, flags: &[&str]) -> (bool, String) {
    openssl(&[&["s_client", "-connect", &to.to_string()][..], flags].concat())
}

/// A connection that goes on.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    pieces: mpsc::Receiver<Vec<u8>>,
    /// All of them so far.
    said: RefCell<Vec<u8>>,
}

impl Talk {
    fn begin(to: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &to.to_string()]).args(flags);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("openssl is installed");
        let (sender, pieces) = mpsc::channel();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let err: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        for mut stream in [out, err] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let _ = sender.send(bytes[..count].to_vec());
                }
            });
        }
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, pieces, said: RefCell::default() }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stdin.write_all(bytes).unwrap();
        self.stdin.flush().unwrap();
    }

    /// Waits until it has said something so many times.
    fn hears(&self, what: &[u8], times: usize) {
        eventually(&format!("{times} times {:?}", String::from_utf8_lossy(what)), || {
            let mut said = self.said.borrow_mut();
            said.extend(self.pieces.try_iter().flatten());
            said.windows(what.len()).filter(|part| *part == what).count() >= times
        });
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with a key of ECDSA. Returns it with the file of its authority.
fn server(folder: &Path) -> (Server, PathBuf) {
    let authority = Authority::new();
    let [cert, key] = authority.write(folder, &["localhost"], 7).map(|file| text(&file));
    let ca = authority.write_own(folder);
    (Server::start(&["--tls-cert", &cert, "--tls-key", &key]), ca)
}

/// A server with a key of RSA.
fn server_of_rsa(folder: &Path) -> Server {
    let [cert, key] = ["rsa.pem", "rsa-key.pem"].map(|name| text(&folder.join(name)));
    let (done, said) = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        &key,
        "-out",
        &cert,
    ]);
    assert!(done, "{said}");
    Server::start(&["--tls-cert", &cert, "--tls-key", &key])
}

/// The ciphers that OpenSSL can offer in a version.
fn ciphers(version: &str) -> Vec<String> {
    let (done, said) = openssl(&["ciphers", "-s", version, ALL]);
    assert!(done, "{said}");
    said.trim().split(':').map(str::to_owned).collect()
}

/// Those that a server accepts in TLS 1.2.
fn accepted(to: SocketAddr) -> Vec<String> {
    let is_accepted = |name: &String| {
        let offered = format!("{name}:@SECLEVEL=0");
        let (done, said) = connect(to, &["-tls1_2", "-cipher", &offered]);
        done && said.contains(&format!("Cipher is {name}"))
    };
    let mut accepted: Vec<_> = ciphers("-tls1_2").into_iter().filter(is_accepted).collect();
    accepted.sort();
    accepted
}

#[test]
fn openssl_finds_the_versions_and_ciphers_of_the_page_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (of_ecdsa, of_rsa) = (server(folder.path()).0, server_of_rsa(folder.path()));
    assert!(ciphers("-tls1_2").len() > 50, "OpenSSL knows old ones");
    assert_eq!(accepted(of_ecdsa.address), OF_ECDSA);
    assert_eq!(accepted(of_rsa.address), OF_RSA);
    let to = of_ecdsa.address;
    for name in ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"] {
        assert!(!connect(to, &["-tls1_3", "-ciphersuites", name]).0, "{name}");
    }
    for name in OF_TLS13 {
        let (done, said) = connect(to, &["-tls1_3", "-ciphersuites", name]);
        assert!(done && said.contains(&format!("Cipher is {name}")), "{said}");
    }
    for group in ["P-256", "P-384", "P-521", "X25519", "X448", "ffdhe2048"] {
        let (done, _) = connect(to, &["-tls1_3", "-groups", group]);
        assert_eq!(done, GROUPS.contains(&group), "{group}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let (done, said) = connect(to, &[version, "-cipher", ALL]);
        assert!(!done && said.contains("alert"), "{version}: {said}");
    }
    let page = include_str!("../../docs/TLS.md");
    for name in [OF_TLS13, OF_ECDSA, OF_RSA, GROUPS].as_flattened() {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

/// `K` asks the server to change its keys as well, `k` tells of the client's own.
#[test]
fn openssl_changes_the_keys_of_a_client_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca) = server(folder.path());
    let mut talk = Talk::begin(server.address, &["-tls1_3", "-CAfile", &text(&ca)]);
    talk.say(REQUEST);
    talk.hears(b"HTTP/1.1 101 ", 1);
    for (round, kind) in ["K\n", "k\n", "K\n", "K\n"].into_iter().enumerate() {
        talk.say(kind.as_bytes());
        talk.hears(b"KEYUPDATE", round + 1);
        let words = format!("round {round}");
        talk.say(&frame(&words));
        talk.hears(words.as_bytes(), 1);
    }
    assert_eq!(server.total("tls_faults_total"), 0);
}

#[test]
fn openssl_may_not_renegotiate() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca) = server(folder.path());
    let mut talk = Talk::begin(server.address, &["-tls1_2", "-CAfile", &text(&ca)]);
    talk.hears(b"Secure Renegotiation IS supported", 1);
    talk.say(REQUEST);
    talk.hears(b"HTTP/1.1 101 ", 1);
    talk.say(b"R\n");
    talk.hears(b"RENEGOTIATING", 1);
    talk.hears(b"no renegotiation", 1);
    assert!(!talk.child.wait().unwrap().success());
    eventually("the client is gone", || server.total("clients") == 0);
}

/// An answer of the authority, which has or has not revoked the certificate.
fn answer(authority: &Authority, folder: &Path, is_revoked: bool) -> String {
    let ca = text(&authority.write_own(folder));
    let key = text(&authority.write_own_key(folder));
    let index = folder.join("index.txt");
    let status =
        if is_revoked { "R\t21000101000000Z\t240101000000Z" } else { "V\t21000101000000Z\t" };
    std::fs::write(&index, format!("{status}\t07\tunknown\t/CN=localhost\n")).unwrap();
    let answer = text(&folder.join("answer.der"));
    let index = text(&index);
    let (done, said) = openssl(&[
        "ocsp", "-index", &index, "-rsigner", &ca, "-rkey", &key, "-CA", &ca, "-issuer", &ca,
        "-serial", "7", "-ndays", "7", "-respout", &answer,
    ]);
    assert!(done, "{said}");
    answer
}

#[test]
fn openssl_is_shown_an_answer_of_ocsp() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 7).map(|file| text(&file));
    for is_revoked in [false, true] {
        let file = answer(&authority, folder.path(), is_revoked);
        let server = Server::start(&["--tls-cert", &cert, "--tls-key", &key, "--tls-ocsp", &file]);
        for version in ["-tls1_3", "-tls1_2"] {
            let (done, said) = connect(server.address, &["-status", version]);
            let seen = said.contains("OCSP Response Status: successful (0x0)");
            assert!(done && seen != is_revoked, "{version}: {said}");
            assert_eq!(said.contains("OCSP response: no response sent"), is_revoked, "{said}");
        }
        let log = server.start_log().join("\n");
        assert_eq!(log.contains("it says that the certificate is revoked"), is_revoked, "{log}");
        let expiries = crate::server::get(server.admin, "/metrics").1;
        let is_timed = expiries.contains(&format!("expiry_seconds{{file=\"{file}\"}}"));
        assert_eq!(is_timed, !is_revoked, "{expiries}");
    }
}
