//! Clients that are not ours: Python's websockets, npm's ws and centrifuge, `PyPI`'s cent and
//! centrifuge-python, and Chromium on the page.
//!
//! `scripts/setup.sh` installs them; the scripts in `tests/clients` say what each proves.

use std::path::Path;
use std::process::Command;

use crate::server::{Server, eventually};

pub(crate) fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
}

pub(crate) fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TEST_PYTHON")
        .unwrap_or_else(|| root.join(".venv/bin/python").into_os_string());
    let mut command = Command::new(python);
    command.arg(root.join("tests/clients").join(script));
    command
}

pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.args(["--experimental-eventsource", "--no-warnings"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command
}

#[test]
fn real_clients_python_websockets() {
    let server = Server::start(&["--shards", "2"]);
    let mut command = python("websockets_client.py");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn real_clients_npm_ws_and_stentor_js() {
    let server = Server::start(&["--shards", "2", "--ping-interval", "300ms"]);
    let mut command = node("ws_client.mjs");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

const KEPT: [&str; 5] = ["--shards", "2", "--history", "1000", "--recovery"];

#[test]
fn real_clients_stentor_js_recovers_over_cuts() {
    let server = Server::start(&KEPT);
    let mut command = node("recovery.mjs");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn real_clients_stentor_js_refreshes_its_token() {
    let secret = "a secret of the tests, which is long enough";
    let server = Server::start(&["--token-hmac-secret", secret, "--token-leeway", "0"]);
    let mut command = node("tokens.mjs");
    command.arg(format!("ws://{}", server.address)).arg(secret);
    run(command);
}

#[test]
fn real_clients_npm_centrifuge() {
    let secret = "a secret of the tests, which is long enough";
    let keys = ["--token-hmac-secret", secret, "--token-leeway", "0"];
    let more = [&["--presence", "--join-leave"][..], &keys].concat();
    let server = Server::start(&[&KEPT[..], &more].concat());
    let mut command = node("centrifuge.mjs");
    command.arg(format!("ws://{}", server.address)).arg(secret);
    run(command);
}

#[test]
fn real_clients_npm_centrifuge_in_protobuf_and_with_deltas() {
    let secret = "a secret of the tests, which is long enough";
    let keys = ["--token-hmac-secret", secret, "--token-leeway", "0"];
    let more = [&["--presence", "--join-leave", "--delta", "fossil"][..], &keys].concat();
    let server = Server::start(&[&KEPT[..], &more].concat());
    let mut command = node("centrifuge_protobuf.mjs");
    command.arg(format!("ws://{}", server.address)).arg(secret);
    run(command);
}

#[test]
fn real_clients_centrifuge_python() {
    let server = Server::start(&[&KEPT[..], &["--delta", "fossil"]].concat());
    let mut command = python("centrifuge_client.py");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn real_clients_of_every_dialect_and_transport_hear_one_order() {
    let server = Server::start(&[&KEPT[..], &["--delta", "fossil"]].concat());
    let mut command = node("one_order.mjs");
    command.arg(format!("ws://{}", server.address)).arg(format!("http://{}", server.admin));
    command.arg(python("").get_program());
    run(command);
}

#[test]
fn real_clients_npm_centrifuge_comes_back_and_misses_nothing() {
    let secret = "a secret of the tests, which is long enough";
    let mut flags = vec!["--token-hmac-secret", secret, "--slow-clients", "drop"];
    flags.extend(["--outbox-bytes", "256KiB", "--history-bytes", "64MiB"]);
    flags.extend(["--on-duplicate-user", "allow", "--history-total-bytes", "512MiB"]);
    // On a busy host the clients are held for longer than the usual time limits.
    flags.extend(["--write-timeout", "60s", "--ping-interval", "60s"]);
    let server = Server::start(&[&KEPT[..], &flags].concat());
    let mut command = node("centrifuge_back.mjs");
    command.arg(format!("ws://{}", server.address)).arg(secret);
    run(command);
    assert!(server.total("sent_back_total") > 0, "nobody has lost anything");
}

#[test]
fn browser_page_shows_the_history() {
    let server = Server::start(&KEPT);
    let mut command = node("history_page.mjs");
    command.arg(format!("http://{}/", server.address));
    run(command);
}

#[test]
fn real_clients_cent() {
    let server = Server::start(&[&KEPT[..], &["--api-key", "secret"]].concat());
    let mut command = python("cent_check.py");
    command.arg(format!("http://{}/api", server.admin)).arg("secret");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn real_clients_of_the_api_get_what_its_description_says() {
    let flags = ["--on-duplicate-user", "allow"];
    let server = Server::start(&[&KEPT[..], &flags].concat());
    let _client = crate::client::Client::json(server.address, "/ws?channel=room&user=ana");
    let mut command = python("openapi_check.py");
    command.arg(format!("http://{}", server.admin));
    run(command);
}

#[test]
fn browser_two_tabs_chat_and_come_back_after_a_restart() {
    let server = Server::start(&["--drain-spread", "0"]);
    let (address, pid) = (server.address, server.pid());
    let browser = std::thread::spawn(move || {
        let mut command = node("browser.mjs");
        command.arg(format!("http://{address}/")).arg(pid.to_string());
        run(command);
    });
    // The script ends the server once its tabs have chatted; then another takes its place.
    let mut server = server;
    eventually_ended(&mut server, &browser);
    let _again = Server::start_on(address, &[]);
    browser.join().unwrap();
}

fn page(parts: &[&str]) {
    let server = Server::start(&["--shards", "2", "--presence-names", "3"]);
    let mut command = node("page.mjs");
    command.arg(format!("http://{}/", server.address)).args(parts);
    run(command);
}

#[test]
fn browser_two_tabs_never_have_one_name_by_accident() {
    page(&["secondTab", "duplicatedTab", "takenName"]);
}

#[test]
fn browser_input_methods_paths_directions_and_long_messages() {
    page(&["inputMethods", "underAPath", "rightToLeft", "tooLong"]);
}

#[test]
fn browser_page_counts_a_large_channel() {
    page(&["largeChannel"]);
}

fn eventually_ended(server: &mut Server, browser: &std::thread::JoinHandle<()>) {
    let began = std::time::Instant::now();
    while !browser.is_finished() && began.elapsed().as_secs() < 60 {
        if std::net::TcpStream::connect(server.address).is_err() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    eventually("the server has ended", || std::net::TcpStream::connect(server.address).is_err());
}
