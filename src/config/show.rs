//! The output of `stentor config`: the defaults, the settings in force, and their variables.

use std::fmt::Write as _;

use super::keys::Key;
use super::{Layered, Settings, Source, all_keys, variable};

/// A `stentor.toml` with every key, commented out, at its default.
pub(crate) fn default_file() -> String {
    let settings = Settings::default();
    let mut out = String::from("# stentor.toml: every key, at its default.\n");
    let mut group = "";
    for key in all_keys() {
        begin_group(&mut out, &mut group, key);
        let _ =
            writeln!(out, "# {}\n# {} = {}", key.help, toml_name(key), value_of(key, &settings));
    }
    out
}

/// The settings in force, with the source of each.
pub(crate) fn in_force(layered: &Layered) -> String {
    let mut out = String::new();
    let mut group = "";
    for key in all_keys() {
        begin_group(&mut out, &mut group, key);
        let source = match layered.source(key) {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        };
        let value = value_of(key, &layered.settings);
        if key.secret && layered.settings.api_key_file.is_some() {
            // As a comment: the file names either the key or its file.
            let _ = writeln!(out, "# {} = \"***\" # from api_key_file", toml_name(key));
            continue;
        }
        // An unset key has no value that the file could state.
        let mark = if (key.get)(&layered.settings).is_empty() { "# " } else { "" };
        let _ = writeln!(out, "{mark}{} = {value} # {source}", toml_name(key));
    }
    out
}

/// The variables with the values in force.
pub(crate) fn environment(layered: &Layered) -> String {
    let mut out = String::new();
    for key in all_keys() {
        let value = value_of(key, &layered.settings);
        let mark = if (key.get)(&layered.settings).is_empty() { "# " } else { "" };
        let _ = writeln!(out, "{mark}{}={}", variable(key.name), value.trim_matches('"'));
    }
    out
}

fn begin_group<'a>(out: &mut String, group: &mut &'a str, key: &'a Key) {
    if *group != key.group {
        *group = key.group;
        let _ = writeln!(out, "\n# {group}");
    }
}

fn toml_name(key: &Key) -> String {
    key.name.replace('-', "_")
}

fn value_of(key: &Key, settings: &Settings) -> String {
    let value = (key.get)(settings);
    if key.secret && !value.is_empty() {
        return "\"***\"".into();
    }
    // A mode such as 0660 is no number in this format.
    let is_number = value.parse::<u64>().is_ok_and(|number| number.to_string() == value);
    let bare = value == "true" || value == "false" || is_number;
    if bare { value } else { toml::Value::String(value).to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn config_show_output_reads_back_and_hides_the_key() {
        let flags = BTreeMap::from([("api-key", "hunter2".to_owned()), ("shards", "2".to_owned())]);
        let layered = Layered::load(None, std::iter::empty(), &flags).unwrap();
        let shown = in_force(&layered);
        assert!(
            shown.contains("api_key = \"***\" # flag") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(shown.contains("shards = 2 # flag") && shown.contains("# default"));
        assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
        assert!(environment(&layered).contains("STENTOR_SHARDS=2"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "secret\n").unwrap();
        let flags = BTreeMap::from([("api-key-file", file.display().to_string())]);
        let layered = Layered::load(None, std::iter::empty(), &flags).unwrap();
        let shown = in_force(&layered);
        assert!(shown.contains("# api_key = \"***\" # from api_key_file"), "{shown}");
        assert!(!shown.contains("secret") && toml::from_str::<toml::Table>(&shown).is_ok());
        let defaults = default_file();
        assert!(all_keys().all(|key| defaults.contains(&toml_name(key))));
    }
}
