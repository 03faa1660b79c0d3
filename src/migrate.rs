//! `stentor config from-centrifugo FILE`: a configuration of Centrifugo 6 becomes a `stentor.toml`,
//! and every key that has no counterpart is named. `from-soketi` likewise.

mod channels;
mod found;
mod proxies;
mod server;
pub(crate) mod soketi;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use self::found::Found;
use crate::config::{Settings, all_keys};

/// The most bytes of such a file.
const BYTES_MAX: u64 = 4 << 20;

/// The translation of a configuration.
#[derive(Debug)]
pub(crate) struct Translated {
    /// A `stentor.toml`.
    pub(crate) file: String,
    /// Keys without a counterpart, and what is different, each on one line.
    pub(crate) notes: Vec<String>,
}

/// The parts of a `stentor.toml`, as they come together.
#[derive(Debug, Default)]
struct Sheet {
    top: Vec<(&'static str, toml::Value)>,
    default: Vec<(&'static str, toml::Value)>,
    namespaces: Vec<(String, Vec<(&'static str, toml::Value)>)>,
    notes: Vec<String>,
    /// Anyone may do everything where nothing else is said.
    insecure: bool,
    /// The endpoints of proxies by their names.
    proxies: BTreeMap<String, String>,
    /// The command that it is made by.
    command: &'static str,
    /// Further tables, as they stand in the file.
    tables: String,
}

impl Sheet {
    fn new(command: &'static str) -> Self {
        Self { command, ..Self::default() }
    }

    /// Adds a table with its heading.
    fn put_table(&mut self, heading: &str, lines: &[(&'static str, toml::Value)]) {
        let _ = writeln!(self.tables, "\n{heading}");
        put(&mut self.tables, lines);
    }

    /// Sets a key of the server, if the value is one that it can have.
    fn set(&mut self, name: &'static str, value: impl Into<toml::Value>, of: &str) {
        let value = value.into();
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(list) => {
                list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let key = all_keys().find(|key| key.name == name).expect("it is a key of the table");
        match (key.set)(&mut Settings::default(), &text) {
            Ok(()) => self.top.push((name, value)),
            Err(why) => self.note(of, &format!("it cannot be {name} here: {why}")),
        }
    }

    /// Sets a key of `[channels]` that says what names mean.
    fn set_rule(&mut self, name: &'static str, text: String) {
        self.default.push((name, text.into()));
    }

    /// Returns `true` if a key of the server is set.
    fn has(&self, name: &str) -> bool {
        self.top.iter().any(|(known, _)| *known == name)
    }

    fn note(&mut self, of: &str, text: &str) {
        self.notes.push(format!("{of}: {text}"));
    }

    fn write(&self) -> String {
        let mut out = format!("# Made by `stentor config {}`.\n", self.command);
        put(&mut out, &self.top);
        out.push_str("\n[channels]\n");
        put(&mut out, &self.default);
        for (name, rules) in &self.namespaces {
            let _ = writeln!(out, "\n[[namespace]]\nname = {}", toml::Value::from(name.as_str()));
            put(&mut out, rules);
        }
        out + &self.tables
    }
}

fn put(out: &mut String, lines: &[(&'static str, toml::Value)]) {
    for (name, value) in lines {
        let _ = writeln!(out, "{} = {value}", name.replace('-', "_"));
    }
}

/// Translates a file.
///
/// # Errors
/// It cannot be read, with the reason in one line.
pub(crate) fn translate(path: &Path) -> Result<Translated, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let size = fs::metadata(path).map_err(|error| named(error.to_string()))?;
    if size.is_file() && size.len() > BYTES_MAX {
        return Err(named(format!("it is longer than {BYTES_MAX} bytes")));
    }
    let text =
        crate::config::file::text_in(path, BYTES_MAX).map_err(|why| named(why.to_string()))?;
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    translate_text(&text, kind).map_err(named)
}

/// Translates the text of a file with this extension.
fn translate_text(text: &str, kind: &str) -> Result<Translated, String> {
    let value: Value = match kind {
        "yaml" | "yml" => {
            return Err(
                "YAML is not read here: convert it to JSON first, as `yq -o json` does".into()
            );
        }
        "toml" => toml::from_str(text).map_err(|error| one_line(error.message()))?,
        _ => serde_json::from_str(text).map_err(|error| error.to_string())?,
    };
    if !value.is_object() {
        return Err("it is not an object".into());
    }
    let (mut found, mut sheet) = (Found::of(&value), Sheet::new("from-centrifugo"));
    server::translate(&mut found, &mut sheet);
    proxies::translate(&mut found, &mut sheet);
    channels::translate(&mut found, &mut sheet);
    for key in found.rest() {
        sheet.note(&key, "no counterpart");
    }
    Ok(Translated { file: sheet.write(), notes: sheet.notes })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
