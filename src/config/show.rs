//! The output of `stentor config`: the defaults, the settings in force, and their variables.

use std::fmt::Write as _;

use stentor_shards::{App, ChannelRules};

use super::apps::{APP_KEYS, AppKey, Declared, HIDDEN, webhook};
use super::channels::{GROUP, RULES, Rule};
use super::keys::Key;
use super::{Layered, Settings, Source, all_keys, variable};

/// A `stentor.toml` with every key, commented out, at its default.
pub(crate) fn default_file() -> String {
    let settings = Settings::default();
    let mut out = String::from("# stentor.toml: every key, at its default.\n");
    let mut group = "";
    for key in keys_of_the_top() {
        begin_group(&mut out, &mut group, key);
        let _ =
            writeln!(out, "# {}\n# {} = {}", key.help, toml_name(key), value_of(key, &settings));
    }
    // The table itself is no comment: a key below it would else belong to nothing.
    let _ = write!(out, "\n# {GROUP}\n[channels]\n");
    for rule in RULES {
        let _ =
            write!(out, "# {}\n# {}\n", rule.help, rule_line(rule, &settings.channels.default.0));
    }
    out.push_str(
        "\n# A namespace, here that of channels such as chat:1; there may be many. The keys are \
         those of\n# [channels], and one that is left out has the value above.\n\
         # [[namespace]]\n# name = \"chat\"\n",
    );
    let example = App::new("1", "app-key", "");
    out.push_str(
        "\n# An app, whose clients and backend speak Pusher's protocol; there may be many. The \
         secret may stand\n# in a file of its own, named by secret_file.\n\
         # [[app]]\n# id = \"1\"\n# key = \"app-key\"\n# secret = \"app-secret\"\n",
    );
    for key in APP_KEYS {
        let _ = write!(out, "# {}\n# {}\n", key.help, app_line(key, &example));
    }
    out.push_str(
        "\n# An endpoint that is told what happens in the channels of the app above; there may be \
         several.\n# [[app.webhook]]\n",
    );
    for (name, default, help) in webhook::HELP {
        let _ = write!(out, "# {help}\n# {name} = {}\n", toml_value(default.to_owned()));
    }
    out
}

fn app_line(key: &AppKey, app: &App) -> String {
    format!("{} = {}", key.name.replace('-', "_"), toml_value((key.get)(app)))
}

/// Shows an app of the file, without its secret.
fn show_app(out: &mut String, declared: &Declared) {
    let Declared { app, secret_file, webhooks, place } = declared;
    let text = |text: &str| toml::Value::String(text.to_owned());
    let (id, key) = (text(&app.id), text(&app.key));
    let _ = write!(out, "\n[[app]]\nid = {id} # {place}\nkey = {key}\n");
    let _ = match secret_file {
        Some(path) => writeln!(out, "secret_file = {}", text(&path.display().to_string())),
        None => writeln!(out, "secret = \"{HIDDEN}\""),
    };
    for key in APP_KEYS {
        let mark = if (key.get)(app).is_empty() { "# " } else { "" };
        let _ = writeln!(out, "{mark}{}", app_line(key, app));
    }
    for webhook in webhooks {
        webhook::show(out, webhook);
    }
}

/// The settings in force, with the source of each.
pub(crate) fn in_force(layered: &Layered) -> String {
    let mut out = String::new();
    let mut group = "";
    for key in keys_of_the_top() {
        begin_group(&mut out, &mut group, key);
        let value = value_of(key, &layered.settings);
        let file = match key.name {
            "api-key" => layered.settings.api_key_file.as_ref(),
            "api-read-key" => layered.settings.api_read_key_file.as_ref(),
            _ => None,
        };
        if file.is_some() {
            // As a comment: the file names either the key or its file.
            let name = toml_name(key);
            let _ = writeln!(out, "# {name} = \"***\" # from {name}_file");
            continue;
        }
        // An unset key has no value that the file could state.
        let mark = if (key.get)(&layered.settings).is_empty() { "# " } else { "" };
        let source = source_of(layered, key);
        let _ = writeln!(out, "{mark}{} = {value} # {source}", toml_name(key));
    }
    let channels = &layered.settings.channels;
    let _ = write!(out, "\n# {GROUP}\n[channels]\n");
    for rule in RULES {
        let set = !(rule.get)(&channels.default.0).is_empty();
        let source = match rule.key() {
            Some(key) => source_of(layered, key),
            None if set => "file",
            None => "default",
        };
        let mark = if set { "" } else { "# " };
        let _ = writeln!(out, "{mark}{} # {source}", rule_line(rule, &channels.default.0));
    }
    for namespace in &channels.namespaces {
        let name = toml::Value::String(namespace.rules.name.to_string());
        let _ = write!(out, "\n[[namespace]]\nname = {name} # {}\n", namespace.place);
        for rule in RULES {
            let set = !(rule.get)(&namespace.rules).is_empty();
            let mark = if set { "" } else { "# " };
            let _ = writeln!(out, "{mark}{}", rule_line(rule, &namespace.rules));
        }
    }
    layered.settings.apps.declared.iter().for_each(|app| show_app(&mut out, app));
    out
}

/// The keys that stand above the tables of the file.
fn keys_of_the_top() -> impl Iterator<Item = &'static Key> {
    all_keys().filter(|key| key.group != GROUP)
}

fn source_of(layered: &Layered, key: &Key) -> &'static str {
    match layered.source(key) {
        Source::Default => "default",
        Source::File => "file",
        Source::Environment => "environment",
        Source::Flag => "flag",
    }
}

fn rule_line(rule: &Rule, rules: &ChannelRules) -> String {
    format!("{} = {}", rule.name.replace('-', "_"), toml_value((rule.get)(rules)))
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
    toml_value(value)
}

fn toml_value(value: String) -> String {
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
        std::fs::write(&file, "hunter3\n").unwrap();
        let flags = BTreeMap::from([("api-key-file", file.display().to_string())]);
        let layered = Layered::load(None, std::iter::empty(), &flags).unwrap();
        let shown = in_force(&layered);
        assert!(shown.contains("# api_key = \"***\" # from api_key_file"), "{shown}");
        assert!(!shown.contains("hunter3") && toml::from_str::<toml::Table>(&shown).is_ok());
        let defaults = default_file();
        assert!(all_keys().all(|key| defaults.contains(&toml_name(key))));
    }
}
