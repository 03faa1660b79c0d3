//! Kept runs through the tool as a process: other libraries read what it writes, and files that
//! are not runs are usage errors.
//!
//! `scripts/setup.sh` installs the libraries; `read_back.py` says what is held against what.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TOOL: &str = env!("CARGO_BIN_EXE_stentor-bench");

/// An empty folder for the files of a test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn python(script: &str) -> Command {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TEST_PYTHON")
        .unwrap_or_else(|| bench.join("../.venv/bin/python").into_os_string());
    let mut command = Command::new(python);
    command.arg(bench.join("tests").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    output
}

/// Returns the tool's complaint about `arguments` that it must refuse.
fn refusal(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(TOOL).args(arguments).current_dir(folder).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
    assert!(output.stdout.is_empty());
    told
}

#[test]
fn pypi_hdrhistogram_reads_the_tools_files() {
    run(python("read_back.py").arg(TOOL).arg(folder("read_back")));
}

#[test]
fn kept_runs_are_compared_and_drawn() {
    let folder = folder("drawn");
    run(python("sample_runs.py").arg(&folder));
    let tool = |arguments: &[&str]| run(Command::new(TOOL).args(arguments).current_dir(&folder));
    let table = tool(&["compare", "steady.json", "noisy.json"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("delivery.p99") && table.contains("too few runs"), "{table}");
    tool(&["report", "steady.json", "stalled.json", "noisy.json"]);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("stalled"));
    tool(&["report", "stalled.json", "-o", "seconds.csv"]);
    let rows = std::fs::read_to_string(folder.join("seconds.csv")).unwrap();
    assert_eq!(rows.lines().count(), 61);
    tool(&["report", "stalled.json", "-o", "summary.txt"]);
    let text = std::fs::read_to_string(folder.join("summary.txt")).unwrap();
    assert!(text.contains("✗ lost==0") && text.contains("PROVES NOTHING"), "{text}");
}

#[test]
fn files_that_are_no_runs_are_one_line_and_code_2() {
    let folder = folder("refused");
    run(python("sample_runs.py").arg(&folder));
    std::fs::write(folder.join("old.json"), "{\"schema_version\": 0}").unwrap();
    std::fs::write(folder.join("text.json"), "hello").unwrap();
    for (arguments, right) in [
        (&["compare", "steady.json", "gone.json"][..], "gone.json: No such file or directory"),
        (&["compare", "steady.json", "old.json"], "old.json: schema_version 0, this tool reads 1"),
        (&["report", "text.json"], "text.json: not a run: expected value at line 1 column 1"),
        (&["report", "steady.json", "-o", "run.pdf"], "run.pdf: not .html, .hgrm, .hlog"),
        (&["report", "steady.json", "-o", "no/run.csv"], "no/run.csv: No such file"),
        (&["report", "steady.json", "noisy.json", "-o", "a.csv"], "a.csv: one run at a time, 2"),
    ] {
        let told = refusal(arguments, &folder);
        let line = told.strip_prefix("stentor-bench: ").unwrap();
        assert!(line.starts_with(right) && line.lines().count() == 1, "{told}");
    }
    assert!(refusal(&["compare", "steady.json"], &folder).contains("nothing to be compared with"));
    assert!(refusal(&["report"], &folder).contains("required"));
}
