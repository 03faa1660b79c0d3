//! Certificates that change while the server runs, and those with which it does not start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_tungstenite::tungstenite::Message;
use rustls::ClientConfig;

use crate::server::{Server, eventually, get};
use crate::tls_files::{Authority, connect, open, serial};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A folder as Kubernetes mounts a secret: the files are links through a link that is swapped.
fn mount(authority: &Authority, folder: &Path, serial: u64) -> [PathBuf; 2] {
    let files = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    swap(authority, folder, serial);
    for file in &files {
        symlink(Path::new("..data").join(file.file_name().unwrap()), file).unwrap();
    }
    files
}

fn swap(authority: &Authority, folder: &Path, serial: u64) {
    let newer = folder.join(format!("..{serial}"));
    fs::create_dir(&newer).unwrap();
    let (cert, key) = authority.sign(&["localhost"], serial, 2100);
    fs::write(newer.join("tls.crt"), cert).unwrap();
    fs::write(newer.join("tls.key"), key).unwrap();
    let aside = folder.join("..data_tmp");
    symlink(&newer, &aside).unwrap();
    fs::rename(&aside, folder.join("..data")).unwrap();
}

fn metric(server: &Server, name: &str) -> String {
    let (_, text) = get(server.admin, "/metrics");
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().to_owned()
}

/// Ends a load when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The serial number that a new client sees. It does not resume: that shows no certificate.
fn seen(server: &Server, config: &Arc<ClientConfig>) -> u8 {
    let mut config = ClientConfig::clone(config);
    config.resumption = rustls::client::Resumption::disabled();
    serial(&mut connect(server.address, "localhost", &Arc::new(config)))
}

#[test]
fn certificates_change_under_load_and_nobody_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = mount(&authority, folder.path(), 1);
    let (cert, key) = (text(&cert), text(&key));
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-look", "100ms", "--shards", "2"];
    let server = Server::start(&flags);
    let config = authority.client();
    let mut old = open(server.address, "/ws?channel=c", &config);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where this panics: the others would never end.
        let ends = Ends(&is_over);
        let come_and_go = || {
            let mut connects = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                // Any failure is a panic here.
                let mut client = open(server.address, "/ws?channel=c", &config);
                client.close(None).unwrap();
                connects += 1;
            }
            connects
        };
        let loads = [scope.spawn(come_and_go), scope.spawn(come_and_go)];
        for number in 2..6 {
            swap(&authority, folder.path(), number);
            eventually("the newer one is shown", || u64::from(seen(&server, &config)) == number);
        }
        drop(ends);
        for load in loads {
            assert!(load.join().unwrap() > 10, "nobody was refused");
        }
    });
    old.send(Message::text("still here")).unwrap();
    assert_eq!(old.read().unwrap(), Message::text("still here"));
    assert_eq!(metric(&server, "stentor_tls_reloads_total"), "4");
    assert_eq!(metric(&server, "stentor_tls_reload_failures_total"), "0");
    let expiry = metric(&server, "stentor_tls_certificate_expiry_seconds");
    assert_eq!(expiry.parse::<i64>().unwrap(), 4_102_444_800, "the year 2100");
}

#[test]
fn a_broken_file_leaves_the_old_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 1);
    let (other_cert, other_key) = authority.sign(&["localhost"], 2, 2100);
    let (wrong_host, _) = authority.sign(&["other.test"], 3, 2100);
    let (cert_name, key_name) = (text(&cert), text(&key));
    let flags = ["--tls-cert", &cert_name, "--tls-key", &key_name, "--tls-look", "0"];
    let server = Server::start(&[&flags[..], &["--tls-names", "localhost"]].concat());
    let config = authority.client();
    assert_eq!(seen(&server, &config), 1);
    let broken = [
        (&cert, "no certificate", "it has no certificate in PEM"),
        (&cert, other_cert.as_str(), "is not the key of the certificate in"),
        (&cert, wrong_host.as_str(), "is not the key of the certificate in"),
    ];
    for (number, (file, content, part)) in broken.into_iter().enumerate() {
        let failures = number + 1;
        fs::write(file, content).unwrap();
        server.signal("HUP");
        eventually("the reload has failed", || {
            metric(&server, "stentor_tls_reload_failures_total") == failures.to_string()
        });
        let log = server.log().join("\n");
        assert!(log.contains(part), "{part}: {log}");
        assert_eq!(seen(&server, &config), 1);
    }
    fs::write(&cert, &other_cert).unwrap();
    fs::write(&key, &other_key).unwrap();
    server.signal("HUP");
    eventually("the newer one is shown", || seen(&server, &config) == 2);
    assert_eq!(metric(&server, "stentor_tls_reloads_total"), "1");
    assert_eq!(metric(&server, "stentor_reloads_total"), "1");
    assert_eq!(metric(&server, "stentor_reload_failures_total"), "3");
}

/// The look at the files finds what is broken and what is whole again, says each fault once, and
/// waits until a certificate and its key have both changed.
#[test]
fn files_that_change_are_found_broken_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 1);
    let (cert_name, key_name) = (text(&cert), text(&key));
    let flags = ["--tls-cert", &cert_name, "--tls-key", &key_name, "--tls-look", "100ms"];
    let server = Server::start(&flags);
    let config = authority.client();
    let failures = || metric(&server, "stentor_tls_reload_failures_total").parse::<u64>().unwrap();
    let fails_again = |what: &str| {
        let before = failures();
        // It is tried again and again.
        eventually(what, || failures() > before + 2);
        assert_eq!(seen(&server, &config), 1, "{what}");
    };
    let mut number = 2;
    let mut mend = || {
        let (newer_cert, newer_key) = authority.sign(&["localhost"], number, 2100);
        fs::write(&cert, newer_cert).unwrap();
        fs::write(&key, newer_key).unwrap();
        eventually("the newer one is shown", || u64::from(seen(&server, &config)) == number);
        number += 1;
    };
    let whole = fs::read_to_string(&cert).unwrap();
    fs::write(&cert, &whole[..whole.len() / 2]).unwrap();
    fails_again("half a file");
    fs::write(&cert, authority.sign(&["localhost"], 9, 2100).0).unwrap();
    fails_again("the certificate of another key");
    fs::remove_file(&key).unwrap();
    fails_again("no key");
    let (old_cert, old_key) = authority.sign(&["localhost"], 8, 2021);
    fs::write(&cert, old_cert).unwrap();
    fs::write(&key, old_key).unwrap();
    fails_again("a certificate that has expired");
    let lines = server.log();
    for part in ["is not the key of the certificate", "No such file", "it expired "] {
        let said = lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(said, 1, "{part}: {lines:?}");
    }
    mend();
    mend();
    assert_eq!(metric(&server, "stentor_tls_reloads_total"), "2");
}

/// A certificate and the rules are reloaded each for itself, and the answer names what has failed.
#[test]
fn a_broken_certificate_keeps_no_key_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 1);
    let api_key = folder.path().join("api-key");
    fs::write(&api_key, "the first key, long enough\n").unwrap();
    let [cert_name, key_name, api_name] = [&cert, &key, &api_key].map(|file| text(file));
    let flags = ["--tls-cert", &cert_name, "--tls-key", &key_name, "--tls-look", "0"];
    let server = Server::start(&[&flags[..], &["--api-key-file", &api_name]].concat());
    let is_let_in = |key: &str| {
        let head = format!("GET /api/connections HTTP/1.1\r\nX-API-Key: {key}");
        crate::server::request(server.admin, &head, "").0 == 200
    };
    assert!(is_let_in("the first key, long enough"));
    fs::write(&cert, "no certificate").unwrap();
    fs::write(&api_key, "the second key, long enough\n").unwrap();
    server.signal("HUP");
    eventually("the newer key counts", || is_let_in("the second key, long enough"));
    assert!(!is_let_in("the first key, long enough"), "it was to be revoked");
    eventually("it is said", || server.log().join("\n").contains("rules and keys are in force"));
    // The other way round: keys that cannot be read keep no certificate back.
    fs::remove_file(&api_key).unwrap();
    let (newer_cert, newer_key) = authority.sign(&["localhost"], 2, 2100);
    fs::write(&cert, newer_cert).unwrap();
    fs::write(&key, newer_key).unwrap();
    server.signal("HUP");
    let config = authority.client();
    eventually("the newer one is shown", || seen(&server, &config) == 2);
    let lines = || server.log().join("\n");
    eventually("it is said", || lines().contains("rules and keys stay as they were"));
    assert!(is_let_in("the second key, long enough"));
}

/// Runs a command that only looks. Returns its exit code and what it says.
fn look(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let out = command.args(args).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn files_that_clients_would_not_accept_are_found_before() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key] = authority.write(folder.path(), &["localhost"], 1);
    let [_, other_key] = authority.write(folder.path(), &["localhost"], 2);
    let (old_cert, old_key) = authority.sign(&["localhost"], 3, 2021);
    let [old_cert_file, old_key_file] =
        ["old.pem", "old-key.pem"].map(|name| folder.path().join(name));
    fs::write(&old_cert_file, old_cert).unwrap();
    fs::write(&old_key_file, old_key).unwrap();
    let [cert, key, other_key, old_cert, old_key] =
        [cert, key, other_key, old_cert_file, old_key_file].map(|file| text(&file));
    let (cert, key) = (cert.as_str(), key.as_str());
    for command in ["check", "doctor"] {
        assert_eq!(look(&[command, "--tls-cert", cert, "--tls-key", key]).0, Some(0));
        for (args, part) in [
            (
                &["--tls-cert", cert, "--tls-key", &other_key][..],
                "is not the key of the certificate",
            ),
            (&["--tls-cert", &old_cert, "--tls-key", &old_key], "it expired "),
            (
                &["--tls-cert", cert, "--tls-key", key, "--tls-names", "chat.test"],
                "no certificate is good for chat.test",
            ),
            (&["--tls-cert", "/nowhere", "--tls-key", key], "/nowhere: No such file"),
            (&["--tls-cert", key, "--tls-key", key], "it has no certificate in PEM"),
            (&["--tls-cert", cert, "--tls-key", cert], "it has no private key"),
            (&["--tls-cert", cert], "each certificate has its key"),
            (&["--tls-cert", cert, "--tls-key", key, "--tls-ocsp", cert], "no answer of OCSP"),
            (&["--admin-tls-cert", cert, "--admin-tls-key", &other_key], "admin-tls: "),
        ] {
            let (code, said) = look(&[&[command], args].concat());
            assert_eq!(code, Some(78), "{command} {args:?}: {said}");
            assert!(said.contains(part), "{command} {args:?}: {said}");
        }
    }
    // A server does not start with a key that does not fit, and says why in one line.
    let (code, said) = look(&["serve", "--tls-cert", cert, "--tls-key", &other_key]);
    assert_eq!(code, Some(78), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("is not the key of the certificate"), "{said}");
}
