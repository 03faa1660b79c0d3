//! The tables `[channels]` and `[[namespace]]` of `stentor.toml`.

use stentor_shards::{ChannelRules, check_namespace};
use toml::de::{DeTable, DeValue};

use super::channels::{self, Namespace, Rule};
use super::file::{Fault, Value, Word, set, text_of};
use super::{Layered, hint};

/// Takes the rules of channels without a namespace. Those that are flags are keys like others.
pub(super) fn lay_channels(table: &DeTable<'_>, layered: &mut Layered) -> Result<(), Fault> {
    let mut seen = Vec::new();
    for (name, value) in table {
        let named = |(at, why)| (at, format!("channels: {why}"));
        let wanted = name.get_ref().replace('_', "-");
        if let Some(key) = channels::MARKS.iter().find(|key| key.name == wanted) {
            set(key, name, value, layered).map_err(named)?;
            continue;
        }
        let rule = rule(name, &mut seen).map_err(named)?;
        match rule.key() {
            Some(key) => set(key, name, value, layered),
            None => set_rule(rule, value, &mut layered.settings.channels.default.0),
        }
        .map_err(named)?;
    }
    Ok(())
}

/// Takes all namespaces, in the order of the file.
pub(super) fn lay_namespaces(
    list: &[Value<'_>],
    place: &dyn Fn(usize) -> String,
    layered: &mut Layered,
) -> Result<(), Fault> {
    for entry in list {
        let at = entry.span().start;
        let DeValue::Table(table) = entry.get_ref() else {
            return Err((at, "a namespace is a table: write [[namespace]] above its keys".into()));
        };
        let rules = namespace(at, table)?;
        let known = &mut layered.settings.channels.namespaces;
        if let Some(other) = known.iter().find(|other| other.rules.name == rules.name) {
            let why = format!("namespace {:?} stands at {} already", rules.name, other.place);
            return Err((at, why));
        }
        known.push(Namespace { rules, place: place(at) });
    }
    Ok(())
}

/// Reads one namespace, which begins at byte `at`.
fn namespace(at: usize, table: &DeTable<'_>) -> Result<ChannelRules, Fault> {
    let Some((_, name)) = table.iter().find(|(name, _)| name.get_ref() == "name") else {
        return Err((at, "a namespace needs a name, such as name = \"chat\"".into()));
    };
    let DeValue::String(text) = name.get_ref() else {
        return Err((name.span().start, "the name of a namespace is a text".into()));
    };
    check_namespace(text).map_err(|fault| (name.span().start, fault.to_string()))?;
    let mut rules = ChannelRules::open(text);
    let mut seen = Vec::new();
    let mut recovery = None;
    for (name, value) in table.iter().filter(|(name, _)| name.get_ref() != "name") {
        let named = |(at, why)| (at, format!("namespace {text:?}: {why}"));
        let rule = rule(name, &mut seen).map_err(named)?;
        set_rule(rule, value, &mut rules).map_err(named)?;
        if rule.name == "recovery" {
            recovery = Some(value.span().start);
        }
    }
    if rules.recovery && !rules.history.is_on() {
        let why = "recovery needs a history: set history_size as well";
        return Err((recovery.unwrap_or(at), format!("namespace {text:?}: {why}")));
    }
    Ok(rules)
}

/// The rule of a name that stands in a table once.
fn rule(name: &Word<'_>, seen: &mut Vec<&'static str>) -> Result<&'static Rule, Fault> {
    let at = name.span().start;
    let wanted = name.get_ref().replace('_', "-");
    let Some(rule) = Rule::find(&wanted) else {
        let near = Rule::nearest(&wanted).map(|rule| rule.name.replace('-', "_"));
        let why = format!("unknown key {:?}{}", name.get_ref(), hint(&near.unwrap_or_default()));
        return Err((at, why));
    };
    if seen.contains(&rule.name) {
        return Err((at, format!("{} is set twice", rule.name)));
    }
    seen.push(rule.name);
    Ok(rule)
}

fn set_rule(rule: &Rule, value: &Value<'_>, rules: &mut ChannelRules) -> Result<(), Fault> {
    let at = value.span().start;
    let named = |why| (at, format!("{}: {why}", rule.name));
    let text = text_of(value.get_ref()).map_err(named)?;
    (rule.set)(rules, text.trim()).map_err(named)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use stentor_shards::{Publish, SlowClients, Subscribe};

    use super::*;
    use crate::config::{Invalid, Source, keys};

    fn load(text: &str, flags: &[(&'static str, &str)]) -> Result<Layered, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        fs::write(&path, text).unwrap();
        let flags: BTreeMap<_, _> =
            flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let loaded = Layered::load(Some(&path), std::iter::empty(), &flags);
        let prefix = format!("{}/", folder.path().display());
        loaded.map_err(|Invalid(why)| why.replace(&prefix, ""))
    }

    #[test]
    fn tables_become_rules() {
        let text = "history_ttl = '1m'\n\
                    [channels]\nsubscribe = 'users'\nhistory-size = 10\nslow_clients = 'drop'\n\
                    private_prefix = 'p-'\n\
                    [[namespace]]\nname = 'chat'\npublish = 'Subscribers'\nhistory_size = '1k'\n\
                    recovery = true\npresence = false\nmessage_bytes = '1KiB'\n\
                    [[namespace]]\nname = 'news'\nmessages_per_second = 5\n";
        let layered = load(text, &[("history", "20")]).unwrap();
        let rules = &layered.settings.shards.rules;
        let lobby = rules.of("lobby").unwrap();
        assert_eq!((lobby.subscribe, lobby.history.size), (Subscribe::Users, 20));
        assert_eq!(lobby.history.ttl.as_secs(), 60);
        assert_eq!(lobby.slow_clients, Some(SlowClients::Drop));
        let chat = rules.of("p-chat:1").unwrap();
        assert_eq!((chat.publish, chat.history.size), (Publish::Subscribers, 1000));
        assert!(chat.recovery && !chat.presence && chat.join_leave);
        assert_eq!(chat.message_bytes, Some(1024));
        // Namespaces take nothing over from the channels without one.
        assert_eq!((chat.subscribe, chat.slow_clients), (Subscribe::Anyone, None));
        assert_eq!(rules.of("news:1").unwrap().messages_per_second, Some(5));
        assert_eq!(rules.of("other:1"), None);
        assert_eq!(layered.source(keys::find("history").unwrap()), Source::Flag);
        assert_eq!(layered.source(keys::find("subscribe").unwrap()), Source::File);
    }

    /// Files, and what is wrong with each.
    const MISTAKES: &[(&str, &str)] = &[
        (
            "[channels]\n  histry_size = 5",
            "s.toml:2:3: channels: unknown key \"histry_size\"; did you mean history_size?",
        ),
        (
            "[[namespace]]\nname = 'chat'\npublic = 'anyone'",
            "s.toml:3:1: namespace \"chat\": unknown key \"public\"; did you mean publish?",
        ),
        (
            "[[namespace]]\nname = 'chat'\nsubscribe = 'all'",
            "s.toml:3:13: namespace \"chat\": subscribe: \"all\" is none of anyone users token \
                 nobody",
        ),
        (
            "[channels]\npublish = 'all'",
            "s.toml:2:11: channels: publish: \"all\" is none of anyone users subscribers token \
                 nobody",
        ),
        (
            "[[namespace]]\nname = 'chat'\n[[namespace]]\nname = 'chat'",
            "s.toml:3:1: namespace \"chat\" stands at s.toml:1:1 already",
        ),
        (
            "[[namespace]]\nsubscribe = 'users'",
            "s.toml:1:1: a namespace needs a name, such as name = \"chat\"",
        ),
        (
            "[[namespace]]\nname = 'a:b'",
            "s.toml:2:8: \"a:b\" is not a name of a namespace: 1 to 64 of the characters \
                 a-z A-Z 0-9 - _ .",
        ),
        ("[[namespace]]\nname = 5", "s.toml:2:8: the name of a namespace is a text"),
        (
            "[[namespace]]\nname = 'a'\nhistory_size = 2\nhistory-size = 3",
            "s.toml:3:1: namespace \"a\": history-size is set twice",
        ),
        (
            "history = 5\n[channels]\nhistory_size = 5",
            "s.toml:1:1: history is set twice in this file",
        ),
        (
            "[[namespace]]\nname = 'a'\nhistory_ttl = '5p'",
            "s.toml:3:15: namespace \"a\": history-ttl: \"5p\" is not a time such as 25s, \
                 1m30s or 250ms",
        ),
        (
            "[[namespace]]\nname = 'a'\nrecovery = true",
            "s.toml:3:12: namespace \"a\": recovery needs a history: set history_size as well",
        ),
        (
            "[[namespace]]\nname = 'a'\nmessage_bytes = '1MiB'",
            "s.toml:1:1: namespace \"a\": message-bytes is 1MiB and that of the server 64KiB: \
                 the server's is the most",
        ),
        (
            "[[namespace]]\nname = 'a'\noutbox_bytes = '2KiB'",
            "s.toml:1:1: namespace \"a\": outbox-bytes is 2KiB and message-bytes 64KiB: a \
                 message must fit into an outbox",
        ),
        (
            "[[namespace]]\nname = 'a'\noutbox_bytes = '1GiB'",
            "s.toml:1:1: namespace \"a\": outbox-bytes is 1GiB and outbox-total-bytes 256MiB: \
                 one outbox must fit into all",
        ),
        (
            "[namespace]\nname = 'a'",
            "s.toml:1:1: a namespace is one of several: write [[namespace]], in two brackets",
        ),
        ("channels = 5", "s.toml:1:12: channels is a table: write [channels] above its keys"),
        (
            "namespace = [5]",
            "s.toml:1:14: a namespace is a table: write [[namespace]] above its keys",
        ),
        (
            "[[namespaces]]\nname = 'a'",
            "s.toml:1:3: unknown key \"namespaces\"; did you mean namespace?",
        ),
        (
            "[channels]\nrecovery = true",
            "[channels] has recovery without history: set its history-size as well",
        ),
        (
            "[channels]\nprivate_prefix = ':'",
            "private-prefix is \":\": a colon ends the name of a namespace",
        ),
        (
            "[channels]\nsubscribe = 1979-05-27",
            "s.toml:2:13: channels: subscribe: not a text, a number, true or false, or a list \
                 of these",
        ),
    ];

    #[test]
    fn mistakes_in_tables_stand_with_line_and_column() {
        for (text, wanted) in MISTAKES {
            assert_eq!(load(text, &[]).unwrap_err(), *wanted, "{text}");
        }
    }

    #[test]
    fn rules_in_force_read_back_as_the_same_rules() {
        let text = "[channels]\nsubscribe = 'users'\nslow_clients = 'conflate'\nhistory_size = 7\n\
                    [[namespace]]\nname = 'chat'\npublish = 'nobody'\noutbox_bytes = '128KiB'\n\
                    [[namespace]]\nname = 'x.y'\n";
        let layered = load(text, &[("private-prefix", "off")]).unwrap();
        let shown = crate::config::show::in_force(&layered);
        let again = load(&shown, &[]).unwrap_or_else(|why| panic!("{why}\n{shown}"));
        assert_eq!(again.settings.shards.rules, layered.settings.shards.rules, "{shown}");
        assert_eq!(again.settings.shards.rules.marks().private_prefix, "");
        assert!(shown.contains("history_size = 7 # file") && shown.contains("private_prefix"));
    }

    #[test]
    fn the_file_of_defaults_changes_nothing() {
        let shown = crate::config::show::default_file();
        let rules = load(&shown, &[]).unwrap().settings.shards.rules;
        assert_eq!(*rules, stentor_shards::Rules::default());
        // The same with every rule of the table uncommented.
        let (top, table) = shown.split_once("[channels]\n").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let lines: String = table
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| {
                let name = line.split(" = ").next().unwrap_or_default().replace('_', "-");
                Rule::find(&name).is_some() && !line.ends_with("\"\"")
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(lines.contains("history_size = 0"), "{lines}");
        let rules = load(&format!("{top}[channels]\n{lines}"), &[]).unwrap();
        assert_eq!(*rules.settings.shards.rules, stentor_shards::Rules::default());
    }

    #[test]
    fn a_warning_says_who_may_publish_where_others_can_listen() {
        let warnings = |text: &str| load(text, &[]).unwrap().warnings;
        assert!(warnings("").is_empty());
        let open = warnings("listen = '0.0.0.0:9001'\n[[namespace]]\nname = 'chat'");
        assert_eq!(open.len(), 1);
        let part = "ANYONE MAY PUBLISH to channels without a namespace and to those of chat";
        assert!(open[0].contains(part), "{open:?}");
        let closed = "listen = '0.0.0.0:9001'\npublish = 'nobody'\n";
        assert!(warnings(closed).is_empty());
        assert!(warnings("listen = 'unix:/run/s.sock'").is_empty());
        let many: Vec<String> = (0..9).map(|n| format!("[[namespace]]\nname = 'n{n}'\n")).collect();
        assert!(
            warnings(&format!("{closed}{}", many.concat()))[0]
                .contains("of n0, n1, n2, n3, n4 and 4 more")
        );
    }
}
