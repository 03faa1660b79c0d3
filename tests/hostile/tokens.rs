//! Floods of tokens, valid and not: a signature costs the server more than anything else that a
//! stranger may ask for.

use serde_json::Value;

use crate::floods::{ATTACKERS, EACH_BYTES, Flood, Kind, storm_of_connects};
use crate::raw::{head, json, status, text};
use crate::siege::Siege;

/// The key and the valid token of an algorithm, among the vectors of the tests of tokens.
fn vector(algorithm: &str) -> Value {
    let vectors: Value = serde_json::from_str(include_str!("../../src/auth/vectors.json")).unwrap();
    let tokens = vectors["tokens"].as_array().unwrap();
    tokens.iter().find(|vector| vector["algorithm"] == algorithm).unwrap().clone()
}

/// The same claims under a signature that is as long, and wrong.
pub(crate) fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    format!("{message}.{}", signature.chars().rev().collect::<String>())
}

/// A server that knows the key of the dearest signatures and ends nobody for errors, with a valid
/// token.
pub(crate) fn siege_of_es256() -> (Siege, String) {
    let vector = vector("ES256");
    let (pem, token) = (vector["pem"].as_str().unwrap(), vector["token"].as_str().unwrap());
    let flags = ["--token-public-key", pem, "--user-from", "url", "--on-duplicate-user", "allow"];
    let siege = Siege::begin(&[&flags[..], &["--errors-max", "65536"]].concat());
    (siege, token.to_owned())
}

#[test]
fn floods_of_tokens_are_not_felt_by_others() {
    for (algorithm, flag, key) in
        [("HS256", "--token-hmac-secret", "secret"), ("ES256", "--token-public-key", "pem")]
    {
        let vector = vector(algorithm);
        let token = vector["token"].as_str().unwrap();
        let key = vector[key].as_str().unwrap();
        let siege =
            Siege::begin(&[flag, key, "--user-from", "url", "--on-duplicate-user", "allow"]);
        let [valid, forged] = [token.to_owned(), forged(token)]
            .map(|token| head(&format!("/ws?channel=flood&token={token}"), ""));
        let name = format!("tokens of {algorithm}, valid and forged");
        siege.withstand(&name, 512 * (16 << 10), |server| {
            let both = [valid.as_bytes(), forged.as_bytes()];
            let count = storm_of_connects(server.address, &both);
            assert!(count > 100, "{name}: only {count}");
            eprintln!("{name}: {count}");
        });
        for (request, wanted) in [(valid, 101), (forged, 401)] {
            assert_eq!(status(siege.server.address, request.as_bytes()), wanted, "{name}");
        }
    }
}

#[test]
fn floods_of_refreshes_are_not_felt_by_others() {
    let (siege, token) = siege_of_es256();
    let token = &*token;
    let refresh = |newer: &str| text(&format!(r#"{{"type":"refresh","token":"{newer}","id":1}}"#));
    let (valid, forged) = (refresh(token), refresh(&forged(token)));
    siege.withstand("refreshes, valid and forged", ATTACKERS as u64 * EACH_BYTES, |server| {
        let open = |_| json(server.address, &format!("/ws?channel=flood&token={token}"));
        let kinds = [Kind::read(&valid), Kind::read(&forged)];
        let units = Flood { kinds: &kinds, open: &open }.run();
        assert!(units > 50, "only {units}");
        eprintln!("refreshes, valid and forged: {units}");
    });
}
