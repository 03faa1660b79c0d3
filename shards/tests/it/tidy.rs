//! The shape of the code that the compiler does not see: an opening sentence, sizes, layers.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// One table in rows; a row stays on its line.
const TABLES: [&str; 2] = ["src/config/keys.rs", "src/config/channels.rs"];

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

/// The code of a file: lines without what is behind `//`, and without lint names.
fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").replace(&["un", "safe_"].concat(), "")
}

/// Whatever the wall clock does, nobody is closed for it: it comes into nothing but the `time` of
/// messages, and into tokens when they are shown. A client's end is kept by the monotonic clock.
#[test]
fn one_file_reads_clocks_and_the_wall_clock_decides_nothing() {
    let [now, system] = ["Instant", "SystemTime"].map(|clock| format!("{clock}::now"));
    for (name, text) in all() {
        let shard = name.starts_with("shards/src/");
        if name == "shards/src/clock.rs" {
            assert_eq!(text.matches("Realtime").count(), 1, "beside the one for people");
            let wall = text.find("fn unix_ms()").unwrap();
            assert!(text.find("Realtime").unwrap() > wall, "another clock than the wall's");
            continue;
        }
        for clock in [&now, &system, "clock_gettime", "ClockId"] {
            assert!(!shard || !text.contains(clock), "{name} reads a clock");
        }
        assert!(!name.starts_with("src/") || !text.contains(&system), "{name}: {system}");
        for line in text.lines().filter(|line| shard && line.contains("unix_ms()")) {
            // Times in tokens are of the wall clock.
            let stamps = line.contains("time_ms = ")
                || line.contains("time_ms: ")
                || name == "shards/src/stage/prove.rs";
            assert!(stamps, "{name} uses the wall clock for more than a message's time: {line}");
        }
    }
}

#[test]
fn unsafe_stands_in_one_file() {
    for (name, text) in all() {
        let word = ["un", "safe"].concat();
        let allowed = name == "shards/src/rt.rs" || name == "shards/tests/it/runtime_facts.rs";
        let code = code_of(&text);
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(allowed || !words.any(|found| found == word), "{name}");
        let runtime = ["glommio", "::"].concat();
        assert!(allowed || !text.contains(&runtime), "{name} knows the runtime");
    }
}

#[test]
fn the_compiler_refuses_unsafe_everywhere_else() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (lint, lib) = (["un", "safe_code"].concat(), read("shards/src/lib.rs"));
    assert!(read("Cargo.toml").contains(&format!("\n{lint} = \"deny\"\n")));
    for program in ["src/main.rs", "bench/src/main.rs"] {
        assert!(read(program).contains(&format!("#![forbid({lint})]")), "{program}");
    }
    let exceptions: Vec<String> = all()
        .into_iter()
        .filter(|(_, text)| text.contains(&format!("allow({lint}")))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(exceptions, ["shards/src/lib.rs", "shards/tests/it/main.rs"]);
    let behind = lib.split(&format!("allow({lint}")).nth(1).and_then(|rest| rest.lines().nth(1));
    assert_eq!(behind, Some("pub mod rt;"));
}
