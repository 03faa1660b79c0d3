//! The packages that applications install, against the real server: the npm package with React, and
//! the Python package for backends; the files for containers and clusters; and the guide.

use std::path::Path;
use std::process::Command;

use crate::real_clients::{node, python, run};
use crate::server::Server;

const KEPT: [&str; 4] = ["--shards", "2", "--history=1000", "--recovery"];

#[test]
fn real_clients_the_npm_package_with_react() {
    let server = Server::start(&KEPT);
    let mut command = node("react.mjs");
    command.arg(format!("ws://{}", server.address));
    run(command);
}

#[test]
fn real_clients_the_python_package() {
    let secret = "a secret of the tests, which is long enough";
    let flags = ["--api-key", "sesame", "--token-hmac-secret", secret];
    let server = Server::start(&[&KEPT[..], &flags].concat());
    let mut command = python("python_package.py");
    command.arg(format!("http://{}", server.admin)).arg("sesame");
    command.arg(format!("ws://{}", server.address)).arg(secret);
    run(command);
}

#[test]
fn files_for_containers_and_clusters_are_sound() {
    let mut command = python("deploy_files.py");
    command.arg(env!("CARGO_BIN_EXE_stentor"));
    run(command);
}

#[test]
fn the_runner_of_the_guide_finds_faults_and_links_lead_somewhere() {
    let mut command = python("guide_check.py");
    command.arg(env!("CARGO_BIN_EXE_stentor"));
    run(command);
}

#[test]
fn browser_and_shell_run_every_command_of_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python("").get_program());
    command.arg(root.join("scripts/guide.py")).arg(env!("CARGO_BIN_EXE_stentor"));
    run(command);
}
