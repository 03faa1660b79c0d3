//! What stands in the environment of a container: other programs' variables, empty ones, ones that
//! are no text, and secrets in files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::server::{Server, request};

/// The exit code and standard error of a command under variables.
fn run(args: &[&str], variables: &[(&str, &OsStr)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let output = command.args(args).envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_pod_beside_a_service_of_its_name_starts() {
    let url = OsStr::new("tcp://10.96.0.12:9001");
    let service = [
        ("STENTOR_SERVICE_HOST", OsStr::new("10.96.0.12")),
        ("STENTOR_SERVICE_PORT", OsStr::new("9001")),
        ("STENTOR_PORT", url),
        ("STENTOR_PORT_9001_TCP", url),
        ("STENTOR_PORT_9001_TCP_PORT", OsStr::new("9001")),
        ("STENTOR_ADMIN_PORT", url),
    ];
    assert_eq!(run(&["check"], &service), (Some(0), String::new()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.envs(service).env("STENTOR_VERSION", "1.2.3").env("STENTOR_SHARDS", "");
    // Starting removes the variables of the test's own process, not these.
    let server = Server::start_as(command);
    assert_eq!(server.total("clients"), 0);
}

#[test]
fn odd_variables_are_told_in_one_line() {
    let bytes = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    for (name, value, code, part) in [
        ("STENTOR_VERSION", bytes(b"1.2.3"), 0, "warning: STENTOR_VERSION is no setting"),
        ("STENTOR_CONFIG", bytes(b""), 0, ""),
        ("STENTOR_LISTEN", bytes(b""), 0, ""),
        ("STENTOR_LOG_LEVEL", bytes(b"Info"), 0, ""),
        ("STENTOR_CONFIG", bytes(b"/nowhere.toml"), 78, "/nowhere.toml: No such file"),
        ("STENTOR_SHARD", bytes(b"1"), 78, "unknown variable STENTOR_SHARD; did you mean"),
        ("STENTOR_API_KEY", bytes(b"\xff"), 78, "STENTOR_API_KEY: the value is not valid UTF-8"),
        ("STENTOR_API_KEY_FILE", bytes(b"/nowhere"), 78, "api-key-file: /nowhere: No such file"),
        ("STENTOR_API_KEY", bytes(b"a\nb"), 78, "api-key: it holds a control character"),
    ] {
        let (status, stderr) = run(&["check"], &[(name, value)]);
        assert_eq!(status, Some(code), "{name}={}: {stderr}", value.display());
        assert!(stderr.contains(part), "{name}: {stderr}");
        assert_eq!(stderr.lines().count(), usize::from(!part.is_empty()), "{name}: {stderr}");
    }
}

#[test]
fn a_key_from_a_file_is_the_key_and_is_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "open sesame\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.env("STENTOR_API_KEY_FILE", &path);
    let server = Server::start_as(command);
    let ask = |head: &str| request(server.admin, &format!("GET /api/info HTTP/1.1{head}"), "").0;
    assert_eq!(ask(""), 401);
    assert_eq!(ask("\r\nX-API-Key: open sesame"), 200);

    let mut show = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let shown = show.args(["config", "show"]).env("STENTOR_API_KEY_FILE", &path).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("api_key_file = ") && !shown.contains("sesame"), "{shown}");
    let both = [("STENTOR_API_KEY_FILE", path.as_os_str()), ("STENTOR_API_KEY", OsStr::new("k"))];
    let (status, stderr) = run(&["check"], &both);
    assert_eq!(status, Some(78));
    assert!(stderr.contains("api-key and api-key-file are both set"), "{stderr}");

    // The output is a file with the same settings.
    let file = folder.path().join("stentor.toml");
    std::fs::write(&file, shown).unwrap();
    let (status, stderr) = run(&["check", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(status, Some(0), "{stderr}");
}

#[test]
fn the_file_in_the_managers_directory_is_read_if_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let manager = [("CONFIGURATION_DIRECTORY", folder.path().as_os_str())];
    assert_eq!(run(&["check"], &manager), (Some(0), String::new()));
    std::fs::write(folder.path().join("stentor.toml"), "pong_timeout = '1ms'").unwrap();
    let (status, stderr) = run(&["check"], &manager);
    assert_eq!(status, Some(78));
    assert!(stderr.contains("stentor.toml:1:16: pong-timeout: 1ms is less than"), "{stderr}");
    // A file that is named comes before it.
    let named = folder.path().join("named.toml");
    std::fs::write(&named, "").unwrap();
    let both = [manager[0], ("STENTOR_CONFIG", named.as_os_str())];
    assert_eq!(run(&["check"], &both), (Some(0), String::new()));
}

#[test]
fn complaints_are_one_short_line_whatever_they_quote() {
    let long = "x".repeat(100_000);
    for (name, value) in [
        ("STENTOR_CONFIG", "/no\nwhere\u{1b}[31m"),
        ("STENTOR_API_KEY_FILE", "/no\nwhere\u{1b}[31m"),
        ("STENTOR_SHARDS", &long),
    ] {
        let (code, error) = run(&["check"], &[(name, OsStr::new(value))]);
        assert_eq!(code, Some(78), "{name}");
        let line = error.strip_suffix('\n').unwrap();
        assert!(!line.chars().any(char::is_control) && line.len() < 1100, "{name}: {line:?}");
    }
}
