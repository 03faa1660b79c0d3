//! Scripts can be asked what they do: --help prints it, installs nothing and changes nothing.
//! The tests that one of them names are there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs by which a script would install, build or change something.
const LOUD: [&str; 8] = ["apt-get", "cargo", "rustup", "npm", "pip", "sudo", "unshare", "go"];

/// Modules without a task of their own.
const MODULES: [&str; 1] = ["checks.py"];

fn scripts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("scripts"), root.join("scripts/systemd")];
    let peers = fs::read_dir(root.join("bench/peers")).unwrap().flatten();
    folders.extend(peers.map(|peer| peer.path()).filter(|path| path.is_dir()));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    let mut scripts: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sh" || kind == "py"))
        .filter(|path| !MODULES.iter().any(|module| path.ends_with(module)))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn every_script_answers_help_and_does_nothing_else() {
    let room = tempfile::tempdir().unwrap();
    let (stubs, home, heard) =
        (room.path().join("bin"), room.path().join("home"), room.path().join("heard"));
    fs::create_dir(&stubs).unwrap();
    fs::create_dir(&home).unwrap();
    for name in LOUD {
        let stub = stubs.join(name);
        let text = format!("#!/bin/sh\necho \"$0 $*\" >>{}\nexit 77\n", heard.display());
        fs::write(&stub, text).unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let scripts = scripts();
    assert!(scripts.len() > 30, "the scripts are not where this test looks");
    for script in scripts {
        let by =
            if script.extension().is_some_and(|kind| kind == "py") { "python3" } else { "bash" };
        // All take both from one place; the slow start of each is paid once.
        let flag = if script.ends_with("check.sh") { "-h" } else { "--help" };
        let output = Command::new(by)
            .arg(&script)
            .arg(flag)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", stubs.display()))
            .env("HOME", &home)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let name = script.display();
        assert!(output.status.success(), "{name} {flag}: {output:?}");
        assert!(!said.trim().is_empty(), "{name} {flag} says nothing");
        let asked = fs::read_to_string(&heard).unwrap_or_default();
        assert_eq!(asked, "", "{name} {flag} asked for these");
    }
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "something lies in the home folder");
}

/// The file of a test in a line of `scripts/cases.sh --list`, and a text that is in that file.
fn named(line: &str) -> (Vec<PathBuf>, String) {
    let line = line.trim().strip_prefix("slow ").unwrap_or(line.trim());
    let (place, name) = line.split_once(' ').unwrap();
    let folders: &[&str] = match place {
        "bin" => &["src"],
        "lib" => &["shards/src", "src/units/src", "src/hgrm/src"],
        "e2e" => &["tests/e2e"],
        "faults" => &["tests/faults"],
        "hostile" => &["tests/hostile"],
        "web" => {
            let (file, title) = name.split_once(' ').unwrap();
            let file = format!("tests/web/{file}.test.mjs");
            return (vec![file.into()], format!("test('{title}', "));
        }
        "python" => {
            let (file, method) = name.split_once('.').unwrap();
            let method = method.rsplit('.').next().unwrap();
            let file = format!("scripts/planner/tests/{file}.py");
            return (vec![file.into()], format!("def {method}("));
        }
        _ => panic!("{line}: no such place"),
    };
    let (modules, test) = name.rsplit_once("::").unwrap();
    let file = modules.trim_end_matches("::tests").replace("::", "/");
    let files = [format!("{file}.rs"), format!("{file}_tests.rs")];
    let files =
        folders.iter().flat_map(|folder| files.iter().map(|file| Path::new(folder).join(file)));
    let files = files.collect();
    // A module that is run whole has some test, in its own file or in one beside it.
    (files, if test.is_empty() { String::new() } else { format!("fn {test}(") })
}

#[test]
fn every_test_that_the_cases_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/cases.sh")).arg("--list").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let kinds: Vec<_> = list.split("\n\n").collect();
    assert!(kinds.len() >= 28, "{list}");
    for kind in kinds {
        let (kind, tests) = kind.split_once('\n').unwrap_or((kind, ""));
        assert!(!tests.trim().is_empty(), "{kind}: no test holds it");
        for line in tests.lines() {
            let (files, text) = named(line);
            let mut texts =
                files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok());
            assert!(texts.any(|source| source.contains(&text)), "{kind}: not there: {line}");
        }
    }
    let output = Command::new(root.join("scripts/cases.sh")).arg("no such kind").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}
