//! Clients that are not ours within TLS: npm's ws, Python's websockets and Chromium.

use std::path::Path;

use crate::real_clients::{node, python, run};
use crate::server::Server;
use crate::tls_files::Authority;

/// A server for `localhost` with TLS at its address, its URL, and the file of its authority.
fn server(folder: &Path, flags: &[&str]) -> (Server, String, String) {
    let authority = Authority::new();
    let [cert, key] = authority.write(folder, &["localhost"], 7);
    let [cert, key] = [cert, key].map(|file| file.to_str().unwrap().to_owned());
    let ca = authority.write_own(folder).to_str().unwrap().to_owned();
    let server = Server::start(&[&["--tls-cert", &cert, "--tls-key", &key][..], flags].concat());
    let at = format!("localhost:{}", server.address.port());
    (server, at, ca)
}

#[test]
fn real_clients_python_websockets_within_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at, ca) = server(folder.path(), &["--shards", "2"]);
    let mut command = python("websockets_client.py");
    command.arg(format!("wss://{at}")).env("SSL_CERT_FILE", ca);
    run(command);
    assert!(server.total("tls_handshakes_total") >= 3);
}

#[test]
fn real_clients_npm_ws_and_stentor_js_within_tls() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--shards", "2", "--ping-interval", "300ms"];
    let (server, at, ca) = server(folder.path(), &flags);
    let mut command = node("ws_client.mjs");
    command.arg(format!("wss://{at}")).env("NODE_EXTRA_CA_CERTS", ca);
    run(command);
    assert!(server.total("tls_handshakes_total") >= 3);
}

#[test]
fn browser_tabs_chat_within_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at, _) = server(folder.path(), &["--shards", "2"]);
    let mut command = node("sealed.mjs");
    command.arg(format!("https://{at}/"));
    run(command);
    assert!(server.total("tls_resumptions_total") >= 1, "a browser comes back with its ticket");
}
