//! Keys in texts and files, and the errors that name their setting.

use super::*;

#[test]
fn a_key_set_is_a_file_or_a_url_that_nobody_can_change_on_the_way() {
    let url = |text: &str| Jwks::Url(text.parse().unwrap());
    for text in [
        "https://id.example/jwks.json",
        "http://127.0.0.1:8000/jwks",
        "http://localhost/jwks",
        "http://[::1]:80/",
    ] {
        assert_eq!(jwks(text), Ok(url(text)), "{text}");
    }
    assert_eq!(jwks("/etc/keys.json"), Ok(Jwks::File("/etc/keys.json".into())));
    for (text, why) in [
        ("", "it is empty"),
        ("http://id.example/jwks", "http is for this host only"),
        ("ftp://id.example/jwks", "the scheme is https"),
        ("https://", "it is not a URL"),
        ("https://ana:secret@id.example/", "a user or a password"),
    ] {
        let found = jwks(text).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn keys_come_from_texts_and_files_with_their_setting_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let vectors = include_str!("../auth/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let pem = vectors["tokens"][6]["pem"].as_str().unwrap();
    let set = serde_json::json!({ "keys": [vectors["tokens"][6]["jwk"]] });
    std::fs::write(path("key.pem"), pem).unwrap();
    std::fs::write(path("jwks.json"), set.to_string()).unwrap();
    std::fs::write(path("secret"), "s\n").unwrap();
    let mut tokens = Tokens {
        hmac_secret_file: Some(path("secret")),
        public_key: Some(path("key.pem").display().to_string()),
        jwks: Some(Jwks::File(path("jwks.json"))),
        ..Tokens::default()
    };
    let warning = tokens.complete().unwrap();
    assert!(warning.is_some_and(|text| text.contains("shorter than 32 bytes")));
    assert_eq!((tokens.hmac_secret.as_deref(), tokens.keys().unwrap().len()), (Some("s"), 3));
    assert!(tokens.complete().unwrap_err().contains("are both set"));
    for (public_key, jwks, why) in [
        (Some("/nowhere.pem".to_owned()), None, "token-public-key: /nowhere.pem: No such"),
        (Some("-----BEGIN x".to_owned()), None, "token-public-key: this is not PEM"),
        (None, Some("/dev/zero"), "token-jwks: /dev/zero: it is longer than"),
        (None, Some("/dev/null"), "token-jwks: /dev/null: this is no key set"),
    ] {
        let jwks = jwks.map(|path| Jwks::File(path.into()));
        let mut tokens = Tokens { public_key, jwks, ..Tokens::default() };
        let found = tokens.complete().unwrap_err();
        assert!(found.starts_with(why), "{found}");
    }
    let one_line = pem.trim_end().replace('\n', "\\n");
    let mut tokens = Tokens { public_key: Some(one_line), ..Tokens::default() };
    assert_eq!(tokens.complete(), Ok(None));
}

#[test]
fn the_query_of_a_key_set_is_shown_nowhere() {
    let shown = |text: &str| without_query(&text.parse().unwrap());
    assert_eq!(shown("https://id.example/jwks?key=hidden"), "https://id.example/jwks?***");
    assert_eq!(shown("https://id.example/jwks"), "https://id.example/jwks");
    let mut settings = crate::config::Settings::default();
    let key = KEYS.iter().find(|key| key.name == "token-jwks").unwrap();
    (key.set)(&mut settings, "https://id.example/jwks?key=hidden").unwrap();
    assert_eq!((key.get)(&settings), "https://id.example/jwks?***");
    assert!(jwks("https:// /?key=hidden").is_err_and(|why| !why.contains("hidden")));
}
