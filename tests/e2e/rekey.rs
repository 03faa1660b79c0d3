//! A reload reads the files of keys again: tokens and requests with the newer keys are taken, those
//! with the older ones are refused, and a broken file leaves the older keys in force.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::client::Client;
use crate::server::{Server, eventually, get, request};

/// A token that our own binary makes with a secret.
fn token(secret: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(["token", "--user", "ana", "--token-hmac-secret", secret]);
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

fn secret(number: u8) -> String {
    format!("secret number {number} of the tests, which is long enough")
}

/// The status of a connection with a token that this secret signs.
fn status(server: &Server, secret: &str) -> u16 {
    let target = format!("/ws?token={}", token(secret));
    Client::try_plain(server.address, &target).map_or_else(|(status, _)| status, |_| 101)
}

fn reload(server: &Server, key: &str) -> Value {
    let head = format!("POST /api/reload HTTP/1.1\r\nX-API-Key: {key}");
    serde_json::from_str(&request(server.admin, &head, "").1).unwrap()
}

#[test]
fn a_reload_reads_the_files_of_keys_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    let set = |number: u8| {
        use base64::Engine as _;
        let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret(number));
        format!(r#"{{"keys":[{{"kty":"oct","k":"{k}"}}]}}"#)
    };
    write("secret", &secret(1));
    write("jwks", &set(2));
    write("key", "old\n");
    let (secret_file, jwks, key) = (path("secret"), path("jwks"), path("key"));
    let server = Server::start(&[
        "--token-hmac-secret-file",
        &secret_file,
        "--token-jwks",
        &jwks,
        "--api-key-file",
        &key,
    ]);
    assert_eq!([1, 2, 3, 4].map(|n| status(&server, &secret(n))), [101, 101, 401, 401]);
    write("secret", &secret(3));
    write("jwks", &set(4));
    write("key", "new\n");
    assert_eq!(reload(&server, "new")["error"]["code"], 101, "it is not read yet");
    assert_eq!(reload(&server, "old")["result"], serde_json::json!({ "namespaces": 0 }));
    assert_eq!([1, 2, 3, 4].map(|n| status(&server, &secret(n))), [401, 401, 101, 101]);
    assert_eq!(reload(&server, "old")["error"]["code"], 101);

    for (name, text) in [("jwks", "{}"), ("secret", ""), ("key", "\n")] {
        let before = fs::read(path(name)).unwrap();
        write(name, text);
        let error = reload(&server, "new")["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(error["code"] == 107 && message.contains(&path(name)), "{name}: {error}");
        fs::write(path(name), before).unwrap();
    }
    assert_eq!([1, 2, 3, 4].map(|n| status(&server, &secret(n))), [401, 401, 101, 101]);
    write("secret", &secret(1));
    server.signal("HUP");
    eventually("the reload", || status(&server, &secret(1)) == 101);
    let says = |line: &str| get(server.admin, "/metrics").1.contains(line);
    assert!(says("stentor_reload_failures_total 3"));
    eventually("the count", || says("stentor_reloads_total 2"));
}
