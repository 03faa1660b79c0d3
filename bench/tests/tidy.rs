//! The layers of the tool: no two of its modules, and no two of its files, use each other in a
//! circle.
//!
//! The graph is made of the paths that begin with `crate`, `super` or a child's name, in `use` and
//! elsewhere. A name that a module passes on (`pub(crate) use child::Name`) leads to the file that
//! has it. What only tests use does not count.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path below the crate, such as `["load", "plan"]`.
type Module = Vec<String>;

/// The modules that each module uses.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The sources by module, without their tests.
struct Sources(BTreeMap<Module, String>);

impl Sources {
    fn of(files: impl IntoIterator<Item = (Module, String)>) -> Self {
        Self(files.into_iter().map(|(module, text)| (module, without_tests(&text))).collect())
    }

    fn of_the_tool() -> Self {
        let mut files = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        read(&root, &mut Vec::new(), &mut files);
        assert!(files.len() > 60, "the sources are not where this test looks");
        Self::of(files)
    }

    /// Splits the paths that a module names: those that it only passes on, and those that it uses.
    fn paths(&self, module: &Module) -> (Vec<Module>, Vec<Module>) {
        let (mut passed_on, mut used) = (Vec::new(), Vec::new());
        let mut rest = String::new();
        for statement in self.0[module].split_inclusive(';') {
            let Some((before, tree)) = statement.rsplit_once("use ") else {
                rest.push_str(statement);
                continue;
            };
            let line = before.rsplit('\n').next().unwrap_or_default().trim();
            if !(line.is_empty() || line.starts_with("pub")) {
                rest.push_str(statement);
                continue;
            }
            rest.push_str(before);
            let into = if line.starts_with("pub") { &mut passed_on } else { &mut used };
            expand(tree.trim_end_matches(';'), &Module::new(), into);
        }
        let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
        let inline = rest.split(word).filter(|path| path.contains("::"));
        used.extend(inline.map(|path| path.split("::").map(str::to_owned).collect()));
        let absolute = |paths: Vec<Module>| {
            paths.into_iter().filter_map(|path| self.absolute(module, &path)).collect()
        };
        (absolute(passed_on), absolute(used))
    }

    /// Returns a path of this crate from its root, or nothing for one of another crate.
    fn absolute(&self, module: &Module, path: &Module) -> Option<Module> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (&module[..0], &path[1..]),
            "self" => (&module[..], &path[1..]),
            "super" => (&module[..module.len().checked_sub(ups)?], &path[ups..]),
            child => {
                let inner = [&module[..], &[child.to_owned()]].concat();
                self.0.contains_key(&inner).then_some((&module[..], &path[..]))?
            }
        };
        Some([base, rest].concat())
    }

    /// Returns the module in which a path ends, by way of those that pass its name on.
    fn home(&self, path: &Module) -> Option<Module> {
        let known = (1..=path.len()).rev().find(|len| self.0.contains_key(&path[..*len]))?;
        let (module, rest) = (path[..known].to_vec(), &path[known..]);
        let Some(name) = rest.first() else { return Some(module) };
        let passed_on = self.paths(&module).0;
        let way = passed_on.into_iter().find(|way| way.last() == Some(name));
        match way.filter(|way| way != path) {
            Some(way) => self.home(&[&way[..], &rest[1..]].concat()),
            None => Some(module),
        }
    }

    fn graph(&self) -> Graph {
        let edges = |module: &Module| {
            let used = self.paths(module).1;
            used.iter().filter_map(|path| self.home(path)).filter(|home| home != module).collect()
        };
        self.0.keys().map(|module| (module.clone(), edges(module))).collect()
    }
}

/// The graph of the modules right below the crate.
fn of_top_level(graph: &Graph) -> Graph {
    let mut top = Graph::new();
    for (module, used) in graph {
        let used = used.iter().map(|used| used[..1].to_vec()).filter(|used| used[0] != module[0]);
        top.entry(module[..1].to_vec()).or_default().extend(used);
    }
    top
}

/// Returns the modules from which a way leads back to themselves.
fn circles(graph: &Graph) -> Vec<String> {
    let returns = |start: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            next.extend(graph.get(module).into_iter().flatten().filter(|used| seen.insert(*used)));
        }
        seen.contains(start)
    };
    graph.keys().filter(|module| returns(module)).map(|module| module.join("::")).collect()
}

fn read(folder: &Path, module: &mut Module, files: &mut Vec<(Module, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_source = path.extension().is_some_and(|kind| kind == "rs");
        let is_child = !["mod", "main", "tests", "fuzz"].contains(&name.as_str());
        module.push(name);
        if path.is_dir() {
            read(&path, module, files);
        } else if is_source && is_child {
            files.push((module.clone(), fs::read_to_string(&path).unwrap()));
        } else if path.ends_with("mod.rs") {
            let folder = module[..module.len() - 1].to_vec();
            files.push((folder, fs::read_to_string(&path).unwrap()));
        }
        module.pop();
    }
}

/// Leaves out comments, items for tests, and the tests at a file's end. In a module within the file
/// `super` is the file itself.
fn without_tests(text: &str) -> String {
    let (mut kept, mut is_within) = (String::new(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            if lines.next().is_some_and(|item| item.contains("mod ") && item.ends_with('{')) {
                break;
            }
            continue;
        }
        let opens = line.contains("mod ") && line.ends_with('{') && !line.starts_with(' ');
        is_within = opens || is_within && line != "}";
        let code = line.split("//").next().unwrap_or_default();
        let up = if is_within { "self::" } else { "super::" };
        kept.push_str(&code.replace("super::", up));
        kept.push('\n');
    }
    kept
}

/// Appends the paths of a `use` tree such as `crate::{host, swarm::{Ramp, Swarm}}`.
fn expand(tree: &str, before: &Module, into: &mut Vec<Module>) {
    let (mut depth, mut from) = (0, 0);
    for (at, character) in tree.char_indices().chain([(tree.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand_one(tree[from..at].trim(), before, into);
                from = at + 1;
            }
            _ => {}
        }
    }
}

fn expand_one(item: &str, before: &Module, into: &mut Vec<Module>) {
    let (path, children) = match item.split_once('{') {
        Some((path, children)) => (path, children.strip_suffix('}')),
        None => (item.split(" as ").next().unwrap_or_default(), None),
    };
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty());
    let mut whole = before.clone();
    whole.extend(parts.map(str::to_owned));
    match children {
        Some(children) => expand(children, &whole, into),
        None if whole.len() == before.len() => {}
        None => {
            // `a::{self, b}` names `a` itself.
            if whole.len() > 1 {
                whole.pop_if(|last| last == "self");
            }
            into.push(whole);
        }
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let graph = Sources::of_the_tool().graph();
    assert_eq!(circles(&of_top_level(&graph)), [""; 0]);
    assert_eq!(circles(&graph), [""; 0]);
    // The graph is not empty.
    assert!(graph[&["cli".to_owned()][..]].len() > 5, "the command line uses nothing");
}

#[test]
fn planted_circles_are_found() {
    let planted = |files: &[(&str, &str)]| {
        let module = |path: &str| path.split("::").map(str::to_owned).collect();
        let files = files.iter().map(|(path, text)| (module(path), (*text).to_owned()));
        circles(&Sources::of(files).graph())
    };
    let through_a_name = [
        ("load", "mod plan;\npub(crate) use plan::Plan;\n"),
        ("load::plan", "use std::io;\nuse crate::{io, swarm::{self, Ramp}};\n"),
        ("swarm", "use crate::load::Plan;\n"),
    ];
    assert_eq!(planted(&through_a_name), ["load::plan", "swarm"]);
    let within_a_folder = [
        ("live", "mod view;\nuse view::View;\nstruct Wish;\n"),
        ("live::view", "fn show() -> super::Wish {}\n"),
    ];
    assert_eq!(planted(&within_a_folder), ["live", "live::view"]);
    let only_in_tests = [
        ("a", "use crate::b;\n"),
        (
            "b",
            "// use crate::a;\n#[cfg(test)]\nuse crate::a;\n\
             #[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
        ),
    ];
    assert_eq!(planted(&only_in_tests), [""; 0]);
    let a_module_in_a_file = [
        ("a", "mod b;\nfn f() { b::f() }\n"),
        ("a::b", "fn f() {}\nmod c {\n    fn g() { super::f() }\n}\n"),
    ];
    assert_eq!(planted(&a_module_in_a_file), [""; 0]);
}
