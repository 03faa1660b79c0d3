//! The shape of the code that the compiler does not see: an opening sentence, sizes, layers.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// One table in rows; a row stays on its line.
const TABLES: [&str; 1] = ["src/config/keys.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src", "shards", "bench", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 60, "the sources are not where this test looks");
    files
}

#[test]
fn files_open_with_a_sentence_and_are_read_in_one_sitting() {
    for (name, text) in all() {
        assert!(text.starts_with("//! "), "{name} does not say what lives in it");
        assert!(text.lines().count() <= LINES_MAX, "{name} is longer than {LINES_MAX} lines");
        let long = text.lines().position(|line| line.chars().count() > COLUMNS_MAX);
        let allowed = TABLES.contains(&name.as_str());
        assert!(long.is_none() || allowed, "{name}: line {} is too long", long.unwrap() + 1);
        let mark = ["TO", "DO"].concat();
        assert!(!text.contains(&mark), "{name} leaves something for later");
    }
}

#[test]
fn the_model_and_the_wire_know_no_socket_clock_or_executor() {
    for (name, text) in all() {
        if !name.contains("shards/src/model/") && !name.contains("shards/src/wire/") {
            continue;
        }
        for word in
            ["glommio", "socket2", "rustix", "Instant", "SystemTime", "crate::rt", "std::fs"]
        {
            assert!(!text.contains(word), "{name} knows {word}");
        }
    }
}

#[test]
fn unsafe_stands_in_one_file() {
    for (name, text) in all() {
        let block = ["unsafe", " {"].concat();
        let allowed = name == "shards/src/rt.rs" || name.starts_with("shards/tests/it/");
        assert!(allowed || !text.contains(&block), "{name}");
        let runtime = ["glommio", "::"].concat();
        let knows = text.contains(&runtime);
        assert!(allowed || !knows, "{name} knows the runtime, which only rt.rs should");
    }
}
