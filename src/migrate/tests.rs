//! A configuration with every section becomes one that loads, and no key is dropped in silence.

use std::collections::BTreeMap;

use super::*;
use crate::config::Layered;

/// A configuration with something in every section.
const WHOLE: &str = r#"{
  "http_server": {"address": "127.0.0.1", "port": 8100, "internal_port": "9100",
    "internal_address": "127.0.0.1", "tls": {"enabled": true, "cert_pem": "chain.pem",
      "key_pem": "key.pem", "client_ca_pem": "ca.pem"}},
  "log": {"level": "debug", "file": "/tmp/x"},
  "engine": {"type": "redis", "redis": {"address": "redis://localhost:6379"}},
  "client": {
    "allowed_origins": ["https://example.com", "https://*.example.org"],
    "token": {"hmac_secret_key": "a secret that is long enough for all of this",
      "audience": "chat", "audience_regex": "^a", "user_id_claim": "uid"},
    "ping_interval": "20s", "pong_timeout": "6s", "channel_limit": 64,
    "queue_max_size": 2097152, "user_connection_limit": 5, "stale_close_delay": "7s",
    "history_max_publication_limit": 100,
    "subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "chat"},
    "proxy": {
      "connect": {"enabled": true, "endpoint": "http://127.0.0.1:3000/connect", "timeout": "2s",
        "http_headers": ["Cookie"], "include_connection_meta": true,
        "http": {"static_headers": {"X-Key": "k"}, "status_to_code_transforms": [
          {"status_code": 404, "to_error": {"code": 404}}]}},
      "refresh": {"enabled": true, "endpoint": "grpc://127.0.0.1:3001"}
    }
  },
  "channel": {
    "max_length": 200, "user_boundary": "@", "private_prefix": "",
    "proxy": {"subscribe": {"endpoint": "http://127.0.0.1:3000/subscribe"},
      "sub_refresh": {"endpoint": "http://127.0.0.1:3000/sub_refresh"},
      "publish": {"endpoint": "http://127.0.0.1:3000/publish", "timeout": "3s"}},
    "without_namespace": {"presence": true, "history_size": 10, "history_ttl": "300s",
      "force_recovery": true, "allow_subscribe_for_client": true, "allow_presence_for_client": true,
      "allow_history_for_subscriber": true},
    "namespaces": [
      {"name": "chat", "subscribe_proxy_enabled": true, "publish_proxy_enabled": true,
        "join_leave": true, "force_push_join_leave": true, "channel_regex": "^x"},
      {"name": "news", "subscribe_proxy_enabled": true, "subscribe_proxy_name": "other",
        "sub_refresh_proxy_enabled": true,
        "allow_publish_for_subscriber": true, "allow_user_limited_channels": true},
      {"name": "docs", "subscription_type": "map", "map": {"mode": "ephemeral"},
        "subscribe_proxy_enabled": true, "subscribe_proxy_name": "missing"}
    ]
  },
  "rpc": {"proxy": {"endpoint": "http://127.0.0.1:3000/rpc"},
    "without_namespace": {"proxy_enabled": true}},
  "proxies": [{"name": "other", "endpoint": "http://127.0.0.1:3000/other"}],
  "http_api": {"key": "api-secret"},
  "grpc_api": {"enabled": true},
  "admin": {"enabled": true, "password": "p"},
  "prometheus": {"enabled": true}, "health": {"enabled": true},
  "websocket": {"message_size_limit": 32768, "write_timeout": "2s", "compression": true},
  "shutdown": {"timeout": "12s"},
  "unheard_of": {"key": 1}
}"#;

/// Translates, and loads the outcome as the server would.
fn loaded(text: &str) -> (Layered, String, Vec<String>) {
    let Translated { file, notes } = translate_text(text, "json").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stentor.toml");
    fs::write(&path, &file).unwrap();
    let layered = Layered::load(Some(&path), std::iter::empty(), &BTreeMap::new());
    (layered.unwrap_or_else(|why| panic!("{why}\n{file}")), file, notes)
}

#[test]
fn a_whole_configuration_becomes_one_that_loads() {
    let (layered, file, notes) = loaded(WHOLE);
    for line in [
        "listen = \"127.0.0.1:8100\"",
        "admin = \"127.0.0.1:9100\"",
        "allowed_origins = [\"https://example.com\", \"https://*.example.org\"]",
        "on_duplicate_user = \"allow\"",
        "personal_channel = \"chat:@\"",
        "tls_cert = \"chain.pem\"",
        "tls_key = \"key.pem\"",
        "ping_interval = \"20s\"",
        "channels_per_client = 64",
        "outbox_bytes = 2097152",
        "message_bytes = 32768",
        "compression = \"on\"",
        "name_bytes = 200",
        "hook_connect = \"http://127.0.0.1:3000/connect\"",
        "hook_sub_refresh = \"http://127.0.0.1:3000/sub_refresh\"",
        "sub_refresh_hook = \"on\"",
        "hook_rpc = \"http://127.0.0.1:3000/rpc\"",
        "hook_timeout = \"3s\"",
        "hook_headers = [\"Cookie\"]",
        "hook_static_headers = \"X-Key: k\"",
        "hook_meta = true",
        "token_user_claim = \"uid\"",
        "api_key = \"api-secret\"",
        "drain_timeout = \"12s\"",
        "user_boundary = \"@\"",
        "private_prefix = \"off\"",
        "subscribe_hook = \"http://127.0.0.1:3000/other\"",
    ] {
        assert!(file.lines().any(|found| found == line), "{line} in\n{file}");
    }
    let rules = &layered.settings.shards.rules;
    assert!(rules.of("lobby").unwrap().recovery && rules.hooks().connect && rules.hooks().call);
    assert!(rules.of("chat:1").unwrap().subscribe_hook.is_on());
    assert!(!file.contains("require_user"), "the backend may let anonymous clients in");
    for key in [
        "http_server.tls",
        "http_server.tls.client_ca_pem",
        "log.file",
        "engine.type",
        "engine.redis.address",
        "client.token.audience_regex",
        "client.user_connection_limit",
        "client.history_max_publication_limit",
        "client.proxy.connect.http.status_to_code_transforms[0].status_code",
        "client.proxy.refresh.endpoint",
        "channel.namespaces[0].force_push_join_leave",
        "channel.namespaces[0].channel_regex",
        "channel.namespaces[2].subscription_type",
        "channel.namespaces[2].map.mode",
        "channel.namespaces[2].subscribe_proxy_name",
        "grpc_api.enabled",
        "admin.enabled",
        "admin.password",
        "unheard_of.key",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(&format!("{key}:"))), "{key}: {notes:#?}");
    }
    assert!(notes.iter().all(|note| !note.contains('\n') && !note.contains("api-secret")));
}

#[test]
fn certificates_are_files_and_those_of_the_api_belong_to_its_own_address() {
    let translated = |text: &str| {
        let Translated { file, notes } = translate_text(text, "json").unwrap();
        (file, notes.join("\n"))
    };
    let internal = r#""internal_tls": {"enabled": true, "cert_pem": "a.pem", "key_pem": "b.pem"}"#;
    let own = r#"{"http_server": {"internal_port": 9000, INTERNAL}, "http_api": {"key": "k"}}"#;
    let (file, _) = translated(&own.replace("INTERNAL", internal));
    assert!(file.contains("admin_tls_cert = \"a.pem\"\n"), "{file}");
    assert!(file.contains("admin_tls_key = \"b.pem\"\n") && !file.contains("\ntls_"), "{file}");
    let (file, notes) = translated(&format!(r#"{{"http_server": {{{internal}}}}}"#));
    assert!(!file.contains("tls_cert") && notes.contains("internal_tls.cert_pem:"), "{notes}");
    for pem in ["-----BEGIN CERTIFICATE-----", "LS0tLS1CRUdJTiBDRVJU"] {
        let (file, notes) = translated(&format!(
            r#"{{"http_server": {{"tls": {{"enabled": true, "cert_pem": "{pem}"}}}}}}"#
        ));
        assert!(!file.contains(pem), "{file}");
        assert!(notes.contains("tls.cert_pem: put it into a file, and set tls_cert"), "{notes}");
    }
    let (file, notes) = translated(r#"{"http_server": {"tls": {"enabled": false}}}"#);
    assert!(!file.contains("tls") && !notes.contains("tls"), "{file}{notes}");
}

/// Each key of a configuration is either translated or named.
#[test]
fn no_key_is_dropped_in_silence() {
    let whole: Value = serde_json::from_str(WHOLE).unwrap();
    for section in whole.as_object().unwrap().keys() {
        let alone = serde_json::json!({ section: whole[section].clone() }).to_string();
        let (_, file, notes) = loaded(&alone);
        assert!(file.contains("listen = "), "{section}");
        assert!(!notes.is_empty(), "{section}: the address of the API differs at least");
    }
    let (_, _, notes) = loaded(r#"{"a":{"b":[1,2],"c":[{"d":null}]},"e":""}"#);
    for key in ["a.b:", "a.c[0].d:", "e:"] {
        assert!(notes.iter().any(|note| note.starts_with(key)), "{key} {notes:?}");
    }
}

#[test]
fn access_is_translated_as_it_is_meant() {
    let rules = |options: &str| {
        let text = format!(r#"{{"channel":{{"namespaces":[{{"name":"x",{options}}}]}}}}"#);
        let (layered, _, _) = loaded(&text);
        let rules = layered.settings.shards.rules.of("x:1").unwrap().clone();
        format!("{:?} {:?}", rules.subscribe, rules.publish)
    };
    for (options, expected) in [
        (r#""presence":true"#, "Token Nobody"),
        (r#""allow_subscribe_for_client":true"#, "Users Nobody"),
        (
            r#""allow_subscribe_for_client":true,"allow_subscribe_for_anonymous":true"#,
            "Anyone Nobody",
        ),
        (r#""allow_publish_for_client":true"#, "Token Users"),
        (r#""allow_publish_for_client":true,"allow_publish_for_anonymous":true"#, "Token Anyone"),
        (r#""allow_publish_for_subscriber":true"#, "Token Subscribers"),
    ] {
        assert_eq!(rules(options), expected, "{options}");
    }
    let (layered, _, _) = loaded(
        r#"{"client":{"insecure":true},"channel":{"namespaces":[{"name":"x",
            "allow_subscribe_for_client":true,"allow_publish_for_subscriber":true}]}}"#,
    );
    for channel in ["lobby", "x:1"] {
        let rules = layered.settings.shards.rules.of(channel).unwrap();
        assert_eq!(format!("{:?} {:?}", rules.subscribe, rules.publish), "Anyone Anyone");
    }
    assert!(!layered.settings.shards.require_user);
    assert!(loaded("{}").0.settings.shards.require_user, "a token is needed there");
}

#[test]
fn values_that_are_none_here_are_named_and_left_out() {
    let text = r#"{"client":{"ping_interval":"-1","pong_timeout":"soon","allowed_origins":["a b"],
        "token":{"jwks_public_endpoint":"http://example.org/jwks"}},"log":{"level":"none"},
        "http_server":{"internal_port":"9000"}}"#;
    let (layered, file, notes) = loaded(text);
    assert!(layered.settings.shards.ping_interval.is_zero(), "{file}");
    assert!(file.contains("log_level = \"error\"") && file.contains("admin = \"127.0.0.1:9000\""));
    for key in [
        "client.pong_timeout",
        "client.allowed_origins",
        "client.token.jwks_public_endpoint",
        "log.level",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(key)), "{key} {notes:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_in_one_line() {
    for (text, kind, part) in [
        ("", "json", "EOF"),
        ("[]", "json", "not an object"),
        ("a: 1", "yaml", "YAML"),
        ("= 1", "toml", ""),
    ] {
        let why = translate_text(text, kind).unwrap_err();
        assert!(why.contains(part) && !why.contains('\n'), "{why}");
    }
    assert!(translate(Path::new("/nowhere/config.json")).is_err());
    let toml = "[client]\nping_interval = '9s'\n";
    assert!(translate_text(toml, "toml").unwrap().file.contains("ping_interval = \"9s\""));
}

#[test]
fn the_api_is_where_it_was() {
    let key = r#""key":"api-secret""#;
    let apart = r#""http_server":{"internal_port":9000}"#;
    for (text, is_public) in [
        (format!(r#"{{"http_api":{{{key}}}}}"#), true),
        (format!(r#"{{"http_api":{{{key}}},{apart}}}"#), false),
        (format!(r#"{{"http_api":{{{key},"external":true}},{apart}}}"#), true),
        (format!(r#"{{"http_api":{{{key},"disabled":true}}}}"#), false),
    ] {
        let (layered, file, notes) = loaded(&text);
        assert_eq!(layered.settings.public_api, is_public, "{text}\n{file}");
        assert!(!notes.iter().any(|note| note.starts_with("http_api:")), "{notes:?}");
    }
    let (layered, _, notes) = loaded("{}");
    assert!(!layered.settings.public_api, "without a key it would not start");
    assert!(notes.iter().any(|note| note.starts_with("http_api:")), "{notes:?}");
}

#[test]
fn differences_are_allowed_where_they_were() {
    use stentor_shards::Delta;
    for (options, delta, noted) in [
        ("", Delta::Off, None),
        (r#","allowed_delta_types":["fossil"],"delta_publish":true"#, Delta::Fossil, None),
        (r#","allowed_delta_types":["fossil"]"#, Delta::Fossil, Some("delta_publish:")),
        (r#","delta_publish":true"#, Delta::Off, Some("delta_publish:")),
        (r#","allowed_delta_types":["other"]"#, Delta::Off, Some("allowed_delta_types:")),
    ] {
        let text = format!(r#"{{"channel":{{"namespaces":[{{"name":"x"{options}}}]}}}}"#);
        let (layered, file, notes) = loaded(&text);
        assert_eq!(layered.settings.shards.rules.of("x:1").unwrap().delta, delta, "{file}");
        let about: Vec<_> = notes.iter().filter(|note| note.contains("delta")).collect();
        assert_eq!(about.len(), usize::from(noted.is_some()), "{options}: {about:?}");
        assert!(noted.is_none_or(|part| about[0].contains(part)), "{about:?}");
    }
}

#[test]
fn streams_are_served_whatever_is_said() {
    let text = r#"{"sse":{"enabled":true,"handler_prefix":"/connection/sse"},
        "http_stream":{"enabled":true,"max_request_body_size":65536},
        "emulation":{"handler_prefix":"/emulation"}, "uni_websocket":{"enabled":true}}"#;
    let (_, _, notes) = loaded(text);
    assert!(!notes.iter().any(|note| note.contains("sse") || note.contains("stream")), "{notes:?}");
    let other = r#"{"sse":{"enabled":false},"uni_sse":{"handler_prefix":"/x"},
        "http_stream":{"max_request_body_size":10},"uni_http_stream":{"pong_timeout":"1s"}}"#;
    let (_, _, notes) = loaded(other);
    for key in [
        "sse.enabled:",
        "uni_sse.handler_prefix:",
        "http_stream.max_request_body_size:",
        "uni_http_stream.pong_timeout: no counterpart",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(key)), "{key} {notes:?}");
    }
}
