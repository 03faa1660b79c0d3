//! Files that are none: pipes in the places of the settings and of histories, where a process
//! would wait for a writer that never comes.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::server::{Server, post};

fn put_pipe(path: &Path) {
    let _ = fs::remove_file(path);
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn pipes_in_the_place_of_histories_keep_no_process_from_starting_and_ending() {
    let folder = tempfile::tempdir().unwrap();
    let [kept, draft] =
        ["stentor", "draft"].map(|end| folder.path().join(format!("history.{end}")));
    put_pipe(&kept);
    put_pipe(&draft);
    let flags = ["--shards=1", "--history=5", "--history-file", folder.path().to_str().unwrap()];
    let mut server = Server::start(&flags);
    assert!(server.start_log().iter().any(|line| line.contains("history.damaged")));
    put_pipe(&draft);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(fs::metadata(&kept).unwrap().is_file(), "the histories were written");
}

#[test]
fn a_pipe_in_the_place_of_the_settings_fails_reloads_and_lets_the_process_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("stentor.toml");
    fs::write(&settings, "history = 5\n").unwrap();
    let mut server = Server::start(&["--shards=1", "-c", settings.to_str().unwrap()]);
    put_pipe(&settings);
    let (_, answer) = post(server.admin, "/api/reload", "{}");
    assert!(answer.contains("stentor.toml: nothing came out of it"), "{answer}");
    // Nobody waits for this one.
    server.signal("HUP");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
