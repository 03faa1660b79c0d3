//! Settings of soketi become a file that loads, and no key is dropped in silence.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::config::Layered;

const WHOLE: &str = r#"{
  "host": "127.0.0.1", "port": 6005, "pathPrefix": "/live", "debug": true,
  "appManager.driver": "array",
  "appManager.array.apps": [
    {"id": "one", "key": "k1", "secret": "hunter2", "maxConnections": "500",
      "enableClientMessages": true, "maxClientEventsPerSecond": 30, "maxBackendEventsPerSecond": 5,
      "enableUserAuthentication": true,
      "webhooks": [
        {"url": "http://127.0.0.1:3000/hook", "event_types": ["channel_occupied", "cache_missed"],
          "filter": {"channel_name_starts_with": "presence-"}, "headers": {"X-A": "b"}},
        {"lambda_function": "f", "event_types": ["client_event"]}]},
    {"AppId": "two", "AppKey": "k2", "AppSecret": "hunter3", "Enabled": false,
      "max_client_events_per_sec": -1, "webhooks": "[]", "unheard": 1}],
  "channelLimits": {"maxNameLength": 150},
  "eventLimits": {"maxChannelsAtOnce": 50, "maxNameLength": 100, "maxPayloadInKb": 20,
    "maxBatchSize": 5},
  "presence": {"maxMembersPerChannel": 20, "maxMemberSizeInKb": 4},
  "metrics": {"enabled": true, "port": 9601, "driver": "prometheus"},
  "adapter": {"driver": "redis"}, "database": {"redis": {"password": "hunter4"}},
  "shutdownGracePeriod": 3000, "ssl": {"certPath": "/x"}
}"#;

fn load(translated: &Translated) -> Layered {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stentor.toml");
    fs::write(&path, &translated.file).unwrap();
    let layered = Layered::load(Some(&path), std::iter::empty(), &BTreeMap::new());
    layered.unwrap_or_else(|why| panic!("{why}\n{}", translated.file))
}

#[test]
fn a_whole_configuration_becomes_apps_that_load() {
    let translated = translate_value(&serde_json::from_str(WHOLE).unwrap());
    let layered = load(&translated);
    let settings = &layered.settings;
    assert_eq!(settings.shards.listen.to_string(), "127.0.0.1:6005");
    assert_eq!(&*settings.shards.path_prefix, "/live");
    assert_eq!(settings.admin.unwrap().to_string(), "127.0.0.1:9601");
    let rules = &settings.shards.rules;
    let one = rules.app("one").unwrap();
    assert!(one.client_events && one.enabled && one.news.channels && !one.news.client_events);
    let limits = &one.limits;
    assert_eq!((limits.clients, limits.client_events_per_second), (500, 30));
    assert_eq!((limits.event_bytes, limits.event_name_bytes), (20 << 10, 100));
    assert_eq!((limits.channel_name_bytes, limits.channels_per_event), (150, 50));
    assert_eq!((limits.events_per_batch, limits.presence_members), (5, 20));
    assert_eq!(limits.presence_member_bytes, 4 << 10);
    let webhook = &settings.apps.declared[0].webhooks[0];
    assert_eq!(
        (webhook.events.as_slice(), &*webhook.channel_prefix),
        (&["channel_occupied"][..], "presence-")
    );
    let two = rules.app_of_key("k2").unwrap();
    assert!(!two.enabled && !two.client_events && &*two.id == "two");
    let Translated { notes, .. } = translated;
    for key in [
        "metrics.enabled",
        "metrics.driver",
        "adapter.driver",
        "database.redis.password",
        "ssl.certPath",
        "[channels]",
        "appManager.array.apps[0].maxBackendEventsPerSecond",
        "appManager.array.apps[0].webhooks[0].event_types",
        "appManager.array.apps[0].webhooks[1]",
        "appManager.array.apps[0].webhooks[1].lambda_function",
        "appManager.array.apps[1].unheard",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(&format!("{key}:"))), "{key}: {notes:#?}");
    }
    assert_eq!(notes.len(), 11, "{notes:#?}");
    assert!(notes.iter().all(|note| !note.contains("hunter")), "{notes:?}");
}

#[test]
fn variables_are_read_from_a_file_and_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let text = "# soketi\nSOKETI_PORT=6002\nexport SOKETI_DEFAULT_APP_ID=shop\n\
                DEFAULT_APP_KEY='k'\nSOKETI_DEFAULT_APP_SECRET=\"s = 5\"\n\
                SOKETI_DEFAULT_APP_WEBHOOKS='[{\"url\":\"http://h/x\",\"event_types\":[]}]'\n\
                SOKETI_HOST=127.0.0.1\nSOKETI_DB_REDIS_HOST=r\nDEFAULT_APP_ENABLED=0\n";
    fs::write(&path, text).unwrap();
    let translated = translate(Some(&path), std::iter::empty()).unwrap();
    let layered = load(&translated);
    let app = layered.settings.shards.rules.app("shop").unwrap();
    assert_eq!((&*app.key, &app.secret), ("k", &stentor_shards::Secret::new("s = 5")));
    assert_eq!(app.limits.event_bytes, 100 << 10, "its default, not ours");
    assert!(!app.enabled);
    assert_eq!(layered.settings.shards.listen.port(), 6002);
    assert_eq!(layered.settings.apps.declared[0].webhooks.len(), 1);
    assert!(translated.notes.iter().any(|note| note.starts_with("SOKETI_DB_REDIS_HOST:")));

    let environment = [("SOKETI_PORT", "6003"), ("PORT", "1"), ("SOKETI_HOST", "127.0.0.1")];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let translated = translate(None, environment.into_iter()).unwrap();
    let layered = load(&translated);
    assert_eq!(layered.settings.shards.listen.port(), 6003);
    assert!(layered.settings.apps.declared.is_empty(), "its own app has a secret known to all");
    assert!(translated.notes.iter().any(|note| note.contains("known to all")));
}

#[test]
fn names_and_secrets_are_taken_as_they_are_written() {
    for secret in ["12345678901234567890123", "7e10", "true", "null", "0x1", "\"a"] {
        let variables = [("ID", "7"), ("KEY", "1e5"), ("SECRET", secret)];
        let variables = variables.map(|(name, value)| {
            (format!("SOKETI_DEFAULT_APP_{name}").into(), OsString::from(value))
        });
        let layered = load(&translate(None, variables.into_iter()).unwrap());
        let app = layered.settings.shards.rules.app("7").unwrap();
        assert_eq!((&*app.key, &app.secret), ("1e5", &stentor_shards::Secret::new(secret)));
    }
}

#[test]
fn an_app_without_a_secret_gets_none() {
    for secret in ["", r#","secret":"""#, r#","secret":null"#, r#","secret":true"#]
        .into_iter()
        .chain([r#","secret":7e10"#, r#","secret":12345678901234567890123"#, r#","secrit":"x""#])
    {
        let text = format!(r#"{{"appManager.array.apps":[{{"id":"a","key":"k"{secret}}}]}}"#);
        let translated = translate_value(&serde_json::from_str(&text).unwrap());
        let note = "appManager.array.apps[0].secret: ";
        assert!(translated.notes.iter().any(|one| one.starts_with(note)), "{secret}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stentor.toml");
        fs::write(&path, &translated.file).unwrap();
        let why = Layered::load(Some(&path), std::iter::empty(), &BTreeMap::new()).unwrap_err();
        assert!(why.to_string().contains("needs secret"), "{secret}: {why}");
    }
}

#[test]
fn sizes_that_are_none_are_noted_and_fractions_are_rounded_up() {
    for (kib, bytes) in
        [("0.5", Some(512)), ("\"2\"", Some(2048)), ("9007199254740993000", None), ("-1", None)]
    {
        let text = format!(
            r#"{{"eventLimits.maxPayloadInKb":{kib},
                 "appManager.array.apps":[{{"id":"a","key":"k","secret":"s"}}]}}"#
        );
        let translated = translate_value(&serde_json::from_str(&text).unwrap());
        let app = load(&translated).settings.shards.rules.app("a").unwrap().clone();
        assert_eq!(app.limits.event_bytes, bytes.unwrap_or(100 << 10), "{kib}");
        let is_noted = translated.notes.iter().any(|one| one.starts_with("eventLimits.max"));
        assert_eq!(is_noted, bytes.is_none(), "{kib}");
    }
}

#[test]
fn a_file_that_is_none_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    for (text, part) in [("{", "x.json: EOF"), ("[]", "x.json: it is not an object")] {
        fs::write(&path, text).unwrap();
        let why = translate(Some(&path), std::iter::empty()).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    let nowhere = translate(Some(Path::new("/nowhere/.env")), std::iter::empty()).unwrap_err();
    assert!(nowhere.starts_with("/nowhere/.env: No such file"), "{nowhere}");
}
