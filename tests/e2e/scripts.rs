//! Scripts can be asked what they do: --help prints it, installs nothing and changes nothing.

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
