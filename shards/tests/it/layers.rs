//! The walls between the rooms of a shard: which folder may import which, and which stage may call
//! which. The compiler sees neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The files of `shards/src` by their module path, such as `stage/fanout`, with their code.
type Sources = BTreeMap<String, String>;

/// The rooms from the top down. Code of a room may use its own room and those below it.
const ROOMS: [&[&str]; 10] = [
    &["run"],
    &["sleep"],
    &["shard"],
    &["stage"],
    &["home"],
    &["client", "watch", "handle"],
    &["mesh", "net", "notice"],
    &["wire"],
    &["model"],
    &["close", "clock", "config", "rules", "error", "proof", "rt", "descriptors", "tls"],
];

/// Imports that go up all the same, and why each may.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("stage", "shard", "stages are the methods of a shard's parts"),
    ("config", "wire", "settings hold origins and networks as the wire compares them"),
    ("rules", "wire", "apps hold origins likewise"),
    ("config", "mesh", "settings hold the node as its engine knows it"),
];

/// The stages from the top down. A stage calls only stages further down than itself.
const STAGES: [&[&str]; 19] = [
    &["accept", "serve", "sweep"],
    &["unseal"],
    &["handshake", "ingest"],
    &["inflate"],
    &["session"],
    &["commands"],
    &["apps"],
    &["connect"],
    &["submit", "relay"],
    &["deliver"],
    &["enlist", "heed"],
    &["report", "admit", "who", "join"],
    &["permit", "renew"],
    &["introduce", "conclude", "emulate", "fanout", "drain"],
    &["resume", "encode"],
    &["recall", "batch", "lapse"],
    &["leave", "lost_apps", "prove", "unseat"],
    &["seats", "consult"],
    &["news"],
];

/// The stages that are methods of the clients alone: they cannot call any of the others.
const OF_CLIENTS: [&[&str]; 3] = [&["tell"], &["flush"], &["seal"]];

/// The parts of a shard that a stage may touch; a stage that is not listed may touch all.
const PARTS: [(&str, &[&str]); 7] = [
    ("submit", &["clients", "port", "held"]),
    ("handshake", &["clients", "port"]),
    ("seats", &["clients", "rooms", "port"]),
    ("fanout", &["clients", "rooms", "port", "fan"]),
    ("who", &["clients", "rooms", "port"]),
    ("permit", &["clients", "rooms"]),
    ("serve", &["clients", "read_buffer"]),
];

fn sources() -> Sources {
    let mut files = Sources::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&root, &root, &mut files);
    assert!(files.contains_key("stage/fanout"), "the stages are not where this test looks");
    files
}

fn collect(folder: &Path, root: &Path, into: &mut Sources) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, root, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            let text = fs::read_to_string(&path).unwrap();
            into.insert(name.to_string_lossy().into_owned(), code_of(&text));
        }
    }
}

/// The code of a file: without comments, and without its unit tests, which stand at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The room of a module path.
fn room_of(module: &str) -> &str {
    module.split('/').next().unwrap_or_default()
}

/// The rooms that a file names in its paths.
fn rooms_used(code: &str) -> BTreeSet<&str> {
    let names = code.split("crate::").skip(1);
    names
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        .collect()
}

fn rank<'a>(table: &'a [&'a [&'a str]], name: &str) -> Option<usize> {
    table.iter().position(|row| row.contains(&name))
}

/// Every import that goes up, as `file: uses room`.
fn imports_going_up(files: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, code) in files {
        let room = room_of(file);
        // The whole is put together, and proved, from above all rooms.
        if matches!(room, "lib" | "sim" | "fuzz") {
            continue;
        }
        let from = rank(&ROOMS, room).unwrap_or_else(|| panic!("{room} is in no layer"));
        for used in rooms_used(code) {
            let allowed = EXCEPTIONS.iter().any(|(by, of, _)| (*by, *of) == (room, used));
            let up = rank(&ROOMS, used).is_some_and(|to| to < from || to == from && used != room);
            // The last row holds single files that may use each other.
            if up && !allowed && !(from == ROOMS.len() - 1 && rank(&ROOMS, used) == Some(from)) {
                found.push(format!("{file}: uses {used}"));
            }
        }
    }
    found
}

/// The functions that each stage defines, with the stage's rank.
fn stage_functions(files: &Sources) -> BTreeMap<String, (String, usize)> {
    let mut functions = BTreeMap::new();
    for (file, code) in files {
        let Some(stage) = file.strip_prefix("stage/").filter(|stage| *stage != "mod") else {
            continue;
        };
        let rank = stage_rank(stage);
        for definition in
            code.split("    pub(crate) fn ").skip(1).chain(code.split("    fn ").skip(1))
        {
            let name: String =
                definition.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            functions.insert(name, (stage.to_owned(), rank));
        }
    }
    functions
}

fn stage_rank(stage: &str) -> usize {
    rank(&STAGES, stage)
        .or_else(|| rank(&OF_CLIENTS, stage).map(|rank| rank + STAGES.len()))
        .unwrap_or_else(|| panic!("{stage} has no rank among the stages"))
}

/// The names that are called behind `prefix`, such as `self.`, in a file.
fn calls<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    code.match_indices(prefix)
        .map(|(at, _)| &code[at + prefix.len()..])
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            rest[end..].starts_with('(').then_some(&rest[..end])
        })
        .collect()
}

/// Every call from a stage to one that is not below it, as `stage calls function of stage`.
fn calls_going_up(files: &Sources) -> Vec<String> {
    let functions = stage_functions(files);
    let mut found = Vec::new();
    for (file, code) in files {
        let Some(stage) = file.strip_prefix("stage/").filter(|stage| *stage != "mod") else {
            continue;
        };
        for called in calls(code, "self.").into_iter().chain(calls(code, "self.clients.")) {
            if let Some((of, rank)) = functions.get(called)
                && of != stage
                && *rank <= stage_rank(stage)
            {
                found.push(format!("{stage} calls {called} of {of}"));
            }
        }
    }
    found
}

/// Every part of a shard that a stage touches though the table above does not say so.
fn parts_beyond(files: &Sources) -> Vec<String> {
    let fields = ["clients", "rooms", "directory", "port", "fan", "fresh", "held", "drain"];
    let mut found = Vec::new();
    for (stage, parts) in PARTS {
        let code = &files[&format!("stage/{stage}")];
        for field in fields {
            let touched = code.contains(&format!("self.{field}."))
                || code.contains(&format!("self.{field};"));
            if touched && !parts.contains(&field) {
                found.push(format!("{stage} touches {field}"));
            }
        }
    }
    found
}

#[test]
fn no_room_uses_one_above_it() {
    assert_eq!(imports_going_up(&sources()), Vec::<String>::new());
}

#[test]
fn no_stage_calls_one_above_it() {
    assert_eq!(calls_going_up(&sources()), Vec::<String>::new());
}

#[test]
fn stages_keep_to_their_parts() {
    assert_eq!(parts_beyond(&sources()), Vec::<String>::new());
}

#[test]
fn planted_violations_are_found() {
    let plant = |file: &str, line: &str| {
        let mut files = sources();
        files.get_mut(file).unwrap().push_str(line);
        files
    };
    let import = plant("model/bucket", "\nuse crate::wire::frame::Opcode;\n");
    assert_eq!(imports_going_up(&import), ["model/bucket: uses wire"]);
    let call = plant("stage/seats", "\nfn planted() { self.take_ask(ask); }\n");
    assert_eq!(calls_going_up(&call), ["seats calls take_ask of deliver"]);
    let of_part = plant("stage/flush", "\nfn planted() { self.clients.tell(slot, &event); }\n");
    assert_eq!(calls_going_up(&of_part), ["flush calls tell of tell"]);
    let part = plant("stage/submit", "\nfn planted() { self.rooms.tick_is_full(); }\n");
    assert_eq!(parts_beyond(&part), ["submit touches rooms"]);
}

/// Files that import each other in a circle cannot be understood one by one.
#[test]
fn no_two_rooms_use_each_other() {
    let files = sources();
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, code) in &files {
        let room = room_of(file);
        if !matches!(room, "lib" | "sim" | "fuzz") {
            uses.entry(room)
                .or_default()
                .extend(rooms_used(code).into_iter().filter(|of| *of != room));
        }
    }
    for (room, used) in &uses {
        for other in used {
            let back = uses.get(other).is_some_and(|back| back.contains(room));
            let allowed = EXCEPTIONS
                .iter()
                .any(|(by, of, _)| (*by, *of) == (*room, *other) || (*by, *of) == (*other, *room));
            assert!(!back || allowed, "{room} and {other} use each other");
        }
    }
}
