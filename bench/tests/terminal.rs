//! The tool on a pseudo terminal: its drawing, and a terminal that is afterwards as it was.
//!
//! `terminal.py` is the terminal; each test is a function of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::Path;
use std::process::Command;

fn on_a_terminal(case: &str) {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TEST_PYTHON")
        .unwrap_or_else(|| bench.join("../.venv/bin/python").into_os_string());
    let output = Command::new(python)
        .arg(bench.join("tests/terminal.py"))
        .args([env!("CARGO_BIN_EXE_stentor-bench"), case])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {told}");
}

#[test]
fn the_live_view_comes_and_goes() {
    on_a_terminal("view");
}

#[test]
fn a_small_terminal_is_enough() {
    on_a_terminal("small");
}

#[test]
fn a_key_ends_the_run() {
    on_a_terminal("key");
}

#[test]
fn control_c_ends_a_run_that_has_not_begun() {
    on_a_terminal("control");
}

#[test]
fn signals_give_the_terminal_back() {
    on_a_terminal("signals");
}

#[test]
fn agents_are_one_picture() {
    on_a_terminal("agents");
}

#[test]
fn a_panic_gives_the_terminal_back() {
    on_a_terminal("panic");
}

#[test]
fn a_failure_gives_the_terminal_back() {
    on_a_terminal("unreachable");
}

#[test]
fn a_bar_is_one_line() {
    on_a_terminal("bar");
}

#[test]
fn without_a_terminal_there_are_lines() {
    on_a_terminal("plain");
}
