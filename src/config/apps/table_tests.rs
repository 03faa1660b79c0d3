//! Tests of the tables of apps: what they say, and where each fault of theirs stands.

use std::collections::BTreeMap;
use std::fs;

use stentor_shards::Origins;

use super::*;
use crate::config::{Invalid, show};

fn load(text: &str, flags: &[(&'static str, &str)]) -> Result<Layered, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let prefix = format!("{}/", folder.path().display());
    fs::write(folder.path().join("secret"), "of a file\n").unwrap();
    fs::write(&path, text.replace("FOLDER/", &prefix)).unwrap();
    let flags: BTreeMap<_, _> =
        flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let loaded = Layered::load(Some(&path), std::iter::empty(), &flags);
    loaded.map_err(|Invalid(why)| why.replace(&prefix, ""))
}

const ONE: &str = "[[app]]\nid = 1\nkey = 'k'\nsecret = 'hunter2'\n";

#[test]
fn tables_and_flags_become_apps() {
    let text = "[[namespace]]\nname = 'shop'\nhistory_size = 3\n\
                [[app]]\nid = 1\nkey = 'k1'\nsecret = 's:1'\nnamespace = 'shop'\n\
                client_events = false\nmax-clients = '10k'\nevent_bytes = '20KiB'\n\
                allowed_origins = ['https://a.example']\nsignature_window = '30s'\n\
                [[app]]\nid = 'two'\nkey = 'k2'\nsecret_file = 'FOLDER/secret'\nenabled = false\n";
    let layered = load(text, &[("pusher-app", "3:k3:a:b 4:k4:c")]).unwrap();
    let rules = &layered.settings.shards.rules;
    let one = rules.app("1").unwrap();
    assert_eq!((&*one.key, &*one.namespace, one.client_events), ("k1", "shop", false));
    assert_eq!((one.limits.clients, one.limits.event_bytes), (10_000, 20 << 10));
    assert!(matches!(one.origins, Some(Origins::Listed(_))) && one.enabled);
    assert_eq!((one.signature_window.as_secs(), &one.secret), (30, &Secret::new("s:1")));
    assert_eq!(rules.of("shop:a").unwrap().history.size, 3);
    let two = rules.app_of_key("k2").unwrap();
    assert_eq!((&*two.namespace, two.enabled), ("app-two", false));
    assert_eq!(two.secret, Secret::new("of a file"));
    assert_eq!(rules.app("3").unwrap().secret, Secret::new("a:b"), "it may hold colons");
    assert_eq!(rules.apps().len(), 4);
}

#[test]
fn apps_are_shown_without_their_secrets_and_read_back() {
    let text = format!(
        "{ONE}allowed_origins = '*'\n\
                        [[app]]\nid = 2\nkey = 'k2'\nsecret_file = 'FOLDER/secret'\n\
                        [[app.webhook]]\nurl = 'http://h/x'\nheaders = 'X-A: hunter4'\n\
                        channel_prefix = 'a'\nevents = ['client_event']\n"
    );
    let layered = load(&text, &[("pusher-app", "3:k3:hunter3")]).unwrap();
    let shown = show::in_force(&layered) + &show::environment(&layered);
    assert!(shown.contains("id = \"1\"") && shown.contains("secret = \"***\""), "{shown}");
    assert!(shown.contains("pusher_app = \"3:k3:***\" # flag"), "{shown}");
    assert!(shown.contains("STENTOR_PUSHER_APP=3:k3:***") && shown.contains("secret_file = "));
    assert!(shown.contains("url = \"http://h/x\"\nevents = \"client_event\"\n"), "{shown}");
    assert!(shown.contains("headers = \"x-a: ***\""), "{shown}");
    let news = layered.settings.shards.rules.app("2").unwrap().news;
    assert!(news.client_events && !news.channels && !news.members);
    assert!(!shown.contains("hunter") && !shown.contains("of a file"), "{shown}");
    let debug = format!("{layered:?}");
    assert!(!debug.contains("hunter") && !debug.contains("of a file"), "{debug}");
    let defaults = show::default_file();
    assert!(APP_KEYS.iter().all(|key| defaults.contains(&key.name.replace('-', "_"))));
    // Without its marks the example is an app.
    let example: String = defaults
        .split("# [[app]]\n")
        .nth(1)
        .unwrap()
        .split("[[app.webhook]]")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
        .fold("[[app]]\n".to_owned(), |text, line| text + line + "\n");
    let layered = load(&example, &[]).unwrap_or_else(|why| panic!("{why} in\n{example}"));
    let app = layered.settings.shards.rules.app("1").unwrap();
    assert_eq!(**app, App::new("1", "app-key", "app-secret"), "all is at its default");
}

/// Files, and the fault of each.
const MISTAKES: &[(&str, &str)] = &[
    ("[app]\nid = 1", "s.toml:1:1: an app is one of several: write [[app]], in two brackets"),
    ("app = [5]", "s.toml:1:8: an app is a table: write [[app]] above its keys"),
    ("[[apps]]\nid = 1", "s.toml:1:3: unknown key \"apps\"; did you mean app?"),
    ("[[app]]\nkey = 'k'", "s.toml:1:1: an app needs id, such as id = \"1\""),
    ("[[app]]\nid = 1", "s.toml:1:1: an app needs key, such as key = \"app-key\""),
    ("[[app]]\nid = 1\nkey = 'k'", "s.toml:1:1: app \"1\": it needs secret or secret_file"),
    (
        "[[app]]\nid = 'a:b'",
        "s.toml:2:6: app: id: \"a:b\" is not an id or a key of an app: 1 to 60 of the characters \
         a-z A-Z 0-9 - _ .",
    ),
    ("[[app]]\nid = []", "s.toml:2:6: app: id: not a text"),
    ("[[app]]\nid = 1\nkey = 'k'\nsecret = ''", "s.toml:4:10: app \"1\": the secret is empty"),
    ("[[app]]\nid = 1\nkey = 'k'\nsecret = 5", "s.toml:4:10: app \"1\": secret is not a text"),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nsecret_file = 'x'",
        "s.toml:5:15: app \"1\": secret and secret_file are both set: leave one out",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret_file = '/nowhere/s'",
        "s.toml:4:15: app \"1\": secret-file: /nowhere/s: No such file or directory (os error 2)",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nclient_event = true",
        "s.toml:5:1: app \"1\": unknown key \"client_event\"; did you mean client_events?",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nenabled = 'maybe'",
        "s.toml:5:11: app \"1\": enabled: \"maybe\" is neither true nor false",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nevent_bytes = 5\nevent-bytes = 6",
        "s.toml:6:1: app: event-bytes is set twice",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nevent_bytes = '1MiB'",
        "s.toml:1:1: app \"1\": event-bytes is 1MiB and message-bytes 64KiB: the server's is the \
         most",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nnamespace = 'shop'",
        "s.toml:1:1: app \"1\": namespace \"shop\" is not declared: add [[namespace]] with name = \
         \"shop\"",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app]]\nid = 2\nkey = 'k'\nsecret = 's'",
        "s.toml:5:1: app \"2\" has the key of app \"1\" at s.toml:1:1",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nwebhook = 'http://h'",
        "s.toml:5:11: app \"1\": a webhook is one of several: write [[app.webhook]]",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app.webhook]]\nevents = 'cache_miss'",
        "s.toml:5:1: app \"1\": a webhook needs url",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app.webhook]]\nurl = 'http://u:p@h'",
        "s.toml:6:7: app \"1\": webhook: url: the URL holds a user or a password, which would be \
         shown: use headers",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app.webhook]]\nurl = 'http://h'\n\
         events = ['cache_miss', 'vacated']",
        "s.toml:7:10: app \"1\": webhook: events: \"vacated\" is none of channel_occupied \
         channel_vacated member_added member_removed cache_miss client_event subscription_count",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app.webhook]]\nurl = 'http://h'\n\
         events = 'subscription_count'",
        "s.toml:1:1: app \"1\": a webhook is told subscription_count, which the app does not \
         count: set subscription_count = true",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n[[app.webhook]]\nurls = 'http://h'",
        "s.toml:6:1: app \"1\": webhook: unknown key \"urls\"; did you mean url?",
    ),
    (
        "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\nallowed_origins = 'wss://a'",
        "s.toml:5:19: app \"1\": allowed-origins: \"wss://a\" never matches: the origin of a page \
         is https://a",
    ),
];

#[test]
fn mistakes_in_apps_stand_with_their_place() {
    for (text, wanted) in MISTAKES {
        let why = load(text, &[]).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert_eq!(why, *wanted, "{text}");
    }
}

#[test]
fn mistakes_in_the_flag_do_not_quote_the_secret() {
    for (flag, part) in [
        ("1:hunter2", "an app is ID:KEY:SECRET"),
        ("1:k:", "the secret is empty"),
        ("a b:c:hunter2", "an app is ID:KEY:SECRET"),
        ("a/b:c:hunter2", "\"a/b\" is not an id"),
        ("1:k:s 1:k2:hunter2", "two apps have the id \"1\""),
    ] {
        let why = load("", &[("pusher-app", flag)]).unwrap_err();
        assert!(why.contains(part) && !why.contains("hunter2"), "{why}");
    }
    let why = load(ONE, &[("pusher-app", "2:k:s")]).unwrap_err();
    assert_eq!(why, "two apps have the key \"k\"");
    // The defaults of an app fit a server of any size.
    let layered = load("message_bytes = '1KiB'", &[("pusher-app", "2:k:s")]).unwrap();
    assert_eq!(layered.settings.shards.rules.app("2").unwrap().limits.event_bytes, 1024);
}
